// Far JMP and CALL: direct, through call gates, task gates and TSSs (SDM vol. 2, CALL and JMP).
#include "helpers.h"
#include "interrupt.h"
#include "paging.h"
#include "segment.h"
#include "stack.h"
#include "task.h"

namespace rhea::target::x86 {
namespace {

struct Far {
    std::uint16_t selector;
    std::uint64_t offset;
    unsigned length, opsize;
    bool call;
};

void push_return(Cpu& cpu, const Far& f, Stack& stack, unsigned size) {
    stack.push(cpu.s.seg[kCs].selector, size);
    stack.push(cpu.eip() + f.length, size);
}

void real_mode_far(Cpu& cpu, const Far& f) {
    CpuState& s = cpu.s;
    if (f.offset > s.seg[kCs].limit)
        throw_gp(0);
    if (f.call) {
        Stack stack(cpu, cpu.as_current());
        push_return(cpu, f, stack, f.opsize);
        stack.commit();
    }
    install_real(cpu, kCs, f.selector);
    cpu.set_eip(f.offset);
}

/// Checks a target instruction pointer against a code segment.
void check_target(const Cpu& cpu, const Descriptor& cs, std::uint64_t offset) {
    if (cpu.long_active() && cs.long_code() ? !is_canonical48(offset) : offset > cs.limit())
        throw_gp(0);
}

void enter_code(Cpu& cpu, std::uint16_t selector, Descriptor& cs, unsigned cpl,
                std::uint64_t offset) {
    CpuState& s = cpu.s;
    s.cpl = static_cast<std::uint8_t>(cpl);
    install_segment(cpu, kCs, static_cast<std::uint16_t>((selector & ~3u) | cpl), cs);
    s.head.pc =
        cpu.long_active() && cs.long_code() ? offset : (s.seg_base[kCs] + offset) & 0xffffffff;
}

void direct_far(Cpu& cpu, const Far& f, Descriptor& cs) {
    const std::uint32_t error = f.selector & ~3u;
    const unsigned cpl = cpu.s.cpl;
    if (!cs.code() || (cs.conforming() ? cs.dpl() > cpl : rpl(f.selector) > cpl || cs.dpl() != cpl))
        throw_gp(error);
    if (!cs.present())
        throw_fault(kVectorNP, error);
    if (cpu.long_active() && cs.long_code() && cs.db())
        throw_gp(error);
    check_target(cpu, cs, f.offset);
    Stack stack(cpu, cpu.as_current());
    if (f.call)
        push_return(cpu, f, stack, f.opsize);
    mark_accessed(cpu, f.selector, cs);
    if (f.call)
        stack.commit();
    enter_code(cpu, f.selector, cs, cpl, f.offset);
}

/// A call gate that leads to an inner level: stack switch with parameters.
void call_inner(Cpu& cpu, const Far& f, const Descriptor& gate, Descriptor& cs) {
    CpuState& s = cpu.s;
    const unsigned cpl = cs.dpl();
    const std::uint16_t target = gate.gate_selector();
    if (cpu.long_active()) {
        Stack stack = Stack::flat(cpu, load_inner_rsp(cpu, cpl, 0, 0), As::kSupervisor);
        stack.push(s.seg[kSs].selector, 8);
        stack.push(s.gpr[kRsp], 8);
        push_return(cpu, f, stack, 8);
        mark_accessed(cpu, target, cs);
        install_inner_null_ss(cpu, cpl);
        s.gpr[kRsp] = stack.sp();
        enter_code(cpu, target, cs, cpl, gate.gate_offset64());
        return;
    }
    const bool gate32 = gate.type() == kTypeCallGate32;
    const unsigned size = gate32 ? 4 : 2;
    InnerStack inner = load_inner_stack(cpu, cpl, 0);
    Stack stack =
        Stack::in_segment(cpu, inner.descriptor, inner.sp, as_of_level(cpl), inner.selector & ~3u);
    stack.push(s.seg[kSs].selector, size);
    stack.push(s.gpr[kRsp], size);
    Stack old(cpu, cpu.as_current());
    const unsigned parameters = (gate.low >> 32) & 31;
    for (unsigned i = parameters; i-- > 0;)
        stack.push(old.peek(std::uint64_t{i} * size, size), size);
    push_return(cpu, f, stack, size);
    mark_accessed(cpu, target, cs);
    mark_accessed(cpu, inner.selector, inner.descriptor);
    install_segment(cpu, kSs, static_cast<std::uint16_t>((inner.selector & ~3u) | cpl),
                    inner.descriptor);
    s.gpr[kRsp] = stack.result(s.gpr[kRsp]);
    enter_code(cpu, target, cs, cpl, gate32 ? gate.gate_offset32() : gate.gate_offset32() & 0xffff);
}

void through_call_gate(Cpu& cpu, const Far& f, const Descriptor& gate) {
    const unsigned cpl = cpu.s.cpl;
    const std::uint16_t target = gate.gate_selector();
    if (null_selector(target))
        throw_gp(0);
    const std::uint32_t error = target & ~3u;
    Descriptor cs;
    if (!fetch_descriptor(cpu, target, cs) || !cs.code() || cs.dpl() > cpl)
        throw_gp(error);
    const bool wide = cpu.long_active();
    if (wide && (!cs.long_code() || cs.db()))
        throw_gp(error);
    if (!f.call && !cs.conforming() && cs.dpl() != cpl)
        throw_gp(error);
    if (!cs.present())
        throw_fault(kVectorNP, error);
    const bool gate32 = gate.type() == kTypeCallGate32;
    const std::uint64_t offset = wide     ? gate.gate_offset64()
                                 : gate32 ? gate.gate_offset32()
                                          : gate.gate_offset32() & 0xffff;
    check_target(cpu, cs, offset);
    if (f.call && !cs.conforming() && cs.dpl() < cpl)
        return call_inner(cpu, f, gate, cs);
    Stack stack =
        wide ? Stack::flat(cpu, cpu.s.gpr[kRsp], cpu.as_current()) : Stack(cpu, cpu.as_current());
    if (f.call)
        push_return(cpu, f, stack, wide ? 8 : gate32 ? 4 : 2);
    mark_accessed(cpu, target, cs);
    if (f.call)
        stack.commit();
    enter_code(cpu, target, cs, cpl, offset);
}

void to_task(Cpu& cpu, const Far& f, std::uint16_t selector, const Descriptor& tss) {
    switch_task(cpu, selector, tss, f.call ? TaskSwitch::kCall : TaskSwitch::kJump,
                cpu.eip() + f.length);
}

void through_task_gate(Cpu& cpu, const Far& f, const Descriptor& gate) {
    const std::uint16_t selector = gate.gate_selector();
    Descriptor tss;
    if ((selector & 4) != 0 || !fetch_descriptor(cpu, selector, tss) || tss.segment() ||
        (tss.type() != kTypeTss16 && tss.type() != kTypeTss32))
        throw_gp(selector & ~3u);
    to_task(cpu, f, selector, tss);
}

void system_far(Cpu& cpu, const Far& f) {
    const std::uint32_t error = f.selector & ~3u;
    Descriptor d;
    if (!fetch_system_descriptor(cpu, f.selector, d))
        throw_gp(error);
    const unsigned type = d.type();
    const bool gate = cpu.long_active() ? type == kTypeCallGate32
                                        : type == kTypeCallGate16 || type == kTypeCallGate32;
    const bool task =
        !cpu.long_active() && (type == kTypeTaskGate || type == kTypeTss16 || type == kTypeTss32);
    if ((!gate && !task) || d.dpl() < cpu.s.cpl || d.dpl() < rpl(f.selector))
        throw_gp(error);
    if (task && type != kTypeTaskGate && (f.selector & 4) != 0)
        throw_gp(error);
    if (!d.present())
        throw_fault(kVectorNP, error);
    if (gate)
        through_call_gate(cpu, f, d);
    else if (type == kTypeTaskGate)
        through_task_gate(cpu, f, d);
    else
        to_task(cpu, f, f.selector, d);
}

std::uint64_t far_transfer(CpuState* state, const Far& f) {
    return guarded_transfer(state, [&](Cpu& cpu) {
        if (!cpu.protected_mode() || cpu.vm86()) {
            real_mode_far(cpu, f);
        } else {
            if (null_selector(f.selector))
                throw_gp(0);
            Descriptor d;
            if (!fetch_descriptor(cpu, f.selector, d))
                throw_gp(f.selector & ~3u);
            if (d.segment())
                direct_far(cpu, f, d);
            else
                system_far(cpu, f);
        }
    });
}

}  // namespace

std::uint64_t helper_far_jmp(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return far_transfer(state, {static_cast<std::uint16_t>(a), b, static_cast<unsigned>(c & 0xff),
                                static_cast<unsigned>(c >> 8 & 0xff), false});
}

std::uint64_t helper_far_call(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return far_transfer(state, {static_cast<std::uint16_t>(a), b, static_cast<unsigned>(c & 0xff),
                                static_cast<unsigned>(c >> 8 & 0xff), true});
}

}  // namespace rhea::target::x86
