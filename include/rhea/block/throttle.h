// Limits of bandwidth and of requests a second, for one drive or for a group of drives that share them.
//
// ThrottleGroup: any thread. Throttle: the thread of one IoContext.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "rhea/block/co_sync.h"
#include "rhea/block/io_context.h"
#include "rhea/block/options.h"

namespace rhea::block {

/// Averages in bytes or requests a second; 0: no limit.
struct ThrottleLimits {
    enum Kind : unsigned { kBpsTotal, kBpsRead, kBpsWrite, kIopsTotal, kIopsRead, kIopsWrite, kKinds };
    struct Rate {
        std::uint64_t average = 0;
        std::uint64_t burst = 0;          ///< rate of bursts; 0: a tenth of a second's worth at once
        std::uint64_t burst_seconds = 1;  ///< how long a burst may last
    };
    std::array<Rate, kKinds> rates;
    std::uint64_t iops_size = 0; ///< a larger request counts as several; 0: no

    bool any() const;
    /// Contradictions and numbers out of range; `prefix` is that of the options, for the sentence.
    util::Result<void> check(std::string_view prefix) const;
    /// Takes "<prefix>bps-total", "…-max", "…-max-length", …, "<prefix>iops-size" and checks them.
    static util::Result<ThrottleLimits> take(NodeOptions &options, std::string_view prefix);
};

class ThrottleGroup {
public:
    ThrottleGroup(std::string name, const ThrottleLimits &limits) : name_(std::move(name)), limits_(limits) {}
    const std::string &name() const { return name_; }
    ThrottleLimits limits() const;
    void set_limits(const ThrottleLimits &limits);
    /// Counts the request and returns 0, or says how many nanoseconds to wait before asking again.
    std::int64_t admit(bool is_write, std::uint64_t bytes, std::int64_t now_ns);

private:
    /// What went through and has not leaked yet, at the average rate and at the burst rate.
    struct Bucket {
        double level = 0, burst_level = 0;
    };
    void leak(std::int64_t now_ns);
    double wait_seconds(ThrottleLimits::Kind kind) const;

    std::string name_;
    mutable std::mutex mutex_;
    ThrottleLimits limits_;
    std::array<Bucket, ThrottleLimits::kKinds> buckets_;
    std::int64_t last_ns_ = 0;
};

/// One drive's way through its group: reads wait for reads before them, writes for writes.
class Throttle {
public:
    explicit Throttle(std::shared_ptr<ThrottleGroup> group) : group_(std::move(group)) {}
    ThrottleGroup &group() { return *group_; }
    /// Returns when the request may go.
    Task<void> pass(IoContext &context, bool is_write, std::uint64_t bytes);
    /// While open (a drain), nothing waits.
    void set_open(bool open) { open_.store(open, std::memory_order_relaxed); }

private:
    std::shared_ptr<ThrottleGroup> group_;
    std::array<CoMutex, 2> turns_;
    std::atomic<bool> open_{false};
};

} // namespace rhea::block
