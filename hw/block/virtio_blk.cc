#include "hw/block/virtio_blk.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace rhea::hw {
namespace {

using virtio::bit;

constexpr std::uint64_t kSegMax = bit(2), kGeometry = bit(4), kReadOnly = bit(5), kBlockSize = bit(6), kFlush = bit(9), kTopology = bit(10),
                        kConfigWce = bit(11), kMultiQueue = bit(12), kDiscard = bit(13), kWriteZeroes = bit(14);

/// struct virtio_blk_config (5.2.4).
struct [[gnu::packed]] BlkConfig {
    std::uint64_t capacity;
    std::uint32_t size_max, seg_max;
    std::uint16_t cylinders;
    std::uint8_t heads, sectors;
    std::uint32_t blk_size;
    std::uint8_t physical_block_exp, alignment_offset;
    std::uint16_t min_io_size;
    std::uint32_t opt_io_size;
    std::uint8_t writeback, unused0;
    std::uint16_t num_queues;
    std::uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    std::uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    std::uint8_t write_zeroes_may_unmap, unused1[3];
};
static_assert(sizeof(BlkConfig) == 60);

constexpr std::uint64_t kSector = 512;
constexpr std::uint32_t kChsHeads = 16, kChsSectors = 63, kMaxCylinders = 16383;

} // namespace

VirtioBlk::VirtioBlk(const core::MachineConfig &config) : VirtioDevice(virtio::kDeviceBlock, "virtio-blk"), config_(config) {}
VirtioBlk::~VirtioBlk() {
    if (backend_)
        backend_->on_resize = nullptr;
}

void VirtioBlk::add_properties(core::PropertySet &properties) {
    VirtioDevice::add_properties(properties);
    disk_.add_to(properties);
    properties.add_uint("num-queues", num_queues_, "request queues, 1 to 1024; default: one a CPU", virtio::kMaxQueues);
    properties.add_uint("queue-size", queue_size_, "entries of a queue, a power of two from 4 to 1024", virtio::kMaxQueueSize);
    properties.add_bool("config-wce", config_wce_, "the driver may switch the write cache");
    properties.add_bool("discard", discard_, "offer discarding");
    properties.add_bool("write-zeroes", write_zeroes_, "offer writing zeroes without data");
    properties.add_bool("report-discard-granularity", report_discard_granularity_, "tell the driver what to align discards to");
    properties.add_bool("seg-max-adjust", seg_max_adjust_, "segments of a request: as many as fit into the queue; off: 126");
    properties.add_uint("max-discard-sectors", max_discard_sectors_, "the longest discard, in sectors of 512 bytes");
    properties.add_uint("max-write-zeroes-sectors", max_write_zeroes_sectors_, "the longest write of zeroes, in sectors of 512 bytes");
    properties.add_size("min_io_size", min_io_size_, "bytes of the smallest request that is fast");
    properties.add_size("opt_io_size", opt_io_size_, "bytes of a request that is fastest");
    properties.add_uint("cyls", cylinders_, "geometry: cylinders", 0xffff);
    properties.add_uint("heads", heads_, "geometry: heads", 0xff);
    properties.add_uint("secs", sectors_, "geometry: sectors of a track", 0xff);
    properties.add_string("iothread", iothread_, "the -object iothread that runs the requests");
}

util::Result<void> VirtioBlk::check_settings() {
    if (num_queues_ == 0xffff)
        num_queues_ = static_cast<std::uint16_t>(std::clamp(config_.cpus, 1u, virtio::kMaxQueues));
    if (num_queues_ == 0)
        return util::fail("property 'num-queues' takes 1 to {}", virtio::kMaxQueues);
    if (queue_size_ < 4 || !std::has_single_bit(queue_size_))
        return util::fail("property 'queue-size' takes a power of two from 4 to {}, not {}", virtio::kMaxQueueSize, queue_size_);
    if ((cylinders_ || heads_ || sectors_) && !(cylinders_ && heads_ && sectors_))
        return util::fail("a geometry needs all of cyls, heads and secs");
    return {};
}

