#include "hw/ide/ide_cdrom.h"

#include "hw/ide/ide_channel.h"

namespace rhea::hw {
namespace {
constexpr std::uint32_t kBlock = 2048;
} // namespace

IdeCdrom::IdeCdrom(const core::MachineConfig &config) : IdeDevice(config, "QEMU DVD-ROM", "2.5+") {}

IdeCdrom::~IdeCdrom() = default;

util::Result<void> IdeCdrom::realize() {
    auto claimed = claim(DiskProperties::Access::kMayBeEmpty);
    if (!claimed)
        return util::fail(claimed.error());
    if (settings_.logical_block_size() != ata::kSectorSize && settings_.logical_block_size() != kBlock)
        return util::fail("a CD-ROM has sectors of 2048 bytes; logical_block_size={} cannot be", settings_.logical_block_size());
    const AtaIdentity identity = this->identity();
    scsi::UnitConfig config;
    config.backend = *claimed;
    config.product = identity.model;
    config.version = identity.firmware;
    config.serial = identity.serial;
    config.wwn = identity.wwn;
    config.version_code = 0; // what an ATAPI device says (SFF-8020i, 10.8.1)
    config.physical_interface = 2;
    config.command_queueing = false;
    unit_ = std::make_unique<scsi::ScsiCdrom>(std::move(config));
    atapi_ = std::make_unique<AtapiDrive>(channel().host(), **claimed, *config_.main_context, identity, *unit_);
    return {};
}

} // namespace rhea::hw
