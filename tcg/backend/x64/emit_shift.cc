// Shifts and rotates. Variable counts use BMI2 where there is a form, else cl.
#include "tcg/backend/x64/compiler.h"

namespace rhea::tcg::x64 {
namespace {

unsigned wide(unsigned bytes) { return bytes == 8 ? 8 : 4; }

} // namespace

void BlockCompiler::emit_shift(ValueId i, Shift op) {
    const Inst &shift = inst(i);
    const unsigned bytes = type_bytes(shift.type);
    const int n = constant_count(*block_, resolve(shift.args[1]), shift.type);
    const ValueId x = shift.args[0];
    if (n >= 0) {
        const Gpr d = two_address(i, x, 0);
        const bool exact = low_part_ || wants_flags(i) || bytes >= 4;
        clobber();
        const auto count = static_cast<unsigned>(n);
        if (exact) {
            if (count != 0)
                a().shift(op, bytes, d, count);
        } else {
            if (op == Shift::shr)
                a().movzx(bytes, d, d);
            else if (op == Shift::sar)
                a().movsx(4, bytes, d, d);
            if (count != 0)
                a().shift(op, 4, d, count);
        }
        finish(i, d);
        if (exact && count != 0)
            produced(i, count == 1 ? kAllFlags : kZsp | kCF);
        return;
    }
    const Gpr count = use_gpr(shift.args[1]);
    Gpr source = use_gpr(x);
    if (bytes < 4 && op != Shift::shl) {
        const Gpr t = temp();
        if (op == Shift::shr)
            a().movzx(bytes, t, source);
        else
            a().movsx(4, bytes, t, source);
        source = t;
    }
    const Gpr d = dest(i);
    const unsigned size = wide(bytes);
    if (op == Shift::shl)
        a().shlx(size, d, source, count);
    else if (op == Shift::shr)
        a().shrx(size, d, source, count);
    else
        a().sarx(size, d, source, count);
    finish(i, d);
}

void BlockCompiler::emit_shl(ValueId i) { emit_shift(i, Shift::shl); }
void BlockCompiler::emit_shr(ValueId i) { emit_shift(i, Shift::shr); }
void BlockCompiler::emit_sar(ValueId i) { emit_shift(i, Shift::sar); }

/// op d, cl with the count from wherever it is. `count` was locked by the caller; d is not rcx.
void BlockCompiler::shift_by_cl(ValueId i, Shift op, Gpr d, ValueId count) {
    const unsigned bytes = type_bytes(inst(i).type);
    if (in_gpr(resolve(count), Gpr::rcx)) {
        a().shift_cl(op, bytes, d);
        return;
    }
    const Loc n = loc_of(count);
    const Gpr saved = temp();
    a().mov(8, saved, Gpr::rcx);
    if (n.kind == Loc::Kind::kGpr)
        a().mov(4, Gpr::rcx, n.gpr);
    else if (n.kind == Loc::Kind::kMem)
        a().movzx(1, Gpr::rcx, mem_of(n));
    else
        a().mov_imm(Gpr::rcx, n.imm);
    a().shift_cl(op, bytes, d);
    a().mov(8, Gpr::rcx, saved);
}

void BlockCompiler::emit_rotate(ValueId i, Shift op) {
    const Inst &rotate = inst(i);
    const unsigned bytes = type_bytes(rotate.type);
    const ValueId count = rotate.args[1];
    if (is_const(count)) {
        unsigned n = static_cast<unsigned>(const_of(count)) & (bytes * 8 - 1);
        if (bytes >= 4 && !in_gpr(resolve(rotate.args[0]), gpr(static_cast<unsigned>(val(i).hint >= 0 ? val(i).hint : 0)))) {
            if (op == Shift::rol)
                n = (bytes * 8 - n) & (bytes * 8 - 1);
            const Gpr x = use_gpr(rotate.args[0]);
            const Gpr d = dest(i);
            a().rorx(bytes, d, x, n);
            finish(i, d);
            return;
        }
        const Gpr d = two_address(i, rotate.args[0], 0);
        clobber();
        if (n != 0)
            a().shift(op, bytes, d, n);
        finish(i, d);
        return;
    }
    // Not into rcx: the count goes there.
    loc_of(count);
    Gpr d = two_address(i, rotate.args[0], bit(Gpr::rcx) | mask_of(loc_of(count)));
    const bool part = low_part_;
    const bool swap = d == Gpr::rcx;
    if (swap) {
        const Gpr t = temp();
        a().mov(8, t, d);
        d = t;
    }
    clobber();
    shift_by_cl(i, op, d, count);
    if (swap) {
        if (part)
            a().mov(bytes, Gpr::rcx, d);
        else
            a().mov(bytes == 8 ? 8 : 4, Gpr::rcx, d);
        d = Gpr::rcx;
    }
    low_part_ = part;
    finish(i, d);
}

void BlockCompiler::emit_rol(ValueId i) { emit_rotate(i, Shift::rol); }
void BlockCompiler::emit_ror(ValueId i) { emit_rotate(i, Shift::ror); }

void BlockCompiler::emit_rotate_carry(ValueId i, Shift op) {
    const Inst &rotate = inst(i);
    const unsigned bytes = type_bytes(rotate.type);
    const ValueId count = rotate.args[1];
    const Gpr d = alloc_gpr();
    load_into(d, rotate.args[0], bytes);
    provide_carry(resolve(rotate.args[2]));
    clobber();
    if (is_const(count))
        a().shift(op, bytes, d, static_cast<unsigned>(const_of(count)) & (bytes == 8 ? 63u : 31u));
    else
        shift_by_cl(i, op, d, count);
    low_part_ = false;
    finish(i, d);
}

void BlockCompiler::emit_rcl(ValueId i) { emit_rotate_carry(i, Shift::rcl); }
void BlockCompiler::emit_rcr(ValueId i) { emit_rotate_carry(i, Shift::rcr); }

/// SHLD and SHRD; 16 bits on b:a:b (and a:b:a) in 64, which has room for counts up to 31.
void BlockCompiler::emit_double_shift(ValueId i, bool left) {
    const Inst &shift = inst(i);
    const unsigned bytes = type_bytes(shift.type);
    const ValueId count = shift.args[2];
    const Gpr y = use_gpr(shift.args[1]);
    if (bytes >= 4 && is_const(count)) {
        const Gpr d = two_address(i, shift.args[0], bit(y));
        clobber();
        const unsigned n = static_cast<unsigned>(const_of(count)) & (bytes == 8 ? 63 : 31);
        if (n != 0) {
            if (left)
                a().shld(bytes, d, y, n);
            else
                a().shrd(bytes, d, y, n);
        }
        finish(i, d);
        return;
    }
    const Gpr d = alloc_gpr();
    clobber();
    Gpr filler = y;
    if (bytes == 2) {
        // a:b above 16 zero bits (left), b:a:b read from bit 0 (right): both as one 32-bit word shifted with b again.
        const Gpr t = temp();
        a().movzx(2, t, y);
        load_into(d, shift.args[0], bytes);
        if (left) {
            a().movzx(2, d, d);
            a().shl(4, d, 16);
            a().or_(4, d, t);     // a:b
            a().shl(4, t, 16);    // then b
        } else {
            a().movzx(2, d, d);
            const Gpr high = t;
            a().shl(4, high, 16);
            a().or_(4, d, high);  // b:a
            a().shr(4, t, 16);    // then b
        }
        filler = t;
        unlock(y);
    } else {
        load_into(d, shift.args[0], bytes);
    }
    const unsigned size = wide(bytes);
    if (is_const(count)) {
        const unsigned n = static_cast<unsigned>(const_of(count)) & 31;
        if (n != 0) {
            if (left)
                a().shld(4, d, filler, n);
            else
                a().shrd(4, d, filler, n);
        }
    } else {
        const bool there = in_gpr(resolve(count), Gpr::rcx);
        Gpr saved = Gpr::rcx;
        if (!there) {
            const Loc n = loc_of(count);
            saved = temp();
            a().mov(8, saved, Gpr::rcx);
            if (filler == Gpr::rcx)
                filler = saved;
            load_loc(Gpr::rcx, n, 1);
        }
        if (left)
            a().shld_cl(size, d, filler);
        else
            a().shrd_cl(size, d, filler);
        if (!there)
            a().mov(8, Gpr::rcx, saved);
    }
    if (bytes == 2 && left)
        a().shr(4, d, 16);
    low_part_ = false;
    finish(i, d);
}

void BlockCompiler::emit_shld(ValueId i) { emit_double_shift(i, true); }
void BlockCompiler::emit_shrd(ValueId i) { emit_double_shift(i, false); }

} // namespace rhea::tcg::x64
