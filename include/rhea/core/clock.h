// Clocks and timers: nanoseconds everywhere, a timer heap on a timerfd in the main loop.
//
// kVirtual stops while the VM is stopped; kHost is the wall clock; kRealtime is CLOCK_MONOTONIC.
// Timers fire in the main thread under the machine lock. now() may be called from any thread.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace rhea::core {

enum class ClockType : std::uint8_t { kVirtual, kHost, kRealtime };

inline constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

class TimerQueue;

/// One machine's clocks. Owned by the machine; the main loop drives it.
class Clocks {
public:
    Clocks();
    ~Clocks();
    Clocks(const Clocks &) = delete;
    Clocks &operator=(const Clocks &) = delete;

    /// Nanoseconds of that clock.
    std::int64_t now(ClockType type) const;
    std::int64_t virtual_ns() const { return now(ClockType::kVirtual); }

    /// Stops and continues kVirtual (under the machine lock).
    void set_running(bool running);
    bool running() const;
    /// For restoring a snapshot: kVirtual continues from `ns`.
    void set_virtual_ns(std::int64_t ns);

    /// A file descriptor that becomes readable when run_expired() has work (timerfd).
    int fd() const;
    /// Runs what has expired; returns how many fired. Main thread (or a test, which then needs no
    /// event loop); takes the machine lock. A timer that its callback arms in the past fires in the
    /// next call, so that the main loop gets its turn.
    int run_expired();
    /// Tests: all clocks show the same time, which passes only by advance().
    void use_manual_time(std::int64_t start_ns = 0);
    void advance(std::int64_t ns); ///< fires what expires on the way, in order

private:
    friend class Timer;
    std::unique_ptr<TimerQueue> queue_;
};

/// A one-shot timer; re-arm it in its callback for periodic work, but do not destroy it there. Safe
/// to arm and disarm under the machine lock from any thread. Equal deadlines fire in order of arming.
class Timer {
public:
    Timer(Clocks &clocks, ClockType type, std::function<void()> callback);
    ~Timer();
    Timer(const Timer &) = delete;
    Timer &operator=(const Timer &) = delete;

    void arm(std::int64_t deadline_ns); ///< absolute, in the timer's clock; past fires at once
    void disarm();
    bool armed() const { return armed_; }
    std::int64_t deadline_ns() const { return deadline_ns_; }

private:
    friend class TimerQueue;
    friend class TimerHeap;
    TimerQueue &queue_;
    ClockType type_;
    std::function<void()> callback_;
    std::int64_t deadline_ns_ = 0;
    std::uint64_t sequence_ = 0; ///< of the last arm()
    std::size_t heap_index_ = 0;
    bool armed_ = false;
};

} // namespace rhea::core
