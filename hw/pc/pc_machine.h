// Machine `pc` (i440FX): see docs/architecture.md. One function a group of parts; what they are wired to is said here and nowhere else.
#pragma once
#include "hw/intc/apic_bus.h"
#include "hw/intc/io_apic.h"
#include "hw/intc/irq_gates.h"
#include "hw/intc/isa_pic.h"
#include "hw/intc/kernel_apics.h"
#include "hw/pc/kernel_boot.h"
#include "hw/pci/pci_bus.h"
#include "rhea/core/machine.h"

#include <memory>

namespace rhea::hw {
class FwCfg;
class IdeHardDisk;
class Mc146818;
class Piix3Ide;
class Piix4Pm;
class Uart16550;
}

namespace rhea::hw::pc {

class PcMachine final : public core::Machine {
public:
    PcMachine(core::MachineConfig config, core::MachineRequests &requests) : core::Machine(std::move(config), requests) {}

    util::Result<void> build(core::Accelerator &accelerator) override;
    bool press_power_button() override;
    util::Result<void> hot_plug(const core::DeviceOption &option) override;
    util::Result<void> hot_unplug(std::string_view id) override;

private:
    void build_ram();
    util::Result<void> load_firmware();
    void build_interrupt_controllers(core::Accelerator &accelerator);
    util::Result<void> build_cpus(core::Accelerator &accelerator);
    void build_platform_devices();
    util::Result<void> build_chipset();
    util::Result<void> build_firmware_config();
    util::Result<void> build_option_devices();
    util::Result<void> build_ide();
    util::Result<void> build_drives();
    std::uint32_t removable_slots() const;
    void slot_ejected(unsigned slot);
    util::Result<void> add_boot_files();
    util::Result<std::vector<std::uint8_t>> boot_order_file() const;
    const IdeHardDisk *ide_disk(unsigned number) const;
    void set_cmos_disks();
    void set_cmos_boot_order(const std::string &letters);
    util::Result<void> wire_device(core::Device &device, const core::DeviceOption &option);
    util::Result<void> wire_serial(Uart16550 &uart, const core::DeviceOption &option);
    unsigned com_ports() const;
    util::Result<void> add_acpi_files(FwCfg &fw_cfg);
    util::Result<void> prepare_kernel();

    RamLayout layout_;
    core::MemoryRegion *ram_region_ = nullptr;
    core::MemoryRegion *pci_memory_ = nullptr;
    ApicBus apic_bus_;
    core::KernelIrqchip *kernel_chips_ = nullptr;   ///< null: all interrupt controllers are ours
    std::unique_ptr<KernelApicBus> kernel_apics_;   ///< instead of apic_bus_
    std::unique_ptr<ExtIntWire> ext_int_;           ///< the 8259s are ours, the local APICs not
    std::unique_ptr<PciBus> pci_bus_;
    Piix3Ide *ide_ = nullptr;
    Piix4Pm *pm_ = nullptr;
    FwCfg *fw_cfg_ = nullptr;
    Mc146818 *rtc_ = nullptr;
    std::unique_ptr<IrqSplitter> int_splitter_; ///< the 8259 pair's INT: LINT0 and I/O APIC pin 0
    IsaPic *pic_ = nullptr;
    IoApic *io_apic_ = nullptr;
    GsiRouter *router_ = nullptr;
    std::vector<std::uint32_t> serial_bases_;
    std::shared_ptr<KernelBoot> kernel_;
};

} // namespace rhea::hw::pc
