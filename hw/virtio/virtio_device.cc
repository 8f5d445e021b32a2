#include "hw/virtio/virtio_device.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "rhea/core/machine_lock.h"
#include "rhea/util/log.h"

namespace rhea::hw::virtio {

VirtioDevice::VirtioDevice(std::uint16_t id, std::string_view name)
    : id_(id), name_(name), self_(std::make_shared<VirtioDevice *>(this)) {}

VirtioDevice::~VirtioDevice() {
    assert(!data_path_.running()); // a derived device's members are gone by now: shutdown() was to be called
    *self_ = nullptr;
    for (const Queue &queue : queues_)
        ::close(queue.notifier);
}

void VirtioDevice::add_properties(core::PropertySet &properties) {
    properties.add_bool("indirect_desc", indirect_desc_, "offer indirect descriptors");
    properties.add_bool("event_idx", event_idx_, "offer event indices");
    properties.add_bool("notify_on_empty", notify_on_empty_, "offer interrupts on empty rings (legacy)");
    properties.add_bool("any_layout", any_layout_, "offer any layout of requests (legacy)");
    properties.add_bool("packed", packed_, "offer packed rings");
    properties.add_bool("queue_reset", queue_reset_, "offer the reset of single queues");
}

util::Result<void> VirtioDevice::realize(Ports ports, Transport &transport) {
    ports_ = std::make_unique<Ports>(std::move(ports));
    transport_ = &transport;
    if (auto done = realize_device(); !done)
        return done;
    for (Queue &queue : queues_) {
        queue.notifier = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (queue.notifier < 0)
            return util::fail("cannot make a descriptor for a queue: {}", std::strerror(errno));
    }
    return {};
}

void VirtioDevice::add_queue(unsigned max_size) {
    Queue &queue = queues_.emplace_back();
    queue.max_size = queue.size = static_cast<std::uint16_t>(max_size);
}

// ---- features and status -------------------------------------------------------------------------------------------

std::uint64_t VirtioDevice::features() const {
    std::uint64_t features = device_features() | kVersion1;
    const auto offer = [&features](bool wanted, std::uint64_t feature) { features |= wanted ? feature : 0; };
    offer(indirect_desc_, kRingIndirectDesc);
    offer(event_idx_, kRingEventIdx);
    offer(notify_on_empty_, kNotifyOnEmpty);
    offer(any_layout_, kAnyLayout);
    offer(packed_, kRingPacked);
    offer(queue_reset_, kRingReset);
    return features;
}

void VirtioDevice::set_driver_features(std::uint64_t features) {
    if (!(status_ & (kStatusFeaturesOk | kStatusDriverOk)))
        driver_features_ = features & this->features();
}

void VirtioDevice::set_status(std::uint8_t status, bool modern) {
    if (status == 0) {
        reset();
        return;
    }
    const bool settles = modern && (status & kStatusFeaturesOk) && !(status_ & kStatusFeaturesOk);
    if (settles && (!is_modern() || !accepts(driver_features_))) {
        util::log_write(util::kLogGuestErrors, "{}: the driver's features {:#x} do not go together\n", ports_->name, driver_features_);
        status &= static_cast<std::uint8_t>(~kStatusFeaturesOk);
    }
    const bool gets_ready = (status & kStatusDriverOk) && !(status_ & kStatusDriverOk);
    if (modern && gets_ready && !(status & kStatusFeaturesOk)) {
        util::log_write(util::kLogGuestErrors, "{}: DRIVER_OK without FEATURES_OK\n", ports_->name);
        status &= static_cast<std::uint8_t>(~kStatusDriverOk);
    } else if (gets_ready) {
        driver_ready();
    }
    status_ = static_cast<std::uint8_t>(status | (status_ & kStatusNeedsReset));
    update_data_path();
}

void VirtioDevice::reset() {
    data_path_.stop();
    for (const Kept &kept : kept_)
        ring(kept.queue).detach(kept.element);
    kept_.clear();
    if (ports_)
        reset_device();
    status_ = 0;
    driver_features_ = 0;
    broken_wanted_ = false;
    for (Queue &queue : queues_) {
        queue.ring.reset();
        queue.size = queue.max_size;
        queue.desc = queue.driver = queue.device = 0;
        queue.enabled = false;
        queue.vector = kNoVector;
        queue.interrupt_fd = -1;
        queue.interrupt_wanted = false;
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t got = ::read(queue.notifier, &count, sizeof count); // what a former driver notified
    }
}

// ---- queues --------------------------------------------------------------------------------------------------------

void VirtioDevice::enable_queue(unsigned index) {
    if (queues_[index].enabled)
        return;
    with_data_path_stopped([&] { queues_[index].enabled = true; });
}

void VirtioDevice::reset_queue(unsigned index) {
    with_data_path_stopped([&] {
        Queue &queue = queues_[index];
        std::erase_if(kept_, [&](const Kept &kept) { return kept.queue == index; });
        queue.ring.reset();
        queue.enabled = false;
        queue.interrupt_wanted = false;
        queue.size = queue.max_size;
        queue.desc = queue.driver = queue.device = 0;
        queue.vector = kNoVector;
        queue.interrupt_fd = -1;
    });
}

void VirtioDevice::notify(unsigned index) {
    if (index >= queues_.size())
        return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(queues_[index].notifier, &one, sizeof one);
}

void VirtioDevice::make_ring(Queue &queue) {
    const RingSetup setup{.size = queue.size,
                          .desc = queue.desc,
                          .driver = queue.driver,
                          .device = queue.device,
                          .event_idx = has(kRingEventIdx),
                          .indirect = has(kRingIndirectDesc),
                          .notify_on_empty = !is_modern() && has(kNotifyOnEmpty)};
    const bool packed = has(kRingPacked);
    queue.ring = packed ? make_packed_ring(ports_->memory, setup) : make_split_ring(ports_->memory, setup);
    if (queue.size == 0 || queue.size > queue.max_size || (!packed && !std::has_single_bit(queue.size)))
        queue.ring->set_broken(fmt::format("a ring of {} entries; {} is the most", queue.size, queue.max_size));
}

// ---- configuration space -------------------------------------------------------------------------------------------

void VirtioDevice::read_config(unsigned offset, std::span<std::uint8_t> to) {
    std::vector<std::uint8_t> bytes(config_size());
    fill_config(bytes);
    for (std::uint8_t &byte : to) {
        byte = offset < bytes.size() ? bytes[offset] : 0;
        ++offset;
    }
}

void VirtioDevice::write_config(unsigned offset, std::span<const std::uint8_t> from) {
    std::vector<std::uint8_t> bytes(config_size());
    fill_config(bytes);
    unsigned length = 0;
    for (const std::uint8_t byte : from) {
        if (offset + length >= bytes.size())
            break;
        bytes[offset + length++] = byte;
    }
    if (length > 0)
        config_written(bytes, offset, length);
}

void VirtioDevice::config_changed() {
    ++config_generation_;
    if (status_ & kStatusDriverOk)
        transport_->config_interrupt();
}

// ---- the data path -------------------------------------------------------------------------------------------------

bool VirtioDevice::may_run() const {
    return running_ && dma_enabled_ && (status_ & kStatusDriverOk) && !(status_ & kStatusNeedsReset);
}

void VirtioDevice::update_data_path() {
    if (may_run() == data_path_.running())
        return;
    if (data_path_.running()) {
        data_path_.stop();
        return;
    }
    std::vector<DataPath::Lane> lanes;
    for (unsigned index = 0; index < queues_.size(); ++index) {
        Queue &queue = queues_[index];
        if (!queue.enabled)
            continue;
        if (!queue.ring)
            make_ring(queue);
        lanes.push_back({index, queue.notifier});
    }
    data_path_.start(context(), std::move(lanes));
}

void VirtioDevice::with_data_path_stopped(const std::function<void()> &change) {
    data_path_.stop();
    change();
    update_data_path();
}

void VirtioDevice::set_dma_enabled(bool enabled) {
    dma_enabled_ = enabled;
    update_data_path();
}

void VirtioDevice::set_running(bool running) {
    running_ = running;
    update_data_path();
    do_posted_work();
}

void VirtioDevice::data_path_started() {
    std::deque<Kept> kept;
    kept.swap(kept_);
    for (const Kept &each : kept)
        handle(each.queue, each.element);
}

void VirtioDevice::queue_notified(unsigned index) {
    Ring &ring = *queues_[index].ring;
    unsigned budget = queues_[index].size;
    do {
        ring.disable_notification();
        while (Element *element = ring.pop()) {
            handle(index, element);
            if (--budget == 0) {
                notify(index); // others have their turn, then go on
                return;
            }
        }
    } while (ring.enable_notification());
    if (!ring.broken().empty())
        broken(index, ring.broken());
}

void VirtioDevice::complete(unsigned queue, Element *element, std::uint32_t written) {
    Ring &ring = *queues_[queue].ring;
    ring.push(element, written);
    if (ring.should_interrupt())
        interrupt(queues_[queue]);
    if (!ring.broken().empty())
        broken(queue, ring.broken());
}

void VirtioDevice::broken(unsigned queue, const std::string &why) {
    ring(queue).set_broken(why);
    if (broken_wanted_.exchange(true))
        return;
    util::log_write(util::kLogGuestErrors, "{}: queue {}: {}; the device must be reset\n", ports_->name, queue, why);
    post_work();
}

/// Nobody waits here: the thread that has the lock may be waiting for this one.
void VirtioDevice::interrupt(Queue &queue) {
    if (const int fd = queue.interrupt_fd; fd >= 0) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof one);
        return;
    }
    queue.interrupt_wanted = true;
    if (core::MachineLock::try_acquire()) {
        do_posted_work();
        core::MachineLock::release();
    } else {
        post_work();
    }
}

void VirtioDevice::post_work() {
    if (work_posted_.exchange(true))
        return;
    ports_->post([weak = std::weak_ptr(self_)] {
        const core::MachineLockGuard lock;
        const auto self = weak.lock();
        if (self && *self)
            (*self)->do_posted_work();
    });
}

void VirtioDevice::do_posted_work() {
    work_posted_ = false;
    for (unsigned index = 0; index < queues_.size(); ++index)
        if (queues_[index].interrupt_wanted.exchange(false))
            transport_->queue_interrupt(index);
    // The data path's thread sees to itself: its ring gives nothing any more.
    if (broken_wanted_ && !(status_ & kStatusNeedsReset)) {
        status_ |= kStatusNeedsReset;
        if (is_modern())
            config_changed();
    }
}

} // namespace rhea::hw::virtio
