// The machine `none`: RAM at address 0 and an empty port space, no CPU, no device.
//
// For tests of what is not a machine (options, monitor, character devices) and for asking devices
// about themselves (`-device x,help`).
#pragma once
#include <memory>

#include "rhea/core/machine.h"

namespace rhea::hw {

std::unique_ptr<core::Machine> make_none_machine(core::MachineConfig config,
                                                 core::MachineRequests& requests);

inline constexpr core::MachineType kNoneMachine{"none", "", "empty machine", make_none_machine};

}  // namespace rhea::hw
