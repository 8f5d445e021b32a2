// The virtio devices that -device makes, for PCI buses and for the MMIO transports of a machine: rows for the table of types.
#pragma once
#include <span>

#include "rhea/core/device.h"

namespace rhea::hw::virtio {

std::span<const core::DeviceType> device_types();

} // namespace rhea::hw::virtio
