// How long a halted vCPU looks for work before its thread sleeps.
//
// A sleeping thread takes tens of microseconds to wake, on its host CPU and on the one that wakes it: as long as a disk
// request or a message to another CPU takes. So after a halt that was short the next one is polled for, longer each time,
// up to kMax; after a long one (a guest that is idle) not at all. KVM does the same in the kernel (halt_poll_ns).
// One vCPU thread's own; no locking.
#pragma once
#include <algorithm>
#include <chrono>

namespace rhea::system {

class HaltPoll {
  public:
    using Duration = std::chrono::nanoseconds;
    static constexpr Duration kFirst{10'000}, kMax{80'000};

    /// `alone`: the host has one CPU, whoever brings work needs it.
    explicit HaltPoll(bool alone) : alone_(alone) {}

    /// How long to look this time.
    Duration window() const { return window_; }
    /// The halt took so long, looking and sleeping.
    void halted_for(Duration time) {
        if (time > kMax || alone_) {
            window_ = Duration{0};
        } else if (time > window_) {
            window_ = std::clamp(2 * window_, kFirst, kMax);
        }
    }

  private:
    bool alone_;
    Duration window_{0};
};

}  // namespace rhea::system
