#include "hw/timer/i8254_counter.h"

#include <algorithm>

namespace rhea::hw {
namespace {

constexpr std::uint8_t kControlBcd = 0x01;
constexpr std::uint8_t kStatusOut = 0x80;
constexpr std::uint8_t kStatusNull = 0x40;

std::uint32_t from_bcd(std::uint32_t value) {
    return (value & 0xf) + (value >> 4 & 0xf) * 10 + (value >> 8 & 0xf) * 100 +
           (value >> 12 & 0xf) * 1000;
}

std::uint16_t to_bcd(std::uint32_t value) {
    return static_cast<std::uint16_t>(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 |
                                      value / 1000 % 10 << 12);
}

}  // namespace

void I8254Counter::reset(bool gate) {
    *this = I8254Counter();
    gate_ = gate;
}

void I8254Counter::write_control(std::uint8_t value) {
    access_ = static_cast<Access>(value >> 4 & 3);
    mode_ = value >> 1 & 7;
    if (mode_ > 5) {
        mode_ -= 4;  // "don't care" bit of modes 2 and 3
    }
    bcd_ = value & kControlBcd;
    write_high_next_ = read_high_next_ = false;
    count_latched_ = status_latched_ = false;
    written_ = loaded_ = false;
    null_count_ = true;
    switch_at_ = kNever;
    paused_at_ = 0;
}

void I8254Counter::write(std::uint8_t value, Tick now) {
    settle(now);
    switch (access_) {
        case Access::kLow:
            load(value, now);
            break;
        case Access::kHigh:
            load(static_cast<std::uint32_t>(value) << 8, now);
            break;
        case Access::kLowHigh:
            if (write_high_next_) {
                load(write_low_ | static_cast<std::uint32_t>(value) << 8, now);
            } else {
                write_low_ = value;
                if (mode_ == 0) {
                    loaded_ = false;  // "Writing the first byte disables counting. OUT is set low."
                }
            }
            write_high_next_ = !write_high_next_;
            break;
        case Access::kNone:
            break;
    }
}

/// A complete count was written.
void I8254Counter::load(std::uint32_t written, Tick now) {
    reload_ = bcd_ ? from_bcd(written) : written;
    if (reload_ == 0) {
        reload_ = bcd_ ? 10000 : 65536;
    }
    if (periodic() && reload_ == 1) {
        reload_ = 2;  // "A COUNT of 1 is illegal"
    }
    written_ = true;
    null_count_ = true;
    if (triggered_by_gate()) {
        return;  // waits for a trigger; a count in progress goes on
    }
    if (periodic() && loaded_ && gate_) {
        // Takes effect at the end of the current cycle (mode 2) or half cycle (mode 3).
        const Tick t = elapsed(now);
        const Tick cycle = start_ + t / count_ * count_;
        const bool first_half = mode_ == 3 && t % count_ < high_ticks(count_);
        switch_at_ = cycle + (first_half ? high_ticks(count_) : count_);
        return;
    }
    // The next CLK pulse moves it to the counting element.
    count_ = reload_;
    start_ = now + 1;
    paused_at_ = 0;
    loaded_ = true;
    null_count_ = false;
}

/// Brings a switch to a new count that is due by `now` about.
void I8254Counter::settle(Tick now) {
    if (now < switch_at_) {
        return;
    }
    const bool at_half = mode_ == 3 && (switch_at_ - start_) % count_ != 0;
    count_ = reload_;
    start_ = at_half ? switch_at_ - high_ticks(count_) : switch_at_;
    null_count_ = false;
    switch_at_ = kNever;
}

I8254Counter::Tick I8254Counter::elapsed(Tick now) const {
    if (!gate_ && !triggered_by_gate()) {
        return paused_at_;
    }
    return std::max<Tick>(now - start_, 0);
}

void I8254Counter::set_gate(bool level, Tick now) {
    if (level == gate_) {
        return;
    }
    settle(now);
    const Tick before = elapsed(now);
    gate_ = level;
    if (!level) {
        paused_at_ = before;
        return;
    }
    if (!written_) {
        return;
    }
    if (mode_ == 0 || mode_ == 4) {
        start_ = now - paused_at_;
        return;
    }
    // A trigger: the next CLK pulse reloads the counting element.
    count_ = reload_;
    start_ = now + 1;
    paused_at_ = 0;
    loaded_ = true;
    null_count_ = false;
    switch_at_ = kNever;
}

bool I8254Counter::level(Tick now) const {
    if (!loaded_) {
        return mode_ != 0;
    }
    const Tick t = elapsed(now);
    switch (mode_) {
        case 0:
        case 1:
            return t >= count_;
        case 2:
            return !gate_ || t % count_ != count_ - 1;
        case 3:
            return !gate_ || t % count_ < high_ticks(count_);
        default:
            return t != count_;
    }
}

bool I8254Counter::output(Tick now) {
    settle(now);
    return level(now);
}

I8254Counter::Tick I8254Counter::next_change(Tick now) {
    settle(now);
    if (!loaded_ || (!gate_ && !triggered_by_gate())) {
        return kNever;
    }
    const Tick t = elapsed(now);
    if (periodic()) {
        const Tick cycle = start_ + t / count_ * count_;
        const bool first_half = mode_ == 3 && t % count_ < high_ticks(count_);
        return cycle + (first_half ? high_ticks(count_) : count_);
    }
    if (t < count_) {
        return start_ + count_;
    }
    return mode_ >= 4 && t == count_ ? start_ + count_ + 1 : kNever;
}

/// The counting element as the CPU reads it.
std::uint16_t I8254Counter::value(Tick now) const {
    std::int64_t number = reload_;
    if (loaded_) {
        const Tick t = elapsed(now);
        if (mode_ == 2) {
            number = count_ - t % count_;
        } else if (mode_ == 3) {
            // Counts down by two, once for each half of the cycle.
            const Tick phase = t % count_;
            const Tick high = high_ticks(count_);
            number = (count_ & ~1u) - 2 * (phase < high ? phase : phase - high);
        } else {
            number = count_ - t;  // goes round after terminal count
        }
    }
    const std::int64_t modulus = bcd_ ? 10000 : 65536;
    const auto wrapped = static_cast<std::uint32_t>((number % modulus + modulus) % modulus);
    return bcd_ ? to_bcd(wrapped) : static_cast<std::uint16_t>(wrapped);
}

void I8254Counter::latch_count(Tick now) {
    settle(now);
    if (!count_latched_) {
        count_latched_ = true;
        count_latch_ = value(now);
    }
}

void I8254Counter::latch_status(Tick now) {
    settle(now);
    if (status_latched_) {
        return;
    }
    status_latched_ = true;
    status_latch_ = static_cast<std::uint8_t>(
        (level(now) ? kStatusOut : 0) | (null_count_ ? kStatusNull : 0) |
        static_cast<unsigned>(access_) << 4 | mode_ << 1 | (bcd_ ? kControlBcd : 0));
}

std::uint8_t I8254Counter::read(Tick now) {
    settle(now);
    if (status_latched_) {
        status_latched_ = false;
        return status_latch_;
    }
    const std::uint16_t number = count_latched_ ? count_latch_ : value(now);
    const bool high = access_ == Access::kHigh || (access_ == Access::kLowHigh && read_high_next_);
    const bool last = access_ != Access::kLowHigh || read_high_next_;
    read_high_next_ = !last;
    if (last) {
        count_latched_ = false;
    }
    return static_cast<std::uint8_t>(high ? number >> 8 : number);
}

void I8254Counter::serialize(core::Archive& archive) {
    archive.field("mode", mode_);
    archive.field("access", access_);
    archive.field("bcd", bcd_);
    archive.field("gate", gate_);
    archive.field("write_high_next", write_high_next_);
    archive.field("read_high_next", read_high_next_);
    archive.field("write_low", write_low_);
    archive.field("count_latched", count_latched_);
    archive.field("status_latched", status_latched_);
    archive.field("count_latch", count_latch_);
    archive.field("status_latch", status_latch_);
    archive.field("written", written_);
    archive.field("null_count", null_count_);
    archive.field("loaded", loaded_);
    archive.field("reload", reload_);
    archive.field("count", count_);
    archive.field("start", start_);
    archive.field("paused_at", paused_at_);
    archive.field("switch_at", switch_at_);
    if (!archive.restoring()) {
        return;
    }
    const auto legal = [](std::uint32_t count) { return count >= 1 && count <= 65536; };
    // Ticks are bounded so that arithmetic on them cannot overflow (2^60 ticks are 30,000 years).
    constexpr Tick kFarthest = Tick{1} << 60;
    const auto sane = [](Tick tick) { return tick >= -kFarthest && tick <= kFarthest; };
    if (mode_ > 5 || static_cast<unsigned>(access_) > 3 || !legal(reload_) || !legal(count_) ||
        !sane(start_) || !sane(paused_at_) || (switch_at_ != kNever && !sane(switch_at_))) {
        archive.fail("the counter's state is out of range");
        reset(gate_);
    }
}

}  // namespace rhea::hw
