// The virtio devices that -device makes, for PCI buses and for the MMIO transports of a machine: rows for the table of types.
#pragma once
#include <span>

#include <functional>

#include "rhea/core/device.h"

namespace rhea::core {
struct MachineConfig;
}

namespace rhea::hw::virtio {

/// virtio::Ports::post of a machine's devices: to the main loop; nowhere where a test has none.
std::function<void(std::function<void()>)> post_to_main(const core::MachineConfig &config);

std::span<const core::DeviceType> device_types();

} // namespace rhea::hw::virtio
