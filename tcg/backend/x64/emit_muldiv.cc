// Multiplication and division: rax and rdx are the guest's, so either the operation is exactly the guest's, or they are
// saved and restored around it.
#include "tcg/backend/x64/compiler.h"

namespace rhea::tcg::x64 {
namespace {

bool fits_int32(std::uint64_t v) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(v))) == v;
}

constexpr std::int8_t kRax = 0, kRdx = 2;

} // namespace

void BlockCompiler::emit_mul(ValueId i) {
    const Inst &mul = inst(i);
    const Value &value = val(i);
    const unsigned bytes = type_bytes(mul.type);
    if (value.pair != kNoValue && bytes >= 4 && val(value.pair).last_use != 0) {
        emit_mul_pair(i);
        return;
    }
    if (value.place != Place::kNone)
        return; // done with its high half
    const unsigned size = bytes == 8 ? 8 : 4;
    ValueId x = mul.args[0];
    ValueId y = mul.args[1];
    if (is_const(x))
        std::swap(x, y);
    if (is_const(y) && !is_const(x) && (size == 4 || fits_int32(const_of(y)))) {
        const auto imm = static_cast<std::int32_t>(const_of(y));
        const Gpr gx = use_gpr(x);
        const Gpr d = dest(i);
        clobber();
        a().imul(size, d, gx, imm);
        finish(i, d);
        return;
    }
    const bool same = resolve(x) == resolve(y);
    Loc loc = loc_of(y);
    if (loc.kind == Loc::Kind::kImm || (loc.kind == Loc::Kind::kMem && bytes < 4))
        loc = Loc::of(use_gpr(y));
    const int hint = val(i).low_hint;
    val(i).low_hint = -1; // no byte form
    Gpr d = two_address(i, x, same ? 0 : mask_of(loc));
    val(i).low_hint = static_cast<std::int8_t>(hint);
    if (same)
        loc = Loc::of(d);
    clobber();
    if (loc.kind == Loc::Kind::kGpr)
        a().imul(size, d, loc.gpr);
    else
        a().imul(size, d, mem_of(loc));
    finish(i, d);
}

/// The host's own multiplication once more, for its OF: cheaper than the high half, which wants rax and rdx.
void BlockCompiler::emit_mulso(ValueId i) {
    const Inst &mul = inst(i);
    const unsigned bytes = type_bytes(type_of(mul.args[0]));
    const Gpr y = use_gpr(mul.args[1]);
    const Gpr t = temp();
    load_into(t, mul.args[0], bytes);
    clobber();
    a().imul(bytes, t, y);
    a().setcc(Cond::kO, t);
    low_part_ = false;
    finish(i, t);
}

void BlockCompiler::emit_mulhu(ValueId i) {
    if (val(i).place != Place::kNone)
        return;
    if (type_bytes(inst(i).type) < 4)
        emit_mul_high_narrow(i);
    else
        emit_mul_pair(i);
}

void BlockCompiler::emit_mulhs(ValueId i) { emit_mulhu(i); }

void BlockCompiler::emit_mul_high_narrow(ValueId i) {
    const Inst &mul = inst(i);
    const unsigned bytes = type_bytes(mul.type);
    const bool is_signed = mul.op == Op::mulhs;
    const Gpr x = temp();
    const Gpr y = temp();
    load_into(x, mul.args[0], bytes);
    load_into(y, mul.args[1], bytes);
    clobber();
    for (const Gpr r : {x, y}) {
        if (is_signed)
            a().movsx(4, bytes, r, r);
        else
            a().movzx(bytes, r, r);
    }
    a().imul(4, x, y);
    a().shr(4, x, bytes * 8);
    drop_temp(y);
    low_part_ = false;
    finish(i, x);
}

