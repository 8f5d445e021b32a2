// CPUID, counters, HLT, flag instructions with privilege rules, XCR0.
#include <sys/random.h>

#include <atomic>

#include "fault.h"
#include "helpers.h"
#include "tsc_anchor.h"

namespace rhea::target::x86 {
namespace {

/// Makes the run loop call check_requests() before the next instruction.
void ask_for_attention(CpuState& s) {
    std::atomic_ref<std::uint32_t>(s.head.exit_request).store(1, std::memory_order_release);
}

void put_edx_eax(CpuState& s, std::uint64_t value) {
    s.gpr[kRax] = value & 0xffffffff;
    s.gpr[kRdx] = value >> 32;
}

/// RDTSC and friends are privileged under CR4.TSD.
bool counter_allowed(CpuState& s, std::uint64_t cr4_bit, bool set_means_denied) {
    const bool user = (s.cr0 & kCr0PE) != 0 && s.cpl != 0;
    const bool denied = ((s.cr4 & cr4_bit) != 0) == set_means_denied;
    if (!user || !denied)
        return true;
    raise(s, Fault{kVectorGP, 0, 0});
    return false;
}

}  // namespace

std::uint64_t helper_cpuid(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    const Cpu& cpu = Cpu::of(state);
    CpuidContext context;
    context.apic_id = cpu.apic_id();
    context.cr4 = state->cr4;
    context.xcr0 = state->xcr0;
    if (core::LocalApicPort* apic = cpu.host.apic())
        context.apic_enabled = (apic->apic_base() & (1u << 11)) != 0;
    const CpuidResult r = cpuid(cpu.model, context, static_cast<std::uint32_t>(state->gpr[kRax]),
                                static_cast<std::uint32_t>(state->gpr[kRcx]));
    state->gpr[kRax] = r.eax;
    state->gpr[kRbx] = r.ebx;
    state->gpr[kRcx] = r.ecx;
    state->gpr[kRdx] = r.edx;
    return 0;
}

std::uint64_t helper_rdtsc(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    if (counter_allowed(*state, kCr4TSD, true))
        put_edx_eax(*state, read_tsc(Cpu::of(state)));
    return 0;
}

std::uint64_t helper_rdtscp(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    if (!counter_allowed(*state, kCr4TSD, true))
        return 0;
    put_edx_eax(*state, read_tsc(Cpu::of(state)));
    state->gpr[kRcx] = state->tsc_aux & 0xffffffff;
    return 0;
}

/// There are no performance counters: every index is out of range.
std::uint64_t helper_rdpmc(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    raise(*state, Fault{kVectorGP, 0, 0});
    return 0;
}

std::uint64_t helper_hlt(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    state->head.pc += a;
    state->halted = 1;
    ask_for_attention(*state);
    return 0;
}

std::uint64_t helper_pause(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    Cpu::of(state).host.spin();
    return 0;
}

/// A pause: MONITOR never arms anything, so MWAIT does not wait.
std::uint64_t helper_mwait(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    state->head.pc += a;
    Cpu::of(state).host.spin();
    return 0;
}

std::uint64_t helper_cli(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    raise(*state, Fault{kVectorGP, 0, 0});  // without VME and PVI there is no virtual IF
    return 0;
}

std::uint64_t helper_sti(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    raise(*state, Fault{kVectorGP, 0, 0});
    return 0;
}

std::uint64_t helper_sti_shadow(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    if (!(state->rflags & kFlagIF)) {
        state->rflags |= kFlagIF;
        state->interrupt_shadow = 1;
        update_mode(Cpu::of(state));
    }
    state->head.pc += a;
    return 0;
}

std::uint64_t helper_pushf_value(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    const Cpu& cpu = Cpu::of(state);
    if (cpu.vm86() && cpu.iopl() < 3)
        raise(*state, Fault{kVectorGP, 0, 0});
    return read_rflags(*state) & ~std::uint64_t{kFlagVM | kFlagRF};
}

std::uint64_t helper_popf(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        CpuState& s = cpu.s;
        if (cpu.vm86() && cpu.iopl() < 3)
            throw_gp(0);
        std::uint64_t mask = tcg::kArithFlags | kFlagTF | kFlagDF | kFlagNT;
        if (b != 2)
            mask |= kFlagAC | kFlagID | kFlagRF;
        if (s.cpl <= cpu.iopl())
            mask |= kFlagIF;
        if (s.cpl == 0)
            mask |= kFlagIOPL;
        write_rflags(s, a & ~std::uint64_t{kFlagRF}, mask);
        s.head.pc += c;
        update_mode(cpu);
        return 0;
    });
}

std::uint64_t helper_random(CpuState*, std::uint64_t, std::uint64_t, std::uint64_t) {
    std::uint64_t value = 0;
    while (getrandom(&value, sizeof value, 0) != sizeof value) {
    }
    return value;
}

}  // namespace rhea::target::x86
