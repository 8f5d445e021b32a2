#include "rhea/core/machine_lock.h"

#include <atomic>
#include <cassert>
#include <cstdint>
#include <thread>

namespace rhea::core {
namespace {

/// Looks before sleeping; some 20 microseconds.
constexpr unsigned kSpinTurns = 1000;

void spin_pause() {
#ifdef __x86_64__
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
}

/// A mutex whose waiters look for a while before they sleep. It is held for about a microsecond at a time, and a guest that polls a
/// register takes it again at once: who sleeps (a wake-up takes tens of microseconds) would find it taken each time that it wakes,
/// so that what the guest polls for comes hundreds of microseconds late.
class SpinThenSleep {
public:
    bool try_lock() {
        State free = kFree;
        return state_.compare_exchange_strong(free, kTaken, std::memory_order_acquire, std::memory_order_relaxed);
    }
    void lock() {
        if (!try_lock())
            lock_slowly();
    }
    void unlock() {
        if (state_.exchange(kFree, std::memory_order_release) == kTakenWithSleepers)
            state_.notify_one();
    }

private:
    using State = std::uint32_t;
    static constexpr State kFree = 0, kTaken = 1, kTakenWithSleepers = 2;

    void lock_slowly() {
        State next = kTaken;
        for (;;) {
            for (unsigned i = 0; i < kSpinTurns; ++i) {
                State free = kFree;
                if (state_.load(std::memory_order_relaxed) == kFree &&
                    state_.compare_exchange_strong(free, next, std::memory_order_acquire, std::memory_order_relaxed))
                    return;
                spin_pause();
            }
            if (state_.exchange(kTakenWithSleepers, std::memory_order_acquire) == kFree)
                return;
            state_.wait(kTakenWithSleepers, std::memory_order_relaxed);
            next = kTakenWithSleepers; // others may sleep still
        }
    }

    std::atomic<State> state_{kFree};
};

// One machine a process: the lock is process-wide by design, like the process's signal handlers.
SpinThenSleep g_lock;
thread_local unsigned t_depth = 0;

} // namespace

void MachineLock::acquire() {
    if (t_depth++ == 0)
        g_lock.lock();
}

bool MachineLock::try_acquire() {
    if (t_depth == 0 && !g_lock.try_lock())
        return false;
    ++t_depth;
    return true;
}

void MachineLock::release() {
    assert(t_depth > 0);
    if (--t_depth == 0)
        g_lock.unlock();
}

bool MachineLock::held_by_this_thread() { return t_depth != 0; }

} // namespace rhea::core
