// NVMe controller: its state, which is saved when nothing is under way.
#include "hw/nvme/nvme_controller.h"

#include <fmt/format.h>

namespace rhea::hw::nvme {
namespace {

constexpr std::size_t kMaxStored = 1u << 16; ///< waiting completions, stopped requests

void serialize_queue(core::Archive &archive, SubmissionQueue &queue) {
    archive.field("cq", queue.cq);
    archive.field("size", queue.size);
    archive.field("head", queue.head);
    archive.field("tail", queue.tail);
    archive.field("base", queue.base);
    archive.field("outstanding", queue.outstanding);
    bool deleted = queue.deleted_by.has_value();
    std::uint16_t by = queue.deleted_by.value_or(0);
    archive.field("deleted", deleted);
    archive.field("deleted_by", by);
    queue.deleted_by = deleted ? std::optional(by) : std::nullopt;
}

void serialize_completion(core::Archive &archive, Completion &completion) {
    archive.field("sq", completion.sq);
    archive.field("command", completion.command);
    archive.field("status", completion.status);
    archive.field("result", completion.result);
}

void serialize_queue(core::Archive &archive, CompletionQueue &queue) {
    archive.field("vector", queue.vector);
    archive.field("interrupts", queue.interrupts);
    archive.field("phase", queue.phase);
    archive.field("size", queue.size);
    archive.field("head", queue.head);
    archive.field("tail", queue.tail);
    archive.field("base", queue.base);
    auto count = static_cast<std::uint32_t>(queue.waiting.size());
    archive.field("waiting", count);
    if (archive.restoring() && (!archive.ok() || count > kMaxStored)) {
        archive.fail("too many waiting completions");
        return;
    }
    queue.waiting.resize(count);
    for (std::uint32_t i = 0; i < count && archive.ok(); ++i)
        archive.section(fmt::format("completion{}", i), 1, [&](core::Archive &a) { serialize_completion(a, queue.waiting[i]); });
}

template <typename Queue> void serialize_all(core::Archive &archive, std::string_view kind, std::vector<std::unique_ptr<Queue>> &queues) {
    for (std::size_t id = 0; id < queues.size(); ++id) {
        bool present = queues[id] != nullptr;
        archive.field(fmt::format("{}{}", kind, id), present);
        if (!present || !archive.ok()) {
            queues[id].reset();
            continue;
        }
        if (!queues[id])
            queues[id] = std::make_unique<Queue>();
        queues[id]->id = static_cast<std::uint16_t>(id);
        archive.section(fmt::format("{}-queue{}", kind, id), 1, [&](core::Archive &a) { serialize_queue(a, *queues[id]); });
    }
}

void serialize_command(core::Archive &archive, Command &command) {
    archive.field("opcode", command.opcode);
    archive.field("flags", command.flags);
    archive.field("id", command.id);
    archive.field("nsid", command.nsid);
    archive.field("prp1", command.prp1);
    archive.field("prp2", command.prp2);
    archive.field("dw", command.dw);
}

} // namespace

void NvmeController::serialize_fields(core::Archive &archive) {
    archive.field("cc", configuration_);
    archive.field("csts", status_);
    archive.field("interrupt_mask", interrupt_mask_);
    archive.field("aqa", admin_sizes_);
    archive.field("asq", admin_sq_);
    archive.field("acq", admin_cq_);
    archive.field("features", features_);
    bool write_cache = io_->disk().write_cache();
    archive.field("write_cache", write_cache);
    if (archive.restoring() && archive.ok())
        io_->disk().set_write_cache(write_cache);
    archive.field("masked_events", masked_events_);
    archive.field("namespace_changed", namespace_changed_);
    archive.field("timestamp_offset", timestamp_offset_);
    archive.field("timestamp_set", timestamp_set_);
    std::vector<std::uint8_t> commands, events;
    for (const std::uint16_t id : event_commands_) {
        commands.push_back(static_cast<std::uint8_t>(id));
        commands.push_back(static_cast<std::uint8_t>(id >> 8));
    }
    for (const AsyncEvent &event : events_)
        events.insert(events.end(), {event.type, event.info, event.log});
    archive.bytes("event_commands", commands, 8);
    archive.bytes("events", events, 48);
    if (!archive.restoring())
        return;
    event_commands_.clear();
    for (std::size_t i = 0; i + 1 < commands.size(); i += 2)
        event_commands_.push_back(static_cast<std::uint16_t>(commands[i] | commands[i + 1] << 8));
    events_.clear();
    for (std::size_t i = 0; i + 2 < events.size(); i += 3)
        events_.push_back({static_cast<std::uint8_t>(events[i] & 7), events[i + 1], events[i + 2]});
}

void NvmeController::serialize_queues(core::Archive &archive) {
    serialize_all(archive, "submission", submission_);
    serialize_all(archive, "completion", completion_);
}

void NvmeController::serialize_requests(core::Archive &archive) {
    auto count = static_cast<std::uint32_t>(stopped_.size());
    archive.field("count", count);
    if (!archive.ok() || count > kMaxStored) {
        archive.fail("too many stopped requests");
        return;
    }
    if (archive.restoring())
        stopped_.clear();
    for (std::uint32_t i = 0; i < count && archive.ok(); ++i) {
        if (archive.restoring())
            stopped_.push_back(std::make_shared<Request>());
        archive.section(fmt::format("request{}", i), 1, [&](core::Archive &a) {
            a.field("sq", stopped_[i]->sq);
            serialize_command(a, stopped_[i]->command);
        });
    }
}

/// Does the restored state make sense: indices in range, every reference to a queue that is there.
bool NvmeController::state_fits() const {
    const auto has_submission = [this](std::uint16_t id) { return id < submission_.size() && submission_[id]; };
    for (const auto &queue : submission_) {
        if (queue && (queue->size < 2 || queue->size > 2 * kMaxQueueEntries || queue->head >= queue->size || queue->tail >= queue->size ||
                      queue->outstanding > queue->size || queue->cq >= completion_.size() || !completion_[queue->cq]))
            return false;
    }
    for (const auto &queue : completion_) {
        if (!queue)
            continue;
        if (queue->size < 2 || queue->size > 2 * kMaxQueueEntries || queue->head >= queue->size || queue->tail >= queue->size ||
            queue->vector >= vectors_)
            return false;
        for (const Completion &completion : queue->waiting) {
            if (!has_submission(completion.sq) || submission_[completion.sq]->outstanding == 0)
                return false;
        }
    }
    for (const auto &request : stopped_) {
        if (request->sq == 0 || !has_submission(request->sq) || submission_[request->sq]->outstanding == 0)
            return false;
    }
    const bool has_admin = submission_[0] && completion_[0];
    return cc_page_shift(configuration_) <= kMaxPageShift || !has_admin ? (status_ & kCstsReady ? has_admin : true) : false;
}

void NvmeController::serialize(core::Archive &archive) {
    archive.section("pci", 1, [this](core::Archive &a) { PciDevice::serialize(a); });
    archive.section("msix", 1, [this](core::Archive &a) { msix_->serialize(a); });
    archive.section("controller", 1, [this](core::Archive &a) { serialize_fields(a); });
    archive.section("queues", 1, [this](core::Archive &a) { serialize_queues(a); });
    archive.section("stopped", 1, [this](core::Archive &a) { serialize_requests(a); });
    if (archive.restoring() && (!archive.ok() || !state_fits())) {
        stopped_.clear();
        configuration_ = 0;
        disabled();
        archive.fail("the stored state of the NVMe controller contradicts itself");
    }
}

} // namespace rhea::hw::nvme
