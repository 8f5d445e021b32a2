#include "hw/ide/ide_device.h"

#include "hw/ide/ide_channel.h"

#include <fmt/format.h>

namespace rhea::hw {

IdeDevice::IdeDevice(const core::MachineConfig &config, std::string model, std::string version)
    : config_(config), model_(std::move(model)), version_(std::move(version)) {
    settings_.add_to(properties_);
    properties_.add_uint("unit", unit_, "0: device 0 (master), 1: device 1 (slave)", 1);
    properties_.add_string("model", model_, "model number, 40 characters at most");
    properties_.add_string("ver", version_, "firmware revision, 8 characters at most");
    properties_.add_uint("wwn", wwn_, "world wide name");
}

void IdeDevice::attach(IdeChannel &channel, unsigned unit) {
    channel_ = &channel;
    unit_ = unit;
}

util::Result<block::BlockBackend *> IdeDevice::claim(DiskProperties::Access access) {
    if (!channel_)
        return util::fail("an IDE drive needs a bus");
    if (!config_.main_context)
        return util::fail("this machine has no block layer");
    auto claimed = settings_.claim(config_, access);
    if (!claimed)
        return claimed;
    if (settings_.serial().size() > 20)
        return util::fail("serial={}: an IDE drive's serial number has at most 20 characters", settings_.serial());
    if (model_.size() > 40)
        return util::fail("model={}: a model number has at most 40 characters", model_);
    if (version_.size() > 8)
        return util::fail("ver={}: a firmware revision has at most 8 characters", version_);
    (*claimed)->attached_to = path();
    return claimed;
}

AtaIdentity IdeDevice::identity() const {
    AtaIdentity identity;
    identity.serial = settings_.serial().empty() ? fmt::format("QM{:05}", channel_->number() * IdeChannel::kDrives + unit_ + 1) : settings_.serial();
    identity.model = model_;
    identity.firmware = version_;
    identity.wwn = wwn_;
    return identity;
}

std::vector<BootEntry> IdeDevice::boot_entries() const {
    return {{settings_.boot_index(), fmt::format("{}/drive@{:x}/disk@{:x}", channel_->controller().firmware_path(), channel_->number(), unit_)}};
}

void IdeDevice::set_running(bool running) {
    if (!running)
        drive()->quiesce();
}

} // namespace rhea::hw
