// MUL IMUL DIV IDIV MULX.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {
namespace {

ValueId not_equal(Translator &t, ValueId a, ValueId c) {
    return t.cond_of(t.flags_of(Op::f_cmp, {a, c}), Cond::kNE);
}

/// AL * r/m8 -> AX: done in 16 bits.
template <bool kSigned>
void mul_byte(Translator &t) {
    const auto widen = [&](ValueId v) { return kSigned ? t.b.sext(v, Type::kI16) : t.b.zext(v, Type::kI16); };
    const ValueId product = t.b.emit(Op::mul, Type::kI16, {widen(t.read(0)), widen(t.reg(kRax, 1))});
    const ValueId low = t.b.trunc(product, Type::kI8);
    const ValueId overflow = not_equal(t, product, widen(low));
    t.set_reg(kRax, 2, product);
    t.b.set_flags(t.flags_of(Op::f_mulo, {low, overflow}));
}

} // namespace

template <bool kSigned>
void mul(Translator &t) {
    const unsigned size = t.op(0).size;
    if (size == 1) {
        mul_byte<kSigned>(t);
        return;
    }
    const Type type = tcg::int_type(size);
    const ValueId a = t.read(0), c = t.reg(kRax, size);
    const ValueId low = t.b.emit(Op::mul, type, {c, a});
    const ValueId high = t.b.emit(kSigned ? Op::mulhs : Op::mulhu, type, {c, a});
    const ValueId sign = t.b.konst(Type::kI8, tcg::type_bits(type) - 1);
    const ValueId overflow =
        kSigned ? not_equal(t, high, t.b.emit(Op::sar, type, {low, sign})) : t.is_not_zero(high);
    t.set_reg(kRax, size, low);
    t.set_reg(kRdx, size, high);
    t.b.set_flags(t.flags_of(Op::f_mulo, {low, overflow}));
}
template void mul<false>(Translator &);
template void mul<true>(Translator &);

void imul_reg(Translator &t) {
    const Type type = t.optype();
    const bool three = t.op(2).kind != Operand::Kind::kNone;
    const ValueId a = three ? t.read(1) : t.read(0);
    const ValueId c = three ? t.read(2) : t.read(1);
    const ValueId low = t.b.emit(Op::mul, type, {a, c});
    const ValueId overflow = t.b.emit(Op::mulso, Type::kI8, {a, c});
    t.write(0, low);
    t.b.set_flags(t.flags_of(Op::f_mulo, {low, overflow}));
}

template <bool kSigned>
void div(Translator &t) {
    const unsigned size = t.op(0).size;
    const Type type = tcg::int_type(size);
    const ValueId divisor = t.read(0);
    const ValueId high = size == 1 ? t.reg(kRax, 1, true) : t.reg(kRdx, size);
    const ValueId quotient =
        t.b.emit(kSigned ? Op::divs : Op::divu, type, {high, t.reg(kRax, size), divisor}, 0);
    const ValueId remainder = t.b.emit(Op::second, type, {quotient});
    t.set_reg(kRax, size, quotient);
    if (size == 1) {
        t.set_reg(kRax, 1, remainder, true);
    } else {
        t.set_reg(kRdx, size, remainder);
    }
}
template void div<false>(Translator &);
template void div<true>(Translator &);

/// MULX high, low, source: the low half's register is written first (SDM volume 2, MULX).
void mulx(Translator &t) {
    const unsigned size = t.op(0).size;
    const Type type = tcg::int_type(size);
    const ValueId a = t.read(2), c = t.reg(kRdx, size);
    const ValueId low = t.b.emit(Op::mul, type, {a, c});
    const ValueId high = t.b.emit(Op::mulhu, type, {a, c});
    t.write(1, low);
    t.write(0, high);
}

} // namespace rhea::target::x86::emit
