// The modern interface of virtio over PCI: VIRTIO 1.2, sections 4.1.4.3 to 4.1.4.9.
#include <algorithm>
#include <bit>
#include <cstring>

#include "hw/virtio/virtio_pci.h"

namespace rhea::hw::virtio {
namespace {

constexpr std::uint8_t kVendorCapability = 0x09;
constexpr unsigned kModernBar = 4;
constexpr std::uint8_t kCommon = 1, kNotify = 2, kIsr = 3, kDevice = 4, kPciConfig = 5; ///< cfg_type
constexpr std::uint32_t kAreaSize = 0x1000;
// struct virtio_pci_cap
constexpr unsigned kLength = 2, kType = 3, kBar = 4, kOffset = 8, kAreaLength = 12, kExtra = 16;
constexpr unsigned kPlainLength = 16, kExtendedLength = 20;

constexpr std::uint64_t half(std::uint64_t value, std::uint64_t select) { return select < 2 ? value >> (32 * select) & 0xffffffff : 0; }

} // namespace

void VirtioPci::add_modern() {
    add_common_registers();
    add_queue_registers();
    const std::uint32_t step = page_per_vq_ ? core::kPageSize : 4;
    const std::uint32_t notify_size = step * kMaxQueues;
    modern_bar_ = core::MemoryRegion::container("virtio-pci", std::bit_ceil(std::uint64_t{3} * kAreaSize + notify_size));
    isr_window_.read = [this](core::hwaddr offset, unsigned) { return offset == 0 ? read_isr() : 0; };
    config_window_.read = [this](core::hwaddr offset, unsigned size) { return read_device_config(offset, size); };
    config_window_.write = [this](core::hwaddr offset, std::uint64_t value, unsigned size) { write_device_config(offset, value, size); };
    // The value says nothing that the address does not (NOTIFICATION_DATA is not offered).
    notify_window_.write = [this, step](core::hwaddr offset, std::uint64_t, unsigned) {
        if (offset % step == 0)
            device_->notify(static_cast<unsigned>(offset / step));
    };
    add_area(kCommon, 0, kAreaSize, common_, false, kPlainLength);
    add_area(kIsr, kAreaSize, kAreaSize, isr_window_, false, kPlainLength);
    add_area(kDevice, 2 * kAreaSize, kAreaSize, config_window_, false, kPlainLength);
    const unsigned notify = add_area(kNotify, 3 * kAreaSize, notify_size, notify_window_, true, kExtendedLength);
    config().set32(notify + kExtra, step); // notify_off_multiplier
    add_config_access();
    add_bar(kModernBar, *modern_bar_, PciBarKind::kMemory64Prefetchable);
}

/// Gives the offset of its capability.
unsigned VirtioPci::add_area(std::uint8_t type, core::hwaddr offset, std::uint32_t length, core::IoHandler &handler, bool locks,
                             unsigned capability_length) {
    Area area{.offset = offset, .length = length, .handler = &handler,
              .region = core::MemoryRegion::io("virtio-pci-area", length, handler, {.min = 1, .max = 4}, locks)};
    modern_bar_->add(offset, *area.region);
    areas_.push_back(std::move(area));
    const unsigned at = config().add_capability(kVendorCapability, capability_length);
    config().set8(at + kLength, static_cast<std::uint8_t>(capability_length));
    config().set8(at + kType, type);
    config().set8(at + kBar, kModernBar);
    config().set32(at + kOffset, static_cast<std::uint32_t>(offset));
    config().set32(at + kAreaLength, length);
    return at;
}

void VirtioPci::add_common_registers() {
    common_.add({.offset = 0x00, .size = 4, .name = "device_feature_select"});
    common_.add({.offset = 0x04, .size = 4, .name = "device_feature", .write_mask = 0, .on_read = [this](std::uint64_t) {
                     return half(device_->features() & ~kLegacyOnly, common_.get("device_feature_select"));
                 }});
    common_.add({.offset = 0x08, .size = 4, .name = "driver_feature_select"});
    common_.add({.offset = 0x0c, .size = 4, .name = "driver_feature",
                 .on_read = [this](std::uint64_t) { return half(device_->driver_features(), common_.get("driver_feature_select")); },
                 .write_value = [this](std::uint64_t, std::uint64_t written) {
                     const std::uint64_t select = common_.get("driver_feature_select");
                     if (select < 2) {
                         const unsigned shift = static_cast<unsigned>(32 * select);
                         const std::uint64_t others = device_->driver_features() & ~(0xffffffffull << shift);
                         device_->set_driver_features((others | written << shift) & ~kLegacyOnly);
                     }
                     return std::uint64_t{0};
                 }});
    common_.add({.offset = 0x10, .size = 2, .name = "config_msix_vector", .on_read = [this](std::uint64_t) { return config_vector_; },
                 .write_value = [this](std::uint64_t, std::uint64_t written) { return config_vector_ = checked_vector(written); }});
    common_.add({.offset = 0x12, .size = 2, .name = "num_queues", .write_mask = 0,
                 .on_read = [this](std::uint64_t) { return device_->queue_count(); }});
    common_.add({.offset = 0x14, .size = 1, .name = "device_status", .on_read = [this](std::uint64_t) { return device_->status(); },
                 .write_value = [this](std::uint64_t, std::uint64_t written) {
                     write_status(static_cast<std::uint8_t>(written), true);
                     return std::uint64_t{0};
                 }});
    common_.add({.offset = 0x15, .size = 1, .name = "config_generation", .write_mask = 0,
                 .on_read = [this](std::uint64_t) { return device_->config_generation(); }});
    common_.add({.offset = 0x16, .size = 2, .name = "queue_select", .on_read = [this](std::uint64_t) { return queue_select_; },
                 .write_value = [this](std::uint64_t, std::uint64_t written) { return queue_select_ = static_cast<std::uint16_t>(written); }});
}

void VirtioPci::add_queue_registers() {
    // Each register shows that field of the selected queue; a queue that does not exist has size 0 and takes nothing.
    const auto add = [this](core::hwaddr offset, std::string_view name, std::function<std::uint64_t(Queue &)> get,
                            std::function<void(Queue &, std::uint64_t)> set) {
        core::Register reg{.offset = offset, .size = 2, .name = name};
        reg.on_read = [this, get](std::uint64_t) { return selected_queue() ? get(*selected_queue()) : 0; };
        reg.write_value = [this, set](std::uint64_t, std::uint64_t written) {
            if (Queue *queue = selected_queue(); queue && set)
                set(*queue, written);
            return std::uint64_t{0};
        };
        common_.add(std::move(reg));
    };
    add(0x18, "queue_size", [](Queue &queue) { return queue.size; },
        [](Queue &queue, std::uint64_t value) {
            if (!queue.enabled)
                queue.size = static_cast<std::uint16_t>(value);
        });
    add(0x1a, "queue_msix_vector", [](Queue &queue) { return queue.vector; },
        [this](Queue &queue, std::uint64_t value) {
            queue.vector = checked_vector(value);
            update_interrupt_fd(queue);
        });
    add(0x1c, "queue_enable", [](Queue &queue) { return queue.enabled; },
        [this](Queue &, std::uint64_t value) {
            if (value == 1) {
                device_->enable_queue(queue_select_);
                update_notifiers();
            }
        });
    add(0x1e, "queue_notify_off", [this](Queue &) { return queue_select_; }, nullptr);
    add_queue_address(0x20, "queue_desc_low", "queue_desc_high", &Queue::desc);
    add_queue_address(0x28, "queue_driver_low", "queue_driver_high", &Queue::driver);
    add_queue_address(0x30, "queue_device_low", "queue_device_high", &Queue::device);
    add(0x38, "queue_notify_data", [](Queue &) { return 0; }, nullptr);
    add(0x3a, "queue_reset", [](Queue &) { return 0; },
        [this](Queue &, std::uint64_t value) {
            if (value == 1 && (device_->driver_features() & kRingReset)) {
                device_->reset_queue(queue_select_);
                update_notifiers();
            }
        });
}

/// Two halves, since drivers write them so.
void VirtioPci::add_queue_address(core::hwaddr offset, std::string_view low_name, std::string_view high_name, core::hwaddr Queue::*field) {
    for (const unsigned shift : {0u, 32u}) {
        core::Register reg{.offset = offset + shift / 8, .size = 4, .name = shift ? high_name : low_name};
        reg.on_read = [this, field, shift](std::uint64_t) {
            return selected_queue() ? selected_queue()->*field >> shift & 0xffffffff : 0;
        };
        reg.write_value = [this, field, shift](std::uint64_t, std::uint64_t written) {
            if (Queue *queue = selected_queue(); queue && !queue->enabled)
                queue->*field = (queue->*field & ~(0xffffffffull << shift)) | written << shift;
            return std::uint64_t{0};
        };
        common_.add(std::move(reg));
    }
}

// ---- the structure in configuration space --------------------------------------------------------------------------

/// VIRTIO_PCI_CAP_PCI_CFG (4.1.4.9): bar, offset and length say what its data register shows.
void VirtioPci::add_config_access() {
    config_access_ = config().add_capability(kVendorCapability, kExtendedLength);
    config().set8(config_access_ + kLength, kExtendedLength);
    config().set8(config_access_ + kType, kPciConfig);
    config().writable8(config_access_ + kBar, 0xff);
    config().writable32(config_access_ + kOffset, ~0u);
    config().writable32(config_access_ + kAreaLength, ~0u);
    config().writable32(config_access_ + kExtra, ~0u);
    config().before_read(config_access_ + kExtra, 4, [this] { config_access(false); });
    config().on_change(config_access_ + kExtra, 4, [this] {
        if (!internal_change_)
            config_access(true);
    });
}

void VirtioPci::config_access(bool write) {
    const std::uint32_t offset = config().get32(config_access_ + kOffset), length = config().get32(config_access_ + kAreaLength);
    if (config().get8(config_access_ + kBar) != kModernBar || (length != 1 && length != 2 && length != 4) || offset % length != 0)
        return;
    const auto area = std::ranges::find_if(areas_, [offset](const Area &each) { return offset - each.offset < each.length; });
    if (area == areas_.end())
        return;
    const core::hwaddr at = offset - area->offset;
    if (write)
        area->handler->io_write(at, config().get32(config_access_ + kExtra) & (0xffffffffu >> (32 - 8 * length)), length);
    else
        config().set32(config_access_ + kExtra, static_cast<std::uint32_t>(area->handler->io_read(at, length)));
}

} // namespace rhea::hw::virtio
