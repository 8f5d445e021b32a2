// Making a device that `-device` asks for: any machine, any bus.
#pragma once
#include "rhea/core/machine.h"

#include <functional>

namespace rhea::hw {

/// Connects a device that sits on no core::Bus (ISA, System): the machine's part of the work.
using WireDevice = std::function<util::Result<void>(core::Device &device, const core::DeviceOption &option)>;

/// Makes the device, sets its properties, gives it its place on a bus (bus=) or has it wired, adds it to the machine
/// and realizes it. Its path is the user's id=, else its place.
[[nodiscard]] util::Result<core::Device *> add_option_device(core::Machine &machine, const core::DeviceOption &option, const WireDevice &wire);

} // namespace rhea::hw
