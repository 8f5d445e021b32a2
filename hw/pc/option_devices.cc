// Devices that -device asks for: what those without a bus of their own are wired to.
#include "hw/char/debugcon.h"
#include "hw/char/uart16550.h"
#include "hw/option_device.h"
#include "hw/pc/pc_machine.h"

#include <algorithm>
#include <fmt/format.h>

namespace rhea::hw::pc {
namespace {

/// The back end that a device's property chardev names.
util::Result<core::CharBackend *> claim(const core::MachineConfig &config, const std::string &id) {
    if (id.empty())
        return util::fail("chardev= is missing; write -chardev ...,id=ID and chardev=ID here");
    if (!config.claim_chardev)
        return util::fail("there are no character devices");
    return config.claim_chardev(id);
}

bool has(const core::DeviceOption &option, std::string_view key) {
    return std::ranges::any_of(option.properties, [&](const auto &pair) { return pair.first == key; });
}

} // namespace

/// COM ports are numbered as they come, behind those of -serial, where index= does not say otherwise.
util::Result<void> PcMachine::wire_serial(Uart16550 &uart, const core::DeviceOption &option) {
    if (!has(option, "index") && !has(option, "iobase")) {
        if (serial_bases_.size() == 4)
            return util::fail("there are four serial ports already; say where this one is with iobase= and irq=");
        for (unsigned index = 0; index < 4; ++index) {
            (void)uart.properties().set("index", std::to_string(index));
            if (!std::ranges::count(serial_bases_, uart.iobase()))
                break;
        }
    }
    const std::uint32_t base = uart.iobase();
    for (const std::uint32_t other : serial_bases_) {
        if (base < other + Uart16550::kPorts && other < base + Uart16550::kPorts)
            return util::fail("there is a serial port at {:#x} already; use another index= or iobase=", other);
    }
    auto backend = claim(config(), uart.chardev());
    if (!backend)
        return util::fail(backend.error());
    uart.connect(*backend);
    uart.connect_irq(router_->isa(uart.irq()));
    uart.map(io_root(), base);
    serial_bases_.push_back(base);
    return {};
}

util::Result<void> PcMachine::wire_device(core::Device &device, const core::DeviceOption &option) {
    if (auto *uart = dynamic_cast<Uart16550 *>(&device))
        return wire_serial(*uart, option);
    if (auto *console = dynamic_cast<DebugConsole *>(&device)) {
        auto backend = claim(config(), console->chardev());
        if (!backend)
            return util::fail(backend.error());
        console->connect(*backend);
    }
    return {};
}

util::Result<void> PcMachine::build_option_devices() {
    const auto wire = [this](core::Device &device, const core::DeviceOption &option) { return wire_device(device, option); };
    for (const core::DeviceOption &option : config().devices) {
        if (auto device = add_option_device(*this, option, wire); !device)
            return util::fail(device.error());
    }
    // -drive if=virtio: QEMU's way, a device of its own for each, behind those of -device.
    for (const core::DriveOption &drive : config().drives) {
        if (drive.interface != "virtio" || drive.cdrom)
            continue;
        core::DeviceOption option{.driver = "virtio-blk-pci", .properties = drive.properties};
        option.properties.emplace_back("drive", drive.id);
        if (auto device = add_option_device(*this, option, wire); !device)
            return util::fail(device.error().within(fmt::format("drive '{}'", drive.id)));
    }
    return {};
}

/// How many of COM1 to COM4 exist, COM1 first.
unsigned PcMachine::com_ports() const {
    static constexpr std::uint32_t kBases[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    unsigned count = 0;
    while (count < 4 && std::ranges::count(serial_bases_, kBases[count]))
        ++count;
    return count;
}

} // namespace rhea::hw::pc
