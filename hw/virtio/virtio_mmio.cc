#include "hw/virtio/virtio_mmio.h"

#include <bit>

#include <fmt/format.h>

#include "rhea/util/log.h"

namespace rhea::hw::virtio {
namespace {

constexpr std::uint32_t kMagic = 0x74726976, kVendor = 0x554d4551; // "virt"; whose devices guests know
constexpr core::hwaddr kMagicValue = 0x00, kVersion = 0x04, kVendorId = 0x0c, kNotify = 0x50, kConfig = 0x100;
constexpr std::uint32_t kUsedBuffer = 1, kConfigChange = 2; ///< of InterruptStatus
constexpr std::uint32_t kNoSharedMemory = 0xffffffff;

std::uint32_t half(std::uint64_t bits, std::uint32_t select) {
    return select < 2 ? static_cast<std::uint32_t>(bits >> (32 * select)) : 0;
}

} // namespace

VirtioMmio::VirtioMmio(const Ports &ports, unsigned number) : core::Bus(fmt::format("virtio-mmio-bus.{}", number), kBusKind), ports_(ports) {
    properties_.add_bool("force-legacy", force_legacy_, "version 1 of the interface, for old drivers");
    properties_.add_bool("ioeventfd", ioeventfd_, "notifications signal a descriptor, without a handler");
    region_ = core::MemoryRegion::io("virtio-mmio", kSize, *this, {.min = 1, .max = 8, .unaligned = false});
}

VirtioMmio::~VirtioMmio() { disconnect(); }

// ---- the bus -------------------------------------------------------------------------------------------------------

util::Result<void> VirtioMmio::plug(core::Device &device) {
    auto *const card = dynamic_cast<VirtioMmioDevice *>(&device);
    if (!card)
        return util::fail("bus '{}' takes virtio devices", name());
    if (occupant_)
        return util::fail("bus '{}' has a device already", name());
    occupant_ = card;
    card->set_transport(this);
    if (device.path().empty())
        device.set_path(fmt::format("virtio-mmio/{:x}/{}", region_->offset(), device.type()));
    return {};
}

void VirtioMmio::unplug(core::Device &) { occupant_ = nullptr; }

util::Result<void> VirtioMmio::connect(VirtioDevice &device) {
    auto done = device.realize({.memory = ports_.memory, .post = ports_.post, .name = occupant_->path()}, *this);
    if (!done)
        return done;
    device_ = &device;
    if (!registers_.registers().empty())
        return {};
    add_common_registers();
    if (force_legacy_)
        add_legacy_registers();
    else
        add_modern_registers();
    return {};
}

void VirtioMmio::disconnect() {
    if (!device_)
        return;
    device_->shutdown();
    place_notifiers(std::nullopt);
    device_ = nullptr;
}

void VirtioMmio::restored() {
    update_irq();
    update_notifiers();
}

VirtioMmioDevice::VirtioMmioDevice(std::string_view type, std::unique_ptr<VirtioDevice> device) : type_(type), device_(std::move(device)) {
    device_->add_properties(properties_);
}

VirtioMmioDevice::~VirtioMmioDevice() {
    if (transport_)
        transport_->disconnect();
    device_->shutdown();
}

util::Result<void> VirtioMmioDevice::realize() { return transport_->connect(*device_); }

void VirtioMmioDevice::unrealize() {
    transport_->disconnect();
    device_->shutdown();
    device_->unrealize();
}

void VirtioMmioDevice::serialize(core::Archive &archive) {
    archive.section("virtio", 1, [this](core::Archive &a) { device_->serialize(a); });
    if (archive.restoring())
        transport_->restored();
}

std::vector<BootEntry> VirtioMmioDevice::boot_entries() const {
    std::vector<BootEntry> entries;
    for (const VirtioDevice::BootUnit &unit : device_->boot_units())
        entries.push_back({unit.index, fmt::format("/virtio-mmio@{:016x}{}", transport_->region().offset(), unit.path)});
    return entries;
}

// ---- registers -----------------------------------------------------------------------------------------------------

/// A register of 32 bits; without `get` it reads as 0, without `set` writes are lost.
void VirtioMmio::add(core::hwaddr offset, std::string_view name, Get get, Set set) {
    core::Register reg{.offset = offset, .size = 4, .name = name};
    reg.on_read = [get = std::move(get)](std::uint64_t) { return std::uint64_t{get ? get() : 0}; };
    reg.write_value = [set = std::move(set)](std::uint64_t, std::uint64_t value) {
        if (set)
            set(static_cast<std::uint32_t>(value));
        return std::uint64_t{0};
    };
    registers_.add(std::move(reg));
}

void VirtioMmio::add_common_registers() {
    add(kMagicValue, "MagicValue", [] { return kMagic; }, nullptr);
    add(kVersion, "Version", [this] { return version(); }, nullptr);
    add(0x08, "DeviceID", [this] { return std::uint32_t{device_->id()}; }, nullptr);
    add(kVendorId, "VendorID", [] { return kVendor; }, nullptr);
    add(0x10, "DeviceFeatures", [this] {
        return force_legacy_ ? half(device_->features() & 0xffffffff, device_select_) : half(device_->features() & ~kLegacyOnly, device_select_);
    }, nullptr);
    add(0x14, "DeviceFeaturesSel", nullptr, [this](std::uint32_t value) { device_select_ = value; });
    add(0x20, "DriverFeatures", nullptr, [this](std::uint32_t value) { set_driver_half(value); });
    add(0x24, "DriverFeaturesSel", nullptr, [this](std::uint32_t value) { driver_select_ = value; });
    add(0x30, "QueueSel", nullptr, [this](std::uint32_t value) { queue_select_ = value; });
    add(0x34, "QueueNumMax", [this] { return selected_queue() ? std::uint32_t{selected_queue()->max_size} : 0; }, nullptr);
    add(0x38, "QueueNum", nullptr, [this](std::uint32_t value) {
        // A size that cannot be is for the ring to refuse when the driver is ready.
        if (Queue *queue = selected_queue(); queue && !queue->enabled)
            queue->size = value > 0xffff ? std::uint16_t{0} : static_cast<std::uint16_t>(value);
    });
    add(kNotify, "QueueNotify", nullptr, [this](std::uint32_t value) { device_->notify(value); });
    add(0x60, "InterruptStatus", [this] { return interrupt_status_; }, nullptr);
    add(0x64, "InterruptACK", nullptr, [this](std::uint32_t value) {
        interrupt_status_ &= ~value;
        update_irq();
    });
    add(0x70, "Status", [this] { return std::uint32_t{device_->status()}; },
        [this](std::uint32_t value) { write_status(static_cast<std::uint8_t>(value)); });
}

void VirtioMmio::set_driver_half(std::uint32_t value) {
    if (driver_select_ >= (force_legacy_ ? 1u : 2u))
        return;
    const unsigned shift = 32 * driver_select_;
    const std::uint64_t others = device_->driver_features() & ~(0xffffffffull << shift);
    const std::uint64_t all = others | static_cast<std::uint64_t>(value) << shift;
    device_->set_driver_features(force_legacy_ ? all : all & ~kLegacyOnly);
}

void VirtioMmio::add_modern_registers() {
    add(0x44, "QueueReady", [this] { return std::uint32_t{selected_queue() && selected_queue()->enabled}; }, [this](std::uint32_t value) {
        if (!selected_queue())
            return;
        if (value & 1)
            device_->enable_queue(queue_select_);
        else if (selected_queue()->enabled) // the driver takes it back (4.2.2.2)
            device_->reset_queue(queue_select_);
        update_notifiers();
    });
    add_queue_address(0x80, "QueueDescLow", "QueueDescHigh", &Queue::desc);
    add_queue_address(0x90, "QueueDriverLow", "QueueDriverHigh", &Queue::driver);
    add_queue_address(0xa0, "QueueDeviceLow", "QueueDeviceHigh", &Queue::device);
    add(0xac, "SHMSel", nullptr, nullptr);
    for (const core::hwaddr offset : {0xb0u, 0xb4u, 0xb8u, 0xbcu}) // length and base: there is no shared memory (4.2.2)
        add(offset, offset == 0xb0 ? "SHMLenLow" : offset == 0xb4 ? "SHMLenHigh" : offset == 0xb8 ? "SHMBaseLow" : "SHMBaseHigh",
            [] { return kNoSharedMemory; }, nullptr);
    add(0xc0, "QueueReset", nullptr, [this](std::uint32_t value) {
        if ((value & 1) && selected_queue() && (device_->driver_features() & kRingReset)) {
            device_->reset_queue(queue_select_);
            update_notifiers();
        }
    });
    add(0xfc, "ConfigGeneration", [this] { return std::uint32_t{device_->config_generation()}; }, nullptr);
}

/// Written in two halves, never read.
void VirtioMmio::add_queue_address(core::hwaddr offset, std::string_view low_name, std::string_view high_name, core::hwaddr Queue::*field) {
    for (const unsigned shift : {0u, 32u}) {
        add(offset + shift / 8, shift ? high_name : low_name, nullptr, [this, field, shift](std::uint32_t value) {
            if (Queue *queue = selected_queue(); queue && !queue->enabled)
                queue->*field = (queue->*field & ~(0xffffffffull << shift)) | static_cast<core::hwaddr>(value) << shift;
        });
    }
}

/// Version 1 (4.2.4): the ring's parts lie behind each other from a page on whose number, and the page's size, the driver says.
void VirtioMmio::add_legacy_registers() {
    add(0x28, "GuestPageSize", nullptr, [this](std::uint32_t value) { page_size_ = std::has_single_bit(value) ? value : 0; });
    add(0x3c, "QueueAlign", nullptr, [this](std::uint32_t value) { queue_align_ = std::has_single_bit(value) ? value : kDefaultAlign; });
    add(0x40, "QueuePFN", [this] {
        const Queue *const queue = selected_queue();
        return queue && queue->enabled && page_size_ ? static_cast<std::uint32_t>(queue->desc / page_size_) : 0u;
    }, [this](std::uint32_t value) { set_page_number(value); });
}

void VirtioMmio::set_page_number(std::uint32_t page) {
    Queue *const queue = selected_queue();
    if (!queue)
        return;
    if (page == 0) {
        device_->reset_queue(queue_select_);
    } else if (!queue->enabled) {
        if (page_size_ == 0) {
            util::log_write(util::kLogGuestErrors, "virtio-mmio: QueuePFN before GuestPageSize is a power of two\n");
            return;
        }
        queue->set_contiguous(static_cast<core::hwaddr>(page) * page_size_, queue_align_);
        device_->enable_queue(queue_select_);
    }
    update_notifiers();
}

/// What a driver sees where there is no device.
std::uint64_t VirtioMmio::read_empty(core::hwaddr offset) const {
    switch (offset) {
    case kMagicValue:
        return kMagic;
    case kVersion:
        return version();
    case kVendorId:
        return kVendor;
    default:
        return 0;
    }
}

std::uint64_t VirtioMmio::io_read(core::hwaddr offset, unsigned size) {
    if (!device_)
        return size == 4 ? read_empty(offset) : 0;
    if (offset < kConfig) {
        if (size == 4)
            return registers_.io_read(offset, size);
        util::log_write(util::kLogGuestErrors, "virtio-mmio: a read of {} bytes at {:#x}, where registers have 4\n", size, offset);
        return 0;
    }
    std::uint64_t value = 0;
    device_->read_config(static_cast<unsigned>(offset - kConfig), std::span(reinterpret_cast<std::uint8_t *>(&value), size));
    return value;
}

void VirtioMmio::io_write(core::hwaddr offset, std::uint64_t value, unsigned size) {
    if (!device_)
        return;
    if (offset >= kConfig)
        device_->write_config(static_cast<unsigned>(offset - kConfig), std::span(reinterpret_cast<const std::uint8_t *>(&value), size));
    else if (size == 4)
        registers_.io_write(offset, value, size);
    else
        util::log_write(util::kLogGuestErrors, "virtio-mmio: a write of {} bytes at {:#x}, where registers have 4\n", size, offset);
}

// ---- status, interrupts, notifications -----------------------------------------------------------------------------

void VirtioMmio::write_status(std::uint8_t status) {
    device_->set_status(status, !force_legacy_);
    if (status == 0)
        clear_selections();
    update_notifiers();
}

/// GuestPageSize stays: Linux writes it once, in front of its first reset by the status register.
void VirtioMmio::clear_selections() {
    interrupt_status_ = 0;
    device_select_ = driver_select_ = queue_select_ = 0;
    update_irq();
}

void VirtioMmio::interrupt(std::uint32_t cause) {
    interrupt_status_ |= cause;
    update_irq();
}

void VirtioMmio::queue_interrupt(unsigned) { interrupt(kUsedBuffer); }
void VirtioMmio::config_interrupt() { interrupt(kConfigChange); }

/// One address, by the value that is written told apart (KVM matches it).
void VirtioMmio::update_notifiers() {
    const core::MemoryRegion *const parent = region_->parent();
    const bool wanted = device_ && ioeventfd_ && parent && (device_->status() & kStatusDriverOk);
    place_notifiers(wanted ? std::optional(region_->offset() + kNotify) : std::nullopt);
}

void VirtioMmio::place_notifiers(std::optional<core::hwaddr> address) {
    if (address == notify_address_)
        return;
    const auto each = [this](core::hwaddr address, bool add) {
        for (unsigned index = 0; index < device_->queue_count(); ++index) {
            const core::IoEventFd binding{.addr = address, .size = 4, .match_value = true, .value = index, .fd = device_->queue(index).notifier};
            add ? ports_.memory.add_ioeventfd(binding) : ports_.memory.remove_ioeventfd(binding);
        }
    };
    if (notify_address_)
        each(*notify_address_, false);
    if (address)
        each(*address, true);
    notify_address_ = address;
}

// ---- state ---------------------------------------------------------------------------------------------------------

void VirtioMmio::reset() {
    if (device_)
        device_->reset();
    page_size_ = 0;
    queue_align_ = kDefaultAlign;
    clear_selections();
    update_notifiers();
}

void VirtioMmio::serialize(core::Archive &archive) {
    archive.field("interrupt_status", interrupt_status_);
    archive.field("device_select", device_select_);
    archive.field("driver_select", driver_select_);
    archive.field("queue_select", queue_select_);
    archive.field("page_size", page_size_);
    archive.field("queue_align", queue_align_);
    if (!archive.restoring())
        return;
    interrupt_status_ &= kUsedBuffer | kConfigChange;
    if (!std::has_single_bit(page_size_))
        page_size_ = 0;
    if (!std::has_single_bit(queue_align_))
        queue_align_ = kDefaultAlign;
}

} // namespace rhea::hw::virtio
