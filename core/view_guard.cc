#include <algorithm>
#include <cassert>
#include <memory>
#include <mutex>
#include <vector>

#include "core/view_reclaim.h"

namespace rhea::core {
namespace {

/// What a thread tells the others. Written by its own thread alone.
struct Reader {
    std::atomic<std::uint64_t> epoch{0};  ///< noted epoch; 0: outside any guard
    unsigned depth = 0;
};

struct Retired {
    std::unique_ptr<const FlatView> view;
    std::uint64_t epoch;
};

struct Reclaimer {
    std::atomic<std::uint64_t> epoch{1};
    std::atomic<std::size_t> waiting{0};  ///< size of `retired`, readable without the mutex
    std::mutex mutex;
    std::vector<Reader*> readers;
    std::vector<Retired> retired;
};

/// Process-wide, because views are retired by any thread and read by any other; never destroyed,
/// because threads may end after main().
Reclaimer& reclaimer() {
    static auto& the_reclaimer = *new Reclaimer;
    return the_reclaimer;
}

/// Registers the thread on its first guard and takes it off when it ends.
struct Registration {
    Reader reader;

    Registration() {
        std::lock_guard lock(reclaimer().mutex);
        reclaimer().readers.push_back(&reader);
    }
    ~Registration() {
        std::lock_guard lock(reclaimer().mutex);
        std::erase(reclaimer().readers, &reader);
    }
};

Reader& this_reader() {
    thread_local Registration registration;
    return registration.reader;
}

/// Frees what no reader can hold. With the mutex held; the views die after it is released.
std::vector<Retired> collect(Reclaimer& r) {
    // Pairs with the fence in note_epoch(): either we see the reader's epoch here, or the reader,
    // which loads the view after its fence, sees what was published before this one.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::uint64_t oldest = ~0ull;
    for (const Reader* reader : r.readers) {
        const std::uint64_t epoch = reader->epoch.load(std::memory_order_acquire);
        if (epoch != 0) {
            oldest = std::min(oldest, epoch);
        }
    }
    auto still_used = std::ranges::partition_point(
        r.retired, [&](const Retired& retired) { return retired.epoch <= oldest; });
    std::vector<Retired> free(std::make_move_iterator(r.retired.begin()),
                              std::make_move_iterator(still_used));
    r.retired.erase(r.retired.begin(), still_used);
    r.waiting.store(r.retired.size(), std::memory_order_relaxed);
    return free;
}

void reclaim_some() {
    Reclaimer& r = reclaimer();
    if (r.waiting.load(std::memory_order_relaxed) == 0) {
        return;
    }
    std::vector<Retired> free;
    if (std::unique_lock lock(r.mutex, std::try_to_lock); lock.owns_lock()) {
        free = collect(r);
    }
}

void note_epoch(Reader& reader) {
    // Release: who sees the new epoch also sees this thread's last use of older views.
    reader.epoch.store(reclaimer().epoch.load(std::memory_order_acquire),
                       std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace

void retire_view(const FlatView* view) {
    Reclaimer& r = reclaimer();
    std::vector<Retired> free;
    std::lock_guard lock(r.mutex);
    const std::uint64_t epoch = r.epoch.fetch_add(1, std::memory_order_acq_rel) + 1;
    r.retired.push_back({std::unique_ptr<const FlatView>(view), epoch});
    free = collect(r);
}

std::size_t retired_view_count() {
    return reclaimer().waiting.load(std::memory_order_relaxed);
}

ViewGuard::ViewGuard() {
    Reader& reader = this_reader();
    if (reader.depth++ == 0) {
        note_epoch(reader);
    }
}

ViewGuard::~ViewGuard() {
    Reader& reader = this_reader();
    if (--reader.depth == 0) {
        reader.epoch.store(0, std::memory_order_release);
        reclaim_some();
    }
}

void ViewGuard::quiescent() {
    Reader& reader = this_reader();
    if (reader.depth == 0 || reader.epoch.load(std::memory_order_relaxed) ==
                                 reclaimer().epoch.load(std::memory_order_relaxed)) {
        return;
    }
    note_epoch(reader);
    reclaim_some();
}

}  // namespace rhea::core
