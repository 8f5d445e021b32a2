// Shifts and rotates.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {
namespace {

constexpr Op kResultOps[] = {Op::rol, Op::ror, Op::rcl, Op::rcr, Op::shl, Op::shr, Op::sar};
constexpr Op kFlagOps[] = {Op::f_rol, Op::f_ror, Op::f_rcl, Op::f_rcr, Op::f_shl, Op::f_shr, Op::f_sar};

std::uint64_t count_mask(Type type) { return type == Type::kI64 ? 63 : 31; }

} // namespace

template <ShiftOp kOp>
void shift(Translator &t) {
    constexpr auto kIndex = static_cast<unsigned>(kOp);
    const Type type = tcg::int_type(t.op(0).size);
    const ValueId a = t.read_for_update(0);
    const ValueId count = t.b.and_imm(t.read(1), count_mask(type));
    const ValueId before = t.b.flags();
    const bool through_carry = kOp == ShiftOp::kRcl || kOp == ShiftOp::kRcr;
    const ValueId r = through_carry ? t.b.emit(kResultOps[kIndex], type, {a, count, before})
                                    : t.b.emit(kResultOps[kIndex], type, {a, count});
    std::uint64_t known = 1;
    const bool unchanged = t.b.is_const(count, &known) && known == 0;
    t.write(0, r);
    if (!unchanged) {
        t.b.set_flags(t.flags_of(kFlagOps[kIndex], {a, count, before}));
    }
}
template void shift<ShiftOp::kRol>(Translator &);
template void shift<ShiftOp::kRor>(Translator &);
template void shift<ShiftOp::kRcl>(Translator &);
template void shift<ShiftOp::kRcr>(Translator &);
template void shift<ShiftOp::kShl>(Translator &);
template void shift<ShiftOp::kShr>(Translator &);
template void shift<ShiftOp::kSar>(Translator &);

/// BMI2: no flags, any source and destination.
template <ShiftOp kOp>
void shift_plain(Translator &t) {
    const Type type = tcg::int_type(t.op(0).size);
    const ValueId count = t.b.and_imm(t.read_as(2, 1), count_mask(type));
    const ValueId a = t.read(1);
    t.write(0, t.b.emit(kResultOps[static_cast<unsigned>(kOp)], type, {a, count}));
}
template void shift_plain<ShiftOp::kShl>(Translator &);
template void shift_plain<ShiftOp::kShr>(Translator &);
template void shift_plain<ShiftOp::kSar>(Translator &);
template void shift_plain<ShiftOp::kRor>(Translator &);

/// SHLD, SHRD. CF is the last bit shifted out of the destination, which a plain shift gives; OF is the change of sign.
template <bool kLeft>
void shift_double(Translator &t) {
    const Type type = t.optype();
    const ValueId a = t.read_for_update(0);
    const ValueId c = t.read(1);
    const ValueId count = t.b.and_imm(t.read(2), count_mask(type));
    std::uint64_t known = 0;
    const bool constant = t.b.is_const(count, &known);
    const ValueId r = t.b.emit(kLeft ? Op::shld : Op::shrd, type, {a, c, count});
    const ValueId before = t.b.flags();
    t.write(0, r);
    if (constant && known == 0) {
        return;
    }
    const ValueId cf = t.cond_of(t.flags_of(kLeft ? Op::f_shl : Op::f_shr, {a, count, before}), Cond::kB);
    const ValueId rest = t.b.emit(Op::f_bits, Type::kI32, {t.flags_of(Op::f_logic, {r})});
    const ValueId overflow = t.b.zext(t.msb(t.b.xor_(a, r)), Type::kI32);
    ValueId bits = t.b.or_(t.b.or_(rest, t.b.zext(cf, Type::kI32)), t.b.shl_imm(overflow, 11));
    if (!constant) {
        const ValueId old = t.b.emit(Op::f_bits, Type::kI32, {before});
        bits = t.b.emit(Op::select, Type::kI32, {count, bits, old});
    }
    t.b.set_flags(t.flags_of(Op::f_raw, {bits}));
}
template void shift_double<false>(Translator &);
template void shift_double<true>(Translator &);

} // namespace rhea::target::x86::emit
