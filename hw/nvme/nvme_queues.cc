// NVMe controller: fetching commands, posting completions, making and deleting queues (chapters 4.1, 4.6, 5.3 to 5.6).
#include "hw/nvme/nvme_controller.h"

#include <algorithm>

namespace rhea::hw::nvme {
namespace {

std::uint32_t word(const std::uint8_t *bytes) {
    return bytes[0] | static_cast<std::uint32_t>(bytes[1]) << 8 | static_cast<std::uint32_t>(bytes[2]) << 16 |
           static_cast<std::uint32_t>(bytes[3]) << 24;
}

void put(std::uint8_t *bytes, std::uint32_t value) {
    for (unsigned i = 0; i < 4; ++i)
        bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

} // namespace

Command Command::parse(const std::uint8_t *bytes) {
    Command command;
    command.opcode = bytes[0];
    command.flags = bytes[1];
    command.id = static_cast<std::uint16_t>(bytes[2] | bytes[3] << 8);
    command.nsid = word(bytes + 4);
    command.prp1 = word(bytes + 24) | static_cast<std::uint64_t>(word(bytes + 28)) << 32;
    command.prp2 = word(bytes + 32) | static_cast<std::uint64_t>(word(bytes + 36)) << 32;
    for (unsigned i = 0; i < 6; ++i)
        command.dw[i] = word(bytes + 40 + 4 * i);
    return command;
}

/// Takes what is in the queue. No more commands are under way than it has entries, so that a guest that does not read
/// its completions cannot make this process grow.
void NvmeController::fetch(SubmissionQueue &queue) {
    while (ready() && queue.holds_commands()) {
        std::uint8_t bytes[kCommandSize];
        if (dma_read(queue.base + std::uint64_t{queue.head} * kCommandSize, bytes, sizeof bytes) != core::MemTxResult::kOk)
            return fatal("a submission queue is not in memory");
        queue.head = (queue.head + 1) % queue.size;
        ++queue.outstanding;
        const Command command = Command::parse(bytes);
        if (queue.id == 0)
            execute_admin(command);
        else
            execute_io(queue, command);
    }
}

void NvmeController::complete(const Completion &completion) {
    SubmissionQueue *const from = submission_[completion.sq].get();
    CompletionQueue *const to = from ? completion_[from->cq].get() : nullptr;
    if (!to)
        return; // the queue went away: the host does not listen any more
    to->waiting.push_back(completion);
    deliver(*to);
}

/// Posts completions for which there is room, and interrupts.
void NvmeController::deliver(CompletionQueue &queue) {
    bool posted = false;
    while (!queue.waiting.empty() && !queue.full() && ready()) {
        const Completion completion = queue.waiting.front();
        queue.waiting.pop_front();
        SubmissionQueue *const from = submission_[completion.sq].get();
        std::uint8_t bytes[12] = {};
        put(bytes, completion.result);
        put(bytes + 8, (from ? from->head : 0) | static_cast<std::uint32_t>(completion.sq) << 16);
        const core::hwaddr at = queue.base + std::uint64_t{queue.tail} * kCompletionSize;
        core::MemTxResult result = dma_write(at, bytes, sizeof bytes);
        // The phase goes last, in one store: a driver on another CPU polls it.
        if (result == core::MemTxResult::kOk)
            dma_space().store(at + 12, completion.command | static_cast<std::uint32_t>(completion.status) << 17 | (queue.phase ? 1u << 16 : 0u), 4, &result);
        if (result != core::MemTxResult::kOk)
            return fatal("a completion queue is not in memory");
        if (++queue.tail == queue.size) {
            queue.tail = 0;
            queue.phase = !queue.phase;
        }
        posted = true;
        if (from)
            request_done(*from);
    }
    if (!posted || !queue.interrupts || !msix_->notify(queue.vector))
        update_intx();
}

/// A command's completion is in guest memory: there is room for another, or the queue can go at last.
void NvmeController::request_done(SubmissionQueue &queue) {
    --queue.outstanding;
    if (queue.deleted_by && queue.outstanding == 0) {
        const Completion completion{.sq = 0, .command = *queue.deleted_by};
        submission_[queue.id].reset();
        complete(completion);
    } else if (queue.outstanding + 1 == queue.size) {
        fetch(queue);
    }
}

/// The interrupt pin, while MSI-X is off: up while a queue has entries that the host has not seen (7.5.1.1).
void NvmeController::update_intx() {
    bool level = false;
    if (msix_ && !msix_->enabled()) {
        for (const auto &queue : completion_)
            level |= queue && queue->interrupts && queue->unread() && !(queue->vector < 32 && (interrupt_mask_ >> queue->vector & 1));
    }
    set_intx(level);
}

// ---- queue commands -------------------------------------------------------------------------------------------------

namespace {
struct QueueRequest {
    std::uint16_t id;
    std::uint32_t size;
    bool contiguous;
    std::uint16_t second; ///< completion queue, or interrupt vector
};
QueueRequest parse(const Command &command) {
    return {static_cast<std::uint16_t>(command.dw[0]), (command.dw[0] >> 16) + 1, (command.dw[1] & 1) != 0,
            static_cast<std::uint16_t>(command.dw[1] >> 16)};
}
template <typename Queues> std::uint16_t check_new(const Queues &queues, const QueueRequest &request, const Command &command, std::uint32_t page) {
    if (request.id == 0 || request.id >= queues.size() || queues[request.id])
        return kInvalidQueueId | kDoNotRetry;
    if (request.size < 2 || request.size > kMaxQueueEntries)
        return kInvalidQueueSize | kDoNotRetry;
    if (!request.contiguous)
        return kInvalidField | kDoNotRetry;
    if (command.prp1 == 0 || command.prp1 % page != 0)
        return kInvalidPrpOffset | kDoNotRetry;
    return kSuccess;
}
} // namespace

NvmeController::Outcome NvmeController::create_completion_queue(const Command &command) {
    const QueueRequest request = parse(command);
    if (const auto status = check_new(completion_, request, command, page_size()))
        return {status};
    if (request.second >= vectors_)
        return {kInvalidInterruptVector | kDoNotRetry};
    if (cc_completion_shift(configuration_) != kCompletionShift)
        return {kInvalidQueueSize | kDoNotRetry};
    auto queue = std::make_unique<CompletionQueue>();
    queue->id = request.id;
    queue->size = request.size;
    queue->base = command.prp1;
    queue->vector = request.second;
    queue->interrupts = command.dw[1] & 2;
    completion_[request.id] = std::move(queue);
    return {};
}

NvmeController::Outcome NvmeController::create_submission_queue(const Command &command) {
    const QueueRequest request = parse(command);
    if (request.second == 0 || request.second >= completion_.size() || !completion_[request.second])
        return {kCompletionQueueInvalid | kDoNotRetry};
    if (const auto status = check_new(submission_, request, command, page_size()))
        return {status};
    if (cc_command_shift(configuration_) != kCommandShift)
        return {kInvalidQueueSize | kDoNotRetry};
    auto queue = std::make_unique<SubmissionQueue>();
    queue->id = request.id;
    queue->cq = request.second;
    queue->size = request.size;
    queue->base = command.prp1;
    submission_[request.id] = std::move(queue);
    return {};
}

NvmeController::Outcome NvmeController::delete_completion_queue(const Command &command) {
    const auto id = static_cast<std::uint16_t>(command.dw[0]);
    if (id == 0 || id >= completion_.size() || !completion_[id])
        return {kInvalidQueueId | kDoNotRetry};
    if (std::ranges::any_of(submission_, [id](const auto &queue) { return queue && queue->id != 0 && queue->cq == id; }))
        return {kInvalidQueueDeletion | kDoNotRetry};
    completion_[id].reset();
    update_intx();
    return {};
}

/// Done when every command that was fetched from the queue is (5.6).
NvmeController::Outcome NvmeController::delete_submission_queue(const Command &command) {
    const auto id = static_cast<std::uint16_t>(command.dw[0]);
    if (id == 0 || id >= submission_.size() || !submission_[id] || submission_[id]->deleted_by)
        return {kInvalidQueueId | kDoNotRetry};
    if (submission_[id]->outstanding > 0) {
        submission_[id]->deleted_by = command.id;
        return {.later = true};
    }
    submission_[id].reset();
    return {};
}

} // namespace rhea::hw::nvme
