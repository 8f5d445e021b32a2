#include "hw/ide/atapi_drive.h"

#include "rhea/util/log.h"

#include <algorithm>

namespace rhea::hw {

using namespace ata;

namespace {

constexpr std::uint32_t kBlock = 2048;
constexpr std::uint32_t kPieceBlocks = 64; ///< of a long read
/// The longest data of a command that reads no blocks.
constexpr std::size_t kLongestData = 65536;
constexpr std::uint8_t kPowerActive = 0xff;
constexpr std::uint32_t kLongestChunk = 0xfffe;

/// Segments [offset, offset + length) of a table.
IdeHost::Segments slice(const IdeHost::Segments &table, std::uint64_t offset, std::uint64_t length) {
    IdeHost::Segments part;
    for (const IdeHost::Segment &each : table.list) {
        const std::uint64_t skip = std::min<std::uint64_t>(offset, each.length);
        const std::uint64_t used = std::min<std::uint64_t>(each.length - skip, length - part.bytes);
        offset -= skip;
        if (used > 0)
            part.list.push_back({each.address + skip, static_cast<std::uint32_t>(used)});
        part.bytes += used;
    }
    return part;
}

} // namespace

AtapiDrive::AtapiDrive(IdeHost &host, block::BlockBackend &disk, block::IoContext &main_context, AtaIdentity identity,
                       scsi::ScsiCdrom &unit)
    : AtaDrive(host, disk, main_context), unit_(unit), identity_(std::move(identity)) {
    power_on();
}

AtapiDrive::~AtapiDrive() { shut_down(); }

// ---- commands of the register file ----------------------------------------------------------------------------------

void AtapiDrive::execute(std::uint8_t code) {
    if (code == kDeviceReset) { // also while it works, and without an interrupt (volume 1, 6.10)
        hold_reset();
        release_reset();
        return;
    }
    if (!accepts_writes() || asleep_)
        return;
    set_intrq(false);
    switch (code) {
    case kPacket:
        return start_packet();
    case kIdentifyPacketDevice:
        return identify();
    case kIdentifyDevice:
    case kReadSectors:
        return refuse_disk_command();
    case kSetFeatures:
        return set_features();
    case kCheckPowerMode:
        file_.set_count(kPowerActive);
        return finish();
    case kIdleImmediate:
    case kStandbyImmediate:
        return finish();
    case kSleep:
        asleep_ = true;
        return finish();
    case kNop:
        return finish(kAbrt);
    default:
        util::log_write(util::kLogUnimp, "ide: ATA command {:#04x} is not one of a packet device\n", code);
        finish(kAbrt);
    }
}

/// Who takes it for a disk learns what it is by the signature (volume 1, 6.17.5, 6.33.5).
void AtapiDrive::refuse_disk_command() {
    file_.set_packet_signature();
    finish(kAbrt);
}

void AtapiDrive::identify() {
    const auto bytes = ata_identify_packet(identity_, settings_);
    buffer_.assign(bytes.begin(), bytes.end());
    position_ = 0;
    stage_ = Stage::kIdentify;
    open_data_port(Phase::kDataIn, static_cast<std::uint32_t>(buffer_.size()));
    file_.error = 0;
    file_.status = kDrdy | kDsc | kDrq;
    set_intrq(true);
}

void AtapiDrive::set_features() {
    constexpr std::uint8_t kTransferMode = 0x03, kKeepSettings = 0x66, kRevertSettings = 0xcc;
    switch (file_.features()) {
    case kTransferMode:
        return finish(choose_transfer_mode(settings_, file_.count8()) ? 0 : kAbrt);
    case kKeepSettings: // a software reset changes none, either way
    case kRevertSettings:
        return finish();
    default:
        finish(kAbrt);
    }
}

void AtapiDrive::start_packet() {
    if (file_.features() & kPacketOverlap)
        return finish(kAbrt);
    dma_ = file_.features() & kPacketDma;
    limit_ = std::min(file_.byte_count(), kLongestChunk);
    buffer_.assign(kPacketSize, 0);
    position_ = 0;
    stage_ = Stage::kPacket;
    open_data_port(Phase::kDataOut, kPacketSize);
    file_.error = 0;
    file_.bytes[0][kCount] = kReasonCommand;
    file_.status = kDrdy | kDsc | kDrq; // no interrupt: the host looks for DRQ
}

// ---- the packet -----------------------------------------------------------------------------------------------------

void AtapiDrive::begin_packet() {
    std::copy_n(buffer_.begin(), kPacketSize, packet_.begin());
    buffer_.clear();
    position_ = 0;
    left_ = 0;
    moved_ = 0;
    lba_ = 0;
    dma_running_ = dma_cancelled_ = false;
    const scsi::ScsiUnit::Transfer transfer = unit_.transfer(packet_);
    const scsi::BlockRange range = scsi::data_range(packet_);
    const std::uint64_t blocks = unit_.blocks();
    // What lies outside the medium, or is nothing, is the unit's to say; so is data that is too long for any command.
    reads_blocks_ = scsi::reads_blocks(packet_) && range.count > 0 && range.lba < blocks && range.count <= blocks - range.lba;
    stage_ = transfer.out ? Stage::kOut : Stage::kIn;
    if (reads_blocks_) {
        lba_ = range.lba;
        left_ = range.count;
    } else if (!scsi::reads_blocks(packet_) && (transfer.out ? transfer.length <= kLongestData : true)) {
        buffer_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(transfer.length, kLongestData)));
    }
    if (!transfer.out || buffer_.empty())
        return run();
    if (!dma_)
        return next_chunk(Phase::kDataOut);
    phase_ = Phase::kDmaWait;
    file_.bytes[0][kCount] = 0;
    file_.status = kDrdy | kDsc | kDrq;
    host_.dma_ready();
}

