#include "hw/ide/ide_hard_disk.h"

#include "hw/ide/ide_channel.h"

#include <bit>

namespace rhea::hw {

IdeHardDisk::IdeHardDisk(const core::MachineConfig &config) : IdeDevice(config, "QEMU HARDDISK", "1.0") {
    properties_.add_uint("rotation_rate", rotation_rate_, "turns a minute; 1: an SSD; 0: not reported");
    properties_.add_uint("cyls", cylinders_, "cylinders; 0: by size", 65535);
    properties_.add_uint("heads", heads_, "heads; 0: by size", 16);
    properties_.add_uint("secs", sectors_, "sectors a track; 0: by size", 255);
}

IdeHardDisk::~IdeHardDisk() = default;

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
    if (rotation_rate_ > 1 && (rotation_rate_ < 0x401 || rotation_rate_ == 0xffff))
        return util::fail("rotation_rate={}: it is 0, 1, or from 1025 to 65534", rotation_rate_);
    if (backend.length() < ata::kSectorSize)
        return util::fail("drive '{}' has {} bytes, less than one sector", backend.name(), backend.length());
    if (backend.length() / ata::kSectorSize >= ata::kLba48Limit)
        return util::fail("drive '{}' is larger than an IDE disk can be (128 PiB)", backend.name());
    return {};
}

util::Result<void> IdeHardDisk::realize() {
    auto claimed = claim(DiskProperties::Access::kReadWrite);
    if (!claimed)
        return util::fail(claimed.error());
    block::BlockBackend &backend = **claimed;
    if (auto done = check(backend); !done)
        return done;
    AtaIdentity identity = this->identity();
    identity.sectors = backend.length() / ata::kSectorSize;
    auto shape = geometry(identity.sectors);
    if (!shape)
        return util::fail(shape.error());
    identity.geometry = *shape;
    identity.rotation_rate = rotation_rate_;
    identity.physical_sector_shift = static_cast<unsigned>(std::countr_zero(settings_.physical_block_size() / ata::kSectorSize));
    identity.trim = true;
    disk_ = std::make_unique<AtaDisk>(channel().host(), backend, *config_.main_context, std::move(identity));
    return {};
}

} // namespace rhea::hw
