#include "interrupt.h"

#include <utility>

#include "paging.h"
#include "quick_helpers.h"
#include "rhea/util/log.h"
#include "segment.h"
#include "stack.h"
#include "task.h"

namespace rhea::target::x86 {
namespace {

std::uint32_t ext_of(const Event& e) {
    return e.kind == EventKind::kSoftware ? 0 : 1;
}

void real_mode_interrupt(Cpu& cpu, const Event& e) {
    CpuState& s = cpu.s;
    if (e.vector * 4u + 3 > s.idt.limit)
        throw_gp(e.vector * 8u + 2 + ext_of(e));
    const std::uint64_t entry = read_linear(cpu, s.idt.base + e.vector * 4u, 4, As::kSupervisor);
    Stack stack(cpu, As::kSupervisor);
    stack.push(read_rflags(s), 2);
    stack.push(s.seg[kCs].selector, 2);
    stack.push(cpu.eip() + e.next_length, 2);
    stack.commit();
    write_rflags(s, 0, kFlagTF | kFlagIF | kFlagRF | kFlagAC);
    install_real(cpu, kCs, static_cast<std::uint16_t>(entry >> 16));
    s.head.pc = (s.seg_base[kCs] + (entry & 0xffff)) & 0xffffffff;
}

/// Checks of the gate that all protected modes share.
Descriptor read_gate(Cpu& cpu, const Event& e, unsigned gate_bytes) {
    const CpuState& s = cpu.s;
    const std::uint32_t at = e.vector * gate_bytes;
    const std::uint32_t error = e.vector * 8u + 2 + ext_of(e);
    if (at + gate_bytes - 1 > s.idt.limit)
        throw_gp(error);
    Descriptor gate;
    gate.low = read_linear(cpu, s.idt.base + at, 8, As::kSupervisor);
    if (gate_bytes == 16)
        gate.high = read_linear(cpu, s.idt.base + at + 8, 8, As::kSupervisor);
    const unsigned type = gate.type();
    const bool known = gate_bytes == 16 ? type == kTypeIntGate32 || type == kTypeTrapGate32
                                        : type == kTypeTaskGate || type == kTypeIntGate16 ||
                                              type == kTypeTrapGate16 || type == kTypeIntGate32 ||
                                              type == kTypeTrapGate32;
    if (gate.segment() || !known)
        throw_gp(error);
    if (e.kind == EventKind::kSoftware && gate.dpl() < s.cpl)
        throw_gp(error);
    if (!gate.present())
        throw_fault(kVectorNP, error);
    return gate;
}

Descriptor read_handler_segment(Cpu& cpu, std::uint16_t selector, std::uint32_t ext) {
    if (null_selector(selector))
        throw_gp(ext);
    const std::uint32_t error = (selector & ~3u) | ext;
    Descriptor cs;
    if (!fetch_descriptor(cpu, selector, cs) || !cs.code() || cs.dpl() > cpu.s.cpl)
        throw_gp(error);
    if (!cs.present())
        throw_fault(kVectorNP, error);
    return cs;
}

void through_task_gate(Cpu& cpu, const Event& e, const Descriptor& gate) {
    const std::uint16_t selector = gate.gate_selector();
    const std::uint32_t error = (selector & ~3u) | ext_of(e);
    Descriptor tss;
    if ((selector & 4) != 0 || !fetch_descriptor(cpu, selector, tss) || tss.segment() ||
        (tss.type() != kTypeTss16 && tss.type() != kTypeTss32))
        throw_gp(error);
    if (!tss.present())
        throw_fault(kVectorNP, error);
    const bool tss32 = tss.type() == kTypeTss32;
    switch_task(cpu, selector, tss, TaskSwitch::kInterrupt, cpu.eip() + e.next_length);
    if (e.has_error) {
        Stack stack(cpu, as_of_level(cpu.s.cpl));
        stack.push(e.error, tss32 ? 4 : 2);
        stack.commit();
    }
}

/// Clears what a handler starts without; interrupt gates also clear IF.
void enter_handler(Cpu& cpu, bool interrupt_gate) {
    write_rflags(cpu.s, 0, kFlagTF | kFlagVM | kFlagRF | kFlagNT | (interrupt_gate ? kFlagIF : 0));
}

void protected_mode_interrupt(Cpu& cpu, const Event& e) {
    CpuState& s = cpu.s;
    const std::uint32_t ext = ext_of(e);
    const Descriptor gate = read_gate(cpu, e, 8);
    if (gate.type() == kTypeTaskGate)
        return through_task_gate(cpu, e, gate);
    const bool gate32 = (gate.type() & 8) != 0;
    const unsigned size = gate32 ? 4 : 2;
    const std::uint16_t selector = gate.gate_selector();
    Descriptor cs = read_handler_segment(cpu, selector, ext);
    const std::uint32_t offset = gate32 ? gate.gate_offset32() : gate.gate_offset32() & 0xffff;
    const bool inner = !cs.conforming() && cs.dpl() < s.cpl;
    const bool from_vm86 = cpu.vm86();
    if (from_vm86 && (!inner || cs.dpl() != 0))
        throw_gp((selector & ~3u) | ext);
    const unsigned cpl = inner ? cs.dpl() : s.cpl;
    if (offset > cs.limit())
        throw_gp(ext);
    const std::uint64_t flags = pushed_flags(read_rflags(cpu.s), e);
    const std::uint64_t ip = cpu.eip() + e.next_length;
    InnerStack inner_stack;
    if (inner)
        inner_stack = load_inner_stack(cpu, cpl, ext);
    Stack stack = inner ? Stack::in_segment(cpu, inner_stack.descriptor, inner_stack.sp,
                                            as_of_level(cpl), (inner_stack.selector & ~3u) | ext)
                        : Stack(cpu, as_of_level(cpl), ext);
    if (from_vm86)
        for (const Seg seg : {kGs, kFs, kDs, kEs})
            stack.push(s.seg[seg].selector, size);
    if (inner) {
        stack.push(s.seg[kSs].selector, size);
        stack.push(s.gpr[kRsp], size);
    }
    stack.push(flags, size);
    stack.push(s.seg[kCs].selector, size);
    stack.push(ip, size);
    if (e.has_error)
        stack.push(e.error, size);
    mark_accessed(cpu, selector, cs);
    if (inner)
        mark_accessed(cpu, inner_stack.selector, inner_stack.descriptor);
    // Nothing can fault from here on.
    enter_handler(cpu, (gate.type() & 1) == 0);
    if (from_vm86)
        for (const Seg seg : {kEs, kDs, kFs, kGs})
            install_null(cpu, seg, 0);
    if (inner)
        install_segment(cpu, kSs, inner_stack.selector, inner_stack.descriptor);
    s.gpr[kRsp] = stack.result(s.gpr[kRsp]);
    s.cpl = static_cast<std::uint8_t>(cpl);
    install_segment(cpu, kCs, static_cast<std::uint16_t>((selector & ~3u) | cpl), cs);
    s.head.pc = (s.seg_base[kCs] + offset) & 0xffffffff;
}

void long_mode_interrupt(Cpu& cpu, const Event& e) {
    CpuState& s = cpu.s;
    const std::uint32_t ext = ext_of(e);
    const Descriptor gate = read_gate(cpu, e, 16);
    const std::uint16_t selector = gate.gate_selector();
    Descriptor cs = read_handler_segment(cpu, selector, ext);
    if (!cs.long_code() || cs.db())
        throw_gp((selector & ~3u) | ext);
    const unsigned ist = (gate.low >> 32) & 7;
    const bool inner = !cs.conforming() && cs.dpl() < s.cpl;
    const unsigned cpl = inner ? cs.dpl() : s.cpl;
    const std::uint64_t target = gate.gate_offset64();
    if (!is_canonical48(target))
        throw_gp(ext);
    std::uint64_t rsp = s.gpr[kRsp];
    if (inner || ist != 0)
        rsp = load_inner_rsp(cpu, cpl, ist, ext);
    const std::uint64_t ip = cpu.eip() + e.next_length;
    Stack stack = Stack::flat(cpu, rsp & ~15ull, as_of_level(cpl));
    stack.push(s.seg[kSs].selector, 8);
    stack.push(s.gpr[kRsp], 8);
    stack.push(pushed_flags(read_rflags(cpu.s), e), 8);
    stack.push(s.seg[kCs].selector, 8);
    stack.push(ip, 8);
    if (e.has_error)
        stack.push(e.error, 8);
    mark_accessed(cpu, selector, cs);
    enter_handler(cpu, (gate.type() & 1) == 0);
    if (inner)
        install_inner_null_ss(cpu, cpl);
    s.gpr[kRsp] = stack.sp();
    s.cpl = static_cast<std::uint8_t>(cpl);
    install_segment(cpu, kCs, static_cast<std::uint16_t>((selector & ~3u) | cpl), cs);
    s.head.pc = target;
}

bool contributory(unsigned vector) {
    return vector == kVectorDE || (vector >= kVectorTS && vector <= kVectorGP);
}

void log_event(const Cpu& cpu, const Event& e) {
    util::log_write(util::kLogInt,
                    "cpu {}: vector {:#04x} kind {} error {:#x} cs:ip {:04x}:{:016x} cpl {} rsp "
                    "{:016x} cr2 {:016x} rax {:016x}\n",
                    cpu.index, e.vector, static_cast<unsigned>(e.kind), e.error,
                    cpu.s.seg[kCs].selector, cpu.eip(), cpu.s.cpl, cpu.s.gpr[kRsp], cpu.s.cr2,
                    cpu.s.gpr[kRax]);
}

}  // namespace

void raise(CpuState& s, const Fault& fault) {
    if (fault.vector == kRestart) {
        s.head.exception_pending = tcg::kRestartSingle;
        return;
    }
    s.head.exception_pending = 1;
    s.exception_vector = fault.vector;
    s.exception_error_code = fault.error;
    s.exception_has_error_code = has_error_code(fault.vector);
    s.exception_is_software = 0;
    s.exception_next_length = 0;
    s.exception_resumes = 0;
    s.exception_cr2 = fault.vector == kVectorPF ? fault.address : 0;
    s.exception_dr6 = fault.vector == kVectorDB ? fault.address : 0;
}

int combine_faults(const Event& first, unsigned second_vector) {
    const bool second_serious = contributory(second_vector) || second_vector == kVectorPF;
    if (first.kind != EventKind::kException)
        return static_cast<int>(second_vector);
    if (first.vector == kVectorDF)
        return second_serious ? -1 : static_cast<int>(second_vector);
    if ((contributory(first.vector) && contributory(second_vector)) ||
        (first.vector == kVectorPF && second_serious))
        return kVectorDF;
    return static_cast<int>(second_vector);
}

tcg::GuestFrontend::Outcome deliver_event(Cpu& cpu, Event event) {
    using Outcome = tcg::GuestFrontend::Outcome;
    cpu.s.interrupt_shadow = 0;
    const NoteHits noting(cpu.watch);
    for (;;) {
        if (util::log_enabled(util::kLogInt))
            log_event(cpu, event);
        if (quick_event(cpu.s, event)) {
            cpu.watch.hits = 0;  // of a delivery that faulted
            cpu.host.mode_changed();
            return Outcome::kRun;
        }
        try {
            if (!cpu.protected_mode()) {
                event.has_error = false;  // real mode pushes none
                real_mode_interrupt(cpu, event);
            } else if (cpu.long_active()) {
                long_mode_interrupt(cpu, event);
            } else {
                protected_mode_interrupt(cpu, event);
            }
            update_mode(cpu);
            // What the pushes hit. Those of #DB itself are only shown: a breakpoint on its stack would never come to an end.
            const std::uint8_t hits = std::exchange(cpu.watch.hits, std::uint8_t{0});
            cpu.s.dr[6] |= hits;
            if (!cpu.task_trap && (hits == 0 || event.vector == kVectorDB))
                return Outcome::kRun;
            if (cpu.task_trap)
                cpu.s.dr[6] |= kDr6BT;
            cpu.task_trap = false;
            event = {.vector = kVectorDB};
        } catch (const Fault& fault) {
            update_mode(cpu);  // a task switch may have got half way
            if (fault.vector == kVectorPF)
                cpu.s.cr2 = fault.address;
            const int vector = combine_faults(event, fault.vector);
            if (vector < 0) {
                util::log_write(util::kLogInt | util::kLogGuestErrors,
                                "cpu {}: triple fault at {:#x}\n", cpu.index, cpu.s.head.pc);
                return Outcome::kShutdown;
            }
            const bool df = vector == kVectorDF;
            event = {static_cast<std::uint8_t>(vector), EventKind::kException,
                     has_error_code(static_cast<unsigned>(vector)), df ? 0 : fault.error, 0};
        }
    }
}

void finish_transfer(Cpu& cpu, const Fault* fault) {
    if (fault != nullptr && !cpu.task_switched) {
        raise(cpu.s, *fault);
        return;
    }
    update_mode(cpu);
    Event event;
    if (fault != nullptr) {
        if (fault->vector == kVectorPF)
            cpu.s.cr2 = fault->address;
        event = {fault->vector, EventKind::kException, has_error_code(fault->vector), fault->error,
                 0};
    } else if (cpu.task_trap || (cpu.watch.hits != 0 && !cpu.watch.noting)) {
        cpu.s.dr[6] |= (cpu.task_trap ? kDr6BT : 0) | std::exchange(cpu.watch.hits, std::uint8_t{0});
        event.vector = kVectorDB;
    } else {
        return;
    }
    cpu.task_trap = false;
    if (deliver_event(cpu, event) == tcg::GuestFrontend::Outcome::kShutdown) {
        cpu.shutdown = true;  // check_requests() reports it
        __atomic_store_n(&cpu.s.head.exit_request, 1u, __ATOMIC_RELEASE);
    }
}

namespace {

Event pending_event(const CpuState& s) {
    return {.vector = static_cast<std::uint8_t>(s.exception_vector),
            .kind = s.exception_is_software ? EventKind::kSoftware : EventKind::kException,
            .has_error = s.exception_has_error_code != 0,
            .error = s.exception_error_code,
            .next_length = s.exception_next_length,
            // General detect is a fault.
            .resumes = s.exception_resumes != 0 || (s.exception_dr6 & kDr6BD) != 0};
}

}  // namespace

bool deliver_quickly(Cpu& cpu) {
    CpuState& s = cpu.s;
    const Event event = pending_event(s);
    if (event.vector == kVectorDB || s.interrupt_shadow != 0 || util::log_enabled(util::kLogInt) ||
        !quick_event(s, event))
        return false;
    s.head.exception_pending = 0;
    s.exception_next_length = 0;
    if (event.vector == kVectorPF)
        s.cr2 = s.exception_cr2;
    return true;
}

tcg::GuestFrontend::Outcome deliver_pending(Cpu& cpu) {
    CpuState& s = cpu.s;
    const Event event = pending_event(s);
    s.head.exception_pending = 0;
    s.exception_is_software = s.exception_next_length = 0;
    if (event.vector == kVectorPF && event.kind == EventKind::kException)
        s.cr2 = s.exception_cr2;
    if (event.vector == kVectorDB && event.kind == EventKind::kException) {
        s.dr[6] = (s.dr[6] & ~std::uint64_t{0xf}) | s.exception_dr6 | kDr6Fixed;
        s.dr[7] &= ~kDr7GD;
    }
    return deliver_event(cpu, event);
}

}  // namespace rhea::target::x86
