// One counter of an Intel 8254: a function of elapsed clock ticks, with no timer of its own.
//
// Times are ticks of the counter's CLK since an arbitrary start. The counting element is described
// by the tick at which it was loaded; its value and OUT follow by arithmetic. Source: Intel 8254
// datasheet (231164-005). Under the machine lock.
#pragma once
#include <cstdint>

#include "rhea/core/archive.h"
#include "rhea/core/kernel_irqchip.h"

namespace rhea::hw {

class I8254Counter {
  public:
    using Tick = std::int64_t;
    static constexpr Tick kNever = INT64_MAX;

    void reset(bool gate);

    /// A control word for this counter (not a latch or read-back command).
    void write_control(std::uint8_t value);
    void write(std::uint8_t value, Tick now);
    std::uint8_t read(Tick now);
    void latch_count(Tick now);
    void latch_status(Tick now);
    void set_gate(bool level, Tick now);
    [[nodiscard]] bool gate() const { return gate_; }
    [[nodiscard]] unsigned mode() const { return mode_; }

    /// OUT at `now`, which must not go backwards between calls.
    bool output(Tick now);
    /// When OUT changes next; in mode 2 only rising edges count (its low pulse is one tick).
    Tick next_change(Tick now);

    void serialize(core::Archive& archive);
    /// To and from a counter in the kernel; ages are in ticks' nanoseconds.
    [[nodiscard]] core::PitCounterState state(Tick now) const;
    void set_state(const core::PitCounterState& state, Tick now);

  private:
    enum class Access : std::uint8_t { kNone = 0, kLow = 1, kHigh = 2, kLowHigh = 3 };

    void load(std::uint32_t written, Tick now);
    void settle(Tick now);
    [[nodiscard]] Tick elapsed(Tick now) const;
    [[nodiscard]] bool periodic() const { return mode_ == 2 || mode_ == 3; }
    [[nodiscard]] bool triggered_by_gate() const { return mode_ == 1 || mode_ == 5; }
    [[nodiscard]] static Tick high_ticks(std::uint32_t count) { return (count + 1) / 2; }
    [[nodiscard]] std::uint16_t value(Tick now) const;
    [[nodiscard]] bool level(Tick now) const;

    std::uint8_t mode_ = 0;
    Access access_ = Access::kLowHigh;
    bool bcd_ = false;
    bool gate_ = true;
    bool write_high_next_ = false;
    bool read_high_next_ = false;
    std::uint8_t write_low_ = 0;
    bool count_latched_ = false;
    bool status_latched_ = false;
    std::uint16_t count_latch_ = 0;
    std::uint8_t status_latch_ = 0;

    bool written_ = false;          ///< a count was written since the control word
    bool null_count_ = true;        ///< the written count is not in the counting element yet
    bool loaded_ = false;           ///< the counting element runs (or is paused)
    std::uint32_t reload_ = 65536;  ///< the count register, 1..65536
    std::uint32_t count_ = 65536;   ///< what the counting element was loaded with
    Tick start_ = 0;                ///< when it was loaded
    Tick paused_at_ = 0;            ///< elapsed ticks while GATE is low (modes 0 and 4)
    Tick switch_at_ = kNever;       ///< modes 2 and 3: when a new count takes effect
};

}  // namespace rhea::hw
