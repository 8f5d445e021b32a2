#include "hw/scsi/scsi_bus.h"

#include <algorithm>
#include <fmt/format.h>

#include "hw/scsi/scsi_device.h"

namespace rhea::hw::scsi {
namespace {

/// The first two bytes of an 8-byte LUN: peripheral device addressing up to 255, flat space beyond (SAM-5, 4.7.7).
std::uint16_t encoded_lun(unsigned lun) { return static_cast<std::uint16_t>(lun < 256 ? lun : 0x4000 | lun); }

} // namespace

ScsiDevice *ScsiBus::find(unsigned channel, unsigned target, unsigned lun) const {
    const auto found = std::ranges::find_if(devices_, [&](const ScsiDevice *each) {
        return each->channel() == channel && each->target() == target && each->lun() == lun;
    });
    return found == devices_.end() ? nullptr : *found;
}

bool ScsiBus::has_target(unsigned channel, unsigned target) const {
    return std::ranges::any_of(devices_, [&](const ScsiDevice *each) { return each->channel() == channel && each->target() == target; });
}

std::vector<std::uint16_t> ScsiBus::luns(unsigned channel, unsigned target) const {
    std::vector<unsigned> numbers{0};
    for (const ScsiDevice *each : devices_)
        if (each->channel() == channel && each->target() == target && each->lun() != 0)
            numbers.push_back(each->lun());
    std::ranges::sort(numbers);
    std::vector<std::uint16_t> luns;
    for (const unsigned number : numbers)
        luns.push_back(encoded_lun(number));
    return luns;
}

/// A target without number gets the first free one; a LUN without number is 0, or the first free one of a target that was named.
util::Result<void> ScsiBus::place(ScsiDevice &device) const {
    if (device.channel() > limits_.max_channel)
        return util::fail("bus {} has channels 0 to {}, not {}", name(), limits_.max_channel, device.channel());
    if (device.has_target() && device.target() > limits_.max_target)
        return util::fail("bus {} has targets 0 to {}, scsi-id={} is not one", name(), limits_.max_target, device.target());
    if (device.has_lun() && device.lun() > limits_.max_lun)
        return util::fail("bus {} has LUNs 0 to {}, lun={} is not one", name(), limits_.max_lun, device.lun());
    unsigned target = device.has_target() ? device.target() : 0, lun = device.has_lun() ? device.lun() : 0;
    while (!device.has_target() && target <= limits_.max_target && find(device.channel(), target, lun))
        ++target;
    while (device.has_target() && !device.has_lun() && lun <= limits_.max_lun && find(device.channel(), target, lun))
        ++lun;
    if (target > limits_.max_target || lun > limits_.max_lun)
        return util::fail("no place is left on bus {}", name());
    if (find(device.channel(), target, lun))
        return util::fail("scsi-id={} lun={} is taken on bus {}", target, lun, name());
    device.set_address(target, lun);
    return {};
}

void ScsiBus::unplug(core::Device &device) {
    while_quiet([&] { std::erase_if(devices_, [&device](const ScsiDevice *each) { return each == &device; }); });
    if (const auto *scsi = dynamic_cast<ScsiDevice *>(&device); scsi && on_unplug)
        on_unplug(scsi->target(), scsi->lun());
}

util::Result<void> ScsiBus::plug(core::Device &device) {
    auto *scsi = dynamic_cast<ScsiDevice *>(&device);
    if (!scsi)
        return util::fail("{} is not a SCSI device", device.type());
    if (auto done = place(*scsi); !done)
        return done;
    scsi->attach_to(*this);
    while_quiet([&] { devices_.push_back(scsi); });
    if (device.path().empty())
        device.set_path(fmt::format("{}/{}:{}:{}", name(), scsi->channel(), scsi->target(), scsi->lun()));
    return {};
}

} // namespace rhea::hw::scsi
