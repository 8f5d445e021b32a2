// What `-device help` and `-device x,help` print.
#pragma once
#include <string>

#include "rhea/core/device.h"

namespace rhea::system {

std::string device_list_help();
/// Makes one device of that type, without a machine around it, and lists its properties.
std::string device_properties_help(const core::DeviceType& type);

}  // namespace rhea::system
