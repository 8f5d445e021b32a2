// State to and from an 8254 in the kernel.
#include <algorithm>

#include "hw/timer/i8254.h"

namespace rhea::hw {
namespace {

constexpr std::uint8_t kGate2 = 0x01, kSpeaker = 0x02;  // port 0x61
/// A count is at most 55 ms; what is older has no more to say.
constexpr std::int64_t kOldestNs = 3600 * core::kNanosecondsPerSecond;

std::int64_t to_ticks(std::int64_t ns) {
    return static_cast<std::int64_t>(static_cast<__int128>(ns) * I8254::kHz /
                                     core::kNanosecondsPerSecond);
}

std::int64_t to_ns(I8254Counter::Tick ticks) {
    return static_cast<std::int64_t>(static_cast<__int128>(ticks) * core::kNanosecondsPerSecond /
                                     I8254::kHz);
}

}  // namespace

core::PitCounterState I8254Counter::state(Tick now) const {
    const bool touched = mode_ != 0 || bcd_ || access_ != Access::kLowHigh;
    return {.mode = mode_,
            .access = static_cast<std::uint8_t>(access_),
            .bcd = bcd_,
            .gate = gate_,
            .programmed = written_ || loaded_ || touched,
            .write_high_next = write_high_next_,
            .read_high_next = read_high_next_,
            .count_latched = count_latched_,
            .status_latched = status_latched_,
            .write_low = write_low_,
            .status_latch = status_latch_,
            .count_latch = count_latch_,
            .count = reload_,
            .age_ns = loaded_ ? to_ns(elapsed(now)) : 0};
}

void I8254Counter::set_state(const core::PitCounterState& state, Tick now) {
    reset(state.gate);
    if (!state.programmed) {
        return;
    }
    mode_ = state.mode <= 5 ? state.mode : std::uint8_t{0};
    access_ = static_cast<Access>(state.access & 3);
    bcd_ = state.bcd;
    write_high_next_ = state.write_high_next;
    read_high_next_ = state.read_high_next;
    write_low_ = state.write_low;
    count_latched_ = state.count_latched;
    count_latch_ = state.count_latch;
    status_latched_ = state.status_latched;
    status_latch_ = state.status_latch;
    reload_ = count_ = std::clamp<std::uint32_t>(state.count, periodic() ? 2 : 1, 65536);
    written_ = loaded_ = true;
    null_count_ = false;
    const Tick age = to_ticks(std::clamp<std::int64_t>(state.age_ns, 0, kOldestNs));
    start_ = now - age;
    paused_at_ = gate_ || triggered_by_gate() ? 0 : age;
}

void I8254::fetch() {
    if (kernel_ == nullptr) {
        return;
    }
    const core::PitState state = kernel_->pit();
    for (unsigned i = 0; i < counters_.size(); ++i) {
        counters_[i].set_state(state.counters[i], now());
    }
    port61_ = static_cast<std::uint8_t>((counters_[2].gate() ? kGate2 : 0) |
                                        (state.speaker ? kSpeaker : 0));
}

void I8254::hand_over() {
    if (kernel_ == nullptr) {
        return;
    }
    core::PitState state;
    for (unsigned i = 0; i < counters_.size(); ++i) {
        state.counters[i] = counters_[i].state(now());
    }
    state.speaker = port61_ & kSpeaker;
    kernel_->set_pit(state);
}

}  // namespace rhea::hw
