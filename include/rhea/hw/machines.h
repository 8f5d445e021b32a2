// The tables of machine and device types that the command line can name.
#pragma once
#include "rhea/core/device.h"
#include "rhea/core/machine.h"

#include <span>
#include <string>
#include <string_view>

namespace rhea::hw {

std::span<const core::MachineType> machine_types();
/// By name or alias; null: none.
const core::MachineType *find_machine_type(std::string_view name);

std::span<const core::DeviceType> device_types();
const core::DeviceType *find_device_type(std::string_view name);
/// "; did you mean 'x'?", or empty.
std::string nearest_device_hint(std::string_view name);

} // namespace rhea::hw
