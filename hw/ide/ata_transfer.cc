// ATA disk: moving sectors, by PIO in blocks, by DMA in one piece.
#include "hw/ide/ata_disk.h"

#include <algorithm>

namespace rhea::hw {

using namespace ata;

namespace {
constexpr std::uint32_t kVerifySectors = 256; ///< read at a time
constexpr std::uint32_t kAheadSectors = 256;  ///< of a PIO read that are read together
constexpr std::size_t kTrimEntry = 8;         ///< bytes: 48 bits of LBA, 16 of length
} // namespace

/// The first sector and the count of the command; false (the command is over) where they are not on the disk.
bool AtaDisk::address(bool extended) {
    extended_ = extended;
    left_ = file_.sectors(extended);
    if (extended) {
        lba_ = file_.lba48();
    } else if (file_.lba_mode()) {
        lba_ = file_.lba28();
    } else {
        const auto &registers = file_.bytes[0];
        const std::uint32_t cylinder = registers[kLbaMid] | static_cast<std::uint32_t>(registers[kLbaHigh]) << 8;
        const std::uint32_t head = registers[kDevice] & 0x0f, sector = registers[kLbaLow];
        const DiskGeometry &geometry = settings_.geometry;
        if (sector == 0 || sector > geometry.sectors || head >= geometry.heads) {
            finish(kIdnf);
            return false;
        }
        lba_ = (std::uint64_t{cylinder} * geometry.heads + head) * geometry.sectors + sector - 1;
    }
    if (lba_ >= identity_.sectors || left_ > identity_.sectors - lba_) {
        left_ = 0;
        lba_ = 0;
        finish(kIdnf);
        return false;
    }
    return true;
}

/// Starts a command that moves sectors; `block`: sectors between interrupts.
void AtaDisk::transfer(Operation operation, bool extended, std::uint32_t block, bool fua) {
    if (block == 0) { // READ MULTIPLE before SET MULTIPLE MODE
        finish(kAbrt);
        return;
    }
    if (!address(extended))
        return;
    forget_ahead();
    operation_ = operation;
    block_ = block;
    fua_ = fua;
    power_mode_ = kPowerActive;
    switch (operation) {
    case Operation::kWritePio:
        next_block_out();
        break;
    case Operation::kReadDma:
    case Operation::kWriteDma:
        phase_ = Phase::kDmaWait;
        file_.status = kDrdy | kDsc | kDrq;
        host_.dma_ready();
        break;
    default:
        begin_step();
    }
}

/// Does the present step, or does it again after an error with "stop".
void AtaDisk::begin_step() {
    switch (operation_) {
    case Operation::kReadPio:
        return begin_read_block();
    case Operation::kWritePio:
        return begin_write_block();
    case Operation::kReadDma:
    case Operation::kWriteDma:
    case Operation::kTrim:
        return run_dma();
    case Operation::kVerify:
        return start_step([this] { return verify_sectors(); }, true);
    case Operation::kFlush:
        return start_step([this] { return flush_cache(); }, false);
    case Operation::kSendBuffer:
    case Operation::kNone:
        return;
    }
}

/// The request of the present step succeeded, or its error is ignored.
void AtaDisk::go_on() {
    switch (operation_) {
    case Operation::kReadPio:
        send_buffer();
        break;
    case Operation::kWritePio:
        step_done();
        break;
    case Operation::kReadDma:
    case Operation::kWriteDma: {
        bool failed = false;
        if (dma_cancelled_) {
            finish(kAbrt);
            break;
        }
        if (operation_ == Operation::kReadDma)
            failed = !host_.dma_write(segments_, buffer_.data());
        if (failed)
            return dma_failed();
        host_.dma_end(segments_.exhausted, false);
        lba_ += left_ - 1;
        left_ = 0;
        note_position();
        finish();
        break;
    }
    case Operation::kTrim:
        host_.dma_end(segments_.exhausted, false);
        finish();
        break;
    default:
        finish();
    }
}

// ---- PIO ------------------------------------------------------------------------------------------------------------

// Between two blocks a request to the back end would take longer than the guest takes to fetch a block, and firmware reads by PIO:
// so the command's sectors are read together.

void AtaDisk::begin_read_block() {
    buffer_.resize(std::size_t{std::min(block_, left_)} * kSectorSize);
    if (take_from_ahead())
        return send_buffer();
    if (left_ > block_)
        return start_step([this] { return read_ahead(); }, true);
    start_step([this] { return read_sectors(); }, true);
}

/// Fills the buffer with what was read before.
bool AtaDisk::take_from_ahead() {
    const std::uint64_t first = (lba_ - ahead_lba_) * kSectorSize;
    if (lba_ < ahead_lba_ || first + buffer_.size() > ahead_.size())
        return false;
    std::copy_n(ahead_.data() + first, buffer_.size(), buffer_.data());
    return true;
}

block::Task<block::Result<void>> AtaDisk::read_ahead() {
    ahead_.resize(std::size_t{std::min(left_, kAheadSectors)} * kSectorSize);
    ahead_lba_ = lba_;
    const block::IoVector to(ahead_.data(), ahead_.size());
    block::Task<block::Result<void>> task = disk().read(lba_ * kSectorSize, to);
    const block::Result<void> done = co_await task;
    if (done && take_from_ahead())
        co_return done;
    // One of them cannot be read. The host is told when it comes to it.
    forget_ahead();
    block::Task<block::Result<void>> block_alone = read_sectors();
    co_return co_await block_alone;
}

void AtaDisk::begin_write_block() {
    start_step([this] { return write_sectors(); }, false);
}

/// The buffer waits for the host.
void AtaDisk::send_buffer() {
    position_ = 0;
    open_data_port(Phase::kDataIn, static_cast<std::uint32_t>(buffer_.size()));
    file_.error = 0;
    file_.status = kDrdy | kDsc | kDrq;
    set_intrq(true);
}

void AtaDisk::next_block_out() {
    buffer_.assign(std::size_t{std::min(block_, left_)} * kSectorSize, 0);
    position_ = 0;
    open_data_port(Phase::kDataOut, static_cast<std::uint32_t>(buffer_.size()));
    file_.error = 0;
    file_.status = kDrdy | kDsc | kDrq;
}

/// A block is with the host, or on the disk.
void AtaDisk::step_done() {
    if (operation_ == Operation::kSendBuffer) { // no interrupt behind the last block that is read
        phase_ = Phase::kIdle;
        operation_ = Operation::kNone;
        file_.status = kDrdy | kDsc;
        return;
    }
    const auto moved = static_cast<std::uint32_t>(buffer_.size() / kSectorSize);
    lba_ += moved;
    left_ -= std::min(moved, left_);
    if (operation_ == Operation::kReadPio) {
        if (left_ > 0)
            return begin_read_block();
        --lba_;
        note_position();
        phase_ = Phase::kIdle;
        operation_over();
        file_.status = kDrdy | kDsc;
    } else if (left_ > 0) {
        next_block_out();
        set_intrq(true);
    } else {
        --lba_;
        note_position();
        finish();
    }
}

/// The registers name the sector where the command ended, and how many were not done.
void AtaDisk::note_position() {
    if (operation_ == Operation::kFlush || operation_ == Operation::kTrim)
        return;
    if (extended_) {
        file_.set_lba48(lba_);
    } else if (file_.lba_mode()) {
        file_.set_lba28(lba_);
    } else {
        const DiskGeometry &geometry = settings_.geometry;
        const std::uint64_t track = lba_ / geometry.sectors, cylinder = track / geometry.heads;
        auto &registers = file_.bytes[0];
        registers[kLbaLow] = static_cast<std::uint8_t>(lba_ % geometry.sectors + 1);
        registers[kLbaMid] = static_cast<std::uint8_t>(cylinder);
        registers[kLbaHigh] = static_cast<std::uint8_t>(cylinder >> 8);
        registers[kDevice] = static_cast<std::uint8_t>((registers[kDevice] & 0xf0) | track % geometry.heads);
    }
    file_.set_count(left_);
}

block::Task<block::Result<void>> AtaDisk::read_sectors() {
    const block::IoVector to(buffer_.data(), buffer_.size());
    block::Task<block::Result<void>> task = disk().read(lba_ * kSectorSize, to);
    co_return co_await task;
}

block::Task<block::Result<void>> AtaDisk::write_sectors() {
    const block::IoVector from(buffer_.data(), buffer_.size());
    block::Task<block::Result<void>> task = disk().write(lba_ * kSectorSize, from, fua_ ? block::kFua : block::kNoFlags);
    co_return co_await task;
}

// ---- DMA ------------------------------------------------------------------------------------------------------------

/// The bus master was started and this disk waits for it. Guest memory is read now, and written when all is there.
void AtaDisk::run_dma() {
    dma_cancelled_ = false;
    const std::uint64_t bytes = dma_length();
    segments_ = host_.dma_segments(bytes);
    if (segments_.failed)
        return dma_failed();
    if (segments_.bytes < bytes) {
        // "PRDs are smaller than the transfer": the bus master stops, nobody interrupts (82371SB, 2.6.2).
        host_.dma_end(true, false);
        phase_ = Phase::kIdle;
        operation_ = Operation::kNone;
        file_.status = kDrdy | kDsc;
        return;
    }
    buffer_.resize(bytes);
    if (!dma_to_guest() && !host_.dma_read(segments_, buffer_.data()))
        return dma_failed();
    if (operation_ == Operation::kTrim) {
        if (trim_ranges_fit())
            return start_step([this] { return trim_ranges(); }, false);
        host_.dma_end(segments_.exhausted, false);
        return finish(kIdnf);
    }
    if (dma_to_guest())
        return start_step([this] { return read_sectors(); }, true);
    start_step([this] { return write_sectors(); }, false);
}

void AtaDisk::dma_failed() {
    host_.dma_end(true, true);
    finish(kAbrt);
}

void AtaDisk::cancel_dma() {
    if (phase_ == Phase::kWorking && (operation_ == Operation::kReadDma || operation_ == Operation::kWriteDma))
        dma_cancelled_ = true;
}

// ---- the rest -------------------------------------------------------------------------------------------------------

block::Task<block::Result<void>> AtaDisk::verify_sectors() {
    std::vector<std::uint8_t> bytes;
    while (left_ > 0) {
        const std::uint32_t count = std::min(left_, kVerifySectors);
        bytes.resize(std::size_t{count} * kSectorSize);
        const block::IoVector to(bytes.data(), bytes.size());
        block::Task<block::Result<void>> task = disk().read(lba_ * kSectorSize, to);
        block::Result<void> done = co_await task;
        if (!done)
            co_return done;
        lba_ += count;
        left_ -= count;
    }
    co_return block::Result<void>{};
}

block::Task<block::Result<void>> AtaDisk::flush_cache() { return disk().flush(); }

/// DATA SET MANAGEMENT's range at byte `at` of the buffer.
AtaDisk::TrimRange AtaDisk::trim_range(std::size_t at) const {
    std::uint64_t entry = 0;
    for (unsigned i = 0; i < kTrimEntry; ++i)
        entry |= static_cast<std::uint64_t>(buffer_[at + i]) << (8 * i);
    return {entry & (kLba48Limit - 1), static_cast<std::uint32_t>(entry >> 48)};
}

bool AtaDisk::trim_ranges_fit() const {
    for (std::size_t at = 0; at + kTrimEntry <= buffer_.size(); at += kTrimEntry) {
        const TrimRange range = trim_range(at);
        if (range.count && (range.lba >= identity_.sectors || range.count > identity_.sectors - range.lba))
            return false;
    }
    return true;
}

block::Task<block::Result<void>> AtaDisk::trim_ranges() {
    for (std::size_t at = 0; at + kTrimEntry <= buffer_.size(); at += kTrimEntry) {
        const TrimRange range = trim_range(at);
        if (range.count == 0)
            continue;
        block::Task<block::Result<void>> task =
            disk().discard(range.lba * kSectorSize, std::uint64_t{range.count} * kSectorSize);
        block::Result<void> done = co_await task;
        if (!done)
            co_return done;
    }
    co_return block::Result<void>{};
}

} // namespace rhea::hw
