// What firmware can start from, and the names by which the fw_cfg file "bootorder" tells it the order.
//
// The names are Open Firmware paths as SeaBIOS builds them: "/pci@i0cf8/ide@1,1/drive@0/disk@0",
// "/pci@i0cf8/scsi@5/disk@0,0" (virtio-blk), "/pci@i0cf8/scsi@4/channel@0/disk@0,0" (virtio-scsi).
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace rhea::hw {

class PciDevice;

/// `index`: the property bootindex; below 0: no place in the order.
struct BootEntry {
    int index = -1;
    std::string path;
};

/// A device (beside core::Device) with something to start from. The machine asks after all devices are realized.
class BootDevice {
public:
    virtual std::vector<BootEntry> boot_entries() const = 0;

protected:
    ~BootDevice() = default;
};

/// The path of a function on the first bus; `kind` is its name by class ("ide", "scsi", "nvme").
std::string pci_firmware_path(const PciDevice &device, std::string_view kind);

} // namespace rhea::hw
