// What a disk and a packet device on an IDE channel have in common: the register file, the data port, the interrupt
// request, resets, and requests to the block back end.
//
// One command at a time; what it does is kept as plain state by the derived class. While a request is at the back end the
// drive is busy, and a reset waits for its end. A derived class calls shut_down() in its destructor. Under the machine
// lock; the requests' coroutines run in the back end's context. Source: ATA/ATAPI-7 (T13/1532D).
#pragma once
#include "hw/block/disk_io.h"
#include "hw/ide/ide_host.h"
#include "hw/ide/task_file.h"
#include "rhea/core/archive.h"

#include <functional>
#include <vector>

namespace rhea::hw {

class AtaDrive {
public:
    virtual ~AtaDrive() = default;
    AtaDrive(const AtaDrive &) = delete;
    AtaDrive &operator=(const AtaDrive &) = delete;

    // ---- registers ----------------------------------------------------------------------------------------------
    /// Without side effects but the status register's, whose reading ends the interrupt request.
    std::uint8_t read_register(unsigned reg, bool high_order);
    std::uint8_t alternate_status() const { return file_.status; }
    /// Ignored while the drive works.
    void write_register(unsigned reg, std::uint8_t value);
    virtual void execute(std::uint8_t command) = 0;
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
    virtual void run_dma() = 0;
    /// The bus master was stopped: what is under way does not reach guest memory.
    virtual void cancel_dma() = 0;

    virtual void serialize(core::Archive &archive) = 0;

protected:
    enum class Phase : std::uint8_t { kIdle, kDataIn, kDataOut, kDmaWait, kWorking };
    enum class ResetState : std::uint8_t { kNone, kHeld, kReleased };
    using Work = std::function<block::Task<block::Result<void>>()>;

    /// `main_context`: that of the main loop.
    AtaDrive(IdeHost &host, block::BlockBackend &disk, block::IoContext &main_context);
    /// Ends what is under way while the derived class is still whole.
    void shut_down();

    block::BlockBackend &disk() const { return io_.disk(); }
    void set_intrq(bool level);
    /// The drive is busy until `done`, which is not called when a reset came in between.
    void start(Work work, DiskIo::Done done);
    /// The command is over, with this in the error register; the host is told.
    void finish(std::uint8_t error = 0);
    /// The data port hands out, or takes, buffer_[position_, end) from now on.
    void open_data_port(Phase direction, std::uint32_t end);
    void serialize_registers(core::Archive &archive);
    /// Nothing is under way, though a request was when the state was saved.
    bool lost_its_request() const { return phase_ == Phase::kWorking && !stopped_ && reset_ == ResetState::kNone; }

    /// The data port has come to its end.
    virtual void data_in_done() = 0;
    virtual void data_out_done() = 0;
    /// Nothing is under way any more: a command ended or a reset ended it.
    virtual void operation_over() = 0;
    /// The derived class's part of a reset: signature, status, its own settings.
    virtual void reset_done() = 0;
    virtual void powered_on() = 0; ///< settings are those of power on
    virtual void do_step() = 0;    ///< the present step again: it failed with "stop", and the machine goes on
    void finish_reset();

    IdeHost &host_;
    TaskFile file_;
    bool intrq_ = false;
    Phase phase_ = Phase::kIdle;
    ResetState reset_ = ResetState::kNone;
    bool stopped_ = false;         ///< the present step failed and is done again
    bool dma_cancelled_ = false;
    std::uint32_t position_ = 0, end_ = 0; ///< of the data port, in the buffer
    std::vector<std::uint8_t> buffer_;

private:
    DiskIo io_;
};

} // namespace rhea::hw