util::Result<void> VirtioBlk::realize_device() {
    if (auto done = check_settings(); !done)
        return done;
    auto backend = disk_.claim(config_, DiskProperties::Access::kReadOnlyPossible);
    if (!backend)
        return util::fail(backend.error());
    const std::uint32_t block = disk_.logical_block_size();
    for (const std::uint64_t size : {min_io_size_, opt_io_size_})
        if (size % block != 0)
            return util::fail("min_io_size and opt_io_size are multiples of the logical block size ({}), not {}", block, size);
    if (min_io_size_ / block > 0xffff || opt_io_size_ / block > 0xffffffff)
        return util::fail("min_io_size or opt_io_size is too large");
    backend_ = *backend;
    backend_->attached_to = ports().name;
    original_write_cache_ = backend_->write_cache();
    if (!iothread_.empty()) {
        if (!config_.find_iothread)
            return util::fail("iothread={}: there is none; write -object iothread,id={}", iothread_, iothread_);
        auto context = config_.find_iothread(iothread_);
        if (!context)
            return util::fail(context.error());
        if (auto done = backend_->set_context(**context); !done)
            return done;
    }
    for (unsigned i = 0; i < num_queues_; ++i)
        add_queue(queue_size_);
    backend_->on_resize = [this] { config_changed(); };
    return {};
}

void VirtioBlk::unrealize() {
    backend_ = nullptr;
    disk_.release();
}

std::uint64_t VirtioBlk::device_features() const {
    std::uint64_t features = kSegMax | kGeometry | kBlockSize | kTopology;
    const auto offer = [&features](bool wanted, std::uint64_t feature) { features |= wanted ? feature : 0; };
    const bool read_only = backend_ && backend_->read_only();
    offer(config_wce_, kConfigWce);
    offer(config_wce_ || (backend_ && original_write_cache_), kFlush);
    offer(read_only, kReadOnly);
    offer(num_queues_ > 1, kMultiQueue);
    offer(discard_ && !read_only, kDiscard);
    offer(write_zeroes_ && !read_only, kWriteZeroes);
    return features;
}

/// A driver that cannot switch the cache itself says by FLUSH whether it can deal with one (5.2.6.2).
void VirtioBlk::driver_ready() {
    if (!has(kConfigWce))
        backend_->set_write_cache(has(kFlush));
}

void VirtioBlk::reset_device() {
    if (backend_)
        backend_->set_write_cache(original_write_cache_);
}

unsigned VirtioBlk::config_size() const { return sizeof(BlkConfig); }

void VirtioBlk::fill_config(std::span<std::uint8_t> to) {
    const std::uint32_t block = disk_.logical_block_size(), physical = disk_.physical_block_size();
    const std::uint64_t sectors = backend_->length() / kSector;
    BlkConfig config{};
    config.capacity = sectors;
    config.seg_max = seg_max_adjust_ ? queue_size_ - 2u : 126u;
    const std::uint64_t cylinders = std::clamp<std::uint64_t>(sectors / (kChsHeads * kChsSectors), 2, kMaxCylinders);
    config.cylinders = static_cast<std::uint16_t>(cylinders_ ? cylinders_ : cylinders);
    config.heads = static_cast<std::uint8_t>(heads_ ? heads_ : kChsHeads);
    config.sectors = static_cast<std::uint8_t>(sectors_ ? sectors_ : kChsSectors);
    config.blk_size = block;
    config.physical_block_exp = static_cast<std::uint8_t>(std::countr_zero(physical) - std::countr_zero(block));
    config.min_io_size = static_cast<std::uint16_t>(min_io_size_ / block);
    config.opt_io_size = static_cast<std::uint32_t>(opt_io_size_ / block);
    config.writeback = backend_->write_cache();
    config.num_queues = num_queues_;
    const std::uint32_t granularity = report_discard_granularity_ ? std::max(disk_.discard_granularity(), block) : block;
    config.max_discard_sectors = max_discard_sectors_;
    config.max_discard_seg = 1;
    config.discard_sector_alignment = static_cast<std::uint32_t>(granularity / kSector);
    config.max_write_zeroes_sectors = max_write_zeroes_sectors_;
    config.max_write_zeroes_seg = 1;
    config.write_zeroes_may_unmap = 1;
    std::memcpy(to.data(), &config, std::min(to.size(), sizeof config));
}

/// Only `writeback` can be written (5.2.5).
void VirtioBlk::config_written(std::span<const std::uint8_t> bytes, unsigned offset, unsigned length) {
    constexpr unsigned kWriteback = offsetof(BlkConfig, writeback);
    if (!has(kConfigWce) || offset > kWriteback || offset + length <= kWriteback)
        return;
    const bool enable = bytes[kWriteback] != 0;
    // What was written under the other mode must not stay in a cache that the guest does not know of.
    with_data_path_stopped([this, enable] { backend_->set_write_cache(enable); });
}

void VirtioBlk::serialize_device(core::Archive &archive) {
    bool write_cache = backend_->write_cache();
    archive.field("write_cache", write_cache);
    if (archive.restoring() && archive.ok())
        backend_->set_write_cache(write_cache);
}

} // namespace rhea::hw
