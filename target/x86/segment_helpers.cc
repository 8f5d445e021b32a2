// Instructions on descriptors: segment loads, descriptor tables, LAR, LSL, VERR, VERW.
#include "helpers.h"
#include "linear_memory.h"
#include "paging.h"
#include "segment.h"
#include "stack.h"

namespace rhea::target::x86 {
namespace {

void load_base_checked(Cpu& cpu, std::uint64_t base) {
    if (cpu.long_active() && !is_canonical48(base))
        throw_gp(0);
}

/// LAR and LSL see segments and some system descriptors (SDM vol. 2, tables 3-53 and 3-59).
bool visible_system_type(const Cpu& cpu, unsigned type, bool with_gates) {
    if (cpu.long_active())
        return type == kTypeLdt || type == kTypeTss32 || type == kTypeTss32Busy ||
               (with_gates && type == kTypeCallGate32);
    switch (type) {
        case kTypeTss16:
        case kTypeLdt:
        case kTypeTss16Busy:
        case kTypeTss32:
        case kTypeTss32Busy:
            return true;
        case kTypeCallGate16:
        case kTypeTaskGate:
        case kTypeCallGate32:
            return with_gates;
        default:
            return false;
    }
}

/// The descriptor when the present level and the selector's RPL may look at it.
bool inspect(Cpu& cpu, std::uint16_t selector, bool with_gates, Descriptor& d) {
    if (!fetch_descriptor(cpu, selector, d))
        return false;
    if (!d.segment() && !visible_system_type(cpu, d.type(), with_gates))
        return false;
    return d.conforming() || (d.dpl() >= cpu.s.cpl && d.dpl() >= rpl(selector));
}

std::uint64_t verify(CpuState* state, std::uint64_t selector, bool write) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        Descriptor d;
        const auto sel = static_cast<std::uint16_t>(selector);
        if (!fetch_descriptor(cpu, sel, d) || !d.segment())
            return 0;
        if (!d.conforming() && (d.dpl() < cpu.s.cpl || d.dpl() < rpl(sel)))
            return 0;
        return write ? d.writable() : d.readable();
    });
}

}  // namespace

std::uint64_t helper_check_alignment(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    if ((a & b) != 0 && alignment_is_looked_at(Cpu::of(state), a, static_cast<unsigned>(c)))
        raise(*state, Fault{kVectorAC, 0, 0});
    return 0;
}

std::uint64_t helper_seg_check(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    const Cpu& cpu = Cpu::of(state);
    const bool protect = cpu.protected_mode() && !cpu.vm86();
    if (!segment_allows(state->seg[a], static_cast<std::uint32_t>(b),
                        static_cast<unsigned>(c & 0xff), (c >> 8) != 0, protect))
        raise(*state, Fault{a == kSs ? kVectorSS : kVectorGP, 0, 0});
    return 0;
}

std::uint64_t helper_cs_limit_check(CpuState* state, std::uint64_t a, std::uint64_t,
                                    std::uint64_t) {
    if (a > state->seg[kCs].limit)
        raise(*state, Fault{kVectorGP, 0, 0});
    return 0;
}

std::uint64_t helper_load_seg(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        load_segment(cpu, static_cast<Seg>(a), static_cast<std::uint16_t>(b));
        if (c >> 8)
            state->interrupt_shadow = 1;
        state->head.pc += c & 0xff;
        update_mode(cpu);
        return 0;
    });
}

std::uint64_t helper_load_seg_continue(CpuState* state, std::uint64_t a, std::uint64_t b,
                                       std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        load_segment(cpu, static_cast<Seg>(a), static_cast<std::uint16_t>(b));
        return 0;
    });
}

std::uint64_t helper_lar(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        Descriptor d;
        if (!inspect(cpu, static_cast<std::uint16_t>(a), true, d))
            return 0;
        return ((d.low >> 32) & 0x00ffff00) | 1ull << 63;
    });
}

std::uint64_t helper_lsl(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        Descriptor d;
        if (!inspect(cpu, static_cast<std::uint16_t>(a), false, d))
            return 0;
        return d.limit() | 1ull << 63;
    });
}

std::uint64_t helper_verr(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return verify(state, a, false);
}
std::uint64_t helper_verw(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return verify(state, a, true);
}

