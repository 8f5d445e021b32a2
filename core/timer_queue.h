// The timers of a Clocks: a heap a clock, and the descriptor that wakes the main loop.
//
// The descriptor is an epoll set of two timerfds, one on CLOCK_MONOTONIC (virtual and realtime
// timers) and one on CLOCK_REALTIME (host timers), so that setting the host's clock moves the
// latter. A timerfd is set only for a deadline earlier than what it is set for: a guest that keeps
// moving a timer onwards costs no system calls. The mutex covers everything but now(); callbacks
// run without.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "rhea/core/clock.h"

namespace rhea::core {

/// A binary heap of armed timers, earliest first; each timer knows its place.
class TimerHeap {
  public:
    [[nodiscard]] bool empty() const { return timers_.empty(); }
    [[nodiscard]] Timer* first() const { return timers_.front(); }
    void insert(Timer& timer);
    void erase(Timer& timer);

  private:
    friend class TimerQueue;
    static bool before(const Timer& a, const Timer& b);
    void place(std::size_t index, Timer* timer);
    void sift_up(std::size_t index);
    void sift_down(std::size_t index);

    std::vector<Timer*> timers_;
};

class TimerQueue {
  public:
    TimerQueue();
    ~TimerQueue();
    TimerQueue(const TimerQueue&) = delete;
    TimerQueue& operator=(const TimerQueue&) = delete;

    [[nodiscard]] std::int64_t now(ClockType type) const;
    void set_running(bool running);
    [[nodiscard]] bool running() const { return running_.load(std::memory_order_acquire); }
    void set_virtual(std::int64_t ns);
    int fd();
    int run_expired();
    void use_manual(std::int64_t start);
    void advance(std::int64_t ns);
    void arm(Timer& timer, std::int64_t deadline);
    void disarm(Timer& timer);

  private:
    friend class TimerHeap;
    static constexpr std::int64_t kNever = INT64_MAX;

    /// A timerfd and the deadline that it is set for.
    struct Alarm {
        int fd = -1;
        std::int64_t set_for = kNever;
        void program(std::int64_t deadline);
        void acknowledge();
    };

    TimerHeap& heap_of(const Timer& timer);
    [[nodiscard]] bool ticking(ClockType type) const;
    [[nodiscard]] std::int64_t first_deadline(ClockType type) const;
    Timer* take_due(std::uint64_t armed_before);
    void program();
    void reprogram();

    mutable std::mutex mutex_;
    std::array<TimerHeap, 3> heaps_;
    std::uint64_t next_sequence_ = 0;
    int epoll_fd_ = -1;
    Alarm monotonic_, realtime_;
    std::atomic<bool> running_{true}, manual_{false};
    /// kVirtual minus CLOCK_MONOTONIC while running; kVirtual itself while stopped.
    std::atomic<std::int64_t> virtual_offset_, stopped_at_{0};
    std::atomic<std::int64_t> manual_ns_{0};
};

}  // namespace rhea::core
