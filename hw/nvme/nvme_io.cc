// NVMe controller: commands for the namespace (chapter 6).
#include "hw/nvme/nvme_controller.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace rhea::hw::nvme {
namespace {

constexpr std::size_t kRangeSize = 16; ///< of Dataset Management: attributes, length, first block

std::uint64_t number(const std::uint8_t *bytes, unsigned size) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i)
        value |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
    return value;
}

bool is_read(std::uint8_t opcode) { return opcode == kRead || opcode == kCompare; }

std::uint16_t status_of(std::uint8_t opcode, int code) {
    switch (code) {
    case ENOSPC:
        return kCapacityExceeded;
    case EPERM:
    case EROFS:
        return kWriteProtected | kDoNotRetry;
    default:
        return is_read(opcode) ? kUnrecoveredRead : opcode == kWrite || opcode == kWriteZeroes ? kWriteFault : kInternalError;
    }
}

} // namespace

std::uint16_t NvmeController::check_range(std::uint64_t lba, std::uint64_t blocks) const {
    const std::uint64_t all = namespace_blocks();
    return lba >= all || blocks > all - lba ? std::uint16_t{kLbaOutOfRange | kDoNotRetry} : std::uint16_t{kSuccess};
}

void NvmeController::execute_io(SubmissionQueue &queue, const Command &command) {
    auto request = std::make_shared<Request>();
    request->sq = queue.id;
    request->command = command;
    if (const auto status = prepare(*request))
        complete({.sq = queue.id, .command = command.id, .status = status});
    else
        start(std::move(request));
}

/// Checks a command and finds its data.
std::uint16_t NvmeController::prepare(Request &request) {
    const Command &command = request.command;
    if (command.flags & 3) // fused
        return kInvalidField | kDoNotRetry;
    const bool known = command.opcode == kFlush || command.opcode == kWrite || command.opcode == kRead || command.opcode == kCompare ||
                       command.opcode == kWriteZeroes || command.opcode == kDatasetManagement;
    if (!known)
        return kInvalidOpcode | kDoNotRetry;
    if (command.nsid != kNamespace && !(command.opcode == kFlush && command.nsid == kAllNamespaces))
        return kInvalidNamespace | kDoNotRetry;
    switch (command.opcode) {
    case kFlush:
        return kSuccess;
    case kWriteZeroes:
        return check_range(command.lba(), command.blocks());
    case kDatasetManagement: {
        const std::size_t ranges = (command.dw[0] & 0xff) + 1;
        if (const auto status = map(command, ranges * kRangeSize, false, request.data))
            return status;
        request.bytes.resize(ranges * kRangeSize);
        request.data.read(0, request.bytes.data(), request.bytes.size());
        for (std::size_t at = 0; at < request.bytes.size(); at += kRangeSize) {
            const std::uint8_t *const range = &request.bytes[at];
            if (number(range + 4, 4) > 0) {
                if (const auto status = check_range(number(range + 8, 8), number(range + 4, 4)))
                    return status;
            }
        }
        return kSuccess;
    }
    default: {
        const std::uint64_t bytes = std::uint64_t{command.blocks()} << block_shift_;
        if (max_transfer_shift_ && bytes > std::uint64_t{kPageMin} << max_transfer_shift_)
            return kInvalidField | kDoNotRetry;
        if (const auto status = check_range(command.lba(), command.blocks()))
            return status;
        return map(command, bytes, command.opcode == kRead, request.data);
    }
    }
}

void NvmeController::start(std::shared_ptr<Request> request) {
    Request &work = *request;
    io_->start([this, &work] { return perform(work); },
               [this, request = std::move(request)](const block::Result<void> &result) { ended(request, result); });
}

