// Control registers: what a write checks and what follows from it (SDM vol. 3, 2.5).
#pragma once
#include <cstdint>

#include "cpu.h"
#include "fault.h"

namespace rhea::target::x86 {

// Each throws #GP(0) before anything has changed.
void write_cr0(Cpu& cpu, std::uint64_t value);
void write_cr3(Cpu& cpu, std::uint64_t value);
void write_cr4(Cpu& cpu, std::uint64_t value);
void write_efer(Cpu& cpu, std::uint64_t value);
/// CR3 as a task switch loads it: no PCID flag, no #GP for reserved bits outside PAE.
void load_cr3(Cpu& cpu, std::uint64_t value);
/// Tells the host of the present address space (after reset, restore, or a change of CR0.PG).
void announce_address_space(Cpu& cpu, bool keep);

}  // namespace rhea::target::x86
