#include "hw/ide/ata_disk.h"

#include <algorithm>

namespace rhea::hw {

using namespace ata;

namespace {
/// The longest PIO block; DMA buffers are never stored.
constexpr std::size_t kLongestPioBlock = std::size_t{kAtaMaxMultiple} * kSectorSize;
} // namespace

AtaDisk::AtaDisk(IdeHost &host, block::BlockBackend &disk, block::IoContext &main_context, AtaIdentity identity)
    : host_(host), identity_(std::move(identity)), io_(disk, main_context) {
    power_on_settings_.geometry = identity_.geometry;
    power_on_settings_.write_cache = disk.write_cache();
    settings_ = power_on_settings_;
    disk.on_resume = [this] { resumed(); };
    power_on();
}

AtaDisk::~AtaDisk() { io_.disk().on_resume = nullptr; }

// ---- registers ------------------------------------------------------------------------------------------------------

std::uint8_t AtaDisk::read_register(unsigned reg, bool high_order) {
    if (reg == kStatus)
        set_intrq(false);
    return file_.read(reg, high_order);
}

void AtaDisk::write_register(unsigned reg, std::uint8_t value) {
    if (accepts_writes())
        file_.write(reg, value);
}

void AtaDisk::set_intrq(bool level) {
    if (intrq_ == level)
        return;
    intrq_ = level;
    host_.interrupt_changed();
}

/// The command is over, with this in the error register; the host is told.
void AtaDisk::finish(std::uint8_t error) {
    phase_ = Phase::kIdle;
    operation_ = Operation::kNone;
    file_.error = error;
    file_.status = kDrdy | kDsc | (error ? kErr : 0);
    set_intrq(true);
}

// ---- data port ------------------------------------------------------------------------------------------------------

std::uint32_t AtaDisk::read_data(unsigned size) {
    if (phase_ != Phase::kDataIn)
        return 0;
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size && position_ < buffer_.size(); ++i)
        value |= static_cast<std::uint32_t>(buffer_[position_++]) << (8 * i);
    if (position_ >= buffer_.size())
        step_done();
    return value;
}

void AtaDisk::write_data(std::uint32_t value, unsigned size) {
    if (phase_ != Phase::kDataOut)
        return;
    for (unsigned i = 0; i < size && position_ < buffer_.size(); ++i)
        buffer_[position_++] = static_cast<std::uint8_t>(value >> (8 * i));
    if (position_ >= buffer_.size())
        begin_write_block();
}

// ---- resets ---------------------------------------------------------------------------------------------------------

void AtaDisk::hold_reset() {
    reset_ = ResetState::kHeld;
    file_.status = kBsy;
    stopped_ = false;
    dma_cancelled_ = true;
    phase_ = Phase::kWorking;
    set_intrq(false);
}

void AtaDisk::release_reset() {
    if (reset_ != ResetState::kHeld)
        return;
    reset_ = ResetState::kReleased;
    if (io_.idle())
        finish_reset();
}

void AtaDisk::finish_reset() {
    reset_ = ResetState::kNone;
    phase_ = Phase::kIdle;
    operation_ = Operation::kNone;
    buffer_.clear();
    power_mode_ = kPowerActive;
    file_.set_signature();
    file_.status = kDrdy | kDsc;
}

void AtaDisk::diagnose(bool interrupt) {
    if (phase_ != Phase::kIdle)
        return;
    finish_reset();
    set_intrq(interrupt);
}

void AtaDisk::power_on() {
    hold_reset();
    io_.quiesce();
    finish_reset();
    settings_ = power_on_settings_;
    apply_settings();
}

void AtaDisk::apply_settings() { io_.disk().set_write_cache(settings_.write_cache); }

// ---- requests -------------------------------------------------------------------------------------------------------

void AtaDisk::start(std::function<block::Task<block::Result<void>>()> work, bool is_read) {
    phase_ = Phase::kWorking;
    file_.status = kBsy | kDrdy | kDsc;
    io_.start(std::move(work), [this, is_read](const block::Result<void> &result) { ended(result, is_read); });
}

void AtaDisk::ended(const block::Result<void> &result, bool is_read) {
    if (reset_ != ResetState::kNone) {
        if (reset_ == ResetState::kReleased)
            finish_reset();
        return;
    }
    if (!result) {
        switch (io_.disk().error_action(is_read, result.error().code())) {
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

void AtaDisk::resumed() {
    if (!stopped_)
        return;
    stopped_ = false;
    begin_step();
}

// ---- state ----------------------------------------------------------------------------------------------------------

void AtaDisk::serialize(core::Archive &archive) {
    file_.serialize(archive);
    archive.field("intrq", intrq_);
    archive.field("phase", phase_);
    archive.field("reset", reset_);
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
    archive.field("stopped", stopped_);
    archive.field("dma_cancelled", dma_cancelled_);
    archive.field("lba", lba_);
    archive.field("left", left_);
    archive.field("block", block_);
    archive.field("position", position_);
    // Of a stopped DMA transfer the buffer is made again from guest memory.
    std::vector<std::uint8_t> bytes = buffer_.size() <= kLongestPioBlock ? buffer_ : std::vector<std::uint8_t>{};
    archive.bytes("buffer", bytes, kLongestPioBlock);
    if (!archive.restoring() || !archive.ok())
        return;
    const bool moves_data = phase_ == Phase::kDataIn || phase_ == Phase::kDataOut;
    const bool sectors_fit = left_ <= 65536 && lba_ <= identity_.sectors && left_ <= identity_.sectors - lba_;
    const bool geometry_fits = settings_.geometry.heads >= 1 && settings_.geometry.heads <= 16 && settings_.geometry.sectors >= 1 &&
                               settings_.geometry.sectors <= 255;
    if (phase_ > Phase::kWorking || operation_ > Operation::kTrim || reset_ > ResetState::kReleased || block_ < 1 ||
        block_ > kAtaMaxMultiple || settings_.multiple > kAtaMaxMultiple || !sectors_fit || !geometry_fits ||
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
    if (phase_ == Phase::kWorking && !stopped_ && reset_ == ResetState::kNone)
        finish_reset(); // nothing is under way that could end it
    apply_settings();
}

} // namespace rhea::hw
