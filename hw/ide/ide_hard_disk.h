// `-device ide-hd`: an ATA disk on an IDE bus, with the properties that a disk has.
#pragma once
#include "hw/ide/ata_disk.h"
#include "hw/ide/ide_device.h"

#include <memory>

namespace rhea::hw {

class IdeHardDisk final : public IdeDevice {
public:
    explicit IdeHardDisk(const core::MachineConfig &config);
    ~IdeHardDisk() override;

    AtaDrive *drive() const override { return disk_.get(); }
    /// Null until realize().
    AtaDisk *disk() const { return disk_.get(); }

    std::string_view type() const override { return "ide-hd"; }
    util::Result<void> realize() override;

private:
    util::Result<void> check(const block::BlockBackend &backend) const;
    util::Result<DiskGeometry> geometry(std::uint64_t sectors) const;

    std::uint16_t rotation_rate_ = 0;
    std::uint32_t cylinders_ = 0, heads_ = 0, sectors_ = 0;
    std::unique_ptr<AtaDisk> disk_;
};

} // namespace rhea::hw