/// In the back end's context; the request does not change meanwhile.
block::Task<block::Result<void>> NvmeController::perform(Request &request) {
    const Command &command = request.command;
    const std::uint64_t offset = command.lba() << block_shift_, bytes = std::uint64_t{command.blocks()} << block_shift_;
    block::BlockBackend &disk = io_->disk();
    switch (command.opcode) {
    case kRead: {
        const block::IoVector to = request.data.vector(0, request.data.size());
        block::Task<block::Result<void>> task = disk.read(offset, to);
        co_return co_await task;
    }
    case kWrite: {
        const block::IoVector from = request.data.vector(0, request.data.size());
        block::Task<block::Result<void>> task = disk.write(offset, from, command.force_unit_access() ? block::kFua : block::kNoFlags);
        co_return co_await task;
    }
    case kWriteZeroes: {
        const unsigned flags = (command.deallocate() ? block::kMayUnmap : 0u) | (command.force_unit_access() ? block::kFua : 0u);
        block::Task<block::Result<void>> task = disk.write_zeroes(offset, bytes, flags);
        co_return co_await task;
    }
    case kCompare: {
        block::Task<block::Result<void>> task = compare(request);
        co_return co_await task;
    }
    case kDatasetManagement: {
        block::Task<block::Result<void>> task = deallocate(request);
        co_return co_await task;
    }
    default: {
        block::Task<block::Result<void>> task = disk.flush();
        co_return co_await task;
    }
    }
}

block::Task<block::Result<void>> NvmeController::compare(Request &request) {
    request.bytes.resize(request.data.size());
    const block::IoVector to(request.bytes.data(), request.bytes.size());
    block::Task<block::Result<void>> task = io_->disk().read(request.command.lba() << block_shift_, to);
    block::Result<void> done = co_await task;
    if (!done)
        co_return done;
    std::vector<std::uint8_t> expected(request.data.size());
    request.data.read(0, expected.data(), expected.size());
    request.status = expected == request.bytes ? std::uint16_t{kSuccess} : std::uint16_t{kCompareFailure | kDoNotRetry};
    co_return done;
}

/// Without the attribute "deallocate" the ranges are hints about access, which change nothing.
block::Task<block::Result<void>> NvmeController::deallocate(Request &request) {
    constexpr std::uint32_t kDeallocate = 1u << 2;
    if (!(request.command.dw[1] & kDeallocate))
        co_return block::Result<void>{};
    for (std::size_t at = 0; at < request.bytes.size(); at += kRangeSize) {
        const std::uint64_t blocks = number(&request.bytes[at] + 4, 4), lba = number(&request.bytes[at] + 8, 8);
        if (blocks == 0)
            continue;
        block::Task<block::Result<void>> task = io_->disk().discard(lba << block_shift_, blocks << block_shift_);
        block::Result<void> done = co_await task;
        if (!done)
            co_return done;
    }
    co_return block::Result<void>{};
}

void NvmeController::ended(const std::shared_ptr<Request> &request, const block::Result<void> &result) {
    if (request->command.opcode == kRead)
        request->data.mark_written(0, request->data.size());
    if (disabling_) {
        if (io_->idle())
            disabled();
        return;
    }
    std::uint16_t status = request->status;
    if (!result) {
        const int code = result.error().code();
        switch (io_->disk().error_action(is_read(request->command.opcode), code)) {
        case block::ErrorAction::kStop:
            stopped_.push_back(request);
            return;
        case block::ErrorAction::kIgnore:
            break;
        case block::ErrorAction::kReport:
        case block::ErrorAction::kEnospc:
            status = status_of(request->command.opcode, code);
            break;
        }
    }
    complete({.sq = request->sq, .command = request->command.id, .status = status});
}

/// The machine goes on: what stopped it is done again, from the command, since the state may have been restored.
void NvmeController::resumed() {
    std::vector<std::shared_ptr<Request>> again;
    again.swap(stopped_);
    for (const auto &request : again) {
        request->data.clear();
        request->bytes.clear();
        request->status = kSuccess;
        if (const auto status = prepare(*request))
            complete({.sq = request->sq, .command = request->command.id, .status = status});
        else
            start(request);
    }
}

} // namespace rhea::hw::nvme
