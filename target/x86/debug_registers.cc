// Debug registers, and blocks of one instruction: TF, interrupt shadow, instruction breakpoints
// (SDM vol. 3, chapter 18).
#include "fault.h"
#include "helpers.h"
#include "rhea/tcg/backend.h"

namespace rhea::target::x86 {
namespace {

/// DR4 and DR5 are other names of DR6 and DR7 unless CR4.DE takes them away.
unsigned checked_number(Cpu& cpu, std::uint64_t number) {
    if (number == 4 || number == 5) {
        if (cpu.s.cr4 & kCr4DE)
            throw_ud();
        number += 2;
    }
    if (cpu.s.dr[7] & kDr7GD)
        throw Fault{kVectorDB, 0, kDr6BD};
    return static_cast<unsigned>(number & 7);
}

/// DR6 bits of the instruction breakpoints that hit at the address.
std::uint64_t instruction_breakpoints(const CpuState& s, std::uint64_t pc) {
    std::uint64_t hits = 0;
    for (unsigned i = 0; i < 4; ++i) {
        const bool enabled = ((s.dr[7] >> (i * 2)) & 3) != 0;
        const bool on_execute = ((s.dr[7] >> (16 + i * 4)) & 3) == 0;
        if (enabled && on_execute && s.dr[i] == pc)
            hits |= 1ull << i;
    }
    return hits;
}

}  // namespace

std::uint64_t helper_read_dr(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state,
                   [&](Cpu& cpu) -> std::uint64_t { return state->dr[checked_number(cpu, a)]; });
}

std::uint64_t helper_write_dr(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const unsigned number = checked_number(cpu, a);
        if (number >= 6 && (b >> 32) != 0)
            throw_gp(0);
        if (number == 6)
            b = (b & 0xe00f) | kDr6Fixed;
        else if (number == 7)
            b = (b & 0xffff23ff) | kDr7Fixed;
        state->dr[number] = b;
        state->rflags &= ~kFlagRF;  // this instruction's end clears it: the next one may hit
        state->head.pc += c;
        update_mode(cpu);
        return 0;
    });
}

std::uint64_t helper_begin_single(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    if (a & 1)
        state->interrupt_shadow = 0;  // finish_single recomputes the mode
    if (a & 2) {
        const std::uint64_t hits =
            state->rflags & kFlagRF ? 0 : instruction_breakpoints(*state, state->head.pc);
        if (hits != 0)
            raise(*state, Fault{kVectorDB, 0, hits});
        else
            state->rflags &= ~kFlagRF;
    }
    return 0;
}

std::uint64_t helper_finish_single(CpuState* state, std::uint64_t a, std::uint64_t b,
                                   std::uint64_t c) {
    if (a != ~0ull)
        state->head.pc = a;
    if ((b & 1) != 0 && state->head.exception_pending == 0) {
        raise(*state, Fault{kVectorDB, 0, kDr6BS});
        state->exception_resumes = c != 0;
    }
    update_mode(Cpu::of(state));
    return 0;
}

std::uint64_t helper_icebp(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    raise(*state, Fault{kVectorDB, 0, 0});
    state->exception_next_length = static_cast<std::uint8_t>(a);
    return 0;
}

std::uint64_t helper_software_interrupt(CpuState* state, std::uint64_t a, std::uint64_t b,
                                        std::uint64_t c) {
    const Cpu& cpu = Cpu::of(state);
    if (c == 0 && cpu.vm86() && cpu.iopl() < 3) {
        raise(*state, Fault{kVectorGP, 0, 0});
        return 0;
    }
    raise(*state, Fault{static_cast<std::uint8_t>(a), 0, 0});
    state->exception_is_software = 1;
    state->exception_has_error_code = 0;
    state->exception_next_length = static_cast<std::uint8_t>(b);
    return 0;
}

std::uint64_t helper_into(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    if (tcg::compute_flags(state->head) & tcg::kOF)
        helper_software_interrupt(state, kVectorOF, a, 2);
    return 0;
}

std::uint64_t helper_bound_check(CpuState* state, std::uint64_t a, std::uint64_t b,
                                 std::uint64_t c) {
    const auto index = static_cast<std::int64_t>(a);
    if (index < static_cast<std::int64_t>(b) || index > static_cast<std::int64_t>(c))
        raise(*state, Fault{kVectorBR, 0, 0});
    return 0;
}

}  // namespace rhea::target::x86
