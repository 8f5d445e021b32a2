#include "hw/ide/ide_hard_disk.h"

#include "hw/ide/ide_channel.h"

#include <bit>
#include <fmt/format.h>

namespace rhea::hw {

IdeHardDisk::IdeHardDisk(const core::MachineConfig &config) : config_(config) {
    settings_.add_to(properties_);
    properties_.add_uint("unit", unit_, "0: device 0 (master), 1: device 1 (slave)", 1);
    properties_.add_string("model", model_, "model number, 40 characters at most");
    properties_.add_string("ver", version_, "firmware revision, 8 characters at most");
    properties_.add_uint("wwn", wwn_, "world wide name");
    properties_.add_uint("rotation_rate", rotation_rate_, "turns a minute; 1: an SSD; 0: not reported");
    properties_.add_uint("cyls", cylinders_, "cylinders; 0: by size", 65535);
    properties_.add_uint("heads", heads_, "heads; 0: by size", 16);
    properties_.add_uint("secs", sectors_, "sectors a track; 0: by size", 255);
}

IdeHardDisk::~IdeHardDisk() = default;

void IdeHardDisk::attach(IdeChannel &channel, unsigned unit) {
    channel_ = &channel;
    unit_ = unit;
}

util::Result<DiskGeometry> IdeHardDisk::geometry(std::uint64_t sectors) const {
    if (!cylinders_ && !heads_ && !sectors_)
        return default_geometry(sectors);
    if (!cylinders_ || !heads_ || !sectors_)
        return util::fail("cyls=, heads= and secs= are given together or not at all");
    return DiskGeometry{cylinders_, heads_, sectors_};
}

util::Result<void> IdeHardDisk::check(const block::BlockBackend &backend) const {
    if (settings_.logical_block_size() != ata::kSectorSize)
        return util::fail("an IDE disk has sectors of 512 bytes; logical_block_size={} needs another device", settings_.logical_block_size());
    if (settings_.serial().size() > 20)
        return util::fail("serial={}: an IDE disk's serial number has at most 20 characters", settings_.serial());
    if (model_.size() > 40)
        return util::fail("model={}: a model number has at most 40 characters", model_);
    if (version_.size() > 8)
        return util::fail("ver={}: a firmware revision has at most 8 characters", version_);
    if (rotation_rate_ > 1 && (rotation_rate_ < 0x401 || rotation_rate_ == 0xffff))
        return util::fail("rotation_rate={}: it is 0, 1, or from 1025 to 65534", rotation_rate_);
    if (backend.length() < ata::kSectorSize)
        return util::fail("drive '{}' has {} bytes, less than one sector", backend.name(), backend.length());
    if (backend.length() / ata::kSectorSize >= ata::kLba48Limit)
        return util::fail("drive '{}' is larger than an IDE disk can be (128 PiB)", backend.name());
    return {};
}

util::Result<void> IdeHardDisk::realize() {
    if (!channel_)
        return util::fail("an IDE drive needs a bus");
    if (!config_.main_context)
        return util::fail("this machine has no block layer");
    auto claimed = settings_.claim(config_, DiskProperties::Access::kReadWrite);
    if (!claimed)
        return util::fail(claimed.error());
    block::BlockBackend &backend = **claimed;
    if (auto done = check(backend); !done)
        return done;
    AtaIdentity identity;
    identity.sectors = backend.length() / ata::kSectorSize;
    auto shape = geometry(identity.sectors);
    if (!shape)
        return util::fail(shape.error());
    identity.geometry = *shape;
    identity.serial = settings_.serial().empty() ? fmt::format("QM{:05}", channel_->number() * IdeChannel::kDrives + unit_ + 1) : settings_.serial();
    identity.model = model_;
    identity.firmware = version_;
    identity.wwn = wwn_;
    identity.rotation_rate = rotation_rate_;
    identity.physical_sector_shift = static_cast<unsigned>(std::countr_zero(settings_.physical_block_size() / ata::kSectorSize));
    identity.trim = true;
    disk_ = std::make_unique<AtaDisk>(channel_->host(), backend, *config_.main_context, std::move(identity));
    return {};
}

std::vector<BootEntry> IdeHardDisk::boot_entries() const {
    return {{settings_.boot_index(), fmt::format("{}/drive@{:x}/disk@{:x}", channel_->controller().firmware_path(), channel_->number(), unit_)}};
}

void IdeHardDisk::reset() { disk_->power_on(); }

void IdeHardDisk::set_running(bool running) {
    if (!running)
        disk_->quiesce();
}

void IdeHardDisk::serialize(core::Archive &archive) { disk_->serialize(archive); }

} // namespace rhea::hw
