// The virtio devices that -device makes on a PCI bus: rows for the table of types.
#pragma once
#include <span>

#include "rhea/core/device.h"

namespace rhea::hw::virtio {

std::span<const core::DeviceType> pci_device_types();

} // namespace rhea::hw::virtio
