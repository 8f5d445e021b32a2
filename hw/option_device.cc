#include "hw/option_device.h"

#include "rhea/hw/machines.h"

#include <algorithm>
#include <fmt/format.h>

namespace rhea::hw {
namespace {

util::Result<void> configure(core::Machine &machine, core::Device &device, const core::DeviceType &type,
                             const core::DeviceOption &option, const WireDevice &wire) {
    const bool on_bus = type.sits_on_bus;
    if (auto done = machine.apply_globals(device); !done)
        return done;
    std::string bus_name;
    for (const auto &[key, value] : option.properties) {
        if (key == "id") {
            if (machine.find_device(value))
                return util::fail("there is a device '{}' already; give this one another id=", value);
            device.set_path(value);
        } else if (key == "bus" && on_bus) {
            bus_name = value;
        } else if (auto done = device.properties().set(key, value); !done) {
            return done;
        }
    }
    if (!on_bus)
        return wire(device, option);
    auto bus = machine.find_bus(type.bus, bus_name);
    if (!bus)
        return util::fail(bus.error());
    if (auto done = (*bus)->plug(device); !done)
        return done;
    device.set_parent_bus(*bus);
    return {};
}

} // namespace

util::Result<core::Device *> add_option_device(core::Machine &machine, const core::DeviceOption &option, const WireDevice &wire) {
    const core::DeviceType *type = find_device_type(option.driver);
    if (!type)
        return util::fail("-device: there is no device '{}'{}", option.driver, nearest_device_hint(option.driver));
    std::unique_ptr<core::Device> device = type->create(machine);
    if (auto done = configure(machine, *device, *type, option, wire); !done)
        return util::fail(done.error().within("-device " + option.driver));
    core::Device *const made = device.get();
    const std::string path = device->path().empty() ? fmt::format("device{}", machine.devices().size()) : device->path();
    machine.add_device(path, std::move(device));
    if (auto done = machine.realize_devices(); !done) {
        const util::Error error = done.error();
        machine.remove_device(*made);
        return util::fail(error.within("-device " + option.driver));
    }
    return made;
}

} // namespace rhea::hw
