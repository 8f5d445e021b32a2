// An ATA hard disk: registers, commands, PIO and DMA data transfer, over a block back end.
//
// One command at a time. What a command does is kept as plain state (operation, sector, count, buffer), so that a step
// whose request failed with "stop" is done again when the machine goes on, also after its state was restored. While a
// request is at the back end the disk is busy, and a reset waits for its end. Under the machine lock; the requests'
// coroutines run in the back end's context.
// Source: ATA/ATAPI-7 (T13/1532D).
#pragma once
#include "hw/block/disk_io.h"
#include "hw/ide/ata_identify.h"
#include "hw/ide/task_file.h"
#include "rhea/core/archive.h"
#include "rhea/core/types.h"

#include <string>
#include <vector>

namespace rhea::hw {

/// A drive's way to the host: its interrupt, and the bus master.
class IdeHost {
public:
    /// intrq() may have changed.
    virtual void interrupt_changed() = 0;
    /// A drive waits for the bus master: run_dma() now, or once it is started.
    virtual void dma_ready() = 0;

    struct Segment {
        core::hwaddr address;
        std::uint32_t length;
    };
    /// Guest memory as the bus master's table lists it.
    struct Segments {
        std::vector<Segment> list;
        std::uint64_t bytes = 0;  ///< all together, the transfer's length at most
        bool exhausted = true;    ///< the table ends where the transfer does
        bool failed = false;      ///< the table itself cannot be read
    };
    virtual Segments dma_segments(std::uint64_t bytes) = 0;
    virtual bool dma_read(const Segments &from, std::uint8_t *to) = 0;
    virtual bool dma_write(const Segments &to, const std::uint8_t *from) = 0;
    /// The transfer is over. `failed`: memory did not answer.
    virtual void dma_end(bool exhausted, bool failed) = 0;

protected:
    ~IdeHost() = default;
};

class AtaDisk {
public:
    /// `main_context`: that of the main loop.
    AtaDisk(IdeHost &host, block::BlockBackend &disk, block::IoContext &main_context, AtaIdentity identity);
    ~AtaDisk();

    const AtaIdentity &identity() const { return identity_; }

    // ---- registers ----------------------------------------------------------------------------------------------
    /// Without side effects but the status register's, whose reading ends the interrupt request.
    std::uint8_t read_register(unsigned reg, bool high_order);
    std::uint8_t alternate_status() const { return file_.status; }
    /// Ignored while the disk works.
    void write_register(unsigned reg, std::uint8_t value);
    void execute(std::uint8_t command);
    /// `size`: 2 or 4.
    std::uint32_t read_data(unsigned size);
    void write_data(std::uint32_t value, unsigned size);
    bool intrq() const { return intrq_; }
    bool accepts_writes() const { return !(file_.status & (ata::kBsy | ata::kDrq)); }

    // ---- resets and diagnostics ---------------------------------------------------------------------------------
    /// SRST is set, cleared.
    void hold_reset();
    void release_reset();
    /// EXECUTE DEVICE DIAGNOSTIC, which both devices of a channel do; device 0 asks for the interrupt.
    void diagnose(bool interrupt);
    /// Power on. The main thread, no vCPU runs.
    void power_on();
    /// Waits until nothing is under way. The main thread, no vCPU runs.
    void quiesce() { io_.quiesce(); }

    // ---- bus master ---------------------------------------------------------------------------------------------
    bool wants_dma() const { return phase_ == Phase::kDmaWait; }
    void run_dma();
    /// The bus master was stopped: what is under way does not reach guest memory.
    void cancel_dma();

    void serialize(core::Archive &archive);

private:
    enum class Phase : std::uint8_t { kIdle, kDataIn, kDataOut, kDmaWait, kWorking };
    enum class Operation : std::uint8_t { kNone, kReadPio, kWritePio, kSendBuffer, kReadDma, kWriteDma, kVerify, kFlush, kTrim };
    enum class ResetState : std::uint8_t { kNone, kHeld, kReleased };
    struct CommandRow;
    static const CommandRow kCommands[];

    // ata_disk.cc
    void finish(std::uint8_t error = 0);
    void set_intrq(bool level);
    void finish_reset();
    void start(std::function<block::Task<block::Result<void>>()> work, bool is_read);
    void ended(const block::Result<void> &result, bool is_read);
    void go_on();
    void resumed();
    void apply_settings();

    // ata_transfer.cc
    bool address(bool extended);
    void transfer(Operation operation, bool extended, std::uint32_t block, bool fua = false);
    void begin_step();
    void begin_read_block();
    void begin_write_block();
    void step_done();
    void note_position();
    void send_buffer();
    void next_block_out();
    block::Task<block::Result<void>> read_sectors();
    block::Task<block::Result<void>> write_sectors();
    block::Task<block::Result<void>> verify_sectors();
    block::Task<block::Result<void>> flush_cache();
    struct TrimRange {
        std::uint64_t lba;
        std::uint32_t count;
    };
    TrimRange trim_range(std::size_t at) const;
    bool trim_ranges_fit() const;
    block::Task<block::Result<void>> trim_ranges();
    bool uses_dma() const {
        return operation_ == Operation::kReadDma || operation_ == Operation::kWriteDma || operation_ == Operation::kTrim;
    }
    bool dma_to_guest() const { return operation_ == Operation::kReadDma; }
    std::uint64_t dma_length() const { return std::uint64_t{left_} * ata::kSectorSize; }
    void dma_failed();

    // ata_commands.cc, ata_smart.cc
    static constexpr std::uint8_t kPowerActive = 0xff, kPowerIdle = 0x80, kPowerStandby = 0x00;
    static constexpr std::uint8_t kPowerSleep = 0x01; ///< never reported: nobody can ask
    void identify();
    void start_flush();
    void set_power_mode(std::uint8_t mode);
    void set_features();
    void set_transfer_mode();
    void set_multiple();
    void initialize_parameters();
    void read_native_max(bool extended);
    void check_power_mode();
    void data_set_management();
    void smart();
    void smart_read_log();

    IdeHost &host_;
    AtaIdentity identity_;
    AtaSettings settings_, power_on_settings_;
    TaskFile file_;
    bool intrq_ = false;
    Phase phase_ = Phase::kIdle;
    ResetState reset_ = ResetState::kNone;
    std::uint8_t power_mode_ = kPowerActive;

    Operation operation_ = Operation::kNone;
    bool extended_ = false, fua_ = false;
    bool stopped_ = false;         ///< the present step failed and is done again
    bool dma_cancelled_ = false;
    std::uint64_t lba_ = 0;        ///< of the first sector in the buffer
    std::uint32_t left_ = 0;       ///< sectors still to be moved, those in the buffer among them
    std::uint32_t block_ = 1;      ///< sectors between interrupts (PIO)
    std::uint32_t position_ = 0;   ///< of the data port, in the buffer
    std::vector<std::uint8_t> buffer_;
    IdeHost::Segments segments_;   ///< of the DMA transfer that is under way
    DiskIo io_;
};

} // namespace rhea::hw
