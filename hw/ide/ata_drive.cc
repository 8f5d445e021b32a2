#include "hw/ide/ata_drive.h"

namespace rhea::hw {

using namespace ata;

AtaDrive::AtaDrive(IdeHost &host, block::BlockBackend &disk, block::IoContext &main_context)
    : host_(host), io_(disk, main_context) {
    disk.on_resume = [this] {
        if (!stopped_)
            return;
        stopped_ = false;
        do_step();
    };
}

void AtaDrive::shut_down() {
    disk().on_resume = nullptr;
    io_.quiesce();
}

// ---- registers ------------------------------------------------------------------------------------------------------

std::uint8_t AtaDrive::read_register(unsigned reg, bool high_order) {
    if (reg == kStatus)
        set_intrq(false);
    return file_.read(reg, high_order);
}

void AtaDrive::write_register(unsigned reg, std::uint8_t value) {
    if (accepts_writes())
        file_.write(reg, value);
}

void AtaDrive::set_intrq(bool level) {
    if (intrq_ == level)
        return;
    intrq_ = level;
    host_.interrupt_changed();
}

// ---- data port ------------------------------------------------------------------------------------------------------

void AtaDrive::open_data_port(Phase direction, std::uint32_t end) {
    phase_ = direction;
    end_ = end;
}

std::uint32_t AtaDrive::read_data(unsigned size) {
    if (phase_ != Phase::kDataIn)
        return 0;
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size && position_ < end_; ++i)
        value |= static_cast<std::uint32_t>(buffer_[position_++]) << (8 * i);
    if (position_ >= end_)
        data_in_done();
    return value;
}

void AtaDrive::write_data(std::uint32_t value, unsigned size) {
    if (phase_ != Phase::kDataOut)
        return;
    for (unsigned i = 0; i < size && position_ < end_; ++i)
        buffer_[position_++] = static_cast<std::uint8_t>(value >> (8 * i));
    if (position_ >= end_)
        data_out_done();
}

// ---- resets ---------------------------------------------------------------------------------------------------------

void AtaDrive::hold_reset() {
    reset_ = ResetState::kHeld;
    file_.status = kBsy;
    stopped_ = false;
    dma_cancelled_ = true;
    phase_ = Phase::kWorking;
    set_intrq(false);
}

void AtaDrive::release_reset() {
    if (reset_ != ResetState::kHeld)
        return;
    reset_ = ResetState::kReleased;
    if (io_.idle())
        finish_reset();
}

void AtaDrive::finish_reset() {
    reset_ = ResetState::kNone;
    phase_ = Phase::kIdle;
    buffer_.clear();
    position_ = end_ = 0;
    operation_over();
    reset_done();
}

void AtaDrive::diagnose(bool interrupt) {
    if (phase_ != Phase::kIdle)
        return;
    finish_reset();
    set_intrq(interrupt);
}

void AtaDrive::power_on() {
    hold_reset();
    io_.quiesce();
    finish_reset();
    powered_on();
}

// ---- requests -------------------------------------------------------------------------------------------------------

void AtaDrive::start(Work work, DiskIo::Done done) {
    phase_ = Phase::kWorking;
    file_.status = kBsy | kDrdy | kDsc;
    io_.start(std::move(work), [this, done = std::move(done)](const block::Result<void> &result) {
        if (reset_ == ResetState::kNone)
            done(result);
        else if (reset_ == ResetState::kReleased)
            finish_reset();
    });
}

void AtaDrive::finish(std::uint8_t error) {
    phase_ = Phase::kIdle;
    operation_over();
    file_.error = error;
    file_.status = kDrdy | kDsc | (error ? kErr : 0);
    set_intrq(true);
}

void AtaDrive::serialize_registers(core::Archive &archive) {
    file_.serialize(archive);
    archive.field("intrq", intrq_);
    archive.field("phase", phase_);
    archive.field("reset", reset_);
    archive.field("stopped", stopped_);
    archive.field("dma_cancelled", dma_cancelled_);
    archive.field("position", position_);
    if (archive.restoring() && archive.ok() && (phase_ > Phase::kWorking || reset_ > ResetState::kReleased)) {
        phase_ = Phase::kIdle;
        reset_ = ResetState::kNone;
        archive.fail("a phase of the IDE drive that there is not");
    }
}

} // namespace rhea::hw
