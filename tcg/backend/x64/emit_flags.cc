// Flags values: fusing them with what uses them, recomputing them in the host's flags.
#include "tcg/backend/x64/compiler.h"

#include <bit>

namespace rhea::tcg::x64 {

void BlockCompiler::clobber() {
    save_carry();
    host_ = {};
}

void BlockCompiler::save_carry() {
    const ValueId f = host_.value;
    if (f == kNoValue)
        return;
    Value &value = val(f);
    if (!hard_flags(inst(f).op) || !value.carry_needed || !live(f) || carry_kept(value))
        return;
    Gpr r;
    if (!cold_mode_ && free_gpr(r)) {
        a().setcc(Cond::kB, r);
        bind(f, r);
        return;
    }
    value.carry_spill = static_cast<std::int8_t>(alloc_spill(f));
    a().setcc(Cond::kB, state_mem(layout_.spill(static_cast<unsigned>(value.carry_spill))));
}

/// The instruction just emitted for i left these flags of its flags value in the host's.
void BlockCompiler::produced(ValueId i, FlagMask mask) {
    const ValueId f = val(i).flags_of;
    if (f == kNoValue || val(f).last_use == 0)
        return;
    const Op op = inst(f).op;
    if (op == Op::f_inc || op == Op::f_dec)
        mask &= static_cast<FlagMask>(~kCF);
    if (val(f).last_explicit > now_ || hard_flags(op))
        host_ = {f, mask};
}

bool BlockCompiler::wants_flags(ValueId i) {
    const ValueId f = val(i).flags_of;
    if (f == kNoValue)
        return false;
    const Value &value = val(f);
    return value.last_explicit > now_ || (hard_flags(inst(f).op) && live(f));
}

/// Condition that bit 0 of b is set (or clear).
Cond BlockCompiler::test_bit0(const Loc &b, bool set) {
    clobber();
    test_loc(1, b, Loc::constant(1));
    return set ? Cond::kNE : Cond::kE;
}

Cond BlockCompiler::cond_from_raw(const Loc &raw, Cond cc) {
    constexpr std::uint32_t kTests[] = {kOF, kCF, kZF, kCF | kZF, kSF, kPF};
    const bool inverted = (static_cast<unsigned>(cc) & 1) != 0;
    const unsigned pair = static_cast<unsigned>(cc) >> 1;
    clobber();
    if (pair < std::size(kTests)) {
        test_loc(4, raw, Loc::constant(kTests[pair]));
        return inverted ? Cond::kE : Cond::kNE;
    }
    // SF != OF: bit 11 brought down to bit 7.
    const Gpr t = temp();
    load_loc(t, raw, 4);
    a().shr(4, t, 4);
    alu_loc(Alu::xor_, 4, t, raw);
    a().and_(4, t, static_cast<std::int32_t>(kSF));
    if (pair == static_cast<unsigned>(Cond::kLE) >> 1) {
        const Gpr z = temp();
        load_loc(z, raw, 4);
        a().and_(4, z, static_cast<std::int32_t>(kZF));
        a().or_(4, t, z);
        drop_temp(z);
    }
    drop_temp(t);
    return inverted ? Cond::kE : Cond::kNE;
}

void BlockCompiler::state_to_raw() {
    if (state_raw_)
        return;
    clobber();
    a().call(thunks_.flags_to_raw);
    state_raw_ = true;
}

Loc BlockCompiler::raw_flags(ValueId f) {
    Value &value = val(f);
    if (value.in_state) {
        state_to_raw();
        return Loc::mem(Layout::head(offsetof(VcpuHead, cc_dst)));
    }
    if (value.raw_spill < 0) {
        clobber();
        value.raw_spill = static_cast<std::int8_t>(alloc_spill(f));
        const auto begin = desc_bytes_.size();
        DescWriter writer(desc_bytes_);
        const auto spill = static_cast<std::uint8_t>(value.raw_spill);
        value.raw_spill = -1;
        describe(f, writer);
        value.raw_spill = static_cast<std::int8_t>(spill);
        a().call(thunks_.evaluate_flags);
        a().byte(spill);
        a().bytes({desc_bytes_.data() + begin, desc_bytes_.size() - begin});
        desc_bytes_.truncate(begin);
    }
    return Loc::mem(layout_.spill(static_cast<unsigned>(value.raw_spill)));
}

/// f_adc and f_sbb into the host's flags from result, operand and carry in: undone, then done again.
void BlockCompiler::recompute_hard(ValueId f) {
    const Inst &flags = inst(f);
    const unsigned bytes = type_bytes(flags.type);
    const Gpr carry = temp();
    provide_carry(resolve(flags.args[2]));
    clobber();
    a().setcc(Cond::kB, carry);
    const Loc r = loc_of(flags.args[0]);
    const Loc b = loc_of(flags.args[1]);
    const Gpr t = temp();
    load_loc(t, r, bytes);
    const bool is_adc = flags.op == Op::f_adc;
    a().bt(4, carry, 0u);
    alu_loc(is_adc ? Alu::sbb : Alu::adc, bytes, t, b);
    a().bt(4, carry, 0u);
    alu_loc(is_adc ? Alu::adc : Alu::sbb, bytes, t, b);
    drop_temp(carry);
    drop_temp(t);
    host_ = {f, kAllFlags};
}

/// Host condition that tells whether `cc` holds for the flags value.
Cond BlockCompiler::provide_cond(ValueId f, Cond cc) {
    hold_flags_ = true;
    const std::uint32_t locked = locked_;
    cc = provide_cond_unlocked(f, cc);
    locked_ = locked; // what it read is not needed any more
    return cc;
}

Cond BlockCompiler::provide_cond_unlocked(ValueId f, Cond cc) {
    const FlagMask mask = cond_flags(cc);
    const auto within = [&](FlagMask allowed) { return (mask & ~allowed) == 0; };
    if (host_.value == f && within(host_.mask))
        return cc;
    const Inst &flags = inst(f);
    const Value &value = val(f);
    const unsigned bytes = type_bytes(flags.type);
    const bool positive = (static_cast<unsigned>(cc) & 1) == 0;
    const auto have = [&](FlagMask held) {
        host_ = {f, held};
        return cc;
    };
    const auto test_result = [&] {
        const Loc r = loc_of(flags.args[0]);
        clobber();
        if (r.kind == Loc::Kind::kGpr)
            a().test(bytes, r.gpr, r.gpr);
        else
            compare_loc(Alu::cmp, bytes, r, Loc::constant(0));
        return have(kZsp);
    };
    const auto generic = [&] { return cond_from_raw(raw_flags(f), cc); };
    if (value.raw_spill >= 0 || value.in_state)
        return generic();
    switch (flags.op) {
    case Op::f_raw: return cond_from_raw(loc_of(flags.args[0]), cc);
    case Op::f_cmp: {
        const Loc x = loc_of(flags.args[0]);
        const Loc y = loc_of(flags.args[1]);
        clobber();
        compare_loc(Alu::cmp, bytes, x, y);
        return have(kAllFlags);
    }
    case Op::f_logic: {
        const ValueId r = resolve(flags.args[0]);
        if (val(r).test_only) {
            const Loc x = loc_of(inst(r).args[0]);
            const Loc y = loc_of(inst(r).args[1]);
            clobber();
            test_loc(bytes, x, y);
        } else {
            test_result();
        }
        return have(kAllFlags);
    }
    case Op::f_add:
    case Op::f_sub: {
        if (within(kZsp))
            return test_result();
        const Loc r = loc_of(flags.args[0]);
        const Loc b = loc_of(flags.args[1]);
        clobber();
        if (flags.op == Op::f_add && mask == kCF) {
            compare_loc(Alu::cmp, bytes, r, b);
            return have(kCF);
        }
        const Gpr t = temp();
        load_loc(t, r, bytes);
        alu_loc(flags.op == Op::f_add ? Alu::sub : Alu::add, bytes, t, b);
        alu_loc(flags.op == Op::f_add ? Alu::add : Alu::cmp, bytes, t, b);
        drop_temp(t);
        return have(kAllFlags);
    }
    case Op::f_adc:
    case Op::f_sbb:
        if (within(kZsp))
            return test_result();
        if (mask == kCF && carry_kept(value)) {
            provide_carry(f);
            return cc;
        }
        recompute_hard(f);
        return cc;
    case Op::f_inc:
    case Op::f_dec: {
        if (within(kZsp))
            return test_result();
        if (mask == kCF) {
            provide_carry(f);
            return cc;
        }
        if (mask & kCF)
            return generic();
        const Gpr t = temp();
        const Loc r = loc_of(flags.args[0]);
        clobber();
        load_loc(t, r, bytes);
        const bool up = flags.op == Op::f_inc;
        a().alu(up ? Alu::sub : Alu::add, bytes, t, 1);
        a().alu(up ? Alu::add : Alu::sub, bytes, t, 1);
        drop_temp(t);
        return have(kAllFlags & ~kCF);
    }
    case Op::f_shl:
    case Op::f_shr:
    case Op::f_sar: {
        const int n = constant_count(*block_, resolve(flags.args[1]), flags.type);
        if (n <= 0 || (!within(kZsp | kCF) && n != 1))
            return generic();
        const Loc x = loc_of(flags.args[0]);
        const Gpr t = temp();
        clobber();
        load_loc(t, x, bytes);
        const Shift op = flags.op == Op::f_shl ? Shift::shl : flags.op == Op::f_shr ? Shift::shr : Shift::sar;
        a().shift(op, bytes, t, static_cast<unsigned>(n));
        drop_temp(t);
        return have(n == 1 ? kAllFlags : kZsp | kCF);
    }
    case Op::f_rol:
    case Op::f_ror:
    case Op::f_rcl:
    case Op::f_rcr:
        if (within(kZsp))
            return provide_cond(resolve(flags.args[2]), cc);
        if (mask == kCF && plan_carry(f).kind != CarryPlan::Kind::kComplex) {
            provide_carry(f);
            return cc;
        }
        return generic();
    case Op::f_bit:
        if (mask == kCF)
            return test_bit0(loc_of(flags.args[0]), positive);
        return (mask & kCF) ? generic() : provide_cond(resolve(flags.args[1]), cc);
    case Op::f_zf:
        if (mask == kZF)
            return test_bit0(loc_of(flags.args[0]), positive);
        return (mask & kZF) ? generic() : provide_cond(resolve(flags.args[1]), cc);
    case Op::f_of:
        if (mask == kOF)
            return test_bit0(loc_of(flags.args[0]), positive);
        return (mask & kOF) ? generic() : provide_cond(resolve(flags.args[1]), cc);
    case Op::f_mulo:
        if (within(kZsp))
            return test_result();
        if (mask == kCF || mask == kOF)
            return test_bit0(loc_of(flags.args[1]), positive);
        return generic();
    default: return generic();
    }
}

CarryPlan BlockCompiler::plan_carry(ValueId f) {
    using Kind = CarryPlan::Kind;
    f = analysis_.carry_source(f);
    const Inst &flags = inst(f);
    const Value &value = val(f);
    CarryPlan plan;
    plan.bytes = static_cast<std::uint8_t>(type_bytes(flags.type));
    const unsigned bits = plan.bytes * 8u;
    const auto bit_of = [&](const Loc &loc, unsigned n) {
        plan.kind = Kind::kBit;
        plan.a = loc;
        plan.index = static_cast<std::uint8_t>(n);
        if (loc.kind == Loc::Kind::kImm) {
            plan.kind = Kind::kConstant;
            plan.index = (loc.imm >> n) & 1;
        }
    };
    const auto constant = [&](bool carry) {
        plan.kind = Kind::kConstant;
        plan.index = carry;
    };
    if (value.place == Place::kGpr) {
        lock(gpr(value.reg));
        bit_of(Loc::of(gpr(value.reg)), 0);
        return plan;
    }
    if (value.carry_spill >= 0) {
        bit_of(Loc::mem(layout_.spill(static_cast<unsigned>(value.carry_spill))), 0);
        return plan;
    }
    if (value.raw_spill >= 0) {
        bit_of(Loc::mem(layout_.spill(static_cast<unsigned>(value.raw_spill))), 0);
        return plan;
    }
    if (value.in_state) {
        plan.kind = Kind::kState;
        return plan;
    }
    const int n = flags.arg_count == 3 && !hard_flags(flags.op)
                      ? constant_count(*block_, resolve(flags.args[1]), flags.type)
                      : -1;
    const auto count = static_cast<unsigned>(n);
    switch (flags.op) {
    case Op::f_raw:
    case Op::f_bit: bit_of(loc_of(flags.args[0]), 0); break;
    case Op::f_mulo: bit_of(loc_of(flags.args[1]), 0); break;
    case Op::f_logic: constant(false); break;
    case Op::f_add:
    case Op::f_sub:
    case Op::f_cmp:
        plan.kind = flags.op == Op::f_sub ? Kind::kSum : Kind::kBelow;
        plan.a = loc_of(flags.args[0]);
        plan.b = loc_of(flags.args[1]);
        break;
    case Op::f_shl:
        if (n > 0 && count <= bits)
            bit_of(loc_of(flags.args[0]), bits - count);
        else if (n > 0)
            constant(false);
        break;
    case Op::f_shr:
        if (n > 0 && count <= bits)
            bit_of(loc_of(flags.args[0]), count - 1);
        else if (n > 0)
            constant(false);
        break;
    case Op::f_sar:
        if (n > 0)
            bit_of(loc_of(flags.args[0]), std::min(count, bits) - 1);
        break;
    case Op::f_rol:
        if (n > 0)
            bit_of(loc_of(flags.args[0]), (bits - count % bits) % bits);
        break;
    case Op::f_ror:
        if (n > 0)
            bit_of(loc_of(flags.args[0]), (count - 1) % bits);
        break;
    case Op::f_rcl:
        if (n > 0 && count % (bits + 1) != 0)
            bit_of(loc_of(flags.args[0]), bits - count % (bits + 1));
        break;
    case Op::f_rcr:
        if (n > 0 && count % (bits + 1) != 0)
            bit_of(loc_of(flags.args[0]), count % (bits + 1) - 1);
        break;
    default: break;
    }
    return plan;
}

void BlockCompiler::emit_carry(const CarryPlan &plan) {
    switch (plan.kind) {
    case CarryPlan::Kind::kConstant:
        if (plan.index)
            a().stc();
        else
            a().clc();
        break;
    case CarryPlan::Kind::kBit:
        if (plan.a.kind == Loc::Kind::kGpr) {
            a().bt(plan.index >= 32 ? 8 : 4, plan.a.gpr, unsigned{plan.index});
        } else if (plan.index < 8 && !cold_mode_) {
            // What SETC stored is forwarded to a load of one byte only.
            const Gpr t = temp();
            a().movzx(1, t, mem_of(plan.a));
            a().bt(4, t, unsigned{plan.index});
            drop_temp(t);
        } else
            a().bt(plan.index >= 32 ? 8 : 4, mem_of(plan.a), unsigned{plan.index});
        break;
    case CarryPlan::Kind::kBelow: compare_loc(Alu::cmp, plan.bytes, plan.a, plan.b); break;
    case CarryPlan::Kind::kSum: {
        const Gpr t = temp();
        load_loc(t, plan.a, plan.bytes);
        alu_loc(Alu::add, plan.bytes, t, plan.b);
        drop_temp(t);
        break;
    }
    case CarryPlan::Kind::kState:
        if (cold_mode_)
            a().call(thunks_.flags_to_raw);
        if (cold_mode_ || state_raw_)
            a().bt(4, state_mem(Layout::head(offsetof(VcpuHead, cc_dst))), 0u);
        else
            emit_state_carry();
        break;
    case CarryPlan::Kind::kComplex: assert(false); break;
    }
}

/// CF of the host := carry of the state's flags. Behind inc and dec, as at the head of a loop over the digits of a long
/// number, it lies there by itself; else a thunk works it out.
void BlockCompiler::emit_state_carry() {
    clobber();
    const Gpr t = temp();
    const std::size_t cold = push_cold([](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.a().call(c.thunks_.carry_to_src2);
        c.a().bt(4, state_mem(Layout::head(offsetof(VcpuHead, cc_src2))), 0u);
        c.a().jmp(self.back);
    });
    a().mov(4, t, state_mem(Layout::head(offsetof(VcpuHead, cc_op))));
    a().sub(4, t, static_cast<std::int32_t>(cc_op(FlagsKind::kInc, 1)));
    a().cmp(4, t, static_cast<std::int32_t>(cc_op(FlagsKind::kDec, 8) - cc_op(FlagsKind::kInc, 1)));
    a().jcc(Cond::kA, cold_[cold].entry);
    a().bt(4, state_mem(Layout::head(offsetof(VcpuHead, cc_src2))), 0u);
    a().bind(cold_[cold].back);
    drop_temp(t);
}

/// CF of the host := carry of the flags value.
void BlockCompiler::provide_carry(ValueId f) {
    hold_flags_ = true;
    f = analysis_.carry_source(f);
    if (host_.value == f && (host_.mask & kCF))
        return;
    const std::uint32_t locked = locked_;
    const CarryPlan plan = plan_carry(f);
    if (plan.kind != CarryPlan::Kind::kComplex) {
        clobber();
        emit_carry(plan);
    } else if (hard_flags(inst(f).op)) {
        recompute_hard(f);
    } else {
        const Loc raw = raw_flags(f);
        clobber();
        a().bt(4, mem_of(raw), 0u);
    }
    locked_ = locked; // what it read is not needed any more
}

// ---- the ops: values are described where they are used; only few leave code here

void BlockCompiler::emit_f_load(ValueId i) { val(i).in_state = true; }
void BlockCompiler::emit_f_raw(ValueId) {}
void BlockCompiler::emit_f_add(ValueId) {}
void BlockCompiler::emit_f_sub(ValueId) {}

void BlockCompiler::emit_f_cmp(ValueId i) {
    if (val(i).eager && host_.value == kNoValue)
        provide_cond(i, Cond::kLE);
}

void BlockCompiler::emit_f_logic(ValueId i) { emit_f_cmp(i); }

/// The carry of these is in the host's flags or kept: the way back to it would be long.
void BlockCompiler::emit_f_adc(ValueId i) {
    Value &value = val(i);
    if (host_.value == i || !value.carry_needed || carry_kept(value))
        return;
    clobber();
    recompute_hard(i);
    clobber();
}

void BlockCompiler::emit_f_sbb(ValueId i) { emit_f_adc(i); }
void BlockCompiler::emit_f_inc(ValueId) {}
void BlockCompiler::emit_f_dec(ValueId) {}
void BlockCompiler::emit_f_shl(ValueId) {}
void BlockCompiler::emit_f_shr(ValueId) {}
void BlockCompiler::emit_f_sar(ValueId) {}
void BlockCompiler::emit_f_rol(ValueId) {}
void BlockCompiler::emit_f_ror(ValueId) {}
void BlockCompiler::emit_f_rcl(ValueId) {}
void BlockCompiler::emit_f_rcr(ValueId) {}
void BlockCompiler::emit_f_bit(ValueId) {}
void BlockCompiler::emit_f_zf(ValueId) {}
void BlockCompiler::emit_f_of(ValueId) {}
void BlockCompiler::emit_f_mulo(ValueId) {}

void BlockCompiler::emit_f_bits(ValueId i) {
    const ValueId f = resolve(inst(i).args[0]);
    const Gpr d = alloc_gpr();
    load_loc(d, raw_flags(f), 4);
    clobber();
    a().and_(4, d, static_cast<std::int32_t>(kArithFlags));
    low_part_ = false;
    finish(i, d);
}

} // namespace rhea::tcg::x64