/// i: one of mul and mulhu/mulhs of the same operands, or a high half alone. Both are computed now.
void BlockCompiler::emit_mul_pair(ValueId i) {
    const Inst &mul = inst(i);
    const ValueId other = val(i).pair;
    const ValueId low = mul.op == Op::mul ? i : other;
    const ValueId high = mul.op == Op::mul ? other : i;
    const bool low_wanted = low != kNoValue && val(low).last_use != 0;
    if (val(i).place != Place::kNone)
        return;
    if (other != kNoValue)
        now_ = std::max(i, other); // both are done here
    const unsigned bytes = type_bytes(mul.type);
    const bool is_signed = inst(high).op == Op::mulhs;
    const auto multiply = [&](const Loc &by) {
        clobber();
        const Unary op = is_signed ? Unary::imul : Unary::mul;
        if (by.kind == Loc::Kind::kGpr)
            a().unary(op, bytes, by.gpr);
        else
            a().unary(op, bytes, mem_of(by));
    };
    ValueId x = mul.args[0];
    ValueId y = mul.args[1];
    if (in_gpr(resolve(y), Gpr::rax) || is_const(y))
        std::swap(x, y);
    const Loc from = loc_of(x);
    const bool in_place = from.kind == Loc::Kind::kGpr && from.gpr == Gpr::rax;
    Loc by = loc_of(y);
    // The guest's own form: rdx:rax = rax * y, old values not wanted.
    if (low_wanted && val(low).hint == kRax && val(high).hint == kRdx) {
        if (by.kind == Loc::Kind::kImm)
            by = Loc::of(use_gpr(y));
        const bool order_ok = in_place || by.kind != Loc::Kind::kGpr || by.gpr != Gpr::rax;
        if (order_ok && (resolve(x) != resolve(y) || in_place)) {
            // claim() moves what it evicts, but the registers keep their contents: operands stay readable.
            if (claim(Gpr::rax, low) && claim(Gpr::rdx, high)) {
                if (!in_place)
                    load_loc(Gpr::rax, from, bytes);
                multiply(by);
                low_part_ = false;
                finish(low, Gpr::rax);
                finish(high, Gpr::rdx);
                return;
            }
        }
    }
    // MULX takes one factor from rdx and leaves it and the flags alone.
    const bool y_in_rdx = in_gpr(resolve(y), Gpr::rdx);
    if (!is_signed && bytes >= 4 && (y_in_rdx || in_gpr(resolve(x), Gpr::rdx))) {
        const Loc factor = y_in_rdx ? loc_of(x) : by;
        const Gpr source = factor.kind == Loc::Kind::kGpr ? factor.gpr : use_gpr(y_in_rdx ? x : y);
        const Gpr h = temp();
        const Gpr l = low_wanted ? temp() : h;
        a().mulx(bytes, h, l, source);
        low_part_ = false;
        if (low_wanted)
            finish(low, l);
        finish(high, h);
        return;
    }
    // Results in the two temporaries that save rax and rdx.
    if (by.kind == Loc::Kind::kImm)
        by = Loc::of(use_gpr(y));
    const Gpr save_a = temp();
    const Gpr save_d = temp();
    a().mov(8, save_a, Gpr::rax);
    a().mov(8, save_d, Gpr::rdx);
    if (!in_place)
        load_loc(Gpr::rax, from, bytes);
    if (by.kind == Loc::Kind::kGpr && by.gpr == Gpr::rax)
        by = Loc::of(save_a);
    multiply(by);
    a().xchg(8, Gpr::rax, save_a);
    a().xchg(8, Gpr::rdx, save_d);
    low_part_ = false;
    if (low_wanted)
        finish(low, save_a);
    finish(high, save_d);
}

void BlockCompiler::emit_divu(ValueId i) { emit_divide(i, false); }
void BlockCompiler::emit_divs(ValueId i) { emit_divide(i, true); }
void BlockCompiler::emit_second(ValueId) {} // its place was given by the division