/// The unit executes the command, or the next piece of a read.
void AtapiDrive::run() {
    command_ = {};
    std::ranges::copy(packet_, command_.cdb.begin());
    if (reads_blocks_) {
        const std::uint32_t count = std::min(left_, kPieceBlocks);
        scsi::set_data_range(command_.cdb, {lba_, count});
        buffer_.resize(std::size_t{count} * kBlock);
    }
    if (!buffer_.empty())
        (stage_ == Stage::kOut ? command_.out : command_.in).append(buffer_.data(), buffer_.size());
    start([this] { return run_unit(); }, [this](const block::Result<void> &) { unit_done(); });
}

block::Task<block::Result<void>> AtapiDrive::run_unit() {
    block::Task<scsi::ScsiResult> task = unit_.execute(command_);
    result_ = co_await task;
    co_return block::Result<void>{};
}

void AtapiDrive::unit_done() {
    if (result_.keep) {
        stopped_ = true;
        return;
    }
    if (dma_ && dma_cancelled_)
        return abort_packet();
    if (result_.status != scsi::kGood)
        return end_packet(result_.sense.key ? result_.sense : scsi::sense::kTargetFailure);
    const std::uint64_t got = result_.transferred;
    if (stage_ == Stage::kOut || got == 0)
        return end_packet(scsi::sense::kNone);
    buffer_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(got, buffer_.size())));
    position_ = 0;
    if (reads_blocks_) {
        const std::uint32_t count = std::min(left_, kPieceBlocks);
        lba_ += count;
        left_ -= count;
    }
    if (!dma_)
        return limit_ == 0 ? abort_packet() : next_chunk(Phase::kDataIn);
    if (dma_running_)
        return move_piece();
    phase_ = Phase::kDmaWait;
    file_.bytes[0][kCount] = kReasonToHost;
    file_.status = kDrdy | kDsc | kDrq;
    host_.dma_ready();
}

/// The command is over; the error register has the sense key.
void AtapiDrive::end_packet(const scsi::Sense &sense) {
    if (dma_)
        host_.dma_end(dma_running_ ? segments_.exhausted : true, false);
    dma_running_ = false;
    file_.bytes[0][kCount] = kReasonCommand | kReasonToHost;
    finish(static_cast<std::uint8_t>(sense.key << 4));
}

void AtapiDrive::abort_packet() {
    dma_running_ = false;
    file_.bytes[0][kCount] = kReasonCommand | kReasonToHost;
    finish(kAbrt);
}

// ---- PIO ------------------------------------------------------------------------------------------------------------

/// The next bytes of the buffer by the data port: as many as the host allows, an even number while there are more.
void AtapiDrive::next_chunk(Phase direction) {
    const auto rest = static_cast<std::uint32_t>(buffer_.size()) - position_;
    std::uint32_t limit = limit_ ? limit_ : kLongestChunk;
    if (reads_blocks_ && limit >= kBlock)
        limit -= limit % kBlock;
    if (rest > limit && limit > 1)
        limit &= ~1u;
    const std::uint32_t chunk = std::min(rest, limit);
    open_data_port(direction, position_ + chunk);
    file_.set_byte_count(chunk);
    file_.bytes[0][kCount] = direction == Phase::kDataIn ? kReasonToHost : 0;
    file_.error = 0;
    file_.status = kDrdy | kDsc | kDrq;
    set_intrq(true);
}

