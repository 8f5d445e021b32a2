// Devices that -device asks for: what those without a bus of their own are wired to.
#include "hw/char/debugcon.h"
#include "hw/char/uart16550.h"
#include "hw/option_device.h"
#include "hw/pc/x86_machine.h"

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
util::Result<void> X86Machine::wire_serial(Uart16550 &uart, const core::DeviceOption &option) {
    if (!has(option, "index") && !has(option, "iobase")) {
        if (serial_bases_.size() == kComPorts)
            return util::fail("there are four serial ports already; say where this one is with iobase= and irq=");
        for (unsigned index = 0; index < kComPorts; ++index) {
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

util::Result<void> X86Machine::wire_device(core::Device &device, const core::DeviceOption &option) {
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

util::Result<void> X86Machine::add_machine_device(const core::DeviceOption &option) {
    auto device = add_option_device(*this, option, [this](core::Device &made, const core::DeviceOption &of) { return wire_device(made, of); });
    return device ? util::Result<void>{} : util::Result<void>(util::fail(device.error()));
}

util::Result<void> X86Machine::build_option_devices() {
    for (const core::DeviceOption &option : config().devices) {
        if (auto done = add_machine_device(option); !done)
            return done;
    }
    return {};
}

/// How many of COM1 to COM4 exist, COM1 first.
unsigned X86Machine::com_ports() const {
    unsigned count = 0;
    while (count < kComPorts && std::ranges::count(serial_bases_, kComBases[count]))
        ++count;
    return count;
}

} // namespace rhea::hw::pc
