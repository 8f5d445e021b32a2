#include "hw/virtio/virtio_pci.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include "hw/pci/pci_bus.h"

namespace rhea::hw::virtio {
namespace {

using namespace pci_reg;

constexpr std::uint16_t kVendor = 0x1af4, kModernDeviceBase = 0x1040;
constexpr unsigned kLegacyBar = 0, kMsixBar = 1;
constexpr std::uint8_t kIsrQueue = 1, kIsrConfig = 2;
constexpr core::hwaddr kLegacyNotify = 16;
constexpr core::hwaddr kModernNotify = 0x3000;
constexpr unsigned kMaxVectors = 2048;

} // namespace

VirtioPci::VirtioPci(const Config &config, const Spaces &spaces, std::unique_ptr<VirtioDevice> device)
    : PciDevice({.vendor = kVendor, .device = config.legacy_device_id, .class_code = config.class_code, .interrupt_pin = 1}),
      type_(config.type), setup_(config), spaces_(spaces), device_(std::move(device)) {
    setup_.type = type_;
    add_properties();
    device_->add_properties(properties_);
}

VirtioPci::~VirtioPci() { let_go(); }

/// Neither the data path nor anybody's descriptors go on. The bus may be gone by now.
void VirtioPci::let_go() {
    device_->shutdown();
    for (const Notifier &notifier : notifiers_)
        notifier.space->remove_ioeventfd(notifier.binding);
    notifiers_.clear();
    for (const int fd : vector_fds_) {
        if (fd >= 0)
            ::close(fd); // whoever waits for it in the kernel notices
    }
    vector_fds_.clear();
}

void VirtioPci::unrealize() {
    device_->shutdown();
    for (unsigned vector = 0; vector < vector_fds_.size(); ++vector)
        msix_->set_descriptor(vector, -1);
    let_go();
    device_->unrealize();
}

void VirtioPci::add_properties() {
    if (setup_.kind == Kind::kBySettings) {
        properties_.add_string("disable-legacy", disable_legacy_, "no legacy interface: on, off or auto (off)");
        properties_.add_bool("disable-modern", disable_modern_, "no interface of virtio 1.x");
    }
    properties_.add_uint("vectors", vectors_, "MSI-X vectors, 0: none; default: one a queue and those for the rest", ~std::uint32_t{0});
    properties_.add_bool("ioeventfd", ioeventfd_, "notifications signal a descriptor, without a handler");
    properties_.add_bool("page-per-vq", page_per_vq_, "each queue's notification address in a page of its own");
}

util::Result<void> VirtioPci::check_settings() {
    if (disable_legacy_ != "on" && disable_legacy_ != "off" && disable_legacy_ != "auto")
        return util::fail("property 'disable-legacy' takes on, off or auto, not '{}'", disable_legacy_);
    has_legacy_ = setup_.kind != Kind::kNonTransitional && disable_legacy_ != "on";
    has_modern_ = !disable_modern_;
    if (!has_legacy_ && !has_modern_)
        return util::fail("disable-legacy=on and disable-modern=on leave no interface");
    if (vectors_ != ~std::uint32_t{0} && vectors_ > kMaxVectors)
        return util::fail("property 'vectors' takes at most {}, not {}", kMaxVectors, vectors_);
    return {};
}

void VirtioPci::identify() {
    if (has_legacy_) {
        config().set16(kSubsystemVendorId, kVendor);
        config().set16(kSubsystemId, device_->id());
        return;
    }
    config().set16(kDeviceId, static_cast<std::uint16_t>(kModernDeviceBase + device_->id()));
    config().set8(kRevision, 1);
}

void VirtioPci::add_msix() {
    const unsigned wanted = vectors_ != ~std::uint32_t{0} ? vectors_ : device_->queue_count() + setup_.extra_vectors;
    const unsigned count = std::min(wanted, kMaxVectors);
    if (count == 0)
        return;
    const core::hwaddr pending = std::max<core::hwaddr>(0x800, std::bit_ceil(count * 16ull));
    msix_bar_ = core::MemoryRegion::container("virtio-msix", std::bit_ceil(pending + (count + 63) / 64 * 8ull));
    if (msix_bar_->size() < core::kPageSize)
        msix_bar_->set_size(core::kPageSize);
    msix_ = std::make_unique<PciMsix>(*this, count, PciMsix::Place{.region = *msix_bar_, .bar = kMsixBar, .table = 0, .pending_bits = pending});
    msix_->on_direct_change([this](unsigned vector) {
        for (unsigned index = 0; index < device_->queue_count(); ++index) {
            if (device_->queue(index).vector == vector)
                update_interrupt_fd(device_->queue(index));
        }
    });
    add_bar(kMsixBar, *msix_bar_, PciBarKind::kMemory32);
}

util::Result<void> VirtioPci::realize() {
    if (auto done = check_settings(); !done)
        return done;
    if (auto done = device_->realize({.memory = spaces_.memory, .post = spaces_.post, .name = path().empty() ? type_ : path()}, *this); !done)
        return done;
    identify();
    if (has_modern_)
        add_modern();
    add_msix();
    if (has_legacy_)
        add_legacy();
    device_->set_dma_enabled(bus_master());
    config().on_change(kCommand, 2, [this] {
        device_->set_dma_enabled(bus_master());
        update_notifiers();
        if (msix_)
            msix_->update_descriptors();
    });
    config().on_change(kBar0, 24, [this] { update_notifiers(); });
    return PciDevice::realize();
}

// ---- interrupts ----------------------------------------------------------------------------------------------------

void VirtioPci::interrupt(std::uint8_t cause, std::uint16_t vector) {
    isr_ |= cause;
    if (msix_ && msix_->enabled()) {
        if (vector != kNoVector)
            msix_->notify(vector);
        return;
    }
    set_intx(true);
}

void VirtioPci::queue_interrupt(unsigned queue) { interrupt(kIsrQueue, device_->queue(queue).vector); }
void VirtioPci::config_interrupt() { interrupt(kIsrConfig, config_vector_); }

/// Interrupts of a queue go by descriptor, without the machine lock, where its vector's message can.
void VirtioPci::update_interrupt_fd(Queue &queue) {
    int fd = -1;
    const bool possible = msix_ && msix_->enabled() && attached() && bus().msi() && bus().msi()->has_descriptors();
    if (possible && queue.vector < msix_->vectors()) {
        vector_fds_.resize(msix_->vectors(), -1);
        int &of_vector = vector_fds_[queue.vector];
        if (of_vector < 0) {
            of_vector = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
            if (of_vector >= 0)
                msix_->set_descriptor(queue.vector, of_vector);
        }
        if (of_vector >= 0 && msix_->direct(queue.vector))
            fd = of_vector;
    }
    queue.interrupt_fd = fd;
}

void VirtioPci::update_interrupt_fds() {
    for (unsigned index = 0; index < device_->queue_count(); ++index)
        update_interrupt_fd(device_->queue(index));
}

/// Reading acknowledges.
std::uint64_t VirtioPci::read_isr() {
    const std::uint8_t causes = std::exchange(isr_, std::uint8_t{0});
    set_intx(false);
    return causes;
}

/// What a driver reads back: a vector that there is not means that none was given (4.1.5.1.2).
std::uint16_t VirtioPci::checked_vector(std::uint64_t vector) const {
    return msix_ && vector < msix_->vectors() ? static_cast<std::uint16_t>(vector) : kNoVector;
}

// ---- what both interfaces share ------------------------------------------------------------------------------------

Queue *VirtioPci::selected_queue() { return queue_select_ < device_->queue_count() ? &device_->queue(queue_select_) : nullptr; }

void VirtioPci::write_status(std::uint8_t status, bool modern) {
    if (status == 0) {
        device_->reset();
        isr_ = 0;
        set_intx(false);
        config_vector_ = kNoVector;
        queue_select_ = 0;
    } else {
        device_->set_status(status, modern);
        update_interrupt_fds();
    }
    update_notifiers();
}

std::uint64_t VirtioPci::read_device_config(core::hwaddr offset, unsigned size) {
    std::uint64_t value = 0;
    device_->read_config(static_cast<unsigned>(offset), std::span(reinterpret_cast<std::uint8_t *>(&value), size));
    return value;
}

void VirtioPci::write_device_config(core::hwaddr offset, std::uint64_t value, unsigned size) {
    device_->write_config(static_cast<unsigned>(offset), std::span(reinterpret_cast<const std::uint8_t *>(&value), size));
}

// ---- notifications -------------------------------------------------------------------------------------------------

std::vector<VirtioPci::Notifier> VirtioPci::wanted_notifiers() {
    std::vector<Notifier> wanted;
    if (!ioeventfd_ || !(device_->status() & kStatusDriverOk))
        return wanted;
    const core::hwaddr step = page_per_vq_ ? core::kPageSize : 4;
    for (unsigned index = 0; index < device_->queue_count(); ++index) {
        const Queue &queue = device_->queue(index);
        if (!queue.enabled)
            continue;
        if (modern_bar_ && modern_bar_->enabled())
            wanted.push_back({&spaces_.memory, {.addr = modern_bar_->offset() + kModernNotify + index * step, .fd = queue.notifier}});
        if (legacy_bar_ && legacy_bar_->enabled())
            wanted.push_back({&spaces_.io, {.addr = legacy_bar_->offset() + kLegacyNotify, .size = 2, .match_value = true,
                                            .value = index, .fd = queue.notifier}});
    }
    return wanted;
}

void VirtioPci::update_notifiers() {
    std::vector<Notifier> wanted = wanted_notifiers();
    if (wanted == notifiers_)
        return;
    for (const Notifier &old : notifiers_)
        if (std::ranges::find(wanted, old) == wanted.end())
            old.space->remove_ioeventfd(old.binding);
    for (const Notifier &fresh : wanted)
        if (std::ranges::find(notifiers_, fresh) == notifiers_.end())
            fresh.space->add_ioeventfd(fresh.binding);
    notifiers_ = std::move(wanted);
}

// ---- life cycle ----------------------------------------------------------------------------------------------------

void VirtioPci::reset() {
    internal_change_ = true;
    device_->reset();
    isr_ = 0;
    config_vector_ = kNoVector;
    queue_select_ = 0;
    common_.reset();
    legacy_.reset();
    if (msix_)
        msix_->reset();
    PciDevice::reset();
    update_notifiers();
    internal_change_ = false;
}

std::vector<BootEntry> VirtioPci::boot_entries() const {
    std::vector<BootEntry> entries;
    for (const VirtioDevice::BootUnit &unit : device_->boot_units())
        entries.push_back({unit.index, pci_firmware_path(*this, "scsi") + unit.path});
    return entries;
}

void VirtioPci::set_running(bool running) { device_->set_running(running); }

void VirtioPci::serialize(core::Archive &archive) {
    internal_change_ = true;
    PciDevice::serialize(archive);
    archive.field("isr", isr_);
    archive.field("config_vector", config_vector_);
    archive.field("queue_select", queue_select_);
    if (has_modern_)
        archive.section("common", 1, [this](core::Archive &a) { common_.serialize(a); });
    if (msix_)
        archive.section("msix", 1, [this](core::Archive &a) { msix_->serialize(a); });
    archive.section("virtio", 1, [this](core::Archive &a) { device_->serialize(a); });
    if (archive.restoring()) {
        device_->set_dma_enabled(bus_master());
        update_notifiers();
        update_interrupt_fds();
    }
    internal_change_ = false;
}

} // namespace rhea::hw::virtio
