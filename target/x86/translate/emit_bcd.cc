// Decimal adjustment and single flags.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {
namespace {

ValueId byte(Translator &t, std::uint64_t value) { return t.b.konst(Type::kI8, value); }

ValueId above(Translator &t, ValueId a, std::uint64_t limit) {
    return t.cond_of(t.flags_of(Op::f_cmp, {a, byte(t, limit)}), Cond::kA);
}

/// Low nibble of AL above 9, or AF.
ValueId low_digit_needs_adjusting(Translator &t, ValueId al) {
    const ValueId af = t.b.and_imm(t.b.shr_imm(t.flags_bits(), 4), 1);
    return t.b.or_(above(t, t.b.and_imm(al, 15), 9), t.b.trunc(af, Type::kI8));
}

ValueId when(Translator &t, ValueId condition, std::uint64_t value) {
    return t.b.emit(Op::select, Type::kI8, {condition, byte(t, value), byte(t, 0)});
}

/// SF, ZF, PF of a byte, the given CF and AF (i8, 0 or 1), OF clear.
void set_decimal_flags(Translator &t, ValueId result, ValueId cf, ValueId af) {
    const ValueId bits = t.b.emit(Op::f_bits, Type::kI32, {t.flags_of(Op::f_logic, {result})});
    const ValueId with_cf = t.b.or_(bits, t.b.zext(cf, Type::kI32));
    t.b.set_flags(t.flags_of(Op::f_raw, {t.b.or_(with_cf, t.b.shl_imm(t.b.zext(af, Type::kI32), 4))}));
}

void decimal_adjust(Translator &t, bool subtract) {
    const ValueId al = t.reg(kRax, 1);
    const ValueId low = low_digit_needs_adjusting(t, al);
    ValueId cf = t.b.or_(above(t, al, 0x99), t.b.cond(Cond::kB));
    const ValueId change = t.b.add(when(t, low, 6), when(t, cf, 0x60));
    if (subtract) {
        // The first step's borrow stays (SDM volume 2, DAS); for DAA it implies the second's condition.
        const ValueId borrow = t.cond_of(t.flags_of(Op::f_cmp, {al, byte(t, 6)}), Cond::kB);
        cf = t.b.or_(cf, t.b.and_(low, borrow));
    }
    const ValueId r = subtract ? t.b.sub(al, change) : t.b.add(al, change);
    t.set_reg(kRax, 1, r);
    set_decimal_flags(t, r, cf, low);
}

void ascii_adjust(Translator &t, bool subtract) {
    const ValueId ax = t.reg(kRax, 2);
    const ValueId adjust = low_digit_needs_adjusting(t, t.b.trunc(ax, Type::kI8));
    const ValueId change =
        t.b.emit(Op::select, Type::kI16, {adjust, t.b.konst(Type::kI16, 0x106), t.b.konst(Type::kI16, 0)});
    const ValueId r = t.b.and_imm(subtract ? t.b.sub(ax, change) : t.b.add(ax, change), 0xff0f);
    t.set_reg(kRax, 2, r);
    set_decimal_flags(t, t.b.trunc(r, Type::kI8), adjust, adjust);
}

} // namespace

void daa(Translator &t) { decimal_adjust(t, false); }
void das(Translator &t) { decimal_adjust(t, true); }
void aaa(Translator &t) { ascii_adjust(t, false); }
void aas(Translator &t) { ascii_adjust(t, true); }

void aam(Translator &t) {
    if ((t.insn.imm & 0xff) == 0) {
        t.trap(0);
        return;
    }
    const ValueId quotient = t.b.emit(Op::divu, Type::kI8, {byte(t, 0), t.reg(kRax, 1), t.imm(1)}, 0);
    const ValueId remainder = t.b.emit(Op::second, Type::kI8, {quotient});
    t.set_reg(kRax, 1, remainder);
    t.set_reg(kRax, 1, quotient, true);
    t.b.set_flags(t.flags_of(Op::f_logic, {remainder}));
}

void aad(Translator &t) {
    const ValueId tens = t.b.emit(Op::mul, Type::kI8, {t.reg(kRax, 1, true), t.imm(1)});
    const ValueId r = t.b.add(t.reg(kRax, 1), tens);
    t.set_reg(kRax, 2, t.b.zext(r, Type::kI16));
    t.b.set_flags(t.flags_of(Op::f_logic, {r}));
}

template <CarryOp kOp>
void set_carry(Translator &t) {
    ValueId bit = byte(t, kOp == CarryOp::kSet ? 1 : 0);
    if constexpr (kOp == CarryOp::kComplement) {
        bit = t.b.cond(Cond::kAE);
    }
    t.b.set_flags(t.flags_of(Op::f_bit, {bit, t.b.flags()}));
}
template void set_carry<CarryOp::kClear>(Translator &);
template void set_carry<CarryOp::kSet>(Translator &);
template void set_carry<CarryOp::kComplement>(Translator &);

/// SALC: AL = CF ? FF : 0 (AMD documents it in the opcode map only).
void salc(Translator &t) { t.set_reg(kRax, 1, t.b.emit(Op::neg, Type::kI8, {t.b.cond(Cond::kB)})); }

void sahf(Translator &t) {
    constexpr std::uint64_t kTaken = tcg::kArithFlags & ~tcg::kOF;
    const ValueId ah = t.b.zext(t.reg(kRax, 1, true), Type::kI32);
    const ValueId kept = t.b.and_imm(t.flags_bits(), tcg::kOF);
    t.b.set_flags(t.flags_of(Op::f_raw, {t.b.or_(kept, t.b.and_imm(ah, kTaken))}));
}

void lahf(Translator &t) {
    const ValueId low = t.b.trunc(t.flags_bits(), Type::kI8);
    t.set_reg(kRax, 1, t.b.or_(low, byte(t, 2)), true);
}

} // namespace rhea::target::x86::emit
