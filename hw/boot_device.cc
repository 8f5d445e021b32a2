#include "hw/boot_device.h"

#include "hw/pci/pci_device.h"

#include <fmt/format.h>

namespace rhea::hw {

std::string pci_firmware_path(const PciDevice &device, std::string_view kind) {
    const PciAddress address = device.address();
    std::string path = fmt::format("/pci@i0cf8/{}@{:x}", kind, address.slot);
    if (address.function)
        path += fmt::format(",{:x}", address.function);
    return path;
}

} // namespace rhea::hw
