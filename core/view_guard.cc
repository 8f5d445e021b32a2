// Reclaiming of flat views: every reader thread has a slot with the epoch in which it last was quiescent; a retired view is freed
// once all active slots are newer than its retirement.
#include "core/flat_view.h"

#include <cstdlib>
#include <mutex>

namespace rhea::core {
namespace {

struct ReaderSlot {
    std::atomic<std::uint64_t> epoch{0}; ///< 0: not reading
    std::atomic<bool> taken{false};
};

constexpr std::size_t kMaxReaders = 1024;

/// Process-wide, since threads are: views of all address spaces share one epoch.
struct Reclaimer {
    std::atomic<std::uint64_t> epoch{1};
    ReaderSlot slots[kMaxReaders];
    std::mutex mutex;
    std::vector<std::pair<std::uint64_t, const FlatView *>> retired;

    void collect() {
        std::uint64_t oldest = ~0ull;
        for (const ReaderSlot &slot : slots) {
            const std::uint64_t seen = slot.epoch.load(std::memory_order_seq_cst);
            if (seen && seen < oldest)
                oldest = seen;
        }
        std::erase_if(retired, [&](const auto &entry) {
            if (entry.first >= oldest)
                return false;
            delete entry.second;
            return true;
        });
    }
};

Reclaimer &reclaimer() {
    static Reclaimer *instance = new Reclaimer; // outlives all threads
    return *instance;
}

struct ThreadSlot {
    ReaderSlot *slot = nullptr;
    unsigned depth = 0;
    ~ThreadSlot() {
        if (slot)
            slot->taken.store(false, std::memory_order_release);
    }
    ReaderSlot *get() {
        if (slot)
            return slot;
        for (ReaderSlot &candidate : reclaimer().slots) {
            bool expected = false;
            if (candidate.taken.compare_exchange_strong(expected, true)) {
                slot = &candidate;
                return slot;
            }
        }
        return nullptr; // more than kMaxReaders threads: collect() is held off below
    }
};
thread_local ThreadSlot t_slot;

} // namespace

ViewGuard::ViewGuard() {
    if (t_slot.depth++ == 0) {
        ReaderSlot *slot = t_slot.get();
        if (!slot)
            std::abort(); // 1,024 reader threads is a bug of ours, not something a guest can cause
        slot->epoch.store(reclaimer().epoch.load(std::memory_order_acquire), std::memory_order_seq_cst);
    }
}

ViewGuard::~ViewGuard() {
    if (--t_slot.depth == 0)
        t_slot.slot->epoch.store(0, std::memory_order_release);
}

void ViewGuard::quiescent() {
    if (t_slot.depth == 1)
        t_slot.slot->epoch.store(reclaimer().epoch.load(std::memory_order_acquire), std::memory_order_seq_cst);
}

void retire_view(const FlatView *view) {
    Reclaimer &all = reclaimer();
    std::lock_guard lock(all.mutex);
    all.retired.emplace_back(all.epoch.fetch_add(1, std::memory_order_seq_cst), view);
    all.collect();
}

} // namespace rhea::core
