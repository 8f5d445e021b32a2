#include "hw/scsi/scsi_device.h"

#include "hw/scsi/scsi_cdrom.h"
#include "hw/scsi/scsi_disk.h"

namespace rhea::hw::scsi {
namespace {

constexpr std::uint32_t kDefaultGranularity = 4096;

} // namespace

ScsiDevice::ScsiDevice(Kind kind, const core::MachineConfig &config) : kind_(kind), config_(config) {
    product_ = kind == Kind::kDisk ? "QEMU HARDDISK" : "QEMU CD-ROM";
    add_properties();
}

ScsiDevice::~ScsiDevice() {
    if (!unit_)
        return;
    backend().on_resize = nullptr;
}

void ScsiDevice::add_properties() {
    disk_.add_to(properties_);
    properties_.add_uint("channel", channel_, "channel of the bus");
    properties_.add_uint("scsi-id", target_, "target; default: the first free one", kUnset - 1);
    properties_.add_uint("lun", lun_, "logical unit of the target; default: the first free one", kUnset - 1);
    properties_.add_uint("wwn", wwn_, "worldwide name; 0: none");
    properties_.add_string("vendor", vendor_, "vendor, 8 characters");
    properties_.add_string("product", product_, "product, 16 characters");
    properties_.add_string("ver", version_, "revision, 4 characters");
    properties_.add_string("device_id", device_id_, "name in VPD page 0x83, 20 characters; default: serial, or the drive's id");
    properties_.add_size("min_io_size", min_io_size_, "bytes of the smallest request that is fast");
    properties_.add_size("opt_io_size", opt_io_size_, "bytes of a request that is fastest");
    properties_.add_uint("max_io_size", max_io_size_, "bytes of the longest request");
    properties_.add_uint("scsi_version", scsi_version_, "version of SPC that INQUIRY tells");
    if (kind_ != Kind::kDisk)
        return;
    properties_.add_uint("max_unmap_size", max_unmap_size_, "bytes of the longest UNMAP");
    properties_.add_uint("rotation_rate", rotation_rate_, "rotations a minute; 1: not rotating, 0: not told");
    properties_.add_bool("removable", removable_, "the medium can be removed");
    properties_.add_bool("dpofua", dpofua_, "MODE SENSE tells of DPO and FUA");
}

UnitConfig ScsiDevice::unit_config(block::BlockBackend &backend) const {
    UnitConfig unit;
    unit.backend = &backend;
    unit.vendor = vendor_;
    unit.product = product_;
    unit.version = version_;
    unit.serial = disk_.serial();
    unit.device_id = !device_id_.empty() ? device_id_ : !disk_.serial().empty() ? disk_.serial() : backend.name();
    unit.wwn = wwn_;
    unit.block_size = disk_.logical_block_size();
    unit.physical_block_size = disk_.physical_block_size();
    unit.discard_granularity = std::max(disk_.discard_granularity() ? disk_.discard_granularity() : kDefaultGranularity, unit.block_size);
    unit.min_io_size = min_io_size_;
    unit.opt_io_size = opt_io_size_;
    unit.max_io_size = max_io_size_;
    unit.max_unmap_size = max_unmap_size_;
    unit.rotation_rate = rotation_rate_;
    unit.removable = removable_;
    unit.dpofua = dpofua_;
    unit.version_code = scsi_version_;
    unit.luns = [bus = bus_, channel = channel_, target = target_] { return bus->luns(channel, target); };
    return unit;
}

util::Result<void> ScsiDevice::realize() {
    const bool may_be_empty = kind_ == Kind::kCdrom || removable_;
    auto backend = disk_.claim(config_, may_be_empty ? DiskProperties::Access::kMayBeEmpty : DiskProperties::Access::kReadOnlyPossible);
    if (!backend)
        return util::fail(backend.error());
    UnitConfig unit = unit_config(**backend);
    if (unit.min_io_size % unit.block_size || unit.opt_io_size % unit.block_size)
        return util::fail("min_io_size and opt_io_size are multiples of the logical block size ({})", unit.block_size);
    std::unique_ptr<ScsiUnit> made;
    if (kind_ == Kind::kDisk)
        made = std::make_unique<ScsiDisk>(std::move(unit));
    else
        made = std::make_unique<ScsiCdrom>(std::move(unit));
    bus_->while_quiet([&] { unit_ = std::move(made); });
    (*backend)->attached_to = path();
    (*backend)->on_resize = [this] {
        unit_->attention(sense::kCapacityChanged);
        if (on_capacity_change)
            on_capacity_change();
    };
    return bus_->on_realize ? bus_->on_realize(*this) : util::Result<void>{};
}

void ScsiDevice::unrealize() {
    if (unit_) {
        backend().on_resize = nullptr;
        bus_->while_quiet([this] { unit_.reset(); });
    }
    disk_.release();
}

void ScsiDevice::reset() { unit_->reset(); }

void ScsiDevice::serialize(core::Archive &archive) { unit_->serialize(archive); }

} // namespace rhea::hw::scsi
