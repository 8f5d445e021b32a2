// Queues of an NVMe controller: where they lie in guest memory and how far both sides are.
#pragma once
#include "hw/nvme/nvme_spec.h"
#include "rhea/core/archive.h"
#include "rhea/core/types.h"

#include <cstdint>
#include <deque>
#include <optional>

namespace rhea::hw::nvme {

struct Completion {
    std::uint16_t sq = 0, command = 0, status = 0;
    std::uint32_t result = 0;
};

struct SubmissionQueue {
    std::uint16_t id = 0, cq = 0;
    std::uint32_t size = 0, head = 0, tail = 0; ///< entries
    core::hwaddr base = 0;
    std::uint32_t outstanding = 0; ///< fetched, and their completion is not in guest memory yet
    std::optional<std::uint16_t> deleted_by; ///< the Delete command that waits for them

    bool holds_commands() const { return head != tail && !deleted_by && outstanding < size; }
};

struct CompletionQueue {
    std::uint16_t id = 0, vector = 0;
    bool interrupts = false;
    bool phase = true;
    std::uint32_t size = 0, head = 0, tail = 0;
    core::hwaddr base = 0;
    std::deque<Completion> waiting; ///< for room

    bool full() const { return (tail + 1) % size == head; }
    bool unread() const { return head != tail; }
};

} // namespace rhea::hw::nvme
