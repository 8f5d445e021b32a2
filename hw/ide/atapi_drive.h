// An ATAPI CD-ROM drive: command packets by the register file, data by PIO or the bus master, over a SCSI unit.
//
// The packet goes to ScsiCdrom (hw/scsi), which knows the commands; this class carries packets, data and sense keys. A read
// of many blocks is executed in pieces, so that no command needs more memory than one. What is under way is plain state,
// as with AtaDisk. Under the machine lock. Source: ATA/ATAPI-7, volume 1 chapter 6 (PACKET, DEVICE RESET, IDENTIFY PACKET
// DEVICE), volume 2 chapter 11 (its protocols).
#pragma once
#include "hw/ide/ata_drive.h"
#include "hw/ide/ata_identify.h"
#include "hw/scsi/scsi_cdrom.h"

#include <array>

namespace rhea::hw {

class AtapiDrive final : public AtaDrive {
public:
    static constexpr std::size_t kPacketSize = 12;

    /// `unit` is over `disk`; `main_context`: that of the main loop.
    AtapiDrive(IdeHost &host, block::BlockBackend &disk, block::IoContext &main_context, AtaIdentity identity, scsi::ScsiCdrom &unit);
    ~AtapiDrive() override;

    void execute(std::uint8_t command) override;
    void run_dma() override;
    void cancel_dma() override;
    void serialize(core::Archive &archive) override;

private:
    /// What the data port, or the bus master, moves.
    enum class Stage : std::uint8_t { kNone, kIdentify, kPacket, kOut, kIn };

    void data_in_done() override;
    void data_out_done() override;
    void operation_over() override { stage_ = Stage::kNone; }
    void reset_done() override;
    void powered_on() override;
    void do_step() override { run(); }

    // Commands of the register file
    void refuse_disk_command();
    void identify();
    void set_features();
    void start_packet();

    // The packet
    void begin_packet();
    void run();
    block::Task<block::Result<void>> run_unit();
    void unit_done();
    void end_packet(const scsi::Sense &sense);
    void abort_packet();
    void next_chunk(Phase direction);
    std::uint64_t bytes_to_come() const;
    void move_piece();
    void dma_failed();

    scsi::ScsiCdrom &unit_;
    AtaIdentity identity_;
    AtaSettings settings_;
    bool asleep_ = false; ///< SLEEP: hears nothing but a reset

    Stage stage_ = Stage::kNone;
    decltype(scsi::ScsiCommand::cdb) packet_{}; ///< what is behind kPacketSize is 0: opcodes of longer commands may be in it, too
    bool dma_ = false;           ///< the packet's data go by the bus master
    bool dma_running_ = false;   ///< which has been started for them
    std::uint32_t limit_ = 0;    ///< bytes that the data port moves at a time
    bool reads_blocks_ = false;  ///< in pieces: the next is at lba_
    std::uint64_t lba_ = 0;
    std::uint32_t left_ = 0;     ///< blocks behind those in the buffer
    std::uint64_t moved_ = 0;    ///< bytes that the bus master has moved
    IdeHost::Segments segments_; ///< what is left of the bus master's table
    scsi::ScsiCommand command_;  ///< that the unit executes
    scsi::ScsiResult result_;
};

} // namespace rhea::hw
