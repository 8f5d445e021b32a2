// Jumps, calls, returns, interrupts and what opens or closes them.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {
namespace {

constexpr std::uint64_t kInterruptFlag = 1u << 9;
enum SoftwareInterruptKind : unsigned { kIntN, kInt3 };

std::int64_t relative(const Translator &t) { return static_cast<std::int64_t>(t.insn.imm); }

void software_interrupt(Translator &t, unsigned vector, SoftwareInterruptKind kind) {
    t.call(HelperId::software_interrupt, Type::kNone, {t.k(vector), t.k(t.length()), t.k(kind)});
    t.leave_state();
}

/// EIP of operand size as 64 bits.
ValueId widened(Translator &t, ValueId eip) { return t.b.zext(eip, Type::kI64); }

ValueId length_and_size(Translator &t) {
    const std::uint64_t size = t.opsize() == 2 ? 2 : 4;
    return t.k(t.length() | size << 8);
}

template <bool kCall>
void far_transfer(Translator &t, ValueId selector, ValueId offset) {
    t.call(kCall ? HelperId::far_call : HelperId::far_jmp, Type::kNone, {selector, offset, length_and_size(t)});
    t.leave_state();
}

} // namespace

void nop(Translator &) {}
void undefined(Translator &t) { t.undefined(); }

void jcc(Translator &t) { t.branch_cc(static_cast<Cond>(t.insn.opcode & 15), relative(t)); }

/// LOOPNE, LOOPE, LOOP, JCXZ: the counter is RCX by address size.
void loop(Translator &t) {
    const unsigned size = t.insn.address_size;
    const unsigned kind = t.insn.opcode & 3;
    if (kind == 3) {
        t.branch(t.is_zero(t.reg(kRcx, size)), relative(t));
        return;
    }
    const ValueId count = t.b.add_imm(t.reg(kRcx, size), -1);
    ValueId taken = t.is_not_zero(count);
    if (kind < 2) {
        // A REPE or REPNE prefix decides about ZF instead of the opcode: not in any manual, but what AMD CPUs do.
        const bool equal = t.insn.rep == RepKind::kNone ? kind == 1 : t.insn.rep == RepKind::kRep;
        taken = t.b.and_(taken, t.b.cond(equal ? Cond::kE : Cond::kNE));
    }
    if (t.jumps_are_checked()) {
        t.target_linear(relative(t)); // faults before RCX changes
    }
    t.set_reg(kRcx, size, count);
    t.branch(taken, relative(t));
}

void jmp_rel(Translator &t) { t.jump_to(relative(t)); }

void jmp_indirect(Translator &t) {
    const ValueId eip = widened(t, t.read(0));
    t.check_cs_limit(eip);
    t.jump_eip(eip, tcg::JumpKind::kJump);
}

void call_rel(Translator &t) {
    if (t.jumps_are_checked()) {
        t.target_linear(relative(t)); // faults before the push
    }
    t.push(t.b.trunc(t.eip_of(t.next), t.optype()));
    t.jump_to(relative(t), tcg::JumpKind::kCall);
}

void call_indirect(Translator &t) {
    const ValueId eip = widened(t, t.read(0));
    t.check_cs_limit(eip);
    t.push(t.b.trunc(t.eip_of(t.next), t.optype()));
    t.jump_eip(eip, tcg::JumpKind::kCall);
}

void ret(Translator &t) {
    const ValueId eip = widened(t, t.pop_load(t.opsize()));
    t.check_cs_limit(eip);
    t.release(static_cast<std::int64_t>(t.opsize() + (t.insn.imm & 0xffff)));
    t.jump_eip(eip, tcg::JumpKind::kReturn);
}

template <bool kCall>
void far_imm(Translator &t) {
    far_transfer<kCall>(t, t.k(t.insn.imm2), t.k(t.insn.imm));
}
template void far_imm<false>(Translator &);
template void far_imm<true>(Translator &);

/// AMD CPUs know no 16:64 pointers: with REX.W the offset has 32 bits (APM volume 3, JMP far).
template <bool kCall>
void far_mem(Translator &t) {
    const unsigned size = t.opsize() == 2 ? 2 : 4;
    const ValueId address = t.mem_address(size + 2, false);
    const ValueId offset = t.load_at(address, size);
    const ValueId selector = t.load_at(t.b.add_imm(address, size), 2);
    far_transfer<kCall>(t, t.b.zext(selector, Type::kI64), widened(t, offset));
}
template void far_mem<false>(Translator &);
template void far_mem<true>(Translator &);

void far_ret(Translator &t) {
    t.call(HelperId::far_ret, Type::kNone, {t.k(t.insn.imm & 0xffff), t.k(t.opsize())});
    t.leave_state();
}

void iret(Translator &t) {
    t.call(HelperId::iret, Type::kNone, {t.k(t.opsize())});
    t.leave_state();
}

void int3(Translator &t) { software_interrupt(t, 3, kInt3); }
void int_n(Translator &t) { software_interrupt(t, t.insn.imm & 0xff, kIntN); }

void int1(Translator &t) {
    t.call(HelperId::icebp, Type::kNone, {t.k(t.length())});
    t.leave_state();
}

void into(Translator &t) { t.call(HelperId::into, Type::kNone, {t.k(t.length())}); }

void bound(Translator &t) {
    const unsigned size = t.opsize();
    const ValueId address = t.mem_address(2 * size, false);
    const auto wide = [&](ValueId v) { return t.b.sext(v, Type::kI64); };
    const ValueId lower = t.load_at(address, size);
    const ValueId upper = t.load_at(t.b.add_imm(address, size), size);
    t.call(HelperId::bound_check, Type::kNone, {wide(t.read(0)), wide(lower), wide(upper)});
}

// The entry instructions decide themselves about a pending single step: it is not taken behind them.

void syscall(Translator &t) {
    t.call(HelperId::syscall, Type::kNone, {t.k(t.length())});
    t.leave_entered();
}

void sysenter(Translator &t) {
    t.call(HelperId::sysenter, Type::kNone);
    t.leave_entered();
}

void sysret(Translator &t) {
    if (!t.protected_mode()) {
        t.general_protection();
        return;
    }
    t.call(HelperId::sysret, Type::kNone, {t.k(t.opsize())});
    t.leave_state();
}

void sysexit(Translator &t) {
    t.call(HelperId::sysexit, Type::kNone, {t.k(t.opsize())});
    t.leave_state();
}

void rsm(Translator &t) {
    if ((t.mode & kModeSmm) == 0) {
        t.undefined();
        return;
    }
    t.call(HelperId::rsm, Type::kNone);
    t.leave_entered();
}

void hlt(Translator &t) {
    t.call(HelperId::hlt, Type::kNone, {t.k(t.length())});
    t.leave_state();
}

void cli(Translator &t) {
    if (t.io_allowed()) {
        t.set_slot(kSlotRflags, t.b.and_imm(t.slot(kSlotRflags), ~kInterruptFlag));
    } else {
        t.call(HelperId::cli, Type::kNone);
    }
}

/// Interrupts open behind the next instruction, so that one is translated into this block, which then looks.
void sti(Translator &t) {
    if (!t.io_allowed() || !t.next_is_whole || t.single()) {
        t.call(t.io_allowed() ? HelperId::sti_shadow : HelperId::sti, Type::kNone, {t.k(t.length())});
        t.leave_state();
        return;
    }
    t.set_slot(kSlotRflags, t.b.or_(t.slot(kSlotRflags), t.k(kInterruptFlag)));
    t.open_after_next();
}

} // namespace rhea::target::x86::emit
