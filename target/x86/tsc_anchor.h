// RDTSC without a system's clock in between: for a moment the guest's time stamp counter is what the host's says.
//
// The counter is defined by guest time (Cpu::tsc()). Whoever asks for that notes it beside the host's counter, and from there, for
// kSpanNs, quick helpers count on by the host's. The rate is measured, and taken a little too low, so that the next look at the clock
// never goes back. Off where the host's counter has no constant rate, where guest time does not pass like it (tests), and with
// several CPUs, which would not agree to the nanosecond. vCPU thread only.
#pragma once
#include <cstdint>

namespace rhea::target::x86 {

struct CpuState;
struct Cpu;

/// The guest's counter, exactly, and a new anchor where there can be one.
std::uint64_t read_tsc(Cpu &cpu);
/// The guest's counter by the anchor; false: there is none that is young enough.
bool quick_tsc(const CpuState &s, std::uint64_t &value);

} // namespace rhea::target::x86
