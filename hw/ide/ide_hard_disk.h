// `-device ide-hd`: an ATA disk on an IDE bus, with the properties that a disk has.
#pragma once
#include "hw/block/disk_properties.h"
#include "hw/boot_device.h"
#include "hw/ide/ata_disk.h"
#include "rhea/core/machine.h"

#include <memory>
#include <optional>

namespace rhea::hw {

class IdeChannel;

class IdeHardDisk final : public core::Device, public BootDevice {
public:
    static constexpr std::uint32_t kAnyUnit = 0xffffffff;

    explicit IdeHardDisk(const core::MachineConfig &config);
    ~IdeHardDisk() override;

    std::uint32_t wanted_unit() const { return unit_; }
    void attach(IdeChannel &channel, unsigned unit);
    IdeChannel &channel() const { return *channel_; }
    unsigned unit() const { return unit_; }
    /// Null until realize().
    AtaDisk *disk() const { return disk_.get(); }
    std::vector<BootEntry> boot_entries() const override;

    std::string_view type() const override { return "ide-hd"; }
    util::Result<void> realize() override;
    void reset() override;
    void set_running(bool running) override;
    void serialize(core::Archive &archive) override;

private:
    util::Result<void> check(const block::BlockBackend &backend) const;
    util::Result<DiskGeometry> geometry(std::uint64_t sectors) const;

    const core::MachineConfig &config_;
    IdeChannel *channel_ = nullptr;
    std::uint32_t unit_ = kAnyUnit;
    DiskProperties settings_;
    std::string model_ = "QEMU HARDDISK", version_ = "1.0";
    std::uint64_t wwn_ = 0;
    std::uint16_t rotation_rate_ = 0;
    std::uint32_t cylinders_ = 0, heads_ = 0, sectors_ = 0;
    std::unique_ptr<AtaDisk> disk_;
};

} // namespace rhea::hw
