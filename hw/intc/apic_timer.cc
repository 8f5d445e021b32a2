#include "hw/intc/apic_timer.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace rhea::hw {
namespace {

/// The host does not keep up with shorter periods; a guest that asks for one gets this.
constexpr std::int64_t kShortestPeriodNs = 20'000;
/// Above the longest period (2^32 counts, divided by 128, at 1 GHz).
constexpr std::int64_t kLongestPeriodNs = 600 * core::kNanosecondsPerSecond;
/// How far ahead a deadline is armed at most; on expiry it is looked at again.
constexpr std::int64_t kFarthestNs = 3600 * core::kNanosecondsPerSecond;

}  // namespace

ApicTimer::ApicTimer(core::Clocks& clocks, std::function<void()> expired)
    : clocks_(clocks),
      expired_(std::move(expired)),
      timer_(clocks, core::ClockType::kVirtual, [this] { on_expiry(); }) {}

void ApicTimer::reset() {
    timer_.disarm();
    mode_ = Mode::kOneShot;
    divide_configuration_ = 0;
    initial_count_ = 0;
    tsc_deadline_ = 0;
}

/// Nanoseconds a count, by the divide configuration register (SDM vol. 3, figure 11-10).
std::int64_t ApicTimer::tick_ns() const {
    const unsigned code = (divide_configuration_ & 3) | ((divide_configuration_ >> 1) & 4);
    const std::int64_t divisor = code == 7 ? 1 : std::int64_t{2} << code;
    return divisor * (core::kNanosecondsPerSecond / kBusHz);
}

std::int64_t ApicTimer::period_ns() const {
    return static_cast<std::int64_t>(initial_count_) * tick_ns();
}

std::uint32_t ApicTimer::current_count() const {
    if (initial_count_ == 0 || mode_ == Mode::kTscDeadline) {
        return 0;
    }
    std::int64_t elapsed = std::max<std::int64_t>(clocks_.virtual_ns() - start_ns_, 0);
    if (elapsed >= period_ns()) {
        if (mode_ != Mode::kPeriodic) {
            return 0;
        }
        elapsed %= period_ns();
    }
    return initial_count_ - static_cast<std::uint32_t>(elapsed / tick_ns());
}

void ApicTimer::set_mode(Mode mode) {
    if (mode == mode_) {
        return;
    }
    // 11.5.4.1: going to or from TSC-deadline mode disarms the timer.
    if (mode == Mode::kTscDeadline || mode_ == Mode::kTscDeadline) {
        initial_count_ = 0;
        tsc_deadline_ = 0;
    } else if (mode == Mode::kPeriodic && current_count() == 0) {
        initial_count_ = 0;  // it has run out; a new count starts it again
    }
    mode_ = mode;
    rearm();
}

void ApicTimer::set_divide_configuration(std::uint32_t value) {
    const std::uint32_t done = initial_count_ - current_count();
    divide_configuration_ = value & 0xb;
    start_ns_ = clocks_.virtual_ns() - static_cast<std::int64_t>(done) * tick_ns();
    rearm();
}

void ApicTimer::set_initial_count(std::uint32_t count) {
    if (mode_ == Mode::kTscDeadline) {
        return;  // 11.5.4.1: writes to the initial-count register are ignored
    }
    initial_count_ = count;
    start_ns_ = clocks_.virtual_ns();
    rearm();
}

void ApicTimer::set_tsc_deadline(std::uint64_t tsc) {
    if (mode_ != Mode::kTscDeadline) {
        return;  // 11.5.4.1: in other modes writes to IA32_TSC_DEADLINE are ignored
    }
    tsc_deadline_ = tsc;
    rearm();
}

void ApicTimer::rearm() {
    if (mode_ == Mode::kTscDeadline) {
        arm_tsc_deadline();
    } else if (initial_count_ == 0 || mode_ == Mode::kReserved) {
        timer_.disarm();
    } else if (mode_ == Mode::kOneShot) {
        if (current_count() == 0) {
            timer_.disarm();
        } else {
            timer_.arm(start_ns_ + period_ns());
        }
    } else {
        const std::int64_t elapsed = std::max<std::int64_t>(clocks_.virtual_ns() - start_ns_, 0);
        start_ns_ += elapsed / period_ns() * period_ns();
        timer_.arm(start_ns_ + std::max(period_ns(), kShortestPeriodNs));
    }
}

void ApicTimer::arm_tsc_deadline() {
    if (tsc_deadline_ == 0 || !tsc_ || tsc_->tsc_hz() == 0) {
        timer_.disarm();
        return;
    }
    const std::int64_t now = clocks_.virtual_ns();
    const std::uint64_t tsc = tsc_->tsc_now();
    if (tsc >= tsc_deadline_) {
        timer_.arm(now);
        return;
    }
    const unsigned __int128 wait = static_cast<unsigned __int128>(tsc_deadline_ - tsc) *
                                       core::kNanosecondsPerSecond / tsc_->tsc_hz() +
                                   1;
    timer_.arm(now + static_cast<std::int64_t>(std::min<unsigned __int128>(
                         wait, static_cast<std::uint64_t>(kFarthestNs))));
}

void ApicTimer::on_expiry() {
    if (mode_ == Mode::kTscDeadline) {
        if (tsc_deadline_ == 0 || !tsc_ || tsc_->tsc_now() < tsc_deadline_) {
            arm_tsc_deadline();
            return;
        }
        tsc_deadline_ = 0;
    } else if (mode_ == Mode::kPeriodic) {
        rearm();
    }
    expired_();
}

void ApicTimer::set_counts(const Counts& counts) {
    mode_ = counts.mode;
    divide_configuration_ = counts.divide_configuration & 0xb;
    initial_count_ = mode_ == Mode::kTscDeadline ? 0 : counts.initial_count;
    tsc_deadline_ = counts.tsc_deadline;
    const std::uint32_t left = std::min(counts.current_count, initial_count_);
    start_ns_ = clocks_.virtual_ns() - static_cast<std::int64_t>(initial_count_ - left) * tick_ns();
    rearm();
}

void ApicTimer::serialize(core::Archive& archive) {
    archive.field("mode", mode_);
    archive.field("divide_configuration", divide_configuration_);
    archive.field("initial_count", initial_count_);
    archive.field("start_ns", start_ns_);
    archive.field("tsc_deadline", tsc_deadline_);
    bool armed = timer_.armed();
    std::int64_t deadline = armed ? timer_.deadline_ns() : 0;
    archive.field("armed", armed);
    archive.field("deadline_ns", deadline);
    if (archive.restoring()) {
        if (mode_ > Mode::kReserved) {
            archive.fail("timer mode is out of range");
            mode_ = Mode::kOneShot;
        }
        divide_configuration_ &= 0xb;
        // A start in the far past or future would overflow the arithmetic of the counter.
        const std::int64_t now = clocks_.virtual_ns();
        start_ns_ = std::clamp(start_ns_, now - kLongestPeriodNs, now);
        if (mode_ == Mode::kTscDeadline) {
            arm_tsc_deadline();
        } else if (armed) {
            timer_.arm(deadline);
        } else {
            timer_.disarm();
        }
    }
}

}  // namespace rhea::hw
