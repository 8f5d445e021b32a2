// Counters of a translated vCPU.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>

namespace rhea::accel {

/// Counters behind `info jit`. Written by the vCPU thread, read by anyone.
struct TcgCounters {
    std::atomic<std::uint64_t> blocks{0}, guest_insns{0}, guest_bytes{0}, host_bytes{0}, translate_ns{0};
    std::atomic<std::uint64_t> lookups{0}, jump_cache_misses{0}, chained{0}, exits{0};
    std::atomic<std::uint64_t> slow_loads{0}, slow_stores{0}, mmio{0}, code_writes{0}, restarts{0}, full_flushes{0}, slabs_dropped{0}, run_ns{0}, slow_ns{0};
    std::atomic<std::uint64_t> interrupts{0}, exceptions{0}, interpreted{0};
    /// Only the owning thread adds: no locked instruction needed.
    static void bump(std::atomic<std::uint64_t> &counter, std::uint64_t by = 1) {
        counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
    }
};

inline std::int64_t nanoseconds() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Adds the time that it lives to a counter; null: does not even look at the clock.
class TimeInto {
public:
    explicit TimeInto(std::atomic<std::uint64_t> *sum) : sum_(sum), start_(sum ? nanoseconds() : 0) {}
    ~TimeInto() {
        if (sum_)
            TcgCounters::bump(*sum_, static_cast<std::uint64_t>(nanoseconds() - start_));
    }
    TimeInto(const TimeInto &) = delete;
    TimeInto &operator=(const TimeInto &) = delete;

private:
    std::atomic<std::uint64_t> *sum_;
    std::int64_t start_;
};

} // namespace rhea::accel