std::uint64_t helper_lgdt(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        load_base_checked(cpu, b);
        state->gdt = {b, static_cast<std::uint32_t>(a & 0xffff)};
        return 0;
    });
}
std::uint64_t helper_lidt(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        load_base_checked(cpu, b);
        state->idt = {b, static_cast<std::uint32_t>(a & 0xffff)};
        return 0;
    });
}
std::uint64_t helper_sgdt_limit(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return state->gdt.limit;
}
std::uint64_t helper_sgdt_base(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return state->gdt.base;
}
std::uint64_t helper_sidt_limit(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return state->idt.limit;
}
std::uint64_t helper_sidt_base(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return state->idt.base;
}
std::uint64_t helper_sldt(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return state->ldt.selector;
}
std::uint64_t helper_str(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return state->tr.selector;
}

std::uint64_t helper_lldt(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const auto selector = static_cast<std::uint16_t>(a);
        if (null_selector(selector)) {
            state->ldt = {selector, 0, 0};
            state->ldt_base = 0;
            return 0;
        }
        const std::uint32_t error = selector & ~3u;
        Descriptor d;
        if ((selector & 4) != 0 || !fetch_system_descriptor(cpu, selector, d) || d.segment() ||
            d.type() != kTypeLdt)
            throw_gp(error);
        if (!d.present())
            throw_fault(kVectorNP, error);
        load_base_checked(cpu, cpu.long_active() ? d.base64() : 0);
        state->ldt = {selector, d.attr(), d.limit()};
        state->ldt_base = cpu.long_active() ? d.base64() : d.base();
        return 0;
    });
}

std::uint64_t helper_ltr(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const auto selector = static_cast<std::uint16_t>(a);
        if (null_selector(selector))
            throw_gp(0);
        const std::uint32_t error = selector & ~3u;
        Descriptor d;
        if ((selector & 4) != 0 || !fetch_system_descriptor(cpu, selector, d) || d.segment() ||
            (d.type() != kTypeTss32 && (cpu.long_active() || d.type() != kTypeTss16)))
            throw_gp(error);
        if (!d.present())
            throw_fault(kVectorNP, error);
        load_base_checked(cpu, cpu.long_active() ? d.base64() : 0);
        mark_busy(cpu, selector, true);
        state->tr = {selector, static_cast<std::uint16_t>(d.attr() | 2), d.limit()};
        state->tr_base = cpu.long_active() ? d.base64() : d.base();
        return 0;
    });
}

std::uint64_t helper_rdfsgsbase(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    if (!(state->cr4 & kCr4FSGSBASE))
        raise(*state, Fault{kVectorUD, 0, 0});
    return state->seg_base[a];
}

std::uint64_t helper_wrfsgsbase(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    if (!(state->cr4 & kCr4FSGSBASE))
        raise(*state, Fault{kVectorUD, 0, 0});
    else if (!is_canonical48(b))
        raise(*state, Fault{kVectorGP, 0, 0});
    else
        state->seg_base[a] = b;
    return 0;
}

/// ENTER with a nesting level: copies the display of frame pointers.
std::uint64_t helper_enter(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const auto size = static_cast<unsigned>(c);
        Stack stack(cpu, cpu.as_current());
        stack.push(state->gpr[kRbp], size);
        const std::uint64_t frame = stack.sp();
        const std::uint64_t start =
            state->gpr[kRbp] - state->gpr[kRsp];  // RBP relative to the top of the untouched stack
        Stack untouched(cpu, cpu.as_current());
        for (std::uint64_t i = 1; i < b; ++i)
            stack.push(untouched.peek(start - i * size, size), size);
        stack.push(frame, size);
        stack.release(0 - a);
        const std::uint64_t end = (cpu.code64() ? 0 : state->seg_base[kSs]) + (stack.sp() & stack.mask());
        if ((cpu.mode & kModeAlignCheck) != 0 && (end & (size - 1)) != 0 && alignment_is_looked_at(cpu, end, size))
            throw_fault(kVectorAC);
        check_writable_linear(cpu, end, size, cpu.as_current(), kVectorSS);
        const std::uint64_t mask = size == 2 ? 0xffff : size == 4 ? 0xffffffff : ~0ull;
        state->gpr[kRbp] =
            size == 2 ? (state->gpr[kRbp] & ~0xffffull) | (frame & 0xffff) : frame & mask;
        stack.commit();
        return 0;
    });
}

}  // namespace rhea::target::x86
