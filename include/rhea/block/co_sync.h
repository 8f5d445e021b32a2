// Coroutine-level synchronisation inside one IoContext: no threads, no host locks.
#pragma once
#include <coroutine>
#include <cstdint>
#include <deque>

#include "rhea/block/task.h"

namespace rhea::block {

/// Mutual exclusion over suspension points; first come, first served.
///
///     co_await mutex.lock();
///     ...
///     mutex.unlock();
class CoMutex {
public:
    auto lock() {
        struct Awaiter {
            CoMutex &mutex;
            bool await_ready() noexcept {
                if (mutex.locked_)
                    return false;
                return mutex.locked_ = true;
            }
            void await_suspend(std::coroutine_handle<> handle) { mutex.waiters_.push_back(handle); }
            void await_resume() noexcept {}
        };
        return Awaiter{*this};
    }
    /// Hands the lock to the first who waits, who goes on at once.
    void unlock() {
        if (waiters_.empty()) {
            locked_ = false;
            return;
        }
        std::coroutine_handle<> next = waiters_.front();
        waiters_.pop_front();
        next.resume();
    }
    bool locked() const { return locked_; }

private:
    bool locked_ = false;
    std::deque<std::coroutine_handle<>> waiters_;
};

/// Coroutines that wait until somebody wakes them all; they look again at what they wait for.
class CoQueue {
public:
    auto wait() {
        struct Awaiter {
            CoQueue &queue;
            bool await_ready() noexcept { return false; }
            void await_suspend(std::coroutine_handle<> handle) { queue.waiters_.push_back(handle); }
            void await_resume() noexcept {}
        };
        return Awaiter{*this};
    }
    void wake_all() {
        std::deque<std::coroutine_handle<>> woken;
        woken.swap(waiters_);
        for (std::coroutine_handle<> handle : woken)
            handle.resume();
    }
    bool empty() const { return waiters_.empty(); }

private:
    std::deque<std::coroutine_handle<>> waiters_;
};

} // namespace rhea::block
