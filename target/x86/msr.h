// Model specific registers: a table of ranges (target/x86/msr.cc).
#pragma once
#include <cstdint>

#include "cpu.h"

namespace rhea::target::x86 {

/// False: the register does not exist, or refuses the value: #GP(0). write_msr() may also throw
/// Fault.
bool read_msr(Cpu& cpu, std::uint32_t msr, std::uint64_t& value);
bool write_msr(Cpu& cpu, std::uint32_t msr, std::uint64_t value);

/// Values that power-on gives to MSRs.
void reset_msrs(CpuState& s, const CpuModel& model);

}  // namespace rhea::target::x86
