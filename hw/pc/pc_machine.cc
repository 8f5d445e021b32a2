#include "hw/pc/pc_machine.h"

#include "hw/input/a20_gate.h"
#include "hw/input/i8042.h"
#include "hw/input/port92.h"
#include "hw/pci/i440fx.h"
#include "hw/pci/piix3.h"
#include "hw/pci/piix4_pm.h"

#include <algorithm>

namespace rhea::hw::pc {
namespace {

/// RAM of 3.5 GiB and more leaves the last GiB below 4 GiB to devices.
constexpr std::uint64_t kLowRamMax = 0xe0000000, kLowRamWhenSplit = 0xc0000000;
constexpr std::uint16_t kPmBase = 0x600;

} // namespace

/// What answers where there is no RAM: PCI devices and the firmware's ROM.
util::Result<void> PcMachine::build_pci_memory() {
    pci_memory_ = &own_region(core::MemoryRegion::container("pci", 0));
    memory_root().add(0, *pci_memory_, -1);
    auto firmware = load_firmware("bios-256k.bin");
    if (!firmware)
        return util::fail(firmware.error());
    if (core::RamBlock *const block = firmware->block)
        map_firmware(own_region(core::MemoryRegion::rom("pc.bios", *block)), block->size(), *pci_memory_);
    return {};
}

void PcMachine::build_platform_devices() {
    build_pit();
    build_rtc();
    for (unsigned number = 0; number < config().serials.size() && number < kComPorts; ++number)
        build_serial(number, config().serials[number]);
    build_debugcon();
}

util::Result<void> PcMachine::build_chipset() {
    MsiSink *const msi = kernel_apics_ ? static_cast<MsiSink *>(kernel_apics_.get()) : &apic_bus_;
    pci_bus_ = std::make_unique<PciBus>(PciBus::Ports{.memory = *pci_memory_, .io = io_root(), .dma = memory(), .msi = msi});
    add_bus(*pci_bus_);
    auto &bridge = add_device<I440fx>("pci/00.0", *pci_bus_,
                                      I440fx::Ports{.memory_root = memory_root(), .pci_memory = *pci_memory_,
                                                    .ram = *ram_region_, .io_root = io_root(), .requests = requests()});
    std::array<core::IrqLine, Piix3::kIsaIrqs> lines;
    for (unsigned number = 0; number < Piix3::kIsaIrqs; ++number)
        lines[number] = router_->line(IrqSource::kPirq, number);
    auto &isa = add_device<Piix3>("pci/01.0", lines);
    const bool direct = starts_kernel();
    Piix4Pm::Config pm;
    pm.pm_base = direct ? kPmBase : std::uint16_t{0};
    pm.removable_slots = [this] { return removable_slots(); };
    pm.eject_slot = [this](unsigned slot) { slot_ejected(slot); };
    pm_ = &add_device<Piix4Pm>("pci/01.3", clocks(), requests(), router_->line(IrqSource::kSci, 9), io_root(), pm);
    if (auto done = pci_bus_->attach(isa, {1, 0}); !done)
        return done;
    if (auto done = pci_bus_->attach(*pm_, {1, 3}); !done)
        return done;
    if (auto done = build_ide(); !done)
        return done;
    pci_bus_->connect_pirqs(isa.pirqs());

    auto &gate = add_device<A20Gate>("isa/a20", [this](bool open) {
        for (const auto &vcpu : vcpus()) {
            if (open)
                vcpu->clear_request(core::kRequestA20);
            else
                vcpu->request(core::kRequestA20);
            vcpu->request(0); // its change matters, either way
        }
    });
    add_device<I8042>("isa/i8042", I8042::Ports{.requests = requests(), .keyboard_irq = router_->isa(1),
                                                .mouse_irq = router_->isa(12), .a20 = gate.line()})
        .map(io_root());
    add_device<Port92>("isa/port92", requests(), gate.line()).map(io_root());
    if (direct) {
        // What firmware would have left: shadow RAM open, PCI interrupts routed as the ACPI tables say.
        add_reset_hook([this, &bridge] {
            bridge.open_shadow_ram();
            for (unsigned pirq = 0; pirq < 4; ++pirq)
                pci_bus_->config_write(1 << 3, 0x60 + pirq, pirq < 2 ? 10 : 11, 1);
        });
    }
    return {};
}

bool PcMachine::press_power_button() {
    pm_->pm().press_power_button();
    return true;
}

acpi::Blob PcMachine::acpi_tables(std::uint64_t base) {
    acpi::TableOptions options;
    options.cpus = config().topology;
    options.serial_ports = com_ports();
    options.pci_hole_start = static_cast<std::uint32_t>(std::max<std::uint64_t>(layout_.low, 0x80000000));
    constexpr unsigned kPmFunction = 1 << 3 | 3, kPmBaseRegister = 0x40;
    if (const auto pm_base = pci_bus_->config_read(kPmFunction, kPmBaseRegister, 2) & 0xffc0)
        options.pm_base = static_cast<std::uint16_t>(pm_base);
    return acpi::build_tables(options, base);
}

util::Result<void> PcMachine::build_parts(core::Accelerator &accelerator) {
    build_ram(kLowRamMax, kLowRamWhenSplit);
    auto done = build_pci_memory();
    if (done)
        done = accelerator.attach(memory(), io());
    if (done) {
        build_interrupt_controllers(accelerator, {});
        done = build_cpus(accelerator);
    }
    if (done) {
        build_platform_devices();
        done = build_chipset();
    }
    if (done)
        done = build_firmware_config();
    if (done)
        done = add_acpi_files();
    if (done)
        done = realize_devices();
    if (done)
        done = build_drives();
    if (done)
        done = build_option_devices();
    if (done)
        done = build_virtio_drives();
    if (!done)
        return done;
    set_cmos_disks();
    return add_boot_files();
}

} // namespace rhea::hw::pc
