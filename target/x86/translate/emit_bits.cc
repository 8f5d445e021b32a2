// Bit tests, scans and counts, byte order, BMI.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {
namespace {

Type type_of(Translator &t, unsigned n) { return tcg::int_type(t.op(n).size); }

/// The address of the operand-size word that a bit number from a register selects (SDM volume 2, BT).
ValueId word_address(Translator &t, ValueId bit, bool write) {
    const unsigned size = t.opsize();
    const unsigned log_bits = size == 8 ? 6 : size == 4 ? 5 : 4;
    const ValueId wide = t.b.sext(bit, Type::kI64);
    const ValueId words = t.b.emit(Op::sar, Type::kI64, {wide, t.b.konst(Type::kI8, log_bits)});
    const ValueId bytes = t.b.shl_imm(words, log_bits - 3);
    const ValueId offset = t.masked(t.b.add(t.effective_offset(), bytes), t.insn.address_size);
    return t.access(t.insn.mem.segment, offset, size, write);
}

template <BitOp kOp>
ValueId apply(Translator &t, ValueId a, ValueId mask) {
    if constexpr (kOp == BitOp::kSet) {
        return t.b.or_(a, mask);
    } else if constexpr (kOp == BitOp::kReset) {
        return t.b.emit(Op::andn, t.optype(), {mask, a});
    } else {
        return t.b.xor_(a, mask);
    }
}

template <BitOp kOp>
ValueId apply_locked(Translator &t, ValueId address, ValueId mask) {
    if constexpr (kOp == BitOp::kSet) {
        return t.b.emit(Op::atomic_or, t.optype(), {address, mask});
    } else if constexpr (kOp == BitOp::kReset) {
        return t.b.emit(Op::atomic_and, t.optype(), {address, t.b.emit(Op::not_, t.optype(), {mask})});
    } else {
        return t.b.emit(Op::atomic_xor, t.optype(), {address, mask});
    }
}

/// BMI1 flags: CF as given, SF and ZF of the result, OF clear.
void set_flags_with_carry(Translator &t, ValueId result, ValueId carry) {
    t.b.set_flags(t.flags_of(Op::f_bit, {carry, t.flags_of(Op::f_logic, {result})}));
}

} // namespace

template <BitOp kOp>
void bit_test(Translator &t) {
    const Type type = t.optype();
    const bool in_register = t.op(1).is_reg();
    const ValueId bit = in_register ? t.read(1) : t.b.zext(t.read(1), type);
    const ValueId number = t.b.and_imm(t.b.trunc(bit, Type::kI8), t.opsize() * 8 - 1);
    constexpr bool kWrites = kOp != BitOp::kTest;
    const bool memory = t.op(0).is_mem();
    ValueId address = kNoValue;
    if (memory) {
        address = in_register ? word_address(t, bit, kWrites) : t.mem_address(t.opsize(), kWrites);
    }
    const ValueId before = t.b.flags();
    const bool atomic = kWrites && memory && t.insn.lock;
    ValueId old = kNoValue;
    if (!memory) {
        old = t.read(0);
    } else if (!atomic) {
        old = t.b.load(type, address, kWrites ? std::uint16_t{tcg::kMemWriteIntent} : std::uint16_t{0});
    }
    if constexpr (kWrites) {
        const ValueId mask = t.b.emit(Op::shl, type, {t.b.konst(type, 1), number});
        if (atomic) {
            old = apply_locked<kOp>(t, address, mask);
        } else if (memory) {
            t.b.store(address, apply<kOp>(t, old, mask));
        } else {
            t.write(0, apply<kOp>(t, old, mask));
        }
    }
    const ValueId shifted = t.b.emit(Op::shr, type, {old, number});
    t.b.set_flags(t.flags_of(Op::f_bit, {t.b.and_imm(t.b.trunc(shifted, Type::kI8), 1), before}));
}
template void bit_test<BitOp::kTest>(Translator &);
template void bit_test<BitOp::kSet>(Translator &);
template void bit_test<BitOp::kReset>(Translator &);
template void bit_test<BitOp::kComplement>(Translator &);

/// BSF, BSR: a zero source leaves the destination as it is (AMD APM volume 3; Intel CPUs do so too).
template <bool kReverse>
void bit_scan(Translator &t) {
    const Type type = t.optype();
    const ValueId source = t.read(1);
    const ValueId zero = t.is_zero(source);
    ValueId r = t.b.emit(kReverse ? Op::clz : Op::ctz, type, {source});
    if (kReverse) {
        r = t.b.sub(t.b.konst(type, tcg::type_bits(type) - 1), r);
    }
    if (t.opsize() == 2) {
        t.write(0, t.b.emit(Op::select, type, {zero, t.read(0), r}));
    } else {
        const unsigned number = kSlotGpr + t.op(0).reg;
        const ValueId wide = t.b.zext(r, Type::kI64);
        t.set_slot(number, t.b.emit(Op::select, Type::kI64, {zero, t.slot(number), wide}));
    }
    t.b.set_flags(t.flags_of(Op::f_logic, {source})); // ZF; the others are undefined
}
template void bit_scan<false>(Translator &);
template void bit_scan<true>(Translator &);

