// States that a CPU starts in: power-on, INIT, and what a kernel loader asks for.
#pragma once
#include "cpu.h"
#include "rhea/core/boot_state.h"

namespace rhea::target::x86 {

/// Power-on reset (SDM vol. 3, table 10-1).
void reset_state(Cpu& cpu);
/// INIT: as reset, but caches, FPU, most MSRs and CR0.CD/NW stay. Application processors then wait
/// for a start-up IPI.
void init_state(Cpu& cpu);
void boot_state(Cpu& cpu, const core::X86BootState& boot);

}  // namespace rhea::target::x86
