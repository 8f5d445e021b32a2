// What the machines with an x86 CPU have in common: RAM, firmware, interrupt controllers, CPUs, ISA devices, the firmware
// interface, and a kernel that is started without firmware. One function a part; the machine derives and says which it has.
#pragma once
#include "hw/acpi/tables.h"
#include "hw/intc/apic_bus.h"
#include "hw/intc/io_apic.h"
#include "hw/intc/irq_gates.h"
#include "hw/intc/isa_pic.h"
#include "hw/intc/kernel_apics.h"
#include "hw/pc/kernel_boot.h"
#include "rhea/core/machine.h"

#include <memory>

namespace rhea::hw {
class FwCfg;
class Mc146818;
class Uart16550;
}

namespace rhea::hw::pc {

class X86Machine : public core::Machine {
public:
    X86Machine(core::MachineConfig config, core::MachineRequests &requests) : core::Machine(std::move(config), requests) {}

    util::Result<void> build(core::Accelerator &accelerator) final;
    util::Result<void> hot_plug(const core::DeviceOption &option) final;
    util::Result<void> hot_unplug(std::string_view id) override;

protected:
    static constexpr unsigned kComPorts = 4;
    static constexpr core::hwaddr kSecondIoApicBase = 0xfec10000;

    /// Everything but the kernel, in one change of the memory map.
    virtual util::Result<void> build_parts(core::Accelerator &accelerator) = 0;
    virtual std::string kernel_command_line() const { return config().append; }
    /// What else firmware would have left in memory.
    virtual void complete_boot(KernelBoot &) const {}
    /// For a guest physical address; no bytes: this machine has none.
    virtual acpi::Blob acpi_tables(std::uint64_t base) = 0;

    /// RAM of `split_at` bytes and more goes on at 4 GiB, with `low_when_split` below.
    void build_ram(std::uint64_t split_at, std::uint64_t low_when_split);

    // device_add: which kinds of devices may come (SCSI's always), as a sentence, and what the machine says to one that is there.
    virtual bool hot_plugs(std::string_view bus) const { return bus == "SCSI"; }
    virtual std::string_view what_hot_plugs() const { return "SCSI devices can"; }
    virtual util::Result<void> check_plugged(const core::Device &) const { return {}; }
    virtual void tell_plugged(const core::Device &) {}

    struct Firmware {
        std::shared_ptr<FileMapping> file;
        core::RamBlock *block = nullptr; ///< holds a copy of it
    };
    /// -bios, else `default_name`, along -L; without a block when a kernel is started instead.
    util::Result<Firmware> load_firmware(std::string_view default_name);
    /// At the top of the first 4 GiB, and its last 128 KiB below 1 MiB, above `where`'s other subregions.
    void map_firmware(core::MemoryRegion &bios, std::uint64_t size, core::MemoryRegion &where);

    struct Chips {
        bool pic = true;            ///< 8259s
        bool second_io_apic = false; ///< pins 24 to 47
    };
    void build_interrupt_controllers(core::Accelerator &accelerator, Chips chips);
    util::Result<void> build_cpus(core::Accelerator &accelerator);
    void build_pit();
    void build_rtc();
    void build_serial(unsigned number, core::CharBackend *characters);
    void build_debugcon();
    util::Result<void> build_firmware_config();
    /// The fw_cfg files by which firmware places acpi_tables(), when the machine has such and starts firmware.
    util::Result<void> add_acpi_files();
    /// The file "bootorder" and -boot's wishes; behind all devices.
    util::Result<void> add_boot_files();
    /// Devices of -device, in order.
    util::Result<void> build_option_devices();
    util::Result<void> add_machine_device(const core::DeviceOption &option);

    bool starts_kernel() const { return !config().kernel.empty(); }
    /// The interrupt controllers of a PC are all in the kernel.
    bool all_chips_in_kernel() const { return kernel_chips_ && !kernel_chips_->local_apics_only(); }
    unsigned com_ports() const;

    RamLayout layout_;
    core::MemoryRegion *ram_region_ = nullptr;
    ApicBus apic_bus_;
    core::KernelIrqchip *kernel_chips_ = nullptr; ///< null: all interrupt controllers are ours
    std::unique_ptr<KernelApicBus> kernel_apics_; ///< instead of apic_bus_
    IoApic *second_io_apic_ = nullptr;
    GsiRouter *router_ = nullptr;
    FwCfg *fw_cfg_ = nullptr;
    Mc146818 *rtc_ = nullptr;

private:
    static constexpr std::uint32_t kComBases[kComPorts] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};

    util::Result<void> prepare_kernel();
    IoApic &add_io_apic(std::string path, unsigned first_gsi, InterruptMessagePort &messages);
    util::Result<void> wire_device(core::Device &device, const core::DeviceOption &option);
    util::Result<void> wire_serial(Uart16550 &uart, const core::DeviceOption &option);
    util::Result<std::vector<std::uint8_t>> boot_order_file() const;
    void set_cmos_boot_order(const std::string &letters);

    std::unique_ptr<ExtIntWire> ext_int_;       ///< the 8259s are ours, the local APICs not
    std::unique_ptr<IrqSplitter> int_splitter_; ///< the 8259 pair's INT: LINT0 and I/O APIC pin 0
    IsaPic *pic_ = nullptr;
    std::vector<std::uint32_t> serial_bases_;
    std::shared_ptr<KernelBoot> kernel_;
};

} // namespace rhea::hw::pc
