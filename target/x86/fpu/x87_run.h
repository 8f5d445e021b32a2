// Runs one x87 instruction of the guest on the host's x87, with the guest's whole x87 state: results, flags, tags, stack
// faults and responses to unmasked exceptions are the hardware's own. The host's x87 is empty and in its default
// state before and after. Any thread; a host without x87 has no implementation.
//
// Control instructions (FNINIT, FLDCW, images, …) are not run here: see x87_control.cc.
#pragma once
#include "rhea/target/x86/state.h"

#include <cstdint>

namespace rhea::target::x86 {

/// The memory operand: its bytes before, and after an instruction that stores.
struct X87Operand {
    std::uint64_t low = 0;
    std::uint16_t high = 0;
};

/// `opcode` as FOP has it (low three bits of the first byte, ModRM); any memory form of ModRM means `operand`. `flags`: arithmetic
/// RFLAGS bits in, returned as they are afterwards. When unmasked exceptions are pending (CR0.NE = 0 ignores them)
/// all are masked for this instruction. Pointers and FOP are the caller's business.
std::uint32_t run_x87(CpuState &s, unsigned opcode, X87Operand &operand, std::uint32_t flags = 0);

} // namespace rhea::target::x86
