// Flags that leave the block: lazy triples for the state and descriptors for the side table.
#include "tcg/backend/x64/compiler.h"

namespace rhea::tcg::x64 {
namespace {

Mem head_mem(std::size_t offset) { return state_mem(Layout::head(offset)); }

} // namespace

FlagsPlan BlockCompiler::plan_descriptor(ValueId f) {
    FlagsPlan plan;
    plan.kind = FlagsPlan::Kind::kDescriptor;
    plan.desc_begin = static_cast<std::uint32_t>(desc_bytes_.size());
    DescWriter writer(desc_bytes_);
    describe(f, writer);
    plan.desc_end = static_cast<std::uint32_t>(desc_bytes_.size());
    return plan;
}

/// f_bit: an older value's triple with another carry.
FlagsPlan BlockCompiler::plan_bit(ValueId f) {
    FlagsPlan plan = plan_flags(inst(f).args[1]);
    const CarryPlan carry = plan_carry(f);
    if (plan.nothing()) {
        plan.kind = FlagsPlan::Kind::kPatchCarry;
        plan.carry = carry;
        return plan;
    }
    const bool plain = plan.kind == FlagsPlan::Kind::kTriple && !plan.has_shift;
    const bool takes_carry = plan.cc >= cc_op(FlagsKind::kInc, 1) && plan.cc <= cc_op(FlagsKind::kDec, 8);
    if (!plain || !(takes_carry || plan.source2 == FlagsPlan::Source2::kNone) || plan.cc >= cc_op(FlagsKind::kMulO, 1))
        return plan_descriptor(f);
    if (!takes_carry)
        plan.cc |= kCarryOverride;
    plan.source2 = FlagsPlan::Source2::kCarry;
    plan.carry = carry;
    return plan;
}

/// A rotate by a constant: an older value's triple with another carry and overflow.
FlagsPlan BlockCompiler::plan_rotate(ValueId f) {
    const CarryPlan carry = plan_carry(f);
    if (carry.kind != CarryPlan::Kind::kBit)
        return plan_descriptor(f);
    FlagsPlan plan = plan_flags(inst(f).args[2]);
    if (plan.nothing()) {
        plan.kind = FlagsPlan::Kind::kPatchRotate;
    } else if (plan.kind == FlagsPlan::Kind::kTriple && !plan.has_shift && plan.source2 == FlagsPlan::Source2::kNone &&
               plan.cc < cc_op(FlagsKind::kAdc, 1)) {
        plan.cc |= kCarryOverride | kOverflowOverride;
        plan.source2 = FlagsPlan::Source2::kRotate;
    } else {
        return plan_descriptor(f);
    }
    plan.carry = carry;
    return plan;
}

/// A shift by a variable: an older value's triple, then its own unless the count is 0.
FlagsPlan BlockCompiler::plan_shift(ValueId f) {
    const Inst &flags = inst(f);
    FlagsPlan plan = plan_flags(flags.args[2]);
    if (plan.has_shift || plan.kind == FlagsPlan::Kind::kDescriptor)
        return plan_descriptor(f);
    const unsigned bytes = type_bytes(flags.type);
    plan.has_shift = true;
    plan.shift_mask = bytes == 8 ? 63 : 31;
    plan.shift_cc = cc_op(flags.op == Op::f_shl   ? FlagsKind::kShl
                          : flags.op == Op::f_shr ? FlagsKind::kShr
                                                  : FlagsKind::kSar,
                          bytes);
    plan.shift_a = loc_of(flags.args[0]);
    plan.shift_n = loc_of(flags.args[1]);
    return plan;
}

FlagsPlan BlockCompiler::plan_flags(ValueId f) {
    FlagsPlan plan;
    if (f == kNoValue)
        return plan;
    f = resolve(f);
    const Value &value = val(f);
    if (value.in_state)
        return plan;
    save_carry();
    const Inst &flags = inst(f);
    const unsigned bytes = type_bytes(flags.type);
    plan.kind = FlagsPlan::Kind::kTriple;
    const auto simple = [&](FlagsKind kind, unsigned operands) {
        plan.cc = cc_op(kind, bytes);
        plan.dst = loc_of(flags.args[0]);
        if (operands > 1)
            plan.src = loc_of(flags.args[1]);
    };
    const auto descriptor = [&] { plan = plan_descriptor(f); };
    const auto with_carry = [&](FlagsKind kind, unsigned operands, ValueId from) {
        plan.carry = plan_carry(resolve(from));
        if (plan.carry.kind == CarryPlan::Kind::kComplex) {
            descriptor();
            return;
        }
        simple(kind, operands);
        plan.source2 = FlagsPlan::Source2::kCarry;
    };
    if (value.raw_spill >= 0) {
        plan.cc = cc_op(FlagsKind::kRaw, 4);
        plan.dst = Loc::mem(layout_.spill(static_cast<unsigned>(value.raw_spill)));
        return plan;
    }
    switch (flags.op) {
    case Op::f_add: simple(FlagsKind::kAdd, 2); break;
    case Op::f_sub: simple(FlagsKind::kSub, 2); break;
    case Op::f_cmp: simple(FlagsKind::kCmp, 2); break;
    case Op::f_logic: {
        const ValueId r = resolve(flags.args[0]);
        plan.cc = cc_op(FlagsKind::kLogic, bytes);
        if (val(r).test_only) {
            plan.dst = loc_of(inst(r).args[0]);
            plan.and_with = loc_of(inst(r).args[1]);
            plan.has_and = true;
        } else {
            plan.dst = loc_of(flags.args[0]);
        }
        break;
    }
    case Op::f_raw:
        plan.cc = cc_op(FlagsKind::kRaw, 4);
        plan.dst = loc_of(flags.args[0]);
        if (plan.dst.kind == Loc::Kind::kImm) {
            plan.dst.imm &= kArithFlags;
            break;
        }
        plan.and_with = Loc::constant(kArithFlags);
        plan.has_and = true;
        break;
    case Op::f_adc: with_carry(FlagsKind::kAdc, 2, flags.args[2]); break;
    case Op::f_sbb: with_carry(FlagsKind::kSbb, 2, flags.args[2]); break;
    case Op::f_inc: with_carry(FlagsKind::kInc, 1, flags.args[1]); break;
    case Op::f_dec: with_carry(FlagsKind::kDec, 1, flags.args[1]); break;
    case Op::f_shl:
    case Op::f_shr:
    case Op::f_sar: {
        const int n = constant_count(*block_, resolve(flags.args[1]), flags.type);
        if (n <= 0)
            return plan_shift(f);
        simple(flags.op == Op::f_shl   ? FlagsKind::kShl
               : flags.op == Op::f_shr ? FlagsKind::kShr
                                       : FlagsKind::kSar,
               1);
        plan.source2 = FlagsPlan::Source2::kImmediate;
        plan.immediate = static_cast<unsigned>(n);
        break;
    }
    case Op::f_bit: return plan_bit(f);
    case Op::f_rol:
    case Op::f_ror: return plan_rotate(f);
    case Op::f_mulo: simple(FlagsKind::kMulO, 2); break;
    default: descriptor(); break;
    }
    return plan;
}

/// Scratch registers that the plan reads.
std::uint32_t BlockCompiler::plan_mask(const FlagsPlan &plan) const {
    if (plan.kind == FlagsPlan::Kind::kDescriptor)
        return kScratchMask; // the call reads them; nothing else is needed
    return (mask_of(plan.dst) | mask_of(plan.src) | mask_of(plan.and_with) | mask_of(plan.carry.a) | mask_of(plan.carry.b) |
            mask_of(plan.shift_a) | mask_of(plan.shift_n)) &
           kScratchMask;
}

void BlockCompiler::emit_store_flags(const FlagsPlan &plan) {
    switch (plan.kind) {
    case FlagsPlan::Kind::kInState: break;
    case FlagsPlan::Kind::kTriple: store_triple(plan); break;
    case FlagsPlan::Kind::kPatchCarry: patch_state_carry(plan.carry); break;
    case FlagsPlan::Kind::kPatchRotate: patch_state_rotate(plan.carry); break;
    case FlagsPlan::Kind::kDescriptor:
        a().call(thunks_.evaluate_flags);
        a().byte(Thunks::kToState);
        a().bytes({desc_bytes_.data() + plan.desc_begin, plan.desc_end - plan.desc_begin});
        break;
    }
    if (!plan.has_shift)
        return;
    if (cold_mode_) // what the rest of the plan read is free now
        cold_free_ |= plan_mask(plan) & ~(mask_of(plan.shift_a) | mask_of(plan.shift_n) | cold_keep_);
    const Gpr t = temp();
    Label unchanged;
    load_loc(t, plan.shift_n, 1);
    a().and_(4, t, static_cast<std::int32_t>(plan.shift_mask));
    a().jcc(Cond::kE, unchanged);
    a().mov(8, head_mem(offsetof(VcpuHead, cc_src2)), t);
    load_loc(t, plan.shift_a, 8);
    a().mov(8, head_mem(offsetof(VcpuHead, cc_dst)), t);
    a().mov(4, head_mem(offsetof(VcpuHead, cc_op)), static_cast<std::int32_t>(plan.shift_cc));
    a().bind(unchanged);
    drop_temp(t);
}

/// The carry as 0 or 1 in a temporary.
Gpr BlockCompiler::carry_in_gpr(const CarryPlan &carry) {
    if (carry.kind == CarryPlan::Kind::kBit && carry.index == 0) {
        const Gpr t = temp();
        load_loc(t, carry.a, 1);
        a().and_(4, t, 1);
        return t;
    }
    emit_carry(carry);
    const Gpr t = temp();
    a().setcc(Cond::kB, t);
    a().movzx(1, t, t);
    return t;
}

/// A rotate's carry in bit 0 and its overflow in bit 1 of a temporary: carry.a has the carry at bit `index`, and what makes
/// OF in the bit below.
Gpr BlockCompiler::rotate_in_gpr(const CarryPlan &carry) {
    const unsigned bytes = carry.bytes;
    const Gpr t = temp();
    load_loc(t, carry.a, bytes);
    if (bytes < 4)
        a().movzx(bytes, t, t);
    const unsigned size = bytes == 8 ? 8 : 4;
    // Both bits to 1 and 0: CF and the other one.
    if (carry.index > 1)
        a().shift(Shift::shr, size, t, carry.index - 1u);
    const Gpr u = temp();
    if (carry.index == 0) { // the bit below is the highest one
        a().mov(size, u, t);
        a().shift(Shift::shr, size, u, bytes * 8u - 1);
        a().xor_(4, u, t);
    } else {
        a().mov(4, u, t);
        a().shift(Shift::shr, 4, u, 1);
        a().xor_(4, t, u);
        a().xchg(8, t, u);
    }
    a().and_(4, t, 1);
    a().and_(4, u, 1);
    a().lea(4, t, ptr(t, u, 2));
    drop_temp(u);
    return t;
}

/// The state's flags stay but for the carry: inline where the triple has room for it.
void BlockCompiler::patch_state_carry(const CarryPlan &carry) {
    const Mem op = head_mem(offsetof(VcpuHead, cc_op));
    const Gpr t = carry_in_gpr(carry);
    const Gpr u = temp();
    Label room, there, make_room;
    a().mov(4, u, op);
    a().cmp(4, u, static_cast<std::int32_t>(cc_op(FlagsKind::kAdc, 1)));
    a().jcc(Cond::kB, room, Reach::kShort);
    a().cmp(4, u, static_cast<std::int32_t>(kOverflowOverride));
    a().jcc(Cond::kAE, make_room, Reach::kShort);
    a().cmp(4, u, static_cast<std::int32_t>(kCarryOverride));
    a().jcc(Cond::kAE, there, Reach::kShort);
    a().sub(4, u, static_cast<std::int32_t>(cc_op(FlagsKind::kInc, 1)));
    a().cmp(4, u, static_cast<std::int32_t>(cc_op(FlagsKind::kDec, 8) - cc_op(FlagsKind::kInc, 1)));
    a().jcc(Cond::kBE, there, Reach::kShort);
    a().bind(make_room);
    a().call(thunks_.flags_to_raw);
    a().bind(room);
    a().or_(4, op, static_cast<std::int32_t>(kCarryOverride));
    a().bind(there);
    a().mov(8, head_mem(offsetof(VcpuHead, cc_src2)), t);
    drop_temp(u);
    drop_temp(t);
}

/// The same for carry and overflow.
void BlockCompiler::patch_state_rotate(const CarryPlan &carry) {
    const Mem op = head_mem(offsetof(VcpuHead, cc_op));
    const Gpr t = rotate_in_gpr(carry);
    const Gpr u = temp();
    Label room, counter, there;
    a().mov(4, u, op);
    a().and_(4, u, static_cast<std::int32_t>(~(kCarryOverride | kOverflowOverride)));
    a().cmp(4, u, static_cast<std::int32_t>(cc_op(FlagsKind::kAdc, 1)));
    a().jcc(Cond::kB, room, Reach::kShort);
    a().sub(4, u, static_cast<std::int32_t>(cc_op(FlagsKind::kInc, 1)));
    a().cmp(4, u, static_cast<std::int32_t>(cc_op(FlagsKind::kDec, 8) - cc_op(FlagsKind::kInc, 1)));
    a().jcc(Cond::kBE, counter, Reach::kShort);
    a().call(thunks_.flags_to_raw);
    a().bind(room);
    a().or_(4, op, static_cast<std::int32_t>(kCarryOverride | kOverflowOverride));
    a().jmp(there, Reach::kShort);
    a().bind(counter);
    a().or_(4, op, static_cast<std::int32_t>(kOverflowOverride));
    a().bind(there);
    a().mov(8, head_mem(offsetof(VcpuHead, cc_src2)), t);
    drop_temp(u);
    drop_temp(t);
}

void BlockCompiler::store_triple(const FlagsPlan &plan) {
    // The carry of the state's own triple is read before that is overwritten; any other comes last, when the registers
    // of the rest are free.
    const bool from_state = plan.source2 == FlagsPlan::Source2::kCarry && plan.carry.kind == CarryPlan::Kind::kState;
    if (from_state)
        store_state_carry();
    const std::int32_t dst = Layout::head(offsetof(VcpuHead, cc_dst));
    if (plan.has_and) {
        const Gpr t = temp();
        load_loc(t, plan.dst, 8);
        alu_loc(Alu::and_, 8, t, plan.and_with);
        a().mov(8, state_mem(dst), t);
        drop_temp(t);
    } else {
        store_loc(dst, plan.dst, 8);
    }
    if (plan.src.kind != Loc::Kind::kNone)
        store_loc(Layout::head(offsetof(VcpuHead, cc_src)), plan.src, 8);
    const std::int32_t source2 = Layout::head(offsetof(VcpuHead, cc_src2));
    if (plan.source2 == FlagsPlan::Source2::kImmediate) {
        a().mov(8, state_mem(source2), static_cast<std::int32_t>(plan.immediate));
    } else if (plan.source2 == FlagsPlan::Source2::kCarry && plan.carry.kind == CarryPlan::Kind::kConstant) {
        a().mov(8, state_mem(source2), plan.carry.index);
    } else if ((plan.source2 == FlagsPlan::Source2::kCarry && !from_state) || plan.source2 == FlagsPlan::Source2::kRotate) {
        if (cold_mode_)
            cold_free_ |= (mask_of(plan.dst) | mask_of(plan.src)) & kScratchMask &
                          ~(mask_of(plan.carry.a) | mask_of(plan.carry.b) | mask_of(plan.shift_a) |
                            mask_of(plan.shift_n) | cold_keep_);
        const Gpr t = plan.source2 == FlagsPlan::Source2::kRotate ? rotate_in_gpr(plan.carry) : carry_in_gpr(plan.carry);
        a().mov(8, state_mem(source2), t);
        drop_temp(t);
    }
    a().mov(4, head_mem(offsetof(VcpuHead, cc_op)), static_cast<std::int32_t>(plan.cc));
}

/// cc_src2 := the carry of the state's flags. After inc and dec it is there already.
void BlockCompiler::store_state_carry() {
    const Gpr t = temp();
    Label there;
    a().mov(4, t, head_mem(offsetof(VcpuHead, cc_op)));
    a().sub(4, t, static_cast<std::int32_t>(cc_op(FlagsKind::kInc, 1)));
    a().cmp(4, t, static_cast<std::int32_t>(cc_op(FlagsKind::kDec, 8) - cc_op(FlagsKind::kInc, 1)));
    a().jcc(Cond::kBE, there, Reach::kShort);
    a().call(thunks_.carry_to_src2);
    a().bind(there);
    drop_temp(t);
}

/// The state's flags are about to be overwritten: values that mean them and are wanted later get a place of their own.
void BlockCompiler::protect_state_flags() {
    for (ValueId v = 0; v < now_; ++v) {
        Value &value = val(v);
        if (!value.in_state || value.root != v || !live_after(v))
            continue;
        state_to_raw();
        const Gpr t = temp();
        a().mov(4, t, head_mem(offsetof(VcpuHead, cc_dst)));
        value.raw_spill = static_cast<std::int8_t>(alloc_spill(v));
        a().mov(8, state_mem(layout_.spill(static_cast<unsigned>(value.raw_spill))), t);
        drop_temp(t);
        value.in_state = false;
    }
}

void BlockCompiler::store_flags_now() {
    const ValueId current = current_flags();
    if (current == kNoValue || val(resolve(current)).in_state)
        return;
    const ValueId f = resolve(current);
    clobber();
    protect_state_flags();
    const FlagsPlan plan = plan_flags(f);
    emit_store_flags(plan);
    state_raw_ = !plan.has_shift && (plan.kind == FlagsPlan::Kind::kDescriptor ||
                                     (plan.kind == FlagsPlan::Kind::kTriple && plan.cc == cc_op(FlagsKind::kRaw, 4)));
    for (ValueId v = 0; v < now_; ++v)
        val(v).in_state = false;
    val(f).in_state = true;
}

void BlockCompiler::describe_carry(ValueId f, DescWriter &out) {
    f = analysis_.carry_source(f);
    const Value &value = val(f);
    if (value.place == Place::kGpr) {
        out.kind(DescKind::kCarry);
        out.loc(Loc::of(gpr(value.reg)));
        return;
    }
    if (value.carry_spill >= 0) {
        out.kind(DescKind::kCarry);
        out.loc(Loc::mem(layout_.spill(static_cast<unsigned>(value.carry_spill))));
        return;
    }
    const std::uint32_t locked = locked_;
    const CarryPlan plan = plan_carry(f);
    locked_ = locked;
    if (plan.kind == CarryPlan::Kind::kConstant) {
        out.kind(DescKind::kCarry);
        out.loc(Loc::constant(plan.index));
    } else if (plan.kind == CarryPlan::Kind::kBit && plan.index == 0) {
        out.kind(DescKind::kCarry);
        out.loc(plan.a);
    } else {
        describe(f, out);
    }
}

void BlockCompiler::describe(ValueId f, DescWriter &out) {
    if (f == kNoValue) {
        out.kind(DescKind::kState);
        return;
    }
    f = resolve(f);
    const Value &value = val(f);
    if (value.in_state) {
        out.kind(DescKind::kState);
        return;
    }
    if (value.raw_spill >= 0) {
        out.kind(DescKind::kRaw);
        out.loc(Loc::mem(layout_.spill(static_cast<unsigned>(value.raw_spill))));
        return;
    }
    const Inst &flags = inst(f);
    const unsigned bytes = type_bytes(flags.type);
    const auto row = [&](DescKind kind, unsigned operands) {
        out.kind(kind, bytes);
        for (unsigned k = 0; k < operands; ++k)
            out.loc(peek(flags.args[k]));
    };
    const auto shift = [&](DescKind kind) {
        row(kind, 2);
        const bool rotate = kind >= DescKind::kRol;
        // A shift by a constant needs nothing older.
        if (!rotate && constant_count(*block_, resolve(flags.args[1]), flags.type) > 0)
            out.kind(DescKind::kState);
        else
            describe(flags.args[2], out);
    };
    switch (flags.op) {
    case Op::f_raw: row(DescKind::kRaw, 1); break;
    case Op::f_add: row(DescKind::kAdd, 2); break;
    case Op::f_sub: row(DescKind::kSub, 2); break;
    case Op::f_cmp: row(DescKind::kCmp, 2); break;
    case Op::f_logic: {
        const ValueId r = resolve(flags.args[0]);
        if (val(r).test_only) {
            out.kind(DescKind::kTest, bytes);
            out.loc(peek(inst(r).args[0]));
            out.loc(peek(inst(r).args[1]));
        } else {
            row(DescKind::kLogic, 1);
        }
        break;
    }
    case Op::f_adc:
        row(DescKind::kAdc, 2);
        describe_carry(resolve(flags.args[2]), out);
        break;
    case Op::f_sbb:
        row(DescKind::kSbb, 2);
        describe_carry(resolve(flags.args[2]), out);
        break;
    case Op::f_inc:
        row(DescKind::kInc, 1);
        describe_carry(resolve(flags.args[1]), out);
        break;
    case Op::f_dec:
        row(DescKind::kDec, 1);
        describe_carry(resolve(flags.args[1]), out);
        break;
    case Op::f_shl: shift(DescKind::kShl); break;
    case Op::f_shr: shift(DescKind::kShr); break;
    case Op::f_sar: shift(DescKind::kSar); break;
    case Op::f_rol: shift(DescKind::kRol); break;
    case Op::f_ror: shift(DescKind::kRor); break;
    case Op::f_rcl: shift(DescKind::kRcl); break;
    case Op::f_rcr: shift(DescKind::kRcr); break;
    case Op::f_bit:
        row(DescKind::kBit, 1);
        describe(flags.args[1], out);
        break;
    case Op::f_zf:
        row(DescKind::kZf, 1);
        describe(flags.args[1], out);
        break;
    case Op::f_of:
        row(DescKind::kOf, 1);
        describe(flags.args[1], out);
        break;
    case Op::f_mulo: row(DescKind::kMulO, 2); break;
    default: out.kind(DescKind::kState); break;
    }
}

BlockCompiler::SafePointPlan BlockCompiler::safe_point() {
    save_carry();
    SafePointPlan plan;
    plan.page_offset = guest_offset_;
    plan.uppers = static_cast<std::uint16_t>(dirty_uppers_);
    plan.desc_begin = static_cast<std::uint32_t>(desc_bytes_.size());
    DescWriter writer(desc_bytes_);
    describe(current_flags(), writer);
    plan.desc_end = static_cast<std::uint32_t>(desc_bytes_.size());
    described_at_ = now_;
    return plan;
}

void BlockCompiler::record(const SafePointPlan &plan) {
    const std::uint32_t length = plan.desc_end - plan.desc_begin;
    const bool uppers = plan.uppers != 0;
    record_bytes_.put(std::uint64_t{static_cast<std::uint32_t>(a().offset()) - entry_offset_} |
                      std::uint64_t{plan.page_offset | (uppers ? kRecordHasUppers : 0u)} << 32 |
                      std::uint64_t{length + (uppers ? 2u : 0u)} << 48);
    if (uppers)
        record_bytes_.put(plan.uppers);
    record_bytes_.put(desc_bytes_.data() + plan.desc_begin, length);
}

} // namespace rhea::tcg::x64
