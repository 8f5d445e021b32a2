// Far RET and IRET in every mode (SDM vol. 2, RET and IRET/IRETD/IRETQ).
#include "helpers.h"
#include "interrupt.h"
#include "paging.h"
#include "segment.h"
#include "stack.h"
#include "task.h"

namespace rhea::target::x86 {
namespace {

constexpr std::uint64_t kUserFlags = tcg::kArithFlags | kFlagTF | kFlagDF | kFlagNT;
constexpr std::uint64_t kUserFlags32 = kUserFlags | kFlagRF | kFlagAC | kFlagID;

struct Return {
    unsigned opsize;
    unsigned release;  ///< bytes of parameters (RET n)
    bool iret;
};

void real_mode_return(Cpu& cpu, const Return& r) {
    CpuState& s = cpu.s;
    if (r.iret && cpu.vm86() && cpu.iopl() < 3)
        throw_gp(0);
    Stack stack(cpu, cpu.as_current());
    const std::uint64_t ip = stack.pop(r.opsize);
    const std::uint64_t cs = stack.pop(r.opsize);
    const std::uint64_t flags = r.iret ? stack.pop(r.opsize) : 0;
    stack.release(r.release);
    if (ip > s.seg[kCs].limit)
        throw_gp(0);
    stack.commit();
    install_real(cpu, kCs, static_cast<std::uint16_t>(cs));
    s.head.pc = (s.seg_base[kCs] + ip) & 0xffffffff;
    if (!r.iret)
        return;
    std::uint64_t mask = kUserFlags | kFlagIF;
    if (r.opsize == 4)
        mask |= kFlagRF | kFlagAC | kFlagID;
    if (!cpu.vm86())
        mask |= kFlagIOPL;
    write_rflags(s, flags, mask);
}

/// IRETD at CPL 0 with VM set in the popped flags.
void return_to_vm86(Cpu& cpu, Stack& stack, std::uint64_t ip, std::uint64_t cs,
                    std::uint64_t flags) {
    CpuState& s = cpu.s;
    const std::uint64_t esp = stack.pop(4);
    std::uint16_t selectors[kSegCount];
    for (const Seg seg : {kSs, kEs, kDs, kFs, kGs})
        selectors[seg] = static_cast<std::uint16_t>(stack.pop(4));
    selectors[kCs] = static_cast<std::uint16_t>(cs);
    write_rflags(s, flags, kAllFlags);
    s.cpl = 3;
    for (unsigned i = 0; i < kSegCount; ++i)
        install_real(cpu, static_cast<Seg>(i), selectors[i]);
    s.gpr[kRsp] = esp;
    s.head.pc = (s.seg_base[kCs] + (ip & 0xffff)) & 0xffffffff;
}

Descriptor check_return_code(Cpu& cpu, std::uint16_t selector) {
    if (null_selector(selector))
        throw_gp(0);
    const std::uint32_t error = selector & ~3u;
    Descriptor cs;
    if (!fetch_descriptor(cpu, selector, cs) || !cs.code() || rpl(selector) < cpu.s.cpl)
        throw_gp(error);
    if (cs.conforming() ? cs.dpl() > rpl(selector) : cs.dpl() != rpl(selector))
        throw_gp(error);
    if (!cs.present())
        throw_fault(kVectorNP, error);
    if (cpu.long_active() && cs.long_code() && cs.db())
        throw_gp(error);
    return cs;
}

/// SS of a return to an outer level (or of any IRETQ). Null only for 64-bit code inside level 3.
Descriptor check_return_stack(Cpu& cpu, std::uint16_t selector, std::uint16_t cs_selector,
                              const Descriptor& cs) {
    const unsigned level = rpl(cs_selector);
    Descriptor ss;
    if (null_selector(selector)) {
        if (!cpu.long_active() || !cs.long_code() || level == 3 || rpl(selector) != level)
            throw_gp(0);
        return ss;
    }
    const std::uint32_t error = selector & ~3u;
    if (!fetch_descriptor(cpu, selector, ss) || rpl(selector) != level || !ss.writable() ||
        ss.dpl() != level)
        throw_gp(error);
    if (!ss.present())
        throw_fault(kVectorSS, error);
    return ss;
}

/// A return to an outer level takes away what that level may not use.
void drop_inner_segments(Cpu& cpu) {
    for (const Seg seg : {kEs, kDs, kFs, kGs}) {
        const SegmentCache& cache = cpu.s.seg[seg];
        const unsigned dpl = (cache.attr & kAttrDpl) >> 5;
        const bool conforming =
            (cache.attr & (kAttrCode | kAttrConforming)) == (kAttrCode | kAttrConforming);
        if ((cache.attr & kAttrPresent) != 0 && !conforming && dpl < cpu.s.cpl)
            install_null(cpu, seg, 0);
    }
}

std::uint64_t iret_mask(const Cpu& cpu, unsigned opsize) {
    std::uint64_t mask = opsize == 2 ? kUserFlags : kUserFlags32;
    if (cpu.s.cpl <= cpu.iopl())
        mask |= kFlagIF;
    if (cpu.s.cpl == 0)
        mask |= kFlagIOPL | (opsize == 2 ? 0 : kFlagVIF | kFlagVIP);
    return mask;
}

void protected_mode_return(Cpu& cpu, const Return& r) {
    CpuState& s = cpu.s;
    if (r.iret && (s.rflags & kFlagNT)) {
        if (cpu.long_active())
            throw_gp(0);
        return return_from_task(cpu, cpu.eip() + 1);
    }
    Stack stack(cpu, cpu.as_current());
    std::uint64_t ip = stack.pop(r.opsize);
    const auto cs_selector = static_cast<std::uint16_t>(stack.pop(r.opsize));
    const std::uint64_t flags = r.iret ? stack.pop(r.opsize) : 0;
    if (r.iret && r.opsize == 4 && (flags & kFlagVM) && s.cpl == 0 && !cpu.long_active())
        return return_to_vm86(cpu, stack, ip, cs_selector, flags);
    Descriptor cs = check_return_code(cpu, cs_selector);
    const bool to64 = cpu.long_active() && cs.long_code();
    const bool outer = rpl(cs_selector) > s.cpl;
    stack.release(r.release);
    if (to64 ? !is_canonical48(ip) : ip > cs.limit())
        throw_gp(0);
    if (!outer && !(r.iret && cpu.code64())) {
        mark_accessed(cpu, cs_selector, cs);
        stack.commit();
        install_segment(cpu, kCs, cs_selector, cs);
    } else {
        const std::uint64_t sp = stack.pop(r.opsize);
        const auto ss_selector = static_cast<std::uint16_t>(stack.pop(r.opsize));
        Descriptor ss = check_return_stack(cpu, ss_selector, cs_selector, cs);
        mark_accessed(cpu, cs_selector, cs);
        if (!null_selector(ss_selector))
            mark_accessed(cpu, ss_selector, ss);
        const std::uint64_t mask = iret_mask(cpu, r.opsize);  // by the level that executes IRET
        s.cpl = static_cast<std::uint8_t>(rpl(cs_selector));
        install_segment(cpu, kCs, cs_selector, cs);
        install_segment(cpu, kSs, ss_selector, ss);
        if (null_selector(ss_selector))
            s.seg[kSs].attr = static_cast<std::uint16_t>(s.cpl << 5);
        const bool wide_stack = to64 || ss.db();
        const std::uint64_t new_sp = wide_stack && !to64 ? (sp & 0xffffffff) : sp;
        s.gpr[kRsp] = wide_stack ? new_sp : (s.gpr[kRsp] & ~0xffffull) | (sp & 0xffff);
        if (r.release != 0)
            s.gpr[kRsp] = to64 ? s.gpr[kRsp] + r.release
                          : ss.db()
                              ? (s.gpr[kRsp] + r.release) & 0xffffffff
                              : (s.gpr[kRsp] & ~0xffffull) | ((s.gpr[kRsp] + r.release) & 0xffff);
        if (outer)
            drop_inner_segments(cpu);
        if (r.iret)
            write_rflags(s, flags, mask);
        s.head.pc = to64 ? ip : (s.seg_base[kCs] + ip) & 0xffffffff;
        return;
    }
    if (r.iret)
        write_rflags(s, flags, iret_mask(cpu, r.opsize));
    s.head.pc = to64 ? ip : (s.seg_base[kCs] + ip) & 0xffffffff;
}

std::uint64_t far_return(CpuState* state, const Return& r) {
    return guarded_transfer(state, [&](Cpu& cpu) {
        if (!cpu.protected_mode() || cpu.vm86())
            real_mode_return(cpu, r);
        else
            protected_mode_return(cpu, r);
    });
}

}  // namespace

std::uint64_t helper_far_ret(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return far_return(state, {static_cast<unsigned>(b), static_cast<unsigned>(a), false});
}

std::uint64_t helper_iret(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    const std::uint64_t result = far_return(state, {static_cast<unsigned>(a), 0, true});
    if (!state->head.exception_pending)
        state->nmi_blocked &= 2;  // only RSM lifts SMM's
    return result;
}

}  // namespace rhea::target::x86
