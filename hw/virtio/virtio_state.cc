// Saving and restoring a virtio device: the machine is stopped, so no request is in flight; kept ones are saved.
#include <fmt/format.h>

#include "hw/virtio/virtio_device.h"

namespace rhea::hw::virtio {

void VirtioDevice::serialize(core::Archive &archive) {
    data_path_.stop();
    if (archive.restoring())
        reset();
    archive.field("status", status_);
    archive.field("driver_features", driver_features_);
    archive.field("config_generation", config_generation_);
    if (archive.restoring() && (driver_features_ & ~features()))
        archive.fail(fmt::format("the driver uses features ({:#x}) that this device does not have", driver_features_ & ~features()));
    for (unsigned index = 0; index < queues_.size() && archive.ok(); ++index)
        archive.section(fmt::format("queue{}", index), 1, [&](core::Archive &a) { serialize_queue(a, queues_[index]); });
    if (archive.ok())
        serialize_kept(archive);
    if (archive.ok())
        archive.section("device", 1, [this](core::Archive &a) { serialize_device(a); });
    if (!archive.ok() && archive.restoring())
        reset();
    update_data_path();
}

void VirtioDevice::serialize_queue(core::Archive &archive, Queue &queue) {
    archive.field("size", queue.size);
    archive.field("desc", queue.desc);
    archive.field("driver", queue.driver);
    archive.field("device", queue.device);
    archive.field("enabled", queue.enabled);
    archive.field("vector", queue.vector);
    bool has_ring = queue.ring != nullptr;
    archive.field("started", has_ring);
    if (archive.restoring() && queue.size > queue.max_size)
        archive.fail(fmt::format("a ring of {} entries; {} is the most here", queue.size, queue.max_size));
    if (!has_ring || !archive.ok())
        return;
    if (archive.restoring())
        make_ring(queue);
    archive.section("ring", 1, [&](core::Archive &a) { queue.ring->serialize(a); });
}

void VirtioDevice::serialize_kept(core::Archive &archive) {
    auto count = static_cast<std::uint32_t>(kept_.size());
    archive.field("kept_requests", count);
    if (archive.restoring() && count > kMaxQueues * kMaxQueueSize)
        archive.fail("more kept requests than there can be");
    for (std::uint32_t i = 0; i < count && archive.ok(); ++i) {
        archive.section(fmt::format("kept{}", i), 1, [&](core::Archive &a) {
            std::uint32_t index = a.restoring() ? 0 : kept_[i].queue;
            a.field("queue", index);
            if (a.restoring() && (index >= queues_.size() || !queues_[index].ring)) {
                a.fail("a request of a queue that is not in use");
                return;
            }
            Ring &ring = *queues_[index].ring;
            if (!a.restoring()) {
                ring.serialize_element(a, *kept_[i].element);
                return;
            }
            Element *element = ring.new_element();
            ring.serialize_element(a, *element);
            if (a.ok())
                kept_.push_back({index, element});
        });
    }
}

} // namespace rhea::hw::virtio