/// TZCNT, LZCNT: CF = source is 0, ZF = result is 0; the others are undefined.
template <bool kLeading>
void count_zeros(Translator &t) {
    const ValueId source = t.read(1);
    const ValueId r = t.b.emit(kLeading ? Op::clz : Op::ctz, t.optype(), {source});
    const ValueId carry = t.is_zero(source);
    t.write(0, r);
    set_flags_with_carry(t, r, carry);
}
template void count_zeros<false>(Translator &);
template void count_zeros<true>(Translator &);

void popcnt(Translator &t) {
    const ValueId source = t.read(1);
    t.write(0, t.b.emit(Op::popcnt, t.optype(), {source}));
    constexpr unsigned kZeroShift = 6;
    const ValueId zero = t.b.zext(t.is_zero(source), Type::kI32);
    t.b.set_flags(t.flags_of(Op::f_raw, {t.b.shl_imm(zero, kZeroShift)}));
}

/// With 16-bit operands the result is undefined; CPUs give 0.
void bswap(Translator &t) {
    if (t.opsize() == 2) {
        t.write(0, t.b.konst(Type::kI16, 0));
    } else {
        t.write(0, t.b.emit(Op::bswap, t.optype(), {t.read(0)}));
    }
}

void movbe(Translator &t) {
    const ValueId v = t.read(1);
    t.write(0, t.opsize() == 2 ? t.b.emit(Op::rol, Type::kI16, {v, t.b.konst(Type::kI8, 8)})
                               : t.b.emit(Op::bswap, t.optype(), {v}));
}

void crc32(Translator &t) {
    const ValueId data = t.read(1);
    const ValueId crc = t.b.emit(Op::crc32, Type::kI32, {t.read_as(0, 4), data});
    t.set_reg(t.op(0).reg, 4, crc);
}

void andn(Translator &t) {
    const ValueId a = t.read(1);
    const ValueId r = t.b.emit(Op::andn, type_of(t, 0), {a, t.read(2)});
    t.write(0, r);
    t.b.set_flags(t.flags_of(Op::f_logic, {r}));
}

template <LowestBitOp kOp>
void lowest_bit(Translator &t) {
    const Type type = type_of(t, 0);
    const ValueId a = t.read(1);
    const ValueId less = t.b.add_imm(a, -1);
    ValueId r = kNoValue;
    ValueId carry = t.is_zero(a);
    if constexpr (kOp == LowestBitOp::kReset) {
        r = t.b.and_(a, less);
    } else if constexpr (kOp == LowestBitOp::kMask) {
        r = t.b.xor_(a, less);
    } else {
        r = t.b.and_(a, t.b.emit(Op::neg, type, {a}));
        carry = t.is_not_zero(a);
    }
    t.write(0, r);
    set_flags_with_carry(t, r, carry);
}
template void lowest_bit<LowestBitOp::kReset>(Translator &);
template void lowest_bit<LowestBitOp::kMask>(Translator &);
template void lowest_bit<LowestBitOp::kIsolate>(Translator &);

void bzhi(Translator &t) {
    const Type type = type_of(t, 0);
    const ValueId a = t.read(1), index = t.read_as(2, 1);
    const ValueId bits = t.b.konst(Type::kI8, tcg::type_bits(type));
    const ValueId r = t.b.emit(Op::bzhi, type, {a, index});
    const ValueId too_high = t.cond_of(t.flags_of(Op::f_cmp, {index, bits}), Cond::kAE);
    t.write(0, r);
    set_flags_with_carry(t, r, too_high);
}

void bextr(Translator &t) {
    const ValueId a = t.read(1);
    const ValueId r = t.b.emit(Op::bextr, type_of(t, 0), {a, t.read(2)});
    t.write(0, r);
    t.b.set_flags(t.flags_of(Op::f_logic, {r}));
}

template <bool kDeposit>
void deposit(Translator &t) {
    const ValueId a = t.read(1);
    t.write(0, t.b.emit(kDeposit ? Op::pdep : Op::pext, type_of(t, 0), {a, t.read(2)}));
}
template void deposit<false>(Translator &);
template void deposit<true>(Translator &);

} // namespace rhea::target::x86::emit
