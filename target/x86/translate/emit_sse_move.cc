// Moves of vectors and parts of them, between registers, memory and integers.
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {
namespace {

/// The low 4 or 8 bytes of a vector.
ValueId low_part(Translator &t, ValueId value, unsigned size) {
    return size == 4 ? t.b.emit(Op::v_to_i32, Type::kI32, {value}) : t.b.emit(Op::v_to_i64, Type::kI64, {value});
}

ValueId blend_low(Translator &t, ValueId a, ValueId c, unsigned size) {
    return t.b.emit(size == 4 ? Op::blendps : Op::blendpd, Type::kV128, {a, c}, 0, 1);
}

} // namespace

template <bool kAligned>
void vector_move(Translator &t) {
    const ValueId value = read_vector(t, 1, kAligned);
    if (t.op(0).is_mem()) {
        t.b.store(t.mem_address(16, true), value, kAligned ? tcg::kMemAlign16 : 0);
    } else {
        write_vector(t, 0, value);
    }
}
template void vector_move<false>(Translator &);
template void vector_move<true>(Translator &);

/// MOVLPS, MOVHPS from memory: the other half stays.
template <bool kHigh>
void load_half(Translator &t) {
    const ValueId half = read_vector(t, 1);
    const ValueId old = read_vector(t, 0);
    write_vector(t, 0, kHigh ? t.b.emit(Op::unpcklpd, Type::kV128, {old, half}) : blend_low(t, old, half, 8));
}
template void load_half<false>(Translator &);
template void load_half<true>(Translator &);

template <bool kHigh>
void store_half(Translator &t) {
    const ValueId source = read_vector(t, 1);
    t.b.store(t.mem_address(8, true),
              kHigh ? t.b.emit(Op::pextrq, Type::kI64, {source}, 0, 1) : low_part(t, source, 8));
}
template void store_half<false>(Translator &);
template void store_half<true>(Translator &);

/// MOVSS, MOVSD: a load clears the rest, a move between registers keeps it. The operand in ModRM.rm has the size.
void move_scalar(Translator &t) {
    if (t.op(1).is_mem()) {
        write_vector(t, 0, read_vector(t, 1));
    } else if (t.op(0).is_mem()) {
        const unsigned size = t.op(0).size;
        t.b.store(t.mem_address(size, true), low_part(t, read_vector(t, 1), size));
    } else {
        const unsigned size = t.op(0).size == 16 ? t.op(1).size : t.op(0).size;
        write_vector(t, 0, blend_low(t, read_vector(t, 0), read_vector(t, 1), size));
    }
}

/// MOVD, MOVQ from a general register or memory.
void move_from_integer(Translator &t) {
    const ValueId value = t.read(1);
    write_vector(t, 0, t.b.emit(t.op(1).size == 8 ? Op::v_from_i64 : Op::v_from_i32, Type::kV128, {value}));
}

void move_to_integer(Translator &t) {
    const ValueId value = low_part(t, read_vector(t, 1), t.op(0).size);
    t.write(0, value);
    if (is_mmx(t.op(1))) {
        enter_mmx(t);
    }
}

/// MOVQ between vector registers of either kind and memory, MOVQ2DQ, MOVDQ2Q, MOVNTQ.
void move_quad(Translator &t) {
    const ValueId source = read_vector(t, 1);
    if (t.op(0).is_mem()) {
        t.b.store(t.mem_address(8, true), low_part(t, source, 8));
    } else {
        const bool whole = t.op(1).kind == Operand::Kind::kXmm && !is_mmx(t.op(0));
        write_vector(t, 0, whole ? t.b.emit(Op::movq_v, Type::kV128, {source}) : source);
    }
    if (is_mmx(t.op(1))) {
        enter_mmx(t);
    }
}

/// MASKMOVQ, MASKMOVDQU: to DS:rDI.
void mask_move(Translator &t) {
    const unsigned segment = t.insn.segment_override != kNoReg ? t.insn.segment_override : unsigned{kDs};
    const bool wide = !is_mmx(t.op(0));
    const unsigned size = wide ? 16 : 8;
    if (!wide) {
        enter_mmx(t); // a fault finds it done
    }
    const ValueId address = t.access(segment, t.masked(t.gpr(kRdi), t.insn.address_size), size, true);
    const ValueId data = read_vector(t, 0), mask = read_vector(t, 1);
    t.call(HelperId::mask_probe, Type::kNone, {address, t.k(size)});
    t.call(HelperId::mask_move, Type::kNone, {address, low_part(t, data, 8), low_part(t, mask, 8)});
    if (wide) {
        const auto high = [&](ValueId v) { return t.b.emit(Op::pextrq, Type::kI64, {v}, 0, 1); };
        t.call(HelperId::mask_move, Type::kNone, {t.b.add_imm(address, 8), high(data), high(mask)});
    }
}

void insert_word(Translator &t) {
    const ValueId word = t.read(1);
    const ValueId wide = t.op(1).size == 2 ? t.b.zext(word, Type::kI32) : t.b.trunc(word, Type::kI32);
    const std::uint64_t lane = t.insn.imm & (is_mmx(t.op(0)) ? 3 : 7);
    write_vector(t, 0, t.b.emit(Op::pinsrw, Type::kV128, {read_vector(t, 0), wide}, 0, lane));
}

void extract_word(Translator &t) {
    const std::uint64_t lane = t.insn.imm & (is_mmx(t.op(1)) ? 3 : 7);
    t.write(0, t.b.emit(Op::pextrw, Type::kI32, {read_vector(t, 1)}, 0, lane));
    if (is_mmx(t.op(1))) {
        enter_mmx(t);
    }
}

} // namespace rhea::target::x86::emit
