// Faults inside helpers: how a check deep in a segment load says #GP.
//
// A helper's body throws Fault; guarded() turns it into CpuState's pending exception before the
// helper returns, so no C++ exception ever crosses generated code. Frequent faults (page faults of
// loads and stores, string instructions) are raised without throwing.
#pragma once
#include <cstdint>

#include "cpu.h"

namespace rhea::target::x86 {

struct Fault {
    std::uint8_t vector = 0;
    std::uint32_t error = 0;
    std::uint64_t address = 0;  ///< #PF: CR2; #DB: bits for DR6
};

/// Not an exception: the instruction is to be started again by itself (tcg::kRestartSingle).
inline constexpr std::uint8_t kRestart = 0xff;

/// Does this vector push an error code (SDM vol. 3, table 6-1)?
constexpr bool has_error_code(unsigned vector) {
    return vector == kVectorDF || (vector >= kVectorTS && vector <= kVectorPF) ||
           vector == kVectorAC;
}

[[noreturn]] inline void throw_fault(Vector vector, std::uint32_t error = 0) {
    throw Fault{vector, error, 0};
}
[[noreturn]] inline void throw_gp(std::uint32_t error = 0) {
    throw Fault{kVectorGP, error, 0};
}
[[noreturn]] inline void throw_ud() {
    throw Fault{kVectorUD, 0, 0};
}

/// Makes the exception pending: to be delivered at head.pc.
void raise(CpuState& s, const Fault& fault);

/// Runs a helper's body; a Fault that it throws becomes the pending exception and the result 0.
template <typename Body>
std::uint64_t guarded(CpuState* state, Body&& body) {
    Cpu& cpu = Cpu::of(state);
    try {
        return body(cpu);
    } catch (const Fault& fault) {
        raise(*state, fault);
        return 0;
    }
}

}  // namespace rhea::target::x86
