// NVMe controller: the admin command table, Abort, asynchronous events, log pages (chapter 5).
#include "hw/nvme/nvme_controller.h"
#include "rhea/util/log.h"

#include <algorithm>

namespace rhea::hw::nvme {

struct NvmeController::AdminRow {
    AdminOpcode opcode;
    Outcome (NvmeController::*run)(const Command &command);
};

const NvmeController::AdminRow NvmeController::kAdminCommands[] = {
    {kDeleteSq, &NvmeController::delete_submission_queue},
    {kCreateSq, &NvmeController::create_submission_queue},
    {kGetLogPage, &NvmeController::get_log_page},
    {kDeleteCq, &NvmeController::delete_completion_queue},
    {kCreateCq, &NvmeController::create_completion_queue},
    {kIdentify, &NvmeController::identify},
    {kAbort, &NvmeController::abort_command},
    {kSetFeatures, &NvmeController::set_features},
    {kGetFeatures, &NvmeController::get_features},
    {kAsyncEvent, &NvmeController::async_event},
};

namespace {
constexpr std::size_t kMaxEventCommands = 4; ///< Identify Controller: AERL + 1
constexpr std::size_t kMaxEvents = 16;
// Log pages (5.14.1)
constexpr std::uint8_t kErrorLog = 1, kHealthLog = 2, kFirmwareLog = 3, kChangedNamespaceLog = 4, kEffectsLog = 5;
} // namespace

void NvmeController::execute_admin(const Command &command) {
    const auto row = std::ranges::find(kAdminCommands, static_cast<AdminOpcode>(command.opcode), &AdminRow::opcode);
    Outcome outcome{kInvalidOpcode | kDoNotRetry};
    if (command.flags & 3) // fused
        outcome = {kInvalidField | kDoNotRetry};
    else if (row != std::end(kAdminCommands))
        outcome = (this->*row->run)(command);
    else
        util::log_write(util::kLogUnimp, "nvme: admin command {:#04x} is not there\n", command.opcode);
    if (!outcome.later)
        complete({.sq = 0, .command = command.id, .status = outcome.status, .result = outcome.result});
}

/// Commands are too quick to be caught: bit 0 says "not aborted" (5.1).
NvmeController::Outcome NvmeController::abort_command(const Command &) { return {.result = 1}; }

// ---- asynchronous events (5.2) --------------------------------------------------------------------------------------

NvmeController::Outcome NvmeController::async_event(const Command &command) {
    if (event_commands_.size() >= kMaxEventCommands)
        return {kAsyncEventLimit | kDoNotRetry};
    event_commands_.push_back(command.id);
    --submission_[0]->outstanding; // it waits for long, and is no burden to the queue
    send_events();
    return {.later = true};
}

void NvmeController::report_event(AsyncEvent event) {
    if (events_.size() < kMaxEvents)
        events_.push_back(event);
    send_events();
}

/// One event of a type, until the host has read the log that it names.
void NvmeController::send_events() {
    for (auto event = events_.begin(); event != events_.end() && !event_commands_.empty();) {
        if (masked_events_ >> event->type & 1) {
            ++event;
            continue;
        }
        masked_events_ |= static_cast<std::uint8_t>(1u << event->type);
        const std::uint16_t command = event_commands_.front();
        event_commands_.erase(event_commands_.begin());
        const std::uint32_t code = event->code();
        event = events_.erase(event);
        ++submission_[0]->outstanding;
        complete({.sq = 0, .command = command, .result = code});
    }
}

// ---- log pages ------------------------------------------------------------------------------------------------------

NvmeController::Outcome NvmeController::get_log_page(const Command &command) {
    const auto log = static_cast<std::uint8_t>(command.dw[0]);
    const bool keep_event = command.dw[0] >> 15 & 1;
    const std::uint64_t bytes = ((command.dw[0] >> 16 | static_cast<std::uint64_t>(command.dw[1] & 0xffff) << 16) + 1) * 4;
    const std::uint64_t offset = command.dw[2] | static_cast<std::uint64_t>(command.dw[3]) << 32;
    std::vector<std::uint8_t> page;
    std::uint8_t event_type = 0;
    switch (log) {
    case kErrorLog:
        page.resize(64); // no entry
        break;
    case kHealthLog: {
        event_type = 1;
        page.resize(512);
        constexpr std::uint16_t kKelvin = 323;
        page[1] = kKelvin & 0xff;
        page[2] = kKelvin >> 8;
        page[3] = 100; // spare
        page[4] = 10;  // its threshold
        break;
    }
    case kFirmwareLog:
        page.resize(512);
        page[0] = 1; // slot 1 is active
        std::copy_n("1.0     ", 8, page.begin() + 8);
        break;
    case kChangedNamespaceLog:
        event_type = 2;
        page.resize(4096);
        page[0] = namespace_changed_ ? kNamespace : 0;
        if (!keep_event)
            namespace_changed_ = false;
        break;
    case kEffectsLog: {
        page.resize(4096);
        const auto supported = [&](std::size_t at, bool changes_data) { page[at * 4] = changes_data ? 3 : 1; };
        for (const AdminRow &row : kAdminCommands)
            supported(row.opcode, false);
        for (const std::uint8_t opcode : {kFlush, kRead, kCompare})
            supported(256u + opcode, false);
        for (const std::uint8_t opcode : {kWrite, kWriteZeroes, kDatasetManagement})
            supported(256u + opcode, true);
        break;
    }
    default:
        return {kInvalidLogPage | kDoNotRetry};
    }
    if (offset >= page.size() || offset % 4 != 0)
        return {kInvalidField | kDoNotRetry};
    const std::uint64_t count = std::min<std::uint64_t>(bytes, page.size() - offset);
    const Outcome outcome = send(command, std::span(page).subspan(offset, count));
    if (outcome.status == kSuccess && !keep_event) {
        masked_events_ &= static_cast<std::uint8_t>(~(1u << event_type));
        send_events();
    }
    return outcome;
}

} // namespace rhea::hw::nvme
