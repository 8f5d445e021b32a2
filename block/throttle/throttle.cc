// Leaky buckets: a request may go while the bucket is not over its brim, and then fills it; the bucket leaks at the average
// rate. With bursts the brim is a burst's worth, and a second, small bucket that leaks at the burst rate bounds the speed inside.
#include "rhea/block/throttle.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace rhea::block {
namespace {

using util::fail;
using util::Result;

constexpr std::array<std::string_view, ThrottleLimits::kKinds> kNames{"bps-total", "bps-read", "bps-write",
                                                                      "iops-total", "iops-read", "iops-write"};
constexpr std::uint64_t kMaxRate = 1'000'000'000'000'000ull;
/// Sleeps are cut, so that a drain does not wait for a long one.
constexpr std::int64_t kLongestSleep = 20'000'000;

std::int64_t now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

bool is_iops(unsigned kind) { return kind >= ThrottleLimits::kIopsTotal; }

} // namespace

bool ThrottleLimits::any() const {
    return std::any_of(rates.begin(), rates.end(), [](const Rate &rate) { return rate.average != 0; });
}

Result<void> ThrottleLimits::check(std::string_view prefix) const {
    for (const unsigned total : {ThrottleLimits::kBpsTotal, ThrottleLimits::kIopsTotal})
        if (rates[total].average && (rates[total + 1].average || rates[total + 2].average))
            return fail("{0}{1} cannot be used together with {0}{2} or {0}{3}", prefix, kNames[total], kNames[total + 1], kNames[total + 2]);
    for (unsigned kind = 0; kind < ThrottleLimits::kKinds; ++kind) {
        const ThrottleLimits::Rate &rate = rates[kind];
        if (rate.average > kMaxRate || rate.burst > kMaxRate)
            return fail("{}{} may be up to {}", prefix, kNames[kind], kMaxRate);
        if (rate.burst && !rate.average)
            return fail("{0}{1}-max needs {0}{1}", prefix, kNames[kind]);
        if (rate.burst && rate.burst < rate.average)
            return fail("{0}{1}-max is less than {0}{1}", prefix, kNames[kind]);
        if (rate.burst_seconds == 0)
            return fail("{}{}-max-length must be at least 1", prefix, kNames[kind]);
        if (rate.burst_seconds > 1 && !rate.burst)
            return fail("{0}{1}-max-length needs {0}{1}-max", prefix, kNames[kind]);
        if (rate.burst && rate.burst_seconds > kMaxRate / rate.burst)
            return fail("{0}{1}-max times {0}{1}-max-length is too large", prefix, kNames[kind]);
    }
    if (iops_size) {
        bool limits_iops = false;
        for (unsigned kind = ThrottleLimits::kIopsTotal; kind < ThrottleLimits::kKinds; ++kind)
            limits_iops = limits_iops || rates[kind].average;
        if (!limits_iops)
            return fail("{}iops-size needs a limit of iops", prefix);
    }
    return {};
}

Result<ThrottleLimits> ThrottleLimits::take(NodeOptions &options, std::string_view prefix) {
    ThrottleLimits limits;
    const auto take_number = [&](std::string_view name, std::string_view suffix, std::uint64_t &value) -> Result<void> {
        auto taken = options.take_unsigned(fmt::format("{}{}{}", prefix, name, suffix), value);
        if (!taken)
            return fail(taken.error());
        value = *taken;
        return {};
    };
    for (unsigned kind = 0; kind < kKinds; ++kind) {
        Rate &rate = limits.rates[kind];
        if (auto done = take_number(kNames[kind], "", rate.average); !done)
            return fail(done.error());
        if (auto done = take_number(kNames[kind], "-max", rate.burst); !done)
            return fail(done.error());
        if (auto done = take_number(kNames[kind], "-max-length", rate.burst_seconds); !done)
            return fail(done.error());
    }
    if (auto done = take_number("iops-size", "", limits.iops_size); !done)
        return fail(done.error());
    if (auto valid = limits.check(prefix); !valid)
        return fail(valid.error());
    return limits;
}

ThrottleLimits ThrottleGroup::limits() const {
    const std::lock_guard guard(mutex_);
    return limits_;
}

void ThrottleGroup::set_limits(const ThrottleLimits &limits) {
    const std::lock_guard guard(mutex_);
    limits_ = limits;
    buckets_ = {};
}

void ThrottleGroup::leak(std::int64_t now) {
    const double seconds = last_ns_ == 0 ? 0 : static_cast<double>(std::max<std::int64_t>(now - last_ns_, 0)) / 1e9;
    last_ns_ = now;
    for (unsigned kind = 0; kind < ThrottleLimits::kKinds; ++kind) {
        const ThrottleLimits::Rate &rate = limits_.rates[kind];
        Bucket &bucket = buckets_[kind];
        bucket.level = std::max(0.0, bucket.level - static_cast<double>(rate.average) * seconds);
        bucket.burst_level = std::max(0.0, bucket.burst_level - static_cast<double>(rate.burst) * seconds);
    }
}

double ThrottleGroup::wait_seconds(ThrottleLimits::Kind kind) const {
    const ThrottleLimits::Rate &rate = limits_.rates[kind];
    if (rate.average == 0)
        return 0;
    const Bucket &bucket = buckets_[kind];
    const auto average = static_cast<double>(rate.average), burst = static_cast<double>(rate.burst);
    const double brim = rate.burst ? burst * static_cast<double>(rate.burst_seconds) : average / 10;
    double wait = std::max(0.0, (bucket.level - brim) / average);
    if (rate.burst && rate.burst_seconds > 1)
        wait = std::max(wait, (bucket.burst_level - burst / 10) / burst);
    return wait;
}

std::int64_t ThrottleGroup::admit(bool is_write, std::uint64_t bytes, std::int64_t now) {
    const std::lock_guard guard(mutex_);
    leak(now);
    double wait = 0;
    const auto concerned = [&](unsigned kind) { return kind % 3 == 0 || (kind % 3 == 2) == is_write; };
    for (unsigned kind = 0; kind < ThrottleLimits::kKinds; ++kind)
        if (concerned(kind))
            wait = std::max(wait, wait_seconds(static_cast<ThrottleLimits::Kind>(kind)));
    if (wait > 0)
        return std::max<std::int64_t>(1, static_cast<std::int64_t>(wait * 1e9));
    const double requests = limits_.iops_size && bytes > limits_.iops_size
                                ? static_cast<double>(bytes) / static_cast<double>(limits_.iops_size)
                                : 1.0;
    for (unsigned kind = 0; kind < ThrottleLimits::kKinds; ++kind)
        if (concerned(kind)) {
            const double units = is_iops(kind) ? requests : static_cast<double>(bytes);
            buckets_[kind].level += units;
            buckets_[kind].burst_level += units;
        }
    return 0;
}

Task<void> Throttle::pass(IoContext &context, bool is_write, std::uint64_t bytes) {
    CoMutex &turn = turns_[is_write];
    co_await turn.lock();
    while (!open_.load(std::memory_order_relaxed)) {
        const std::int64_t wait = group_->admit(is_write, bytes, now_ns());
        if (wait == 0)
            break;
        co_await context.sleep(std::min(wait, kLongestSleep));
    }
    turn.unlock();
}

} // namespace rhea::block
