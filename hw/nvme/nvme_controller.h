// An NVMe controller with one namespace (`-device nvme`).
//
// Doorbell writes fetch commands where they happen (a vCPU's thread); admin commands are done at once, those for the
// namespace go to the block back end, and their ends come back in the main thread. Data goes straight to and from guest
// RAM; a controller that is being disabled says so only when nothing is under way any more. All state is under the
// machine lock. Source: NVM Express 1.4.
#pragma once
#include "hw/block/disk_io.h"
#include "hw/block/disk_properties.h"
#include "hw/boot_device.h"
#include "hw/nvme/nvme_queue.h"
#include "hw/pci/pci_msi.h"
#include "hw/virtio/guest_memory.h"
#include "rhea/core/clock.h"
#include "rhea/core/register_bank.h"

#include <deque>
#include <memory>
#include <vector>

namespace rhea::hw::nvme {

class NvmeController final : public PciDevice, public BootDevice, private core::IoHandler {
public:
    NvmeController(const core::MachineConfig &config, core::Clocks &clocks);
    ~NvmeController() override;

    std::vector<BootEntry> boot_entries() const override;
    std::string_view type() const override { return "nvme"; }
    util::Result<void> realize() override;
    void unrealize() override;
    void reset() override;
    void set_running(bool running) override;
    void serialize(core::Archive &archive) override;

private:
    void let_go_of_disk();
    using GuestBuffer = virtio::GuestBuffer;
    /// A command for the namespace that is under way.
    struct Request {
        std::uint16_t sq = 0;
        Command command;
        GuestBuffer data;
        std::vector<std::uint8_t> bytes; ///< Dataset Management's ranges, Compare's data
        std::uint16_t status = kSuccess; ///< where the work itself finds out
    };
    struct AdminRow;
    struct FeatureRow;
    static const AdminRow kAdminCommands[];
    static const FeatureRow kFeatures[];
    /// Of an admin command: the status, and the completion's dword 0; no completion now: `later`.
    struct Outcome {
        std::uint16_t status = kSuccess;
        std::uint32_t result = 0;
        bool later = false;
    };
    struct AsyncEvent {
        std::uint8_t type, info, log;
        std::uint32_t code() const { return type | static_cast<std::uint32_t>(info) << 8 | static_cast<std::uint32_t>(log) << 16; }
    };

    // nvme_registers.cc
    void add_registers();
    void write_controller_configuration(std::uint32_t old, std::uint32_t now);
    void enable();
    void disable();
    void disabled();
    void shut_down();
    void fatal(std::string_view why);
    std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;
    void ring_submission(std::uint16_t id, std::uint32_t tail);
    void ring_completion(std::uint16_t id, std::uint32_t head);
    bool ready() const { return status_ & kCstsReady && !disabling_; }
    std::uint32_t page_size() const { return 1u << cc_page_shift(configuration_); }

    // nvme_queues.cc
    void fetch(SubmissionQueue &queue);
    void complete(const Completion &completion);
    void deliver(CompletionQueue &queue);
    void request_done(SubmissionQueue &queue);
    void update_intx();
    Outcome create_completion_queue(const Command &command);
    Outcome create_submission_queue(const Command &command);
    Outcome delete_completion_queue(const Command &command);
    Outcome delete_submission_queue(const Command &command);

    // nvme_prp.cc
    std::uint16_t map(const Command &command, std::uint64_t bytes, bool to_guest, GuestBuffer &buffer);
    std::uint16_t map_page(const virtio::GuestMap &memory, core::hwaddr address, std::uint64_t bytes, bool to_guest, GuestBuffer &buffer) const;
    Outcome send(const Command &command, std::span<const std::uint8_t> bytes);

    // nvme_admin.cc, nvme_identify.cc, nvme_features.cc, nvme_log.cc
    void execute_admin(const Command &command);
    Outcome abort_command(const Command &command);
    Outcome async_event(const Command &command);
    void report_event(AsyncEvent event);
    void send_events();
    Outcome identify(const Command &command);
    std::vector<std::uint8_t> controller_data() const;
    std::vector<std::uint8_t> namespace_data() const;
    std::vector<std::uint8_t> namespace_descriptors() const;
    Outcome get_log_page(const Command &command);
    Outcome get_features(const Command &command);
    Outcome set_features(const Command &command);
    void reset_features();
    Outcome set_write_cache(std::uint16_t command, bool enabled);
    Outcome set_timestamp(const Command &command);
    std::uint64_t timestamp() const;

    // nvme_io.cc
    void execute_io(SubmissionQueue &queue, const Command &command);
    std::uint16_t prepare(Request &request);
    std::uint16_t check_range(std::uint64_t lba, std::uint64_t blocks) const;
    void start(std::shared_ptr<Request> request);
    block::Task<block::Result<void>> perform(Request &request);
    block::Task<block::Result<void>> compare(Request &request);
    block::Task<block::Result<void>> deallocate(Request &request);
    void ended(const std::shared_ptr<Request> &request, const block::Result<void> &result);
    void finish(const Request &request, std::uint16_t status);
    void resumed();
    std::uint64_t namespace_blocks() const { return io_->disk().length() >> block_shift_; }

    // nvme_state.cc
    void serialize_fields(core::Archive &archive);
    void serialize_queues(core::Archive &archive);
    void serialize_requests(core::Archive &archive);
    bool state_fits() const;

    const core::MachineConfig &config_;
    core::Clocks &clocks_;
    DiskProperties settings_;
    std::uint32_t io_queue_pairs_ = 64, vectors_ = 65;
    std::uint8_t max_transfer_shift_ = 7; ///< MDTS: of pages of 4 KiB; 0: no limit
    unsigned block_shift_ = 9;
    std::array<std::uint8_t, 16> uuid_{};

    core::RegisterBank registers_;
    std::unique_ptr<core::MemoryRegion> bar_, register_region_, doorbell_region_;
    std::unique_ptr<PciMsix> msix_;
    std::unique_ptr<DiskIo> io_;

    std::uint32_t configuration_ = 0, status_ = 0, interrupt_mask_ = 0, admin_sizes_ = 0;
    std::uint64_t admin_sq_ = 0, admin_cq_ = 0;
    bool disabling_ = false, shutting_down_ = false;
    std::vector<std::unique_ptr<SubmissionQueue>> submission_; ///< by id; null: not there
    std::vector<std::unique_ptr<CompletionQueue>> completion_;
    std::vector<std::shared_ptr<Request>> stopped_; ///< failed, to be done again
    std::vector<std::uint16_t> event_commands_;     ///< Async Event Requests that wait
    std::deque<AsyncEvent> events_;
    std::uint8_t masked_events_ = 0;                ///< types reported whose log was not read
    bool namespace_changed_ = false;
    std::array<std::uint32_t, 16> features_{};      ///< by feature id
    bool power_on_write_cache_ = true;
    std::uint64_t timestamp_offset_ = 0;            ///< ms, to be added to the virtual clock's
    bool timestamp_set_ = false;
};

} // namespace rhea::hw::nvme
