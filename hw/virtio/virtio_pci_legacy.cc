// The legacy interface of virtio over PCI: VIRTIO 1.2, sections 4.1.4.10 and 2.7.2 (the ring's layout).
#include <bit>

#include "hw/virtio/virtio_pci.h"

namespace rhea::hw::virtio {
namespace {

constexpr unsigned kLegacyBar = 0;
constexpr unsigned kHeader = 20, kHeaderWithVectors = 24;
constexpr unsigned kPageShift = 12;

} // namespace

/// The device's configuration begins behind the registers, of which two are there while MSI-X is enabled.
unsigned VirtioPci::legacy_header() const { return msix_ && msix_->enabled() ? kHeaderWithVectors : kHeader; }

void VirtioPci::add_legacy() {
    add_legacy_registers();
    legacy_window_.read = [this](core::hwaddr offset, unsigned size) {
        const unsigned header = legacy_header();
        return offset < header ? legacy_.io_read(offset, size) : read_device_config(offset - header, size);
    };
    legacy_window_.write = [this](core::hwaddr offset, std::uint64_t value, unsigned size) {
        const unsigned header = legacy_header();
        if (offset < header)
            legacy_.io_write(offset, value, size);
        else
            write_device_config(offset - header, value, size);
    };
    legacy_bar_ = core::MemoryRegion::io("virtio-pci-legacy", std::bit_ceil(kHeaderWithVectors + device_->config_size()), legacy_window_,
                                         {.min = 1, .max = 4});
    add_bar(kLegacyBar, *legacy_bar_, PciBarKind::kIo);
}

void VirtioPci::set_legacy_address(Queue &queue, std::uint32_t page) {
    queue.set_contiguous(static_cast<core::hwaddr>(page) << kPageShift, core::kPageSize);
}

void VirtioPci::add_legacy_registers() {
    const auto add = [this](core::hwaddr offset, unsigned size, std::string_view name, std::function<std::uint64_t()> get,
                            std::function<void(std::uint64_t)> set) {
        core::Register reg{.offset = offset, .size = size, .name = name};
        reg.on_read = [get](std::uint64_t) { return get ? get() : 0; };
        reg.write_value = [set](std::uint64_t, std::uint64_t written) {
            if (set)
                set(written);
            return std::uint64_t{0};
        };
        legacy_.add(std::move(reg));
    };
    add(0, 4, "device_feature", [this] { return device_->features() & 0xffffffff; }, nullptr);
    add(4, 4, "driver_feature", [this] { return device_->driver_features() & 0xffffffff; },
        [this](std::uint64_t value) { device_->set_driver_features(value); });
    add(8, 4, "queue_address", [this]() -> std::uint64_t { return selected_queue() ? selected_queue()->desc >> kPageShift : 0; },
        [this](std::uint64_t value) {
            if (value == 0) {
                write_status(0, false);
            } else if (Queue *queue = selected_queue(); queue && !queue->enabled) {
                set_legacy_address(*queue, static_cast<std::uint32_t>(value));
                device_->enable_queue(queue_select_);
                update_notifiers();
            }
        });
    add(12, 2, "queue_size", [this]() -> std::uint64_t { return selected_queue() ? selected_queue()->size : 0; }, nullptr);
    add(14, 2, "queue_select", [this] { return queue_select_; }, [this](std::uint64_t value) { queue_select_ = static_cast<std::uint16_t>(value); });
    add(16, 2, "queue_notify", nullptr, [this](std::uint64_t value) { device_->notify(static_cast<unsigned>(value)); });
    add(18, 1, "device_status", [this] { return device_->status(); },
        [this](std::uint64_t value) { write_status(static_cast<std::uint8_t>(value), false); });
    add(19, 1, "isr", [this] { return read_isr(); }, nullptr);
    add(20, 2, "config_msix_vector", [this] { return config_vector_; }, [this](std::uint64_t value) { config_vector_ = checked_vector(value); });
    add(22, 2, "queue_msix_vector", [this]() -> std::uint64_t { return selected_queue() ? selected_queue()->vector : kNoVector; },
        [this](std::uint64_t value) {
            if (Queue *queue = selected_queue()) {
                queue->vector = checked_vector(value);
                update_interrupt_fd(*queue);
            }
        });
}

} // namespace rhea::hw::virtio
