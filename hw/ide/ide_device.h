// A device on an IDE bus (`ide-hd`, `ide-cd`): its place, and the properties that both kinds have.
#pragma once
#include "hw/block/disk_properties.h"
#include "hw/boot_device.h"
#include "hw/ide/ata_drive.h"
#include "hw/ide/ata_identify.h"
#include "rhea/core/machine.h"

#include <string>

namespace rhea::hw {

class IdeChannel;

class IdeDevice : public core::Device, public BootDevice {
public:
    static constexpr std::uint32_t kAnyUnit = 0xffffffff;

    std::uint32_t wanted_unit() const { return unit_; }
    void attach(IdeChannel &channel, unsigned unit);
    IdeChannel &channel() const { return *channel_; }
    unsigned unit() const { return unit_; }
    /// Null until realize().
    virtual AtaDrive *drive() const = 0;
    std::vector<BootEntry> boot_entries() const override;

    void reset() override { drive()->power_on(); }
    void unrealize() override { settings_.release(); }
    void set_running(bool running) override;
    void serialize(core::Archive &archive) override { drive()->serialize(archive); }

protected:
    IdeDevice(const core::MachineConfig &config, std::string model, std::string version);

    /// The drive that drive= names, once the place and the names that all kinds have are checked.
    util::Result<block::BlockBackend *> claim(DiskProperties::Access access);
    /// What IDENTIFY tells of the properties that all kinds have.
    AtaIdentity identity() const;

    const core::MachineConfig &config_;
    DiskProperties settings_;

private:
    IdeChannel *channel_ = nullptr;
    std::uint32_t unit_ = kAnyUnit;
    std::string model_, version_;
    std::uint64_t wwn_ = 0;
};

} // namespace rhea::hw
