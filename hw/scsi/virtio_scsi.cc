#include "hw/scsi/virtio_scsi.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

namespace rhea::hw {
namespace {

using virtio::bit;

constexpr std::uint64_t kHotplug = bit(1), kChange = bit(2);
constexpr unsigned kFixedQueues = 2;
constexpr unsigned kMaxTarget = 255, kMaxLun = 16383;
constexpr std::uint32_t kEventTransportReset = 1, kEventParameterChange = 3;
constexpr std::uint32_t kReasonRescan = 1, kReasonRemoved = 2;

/// struct virtio_scsi_config (5.6.4).
struct ScsiConfig {
    std::uint32_t num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size, cdb_size;
    std::uint16_t max_channel, max_target;
    std::uint32_t max_lun;
};
static_assert(sizeof(ScsiConfig) == 36);
constexpr std::uint32_t kEventSize = 16;

} // namespace

VirtioScsi::VirtioScsi(core::Machine &machine) : VirtioDevice(virtio::kDeviceScsi, "virtio-scsi"), machine_(machine) {}
VirtioScsi::~VirtioScsi() = default;

void VirtioScsi::add_properties(core::PropertySet &properties) {
    VirtioDevice::add_properties(properties);
    properties.add_uint("num_queues", num_queues_, "command queues; default: one a CPU", ~std::uint32_t{0});
    properties.add_uint("virtqueue_size", queue_size_, "entries of a queue, a power of two from 4 to 1024");
    properties.add_uint("max_sectors", max_sectors_, "sectors of 512 bytes of the longest request");
    properties.add_uint("cmd_per_lun", cmd_per_lun_, "commands for one unit at a time");
    properties.add_bool("hotplug", hotplug_, "offer events about units that come and go");
    properties.add_bool("param_change", param_change_, "offer events about units that change");
    properties.add_bool("seg_max_adjust", seg_max_adjust_, "segments of a request: as many as fit into the queue; off: 126");
    properties.add_string("iothread", iothread_, "the -object iothread that runs the requests");
}

util::Result<void> VirtioScsi::realize_device() {
    constexpr unsigned kMost = virtio::kMaxQueues - kFixedQueues;
    if (num_queues_ == ~std::uint32_t{0})
        num_queues_ = std::clamp(machine_.config().cpus, 1u, kMost);
    if (num_queues_ == 0 || num_queues_ > kMost)
        return util::fail("property 'num_queues' takes 1 to {}, not {}", kMost, num_queues_);
    if (queue_size_ < 4 || queue_size_ > virtio::kMaxQueueSize || !std::has_single_bit(queue_size_))
        return util::fail("property 'virtqueue_size' takes a power of two from 4 to {}, not {}", virtio::kMaxQueueSize, queue_size_);
    if (!iothread_.empty()) {
        if (!machine_.config().find_iothread)
            return util::fail("iothread={}: there is none; write -object iothread,id={}", iothread_, iothread_);
        auto context = machine_.config().find_iothread(iothread_);
        if (!context)
            return util::fail(context.error());
        context_ = *context;
    }
    for (unsigned i = 0; i < kFixedQueues + num_queues_; ++i)
        add_queue(queue_size_);
    // After the device's id, or numbered: "disks.0", "scsi.0", "scsi.1".
    unsigned others = 0;
    for (const core::Bus *other : machine_.buses())
        others += other->kind() == "SCSI";
    const std::string &id = ports().name;
    const bool has_id = id.find('/') == std::string::npos && machine_.find_device(id);
    bus_ = std::make_unique<scsi::ScsiBus>(has_id ? id + ".0" : fmt::format("scsi.{}", others),
                                           scsi::ScsiBus::Limits{.max_target = kMaxTarget, .max_lun = kMaxLun});
    bus_->set_owner(machine_.find_device(id));
    bus_->on_realize = [this](scsi::ScsiDevice &device) { return add_disk(device); };
    bus_->on_unplug = [this](unsigned target, unsigned lun) { tell_transport(target, lun, kReasonRemoved); };
    bus_->quiet = [this](const std::function<void()> &change) { with_data_path_stopped(change); };
    machine_.add_bus(*bus_);
    return {};
}

util::Result<void> VirtioScsi::add_disk(scsi::ScsiDevice &device) {
    if (!context_)
        context_ = &device.backend().context();
    if (auto done = device.backend().set_context(*context_); !done)
        return done;
    device.on_capacity_change = [this, &device] {
        if (has(kChange))
            send_event({kEventParameterChange, device.target(), device.lun(),
                        static_cast<std::uint32_t>(scsi::sense::kCapacityChanged.code | scsi::sense::kCapacityChanged.qualifier << 8)});
    };
    tell_transport(device.target(), device.lun(), kReasonRescan);
    return {};
}

/// A driver that is there already learns of units that come and go (5.6.6.3).
void VirtioScsi::tell_transport(unsigned target, unsigned lun, std::uint32_t reason) {
    if ((status() & virtio::kStatusDriverOk) && has(kHotplug))
        send_event({kEventTransportReset, target, lun, reason});
}

void VirtioScsi::unrealize() {
    if (bus_)
        machine_.remove_bus(*bus_);
}

block::IoContext &VirtioScsi::context() {
    if (!context_) {
        own_thread_ = std::make_unique<block::IoThread>("virtio-scsi");
        context_ = &own_thread_->context();
    }
    return *context_;
}

std::uint64_t VirtioScsi::device_features() const { return (hotplug_ ? kHotplug : 0) | (param_change_ ? kChange : 0); }

void VirtioScsi::reset_device() {
    sense_size_ = kDefaultSenseSize;
    cdb_size_ = kDefaultCdbSize;
    const std::lock_guard lock(event_mutex_);
    events_.clear();
    events_missed_ = false;
    if (!bus_)
        return;
    for (const scsi::ScsiDevice *device : bus_->devices())
        if (device->unit())
            device->unit()->reset();
}

unsigned VirtioScsi::config_size() const { return sizeof(ScsiConfig); }

void VirtioScsi::fill_config(std::span<std::uint8_t> to) {
    const ScsiConfig config{.num_queues = num_queues_,
                            .seg_max = seg_max_adjust_ ? queue_size_ - 2 : 126,
                            .max_sectors = max_sectors_,
                            .cmd_per_lun = cmd_per_lun_,
                            .event_info_size = kEventSize,
                            .sense_size = sense_size_,
                            .cdb_size = cdb_size_,
                            .max_channel = 0,
                            .max_target = kMaxTarget,
                            .max_lun = kMaxLun};
    std::memcpy(to.data(), &config, std::min(to.size(), sizeof config));
}

/// The driver may set the sizes of sense data and CDB (5.6.4); sizes beyond what units have are refused.
void VirtioScsi::config_written(std::span<const std::uint8_t> bytes, unsigned, unsigned) {
    ScsiConfig config;
    std::memcpy(&config, bytes.data(), sizeof config);
    if (config.cdb_size > 0xff || config.sense_size > 0xffff)
        return;
    with_data_path_stopped([this, &config] {
        sense_size_ = config.sense_size;
        cdb_size_ = config.cdb_size;
    });
}

std::vector<virtio::VirtioDevice::BootUnit> VirtioScsi::boot_units() const {
    std::vector<BootUnit> units;
    for (const scsi::ScsiDevice *each : bus_->devices())
        units.push_back({each->disk().boot_index(), fmt::format("/channel@0/disk@{:x},{:x}", each->target(), each->lun())});
    return units;
}

void VirtioScsi::send_event(const Event &event) {
    {
        const std::lock_guard lock(event_mutex_);
        events_.push_back(event);
    }
    notify(kEventQueue);
}

void VirtioScsi::serialize_device(core::Archive &archive) {
    archive.field("sense_size", sense_size_);
    archive.field("cdb_size", cdb_size_);
    if (archive.restoring() && (sense_size_ > 0xffff || cdb_size_ > 0xff))
        archive.fail("sizes of sense data and CDB that cannot be");
    const std::lock_guard lock(event_mutex_);
    bool missed = events_missed_ || !events_.empty();
    archive.field("events_missed", missed);
    events_missed_ = missed;
    if (archive.restoring())
        events_.clear();
}

} // namespace rhea::hw
