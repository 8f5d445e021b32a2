// Machine `microvm`: no PCI, virtio devices on MMIO transports, hardware-reduced ACPI or none (QEMU's docs/system/i386/microvm).
//
// Transports lie at kTransports, 512 bytes apart. With ACPI the guest finds in the DSDT those that have a device, and their interrupts
// are 16 to 23, or with a second I/O APIC (24 transports) 24 to 47. Without ACPI they are ISA interrupts 5 to 12, an MP table says what
// there is, and the kernel's command line has a virtio_mmio.device= for each. -device fills the last transport first, as in QEMU.
#pragma once
#include "hw/pc/x86_machine.h"

#include <string_view>
#include <vector>

namespace rhea::hw {
class GenericEvents;
namespace virtio {
class VirtioMmio;
}
} // namespace rhea::hw

namespace rhea::hw::microvm {

class MicrovmMachine final : public pc::X86Machine {
public:
    static const std::span<const core::MachineProperty> kProperties;

    using X86Machine::X86Machine;

    bool press_power_button() override;

private:
    /// What -M microvm,… and the accelerator make of it.
    struct Parts {
        bool acpi = true, pic = true, pit = true, rtc = true, isa_serial = true, auto_kernel_cmdline = true, second_io_apic = true;
    };
    struct Transport {
        virtio::VirtioMmio *device;
        unsigned number, gsi;
    };

    util::Result<void> build_parts(core::Accelerator &accelerator) override;
    acpi::Blob acpi_tables(std::uint64_t base) override;
    std::string kernel_command_line() const override;
    void complete_boot(pc::KernelBoot &boot) const override;

    util::Result<void> choose_parts(const core::Accelerator &accelerator, bool chips_in_kernel);
    util::Result<void> check_request() const;
    util::Result<void> build_firmware();
    util::Result<void> build_devices();
    void build_transports();
    std::vector<Transport> occupied_transports() const;

    Parts parts_;
    std::vector<Transport> transports_; ///< the last first
    GenericEvents *events_ = nullptr;
};

} // namespace rhea::hw::microvm
