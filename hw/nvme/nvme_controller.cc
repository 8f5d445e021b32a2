#include "hw/nvme/nvme_controller.h"

#include <bit>
#include <fmt/format.h>

namespace rhea::hw::nvme {
namespace {

// BAR 0
constexpr std::uint64_t kBarSize = 0x4000, kRegisterSize = 0x1000;
constexpr core::hwaddr kDoorbells = 0x1000, kMsixTable = 0x2000, kMsixPending = 0x3000;
constexpr std::uint32_t kMaxQueuePairs = 255, kMaxVectors = 256;
constexpr std::uint32_t kMaxBlock = 4096;

/// FNV-1a, twice: a UUID that is the same for the same serial number.
std::array<std::uint8_t, 16> uuid_of(std::string_view serial) {
    std::array<std::uint8_t, 16> uuid{};
    for (unsigned half = 0; half < 2; ++half) {
        std::uint64_t hash = 0xcbf29ce484222325u + half;
        for (const char c : serial)
            hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3u;
        for (unsigned i = 0; i < 8; ++i)
            uuid[half * 8 + i] = static_cast<std::uint8_t>(hash >> (8 * i));
    }
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x80); // version 8: made by its own rule
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);
    return uuid;
}

} // namespace

NvmeController::NvmeController(const core::MachineConfig &config, core::Clocks &clocks)
    : PciDevice({.vendor = 0x1b36, .device = 0x0010, .class_code = 0x010802, .revision = 2, .interrupt_pin = 1}), config_(config),
      clocks_(clocks), registers_("nvme", kRegisterSize), bar_(core::MemoryRegion::container("nvme", kBarSize)),
      register_region_(core::MemoryRegion::io("nvme-registers", kRegisterSize, registers_, {.min = 1, .max = 8})) {
    settings_.add_to(properties_);
    properties_.add_uint("max_ioqpairs", io_queue_pairs_, "queue pairs for I/O, 1 to 255", kMaxQueuePairs);
    properties_.add_uint("msix_qsize", vectors_, "MSI-X vectors, 1 to 256", kMaxVectors);
    properties_.add_uint("mdts", max_transfer_shift_, "largest transfer: 4 KiB shifted left by this; 0: no limit", 15);
    add_registers();
    bar_->add(0, *register_region_);
    add_bar(0, *bar_, PciBarKind::kMemory64);
}

NvmeController::~NvmeController() { let_go_of_disk(); }

void NvmeController::let_go_of_disk() {
    if (!io_)
        return;
    io_->disk().on_resume = nullptr;
    io_->disk().on_resize = nullptr;
}

void NvmeController::unrealize() {
    let_go_of_disk();
    io_.reset();
    settings_.release();
}

std::vector<BootEntry> NvmeController::boot_entries() const {
    return {{settings_.boot_index(), pci_firmware_path(*this, "nvme") + "/namespace@1,0"}};
}

util::Result<void> NvmeController::realize() {
    if (io_queue_pairs_ == 0)
        return util::fail("max_ioqpairs=0: there is at least one queue pair");
    if (vectors_ == 0)
        return util::fail("msix_qsize=0: there is at least one vector");
    if (!config_.main_context)
        return util::fail("this machine has no block layer");
    auto claimed = settings_.claim(config_, DiskProperties::Access::kReadOnlyPossible);
    if (!claimed)
        return util::fail(claimed.error());
    block::BlockBackend &disk = **claimed;
    if (settings_.serial().empty())
        return util::fail("serial= is missing: an NVMe controller has a serial number");
    if (settings_.serial().size() > 20)
        return util::fail("serial={}: a serial number has at most 20 characters", settings_.serial());
    if (settings_.logical_block_size() > kMaxBlock)
        return util::fail("logical_block_size={}: blocks of at most {} bytes", settings_.logical_block_size(), kMaxBlock);
    block_shift_ = static_cast<unsigned>(std::countr_zero(settings_.logical_block_size()));
    if (disk.length() >> block_shift_ == 0)
        return util::fail("drive '{}' has {} bytes, less than one block", disk.name(), disk.length());
    disk.attached_to = path();
    uuid_ = uuid_of(settings_.serial());
    power_on_write_cache_ = disk.write_cache();
    io_ = std::make_unique<DiskIo>(disk, *config_.main_context);
    disk.on_resume = [this] { resumed(); };
    disk.on_resize = [this] {
        constexpr std::uint8_t kNotice = 2, kAttributeChanged = 0, kChangedNamespaceLog = 4;
        constexpr std::uint32_t kNamespaceNotices = 1u << 8;
        namespace_changed_ = true;
        if (ready() && (features_[kAsyncEventConfig] & kNamespaceNotices))
            report_event({kNotice, kAttributeChanged, kChangedNamespaceLog});
    };
    submission_.resize(io_queue_pairs_ + 1);
    completion_.resize(io_queue_pairs_ + 1);
    doorbell_region_ = core::MemoryRegion::io("nvme-doorbells", std::uint64_t{io_queue_pairs_ + 1} * 8, *this, {.min = 4, .max = 4, .unaligned = false});
    bar_->add(kDoorbells, *doorbell_region_, 1);
    msix_ = std::make_unique<PciMsix>(*this, vectors_, PciMsix::Place{.region = *bar_, .bar = 0, .table = kMsixTable, .pending_bits = kMsixPending});
    registers_.reset();
    reset_features();
    return PciDevice::realize();
}

void NvmeController::set_running(bool running) {
    if (!running)
        io_->quiesce();
}

void NvmeController::reset() {
    disabling_ = true; // no completion reaches the guest any more
    configuration_ = 0;
    stopped_.clear();
    io_->quiesce();
    status_ = interrupt_mask_ = admin_sizes_ = 0;
    admin_sq_ = admin_cq_ = 0;
    disabled();
    timestamp_offset_ = 0;
    timestamp_set_ = false;
    namespace_changed_ = false;
    io_->disk().set_write_cache(power_on_write_cache_);
    registers_.reset();
    msix_->reset();
    PciDevice::reset();
}

} // namespace rhea::hw::nvme
