// An ATA hard disk: commands, PIO and DMA data transfer, over a block back end.
//
// What a command does is kept as plain state (operation, sector, count, buffer), so that a step whose request failed with
// "stop" is done again when the machine goes on, also after its state was restored. Under the machine lock.
// Source: ATA/ATAPI-7 (T13/1532D).
#pragma once
#include "hw/ide/ata_drive.h"
#include "hw/ide/ata_identify.h"

namespace rhea::hw {

class AtaDisk final : public AtaDrive {
public:
    /// `main_context`: that of the main loop.
    AtaDisk(IdeHost &host, block::BlockBackend &disk, block::IoContext &main_context, AtaIdentity identity);
    ~AtaDisk() override;

    const AtaIdentity &identity() const { return identity_; }
    void execute(std::uint8_t command) override;
    void run_dma() override;
    void cancel_dma() override;
    void serialize(core::Archive &archive) override;

private:
    enum class Operation : std::uint8_t { kNone, kReadPio, kWritePio, kSendBuffer, kReadDma, kWriteDma, kVerify, kFlush, kTrim };
    struct CommandRow;
    static const CommandRow kCommands[];

    // ata_disk.cc
    void operation_over() override {
        operation_ = Operation::kNone;
        forget_ahead();
    }
    void reset_done() override;
    void powered_on() override;
    void data_in_done() override { step_done(); }
    void data_out_done() override { begin_write_block(); }
    void do_step() override { begin_step(); }
    void start_step(Work work, bool is_read);
    void ended(const block::Result<void> &result, bool is_read);
    void go_on();
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
    block::Task<block::Result<void>> read_ahead();
    bool take_from_ahead();
    void forget_ahead() { ahead_ = {}; }
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
    void set_multiple();
    void initialize_parameters();
    void read_native_max(bool extended);
    void check_power_mode();
    void data_set_management();
    void smart();
    void smart_read_log();

    AtaIdentity identity_;
    AtaSettings settings_, power_on_settings_;
    std::uint8_t power_mode_ = kPowerActive;

    Operation operation_ = Operation::kNone;
    bool extended_ = false, fua_ = false;
    std::uint64_t lba_ = 0;        ///< of the first sector in the buffer
    std::uint32_t left_ = 0;       ///< sectors still to be moved, those in the buffer among them
    std::uint32_t block_ = 1;      ///< sectors between interrupts (PIO)
    IdeHost::Segments segments_;   ///< of the DMA transfer that is under way
    std::vector<std::uint8_t> ahead_; ///< sectors of the PIO read that is under way, from `ahead_lba_` on; not part of the state
    std::uint64_t ahead_lba_ = 0;
};

} // namespace rhea::hw