/// args: (high, low, divisor).
void BlockCompiler::emit_divide(ValueId i, bool is_signed) {
    const Inst &div = inst(i);
    const unsigned bytes = type_bytes(div.type);
    const ValueId rest = val(i).pair;
    const std::uint64_t how = bytes | (is_signed ? 0x100u : 0u) | std::uint64_t{div.aux} << 16;
    const ValueId high = div.args[0], low = div.args[1];
    Loc divisor = loc_of(div.args[2]);
    if (divisor.kind != Loc::Kind::kGpr)
        divisor = Loc::of(use_gpr(div.args[2]));
    Gpr by = divisor.gpr;
    clobber();
    const auto put_operands = [by, how, bytes](BlockCompiler &c, const Loc &h, const Loc &l) {
        c.store_loc(c.layout_.spill(kArgSpill), h, bytes);
        c.store_loc(c.layout_.spill(kArgSpill + 1), l, bytes);
        c.a().mov(8, state_mem(c.layout_.spill(kDataSpill)), by);
        c.a().mov(8, state_mem(c.layout_.spill(kDataSpill + 2)), static_cast<std::int32_t>(how));
    };
    const bool odd_high = bytes == 8 && is_const(high) && !fits_int32(const_of(high)); // too few registers
    if (bytes < 4 || odd_high) {
        put_operands(*this, loc_of(high), loc_of(low));
        const SafePointPlan plan = safe_point();
        a().call(thunks_.divide);
        record(plan);
        locked_ = 0; // the operands have been read
        described_at_ = kNoValue;
        const Gpr q = temp();
        a().mov(8, q, state_mem(layout_.spill(kArgSpill)));
        low_part_ = false;
        finish(i, q);
        if (rest != kNoValue && val(rest).last_use != 0) {
            const Gpr r = temp();
            a().mov(8, r, state_mem(layout_.spill(kArgSpill + 1)));
            finish(rest, r);
        }
        return;
    }
    Loc h = loc_of(high);
    if (!is_signed && h.kind == Loc::Kind::kImm && h.imm != 0)
        h = Loc::of(use_gpr(high));
    const Loc l = loc_of(low);
    // Free to overwrite rax and rdx when the results belong there and the operands can be put there one after the other.
    const bool high_ok = h.kind == Loc::Kind::kImm || (h.kind == Loc::Kind::kGpr && h.gpr != Gpr::rax);
    const bool low_ok = l.kind == Loc::Kind::kGpr || (l.kind == Loc::Kind::kImm && (bytes < 8 || fits_int32(l.imm)));
    bool direct = rest != kNoValue && val(i).hint == kRax && val(rest).hint == kRdx && high_ok && low_ok &&
                  by != Gpr::rax && by != Gpr::rdx;
    if (direct && !claim(Gpr::rax, i))
        direct = false;
    if (direct && !claim(Gpr::rdx, rest))
        direct = false;
    Gpr save_a = Gpr::rax, save_d = Gpr::rdx;
    if (!direct) {
        save_a = temp();
        save_d = temp();
    }
    const Gpr t = direct && is_signed ? temp() : save_a; // for the checks
    const SafePointPlan plan = safe_point(); // after everything that moves values: no register is taken between this and the checks
    const std::size_t cold = push_cold([=](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.cold_mode_ = true;
        c.cold_free_ = direct ? 0 : bit(save_a) | bit(save_d); // everything else may be in use
        put_operands(c, h, l);
        c.cold_mode_ = false;
        c.a().call(c.thunks_.divide);
        c.record(plan);
        // Into rax and rdx as after the division proper.
        if (!direct) {
            c.a().mov(8, save_a, Gpr::rax);
            c.a().mov(8, save_d, Gpr::rdx);
        }
        c.a().mov(8, Gpr::rax, state_mem(c.layout_.spill(kArgSpill)));
        c.a().mov(8, Gpr::rdx, state_mem(c.layout_.spill(kArgSpill + 1)));
        c.a().jmp(self.back);
    });
    // What the host would fault on goes out of line, which also knows what is right.
    if (!is_signed) {
        if (h.kind == Loc::Kind::kImm && h.imm == 0) {
            a().test(bytes, by, by);
            a().jcc(Cond::kE, cold_[cold].entry);
        } else {
            compare_loc(Alu::cmp, bytes, h, Loc::of(by));
            a().jcc(Cond::kAE, cold_[cold].entry);
        }
    } else {
        const Inst &top = inst(resolve(high));
        const bool extended = top.op == Op::sar && top.type == div.type && resolve(top.args[0]) == resolve(low) &&
                              constant_count(*block_, resolve(top.args[1]), div.type) == static_cast<int>(bytes * 8 - 1);
        if (!extended) {
            load_loc(t, l, bytes);
            a().sar(bytes, t, bytes * 8 - 1);
            compare_loc(Alu::cmp, bytes, Loc::of(t), h);
            a().jcc(Cond::kNE, cold_[cold].entry);
        }
        a().lea(bytes, t, ptr(by, 1)); // -1 and 0 become 0 and 1
        a().cmp(bytes, t, 1);
        a().jcc(Cond::kBE, cold_[cold].entry);
    }
    if (!direct) {
        a().mov(8, save_a, Gpr::rax);
        a().mov(8, save_d, Gpr::rdx);
        if (by == Gpr::rax)
            by = save_a;
        else if (by == Gpr::rdx)
            by = save_d;
        Loc from_high = h;
        if (h.kind == Loc::Kind::kGpr && h.gpr == Gpr::rax)
            from_high = Loc::of(save_a);
        Loc from_low = l;
        if (l.kind == Loc::Kind::kGpr && l.gpr == Gpr::rdx)
            from_low = Loc::of(save_d);
        load_loc(Gpr::rax, from_low, bytes);
        load_loc(Gpr::rdx, from_high, bytes);
    } else {
        load_loc(Gpr::rax, l, bytes);
        load_loc(Gpr::rdx, h, bytes);
    }
    a().unary(is_signed ? Unary::idiv : Unary::div, bytes, by);
    a().bind(cold_[cold].back);
    low_part_ = false;
    if (!direct) {
        a().xchg(8, Gpr::rax, save_a);
        a().xchg(8, Gpr::rdx, save_d);
        finish(i, save_a);
        if (rest != kNoValue && val(rest).last_use != 0)
            finish(rest, save_d);
    } else {
        finish(i, Gpr::rax);
        finish(rest, Gpr::rdx);
    }
}

} // namespace rhea::tcg::x64
