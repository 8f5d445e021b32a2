#include "hw/microvm/microvm_machine.h"

#include "hw/acpi/generic_events.h"
#include "hw/acpi/microvm_tables.h"
#include "hw/microvm/mp_table.h"
#include "hw/virtio/types.h"
#include "hw/virtio/virtio_mmio.h"
#include "rhea/util/option_list.h"

#include <array>
#include <fmt/format.h>

namespace rhea::hw::microvm {
namespace {

constexpr std::uint64_t kLowRam = 0xc0000000;
constexpr core::hwaddr kTransports = 0xfeb00000;
constexpr unsigned kEventGsi = 9;

constexpr auto kPropertyList = std::to_array<core::MachineProperty>({
    {"acpi", "OnOffAuto", "ACPI tables, and the registers behind them"},
    {"auto-kernel-cmdline", "bool", "Name the virtio-mmio transports in the kernel's command line"},
    {"ioapic2", "OnOffAuto", "A second I/O APIC for the virtio-mmio transports"},
    {"isa-serial", "bool", "A 16550A serial port"},
    {"pic", "OnOffAuto", "The pair of i8259 interrupt controllers"},
    {"pit", "OnOffAuto", "The i8254 timer"},
    {"rtc", "OnOffAuto", "The MC146818 clock"},
});

} // namespace

const std::span<const core::MachineProperty> MicrovmMachine::kProperties = kPropertyList;

// ---- what there is -------------------------------------------------------------------------------------------------

util::Result<void> MicrovmMachine::choose_parts(const core::Accelerator &accelerator, bool chips_in_kernel) {
    parts_.rtc = accelerator.name() != "kvm"; // which has a clock of its own for guests
    parts_.second_io_apic = !chips_in_kernel;
    bool wants_second = false;
    for (const auto &[key, value] : config().machine_options) {
        if (value == "auto")
            continue;
        const bool on = util::parse_bool(value).value_or(false);
        const std::pair<std::string_view, bool *> settings[] = {
            {"acpi", &parts_.acpi}, {"auto-kernel-cmdline", &parts_.auto_kernel_cmdline}, {"ioapic2", &parts_.second_io_apic},
            {"isa-serial", &parts_.isa_serial}, {"pic", &parts_.pic}, {"pit", &parts_.pit}, {"rtc", &parts_.rtc}};
        for (const auto &[name, part] : settings) {
            if (name == key)
                *part = on;
        }
        wants_second = key == "ioapic2" ? on : wants_second;
    }
    if (wants_second && (chips_in_kernel || !parts_.acpi))
        return util::fail("-M microvm,ioapic2=on needs {}", parts_.acpi ? "kernel-irqchip=split or off: KVM has one I/O APIC" : "acpi=on");
    parts_.second_io_apic = parts_.second_io_apic && parts_.acpi;
    if (chips_in_kernel && (!parts_.pic || !parts_.pit))
        return util::fail("-M microvm,{}=off needs kernel-irqchip=split or off: KVM's interrupt controllers and timer come together",
                          parts_.pic ? "pit" : "pic");
    return {};
}

/// What the command line asks for and this machine has no place for.
util::Result<void> MicrovmMachine::check_request() const {
    for (const core::DriveOption &drive : config().drives)
        return util::fail("drive '{}': machine 'microvm' has no if={}; use if=none,id={} and -device virtio-blk-device,drive={}", drive.id,
                          drive.interface, drive.id, drive.id);
    for (std::size_t number = 1; number < config().serials.size(); ++number) {
        if (config().serials[number])
            return util::fail("-serial: machine 'microvm' has one serial port; -device isa-serial,chardev=ID adds others");
    }
    if (!parts_.acpi && !starts_kernel() && config().firmware.empty())
        return util::fail("-M microvm,acpi=off starts a -kernel, or firmware that -bios names: SeaBIOS needs ACPI tables here");
    return {};
}

/// In QEMU's machine the firmware may be written, and is as it was after each reset.
util::Result<void> MicrovmMachine::build_firmware() {
    auto firmware = load_firmware("bios-microvm.bin");
    if (!firmware)
        return util::fail(firmware.error());
    core::RamBlock *const block = firmware->block;
    if (!block)
        return {};
    map_firmware(own_region(core::MemoryRegion::ram("pc.bios", *block)), block->size(), memory_root());
    add_reset_hook([this, file = firmware->file] {
        const auto bytes = file->bytes();
        memory().write((1ull << 32) - bytes.size(), bytes.data(), bytes.size());
    });
    return {};
}

void MicrovmMachine::build_transports() {
    const unsigned count = second_io_apic_ ? IoApic::kPins : 8;
    const unsigned first_gsi = second_io_apic_ ? IoApic::kPins : parts_.acpi ? 16 : 5;
    for (unsigned number = count; number-- > 0;) {
        const core::hwaddr address = kTransports + number * virtio::VirtioMmio::kSize;
        const unsigned gsi = first_gsi + number;
        auto &transport = add_device<virtio::VirtioMmio>(
            fmt::format("virtio-mmio/{:x}", address),
            virtio::VirtioMmio::Ports{.memory = memory(), .irq = second_io_apic_ ? second_io_apic_->pin(number) : router_->isa(gsi),
                                      .post = virtio::post_to_main(config())},
            number);
        memory_root().add(address, transport.region(), 1);
        add_bus(transport);
        transports_.push_back({&transport, number, gsi});
    }
}

util::Result<void> MicrovmMachine::build_devices() {
    if (parts_.pit)
        build_pit();
    if (parts_.rtc)
        build_rtc();
    if (parts_.isa_serial && !config().serials.empty())
        build_serial(0, config().serials.front());
    build_debugcon();
    if (parts_.acpi) {
        events_ = &add_device<GenericEvents>("acpi-ged", requests(), router_->line(IrqSource::kSci, kEventGsi));
        events_->map(memory_root());
    }
    build_transports();
    auto done = build_firmware_config();
    if (done && parts_.acpi)
        done = add_acpi_files();
    return done;
}

util::Result<void> MicrovmMachine::build_parts(core::Accelerator &accelerator) {
    build_ram(kLowRam, kLowRam);
    if (auto done = accelerator.attach(memory(), io()); !done)
        return done;
    const core::KernelIrqchip *const chips = accelerator.kernel_irqchip();
    auto done = choose_parts(accelerator, chips && !chips->local_apics_only());
    if (done)
        done = check_request();
    if (done)
        done = build_firmware();
    if (!done)
        return done;
    build_interrupt_controllers(accelerator, {.pic = parts_.pic, .second_io_apic = parts_.second_io_apic});
    done = build_cpus(accelerator);
    if (done)
        done = build_devices();
    if (done)
        done = realize_devices();
    if (done)
        done = build_option_devices();
    return done ? add_boot_files() : done;
}

bool MicrovmMachine::press_power_button() {
    if (events_)
        events_->press_power_button();
    return events_ != nullptr;
}

// ---- what the guest is told ----------------------------------------------------------------------------------------

std::vector<MicrovmMachine::Transport> MicrovmMachine::occupied_transports() const {
    std::vector<Transport> occupied;
    for (const Transport &transport : transports_) {
        if (transport.device->occupant())
            occupied.push_back(transport);
    }
    return occupied;
}

acpi::Blob MicrovmMachine::acpi_tables(std::uint64_t base) {
    if (!parts_.acpi)
        return {};
    acpi::MicrovmTableOptions options{.cpus = config().topology, .pic = parts_.pic, .rtc = parts_.rtc, .serial_ports = com_ports(),
                                      .io_apics = {IoApic::kDefaultBase}, .event_irq = kEventGsi, .transports = {}};
    if (second_io_apic_)
        options.io_apics.push_back(kSecondIoApicBase);
    for (const Transport &transport : occupied_transports())
        options.transports.push_back({.number = transport.number,
                                      .address = static_cast<std::uint32_t>(transport.device->region().offset()),
                                      .size = virtio::VirtioMmio::kSize,
                                      .gsi = transport.gsi});
    return acpi::build_microvm_tables(options, base);
}

std::string MicrovmMachine::kernel_command_line() const {
    std::string line = config().append;
    if (parts_.acpi || !parts_.auto_kernel_cmdline)
        return line;
    for (const Transport &transport : occupied_transports())
        line += fmt::format(" virtio_mmio.device={}@{:#x}:{}", virtio::VirtioMmio::kSize, transport.device->region().offset(), transport.gsi);
    return line;
}

void MicrovmMachine::complete_boot(pc::KernelBoot &boot) const {
    if (!parts_.acpi)
        boot.add(kMpTableAddress, mp_table({.cpus = config().topology, .pic = parts_.pic, .io_apic = IoApic::kDefaultBase}));
}

} // namespace rhea::hw::microvm
