// The timer of a local APIC: a 32-bit down counter, or a TSC deadline.
//
// The counter runs from a 1 GHz bus clock through the divider (guests calibrate it; CPUID leaf 15h
// may tell them). Source: SDM vol. 3, 11.5.4. Under the machine lock.
#pragma once
#include <cstdint>
#include <functional>

#include "rhea/core/archive.h"
#include "rhea/core/clock.h"
#include "rhea/core/local_apic_port.h"

namespace rhea::hw {

class ApicTimer {
  public:
    /// LVT timer register bits 18:17.
    enum class Mode : std::uint8_t { kOneShot = 0, kPeriodic = 1, kTscDeadline = 2, kReserved = 3 };
    static constexpr std::int64_t kBusHz = 1'000'000'000;

    /// `expired` is called at each expiry; whether that is an interrupt is the LVT's business.
    ApicTimer(core::Clocks& clocks, std::function<void()> expired);

    void reset();
    /// The CPU's time stamp counter; null: TSC-deadline mode never expires.
    void connect_tsc(const core::TscPort* tsc) { tsc_ = tsc; }

    void set_mode(Mode mode);
    void set_divide_configuration(std::uint32_t value);
    void set_initial_count(std::uint32_t count);
    void set_tsc_deadline(std::uint64_t tsc);
    [[nodiscard]] std::uint32_t divide_configuration() const { return divide_configuration_; }
    [[nodiscard]] std::uint32_t initial_count() const { return initial_count_; }
    [[nodiscard]] std::uint32_t current_count() const;
    [[nodiscard]] std::uint64_t tsc_deadline() const { return tsc_deadline_; }

    /// What the registers of a timer elsewhere show.
    struct Counts {
        Mode mode = Mode::kOneShot;
        std::uint32_t divide_configuration = 0, initial_count = 0, current_count = 0;
        std::uint64_t tsc_deadline = 0;
    };
    void set_counts(const Counts& counts);
    /// No expiry until something is set: the timer runs elsewhere.
    void suspend() { timer_.disarm(); }

    void serialize(core::Archive& archive);

  private:
    [[nodiscard]] std::int64_t tick_ns() const;
    [[nodiscard]] std::int64_t period_ns() const;
    void rearm();
    void arm_tsc_deadline();
    void on_expiry();

    core::Clocks& clocks_;
    std::function<void()> expired_;
    const core::TscPort* tsc_ = nullptr;
    Mode mode_ = Mode::kOneShot;
    std::uint32_t divide_configuration_ = 0;
    std::uint32_t initial_count_ = 0;
    std::int64_t start_ns_ = 0;  ///< when the counter last held the initial count
    std::uint64_t tsc_deadline_ = 0;
    core::Timer timer_;
};

}  // namespace rhea::hw