void AtapiDrive::data_in_done() {
    if (stage_ == Stage::kIdentify) { // no interrupt behind the last block that is read
        phase_ = Phase::kIdle;
        stage_ = Stage::kNone;
        file_.status = kDrdy | kDsc;
    } else if (position_ < buffer_.size()) {
        next_chunk(Phase::kDataIn);
    } else if (left_ > 0) {
        run();
    } else {
        end_packet(scsi::sense::kNone);
    }
}

void AtapiDrive::data_out_done() {
    if (stage_ == Stage::kPacket)
        begin_packet();
    else if (position_ < buffer_.size())
        next_chunk(Phase::kDataOut);
    else
        run();
}

// ---- DMA ------------------------------------------------------------------------------------------------------------

/// From the buffer's beginning to the command's end.
std::uint64_t AtapiDrive::bytes_to_come() const { return buffer_.size() + std::uint64_t{left_} * kBlock; }

void AtapiDrive::run_dma() {
    dma_cancelled_ = false;
    segments_ = host_.dma_segments(bytes_to_come());
    if (segments_.failed)
        return dma_failed();
    if (segments_.bytes < bytes_to_come()) {
        // "PRDs are smaller than the transfer": the bus master stops, nobody interrupts (82371SB, 2.6.2).
        host_.dma_end(true, false);
        phase_ = Phase::kIdle;
        stage_ = Stage::kNone;
        file_.status = kDrdy | kDsc;
        return;
    }
    dma_running_ = true;
    if (stage_ == Stage::kIn)
        return move_piece();
    if (!host_.dma_read(segments_, buffer_.data()))
        return dma_failed();
    run();
}

/// What is in the buffer goes to guest memory.
void AtapiDrive::move_piece() {
    if (segments_.list.empty()) { // restored in the middle of a transfer
        segments_ = host_.dma_segments(moved_ + bytes_to_come());
        if (segments_.failed || segments_.bytes < moved_ + bytes_to_come())
            return dma_failed();
    }
    if (!host_.dma_write(slice(segments_, moved_, buffer_.size()), buffer_.data()))
        return dma_failed();
    moved_ += buffer_.size();
    if (left_ > 0)
        return run();
    end_packet(scsi::sense::kNone);
}

void AtapiDrive::dma_failed() {
    host_.dma_end(true, true);
    abort_packet();
}

void AtapiDrive::cancel_dma() {
    if (phase_ == Phase::kWorking && dma_running_)
        dma_cancelled_ = true;
}

// ---- resets and state -----------------------------------------------------------------------------------------------

void AtapiDrive::reset_done() {
    asleep_ = dma_running_ = false;
    left_ = 0;
    segments_ = {};
    file_.set_packet_signature();
    file_.status = 0; // DRDY comes with the first command that is over (volume 1, 9.12)
}

void AtapiDrive::powered_on() {
    settings_ = {};
    unit_.reset();
}

void AtapiDrive::serialize(core::Archive &archive) {
    serialize_registers(archive);
    archive.field("multiword_mode", settings_.multiword_mode);
    archive.field("ultra_mode", settings_.ultra_mode);
    archive.field("asleep", asleep_);
    archive.field("stage", stage_);
    archive.bytes("packet", packet_);
    archive.field("dma", dma_);
    archive.field("dma_running", dma_running_);
    archive.field("limit", limit_);
    archive.field("reads_blocks", reads_blocks_);
    archive.field("lba", lba_);
    archive.field("left", left_);
    archive.field("moved", moved_);
    archive.field("end", end_);
    std::vector<std::uint8_t> bytes = buffer_;
    archive.bytes("buffer", bytes, std::max<std::size_t>(kLongestData, kPieceBlocks * kBlock));
    archive.section("unit", 1, [this](core::Archive &a) { unit_.serialize(a); });
    if (!archive.restoring() || !archive.ok())
        return;
    const bool moves_data = phase_ == Phase::kDataIn || phase_ == Phase::kDataOut;
    const bool port_fits = !moves_data || (end_ <= bytes.size() && position_ < end_);
    const bool packet_fits = stage_ != Stage::kPacket || bytes.size() == kPacketSize;
    const bool waits_for_something = phase_ != Phase::kDmaWait || (dma_ && !bytes.empty() && (stage_ == Stage::kIn || stage_ == Stage::kOut));
    if (stage_ > Stage::kIn || limit_ > kLongestChunk || !port_fits || !packet_fits || !waits_for_something) {
        finish_reset();
        stopped_ = false;
        archive.fail("the stored state of the CD-ROM drive contradicts itself");
        return;
    }
    buffer_ = std::move(bytes);
    segments_ = {};
    if (lost_its_request())
        finish_reset();
}

} // namespace rhea::hw
