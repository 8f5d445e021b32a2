#include "hw/ide/ata_disk.h"

#include <algorithm>

namespace rhea::hw {

using namespace ata;

namespace {
/// The longest PIO block; DMA buffers are never stored.
constexpr std::size_t kLongestPioBlock = std::size_t{kAtaMaxMultiple} * kSectorSize;
} // namespace

AtaDisk::AtaDisk(IdeHost &host, block::BlockBackend &disk, block::IoContext &main_context, AtaIdentity identity)
    : AtaDrive(host, disk, main_context), identity_(std::move(identity)) {
    power_on_settings_.geometry = identity_.geometry;
    power_on_settings_.write_cache = disk.write_cache();
    settings_ = power_on_settings_;
    power_on();
}

AtaDisk::~AtaDisk() { shut_down(); }

void AtaDisk::reset_done() {
    power_mode_ = kPowerActive;
    file_.set_signature();
    file_.status = kDrdy | kDsc;
}

void AtaDisk::powered_on() {
    settings_ = power_on_settings_;
    apply_settings();
}

void AtaDisk::apply_settings() { disk().set_write_cache(settings_.write_cache); }

// ---- requests -------------------------------------------------------------------------------------------------------

void AtaDisk::start_step(Work work, bool is_read) {
    start(std::move(work), [this, is_read](const block::Result<void> &result) { ended(result, is_read); });
}

void AtaDisk::ended(const block::Result<void> &result, bool is_read) {
    if (!result) {
        switch (disk().error_action(is_read, result.error().code())) {
        case block::ErrorAction::kStop:
            stopped_ = true;
            return;
        case block::ErrorAction::kIgnore:
            break;
        case block::ErrorAction::kReport:
        case block::ErrorAction::kEnospc:
            note_position();
            if (uses_dma())
                host_.dma_end(true, false);
            finish(is_read ? kUnc : kAbrt);
            return;
        }
    }
    go_on();
}

// ---- state ----------------------------------------------------------------------------------------------------------

void AtaDisk::serialize(core::Archive &archive) {
    if (archive.restoring())
        forget_ahead();
    serialize_registers(archive);
    archive.field("power_mode", power_mode_);
    archive.field("cylinders", settings_.geometry.cylinders);
    archive.field("heads", settings_.geometry.heads);
    archive.field("sectors", settings_.geometry.sectors);
    archive.field("multiple", settings_.multiple);
    archive.field("multiword_mode", settings_.multiword_mode);
    archive.field("ultra_mode", settings_.ultra_mode);
    archive.field("write_cache", settings_.write_cache);
    archive.field("look_ahead", settings_.look_ahead);
    archive.field("smart", settings_.smart);
    archive.field("operation", operation_);
    archive.field("extended", extended_);
    archive.field("fua", fua_);
    archive.field("lba", lba_);
    archive.field("left", left_);
    archive.field("block", block_);
    // Of a stopped DMA transfer the buffer is made again from guest memory.
    std::vector<std::uint8_t> bytes = buffer_.size() <= kLongestPioBlock ? buffer_ : std::vector<std::uint8_t>{};
    archive.bytes("buffer", bytes, kLongestPioBlock);
    if (!archive.restoring() || !archive.ok())
        return;
    const bool moves_data = phase_ == Phase::kDataIn || phase_ == Phase::kDataOut;
    const bool sectors_fit = left_ <= 65536 && lba_ <= identity_.sectors && left_ <= identity_.sectors - lba_;
    const bool geometry_fits = settings_.geometry.heads >= 1 && settings_.geometry.heads <= 16 && settings_.geometry.sectors >= 1 &&
                               settings_.geometry.sectors <= 255;
    if (operation_ > Operation::kTrim || block_ < 1 || block_ > kAtaMaxMultiple || settings_.multiple > kAtaMaxMultiple || !sectors_fit || !geometry_fits ||
        (moves_data && position_ >= bytes.size())) {
        finish_reset();
        settings_ = power_on_settings_;
        left_ = 0;
        lba_ = 0;
        block_ = 1;
        stopped_ = false;
        archive.fail("the stored state of the ATA disk contradicts itself");
        return;
    }
    buffer_ = std::move(bytes);
    end_ = static_cast<std::uint32_t>(buffer_.size());
    if (lost_its_request())
        finish_reset();
    apply_settings();
}

} // namespace rhea::hw
