// AVX moves between registers and memory, of halves and scalars; VZEROUPPER and VZEROALL.
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {
namespace {

ValueId low_part(Translator &t, ValueId value, unsigned size) {
    return size == 4 ? t.b.emit(Op::v_to_i32, Type::kI32, {value}) : t.b.emit(Op::v_to_i64, Type::kI64, {value});
}

unsigned register_count(const Translator &t) { return t.code64() ? 16 : 8; }

} // namespace

template <bool kAligned>
void avx_move(Translator &t) {
    const ValueId value = read_avx(t, 1, kAligned);
    if (t.op(0).is_mem()) {
        t.b.store(t.mem_address(t.op(0).size, true), value, kAligned ? tcg::kMemAlign16 : 0);
    } else {
        write_avx(t, t.op(0).reg, value);
    }
}
template void avx_move<false>(Translator &);
template void avx_move<true>(Translator &);

/// VMOVSS, VMOVSD: between memory and a register, or of a lane into a copy of another register.
void avx_move_scalar(Translator &t) {
    if (t.op(1).is_mem()) {
        write_avx(t, t.op(0).reg, read_vector(t, 1));
    } else if (t.op(0).is_mem()) {
        const unsigned size = t.op(0).size;
        t.b.store(t.mem_address(size, true), low_part(t, read_vector(t, 1), size));
    } else {
        const bool single = t.insn.row().mnemonic == "vmovss";
        write_avx(t, t.op(0).reg,
                  t.b.emit(single ? Op::blendps : Op::blendpd, Type::kV128, {read_vector(t, 1), read_vector(t, 2)}, 0, 1));
    }
}

/// VMOVD and VMOVQ into a vector register, VMOVQ between vector registers and memory.
void avx_move_quad(Translator &t) {
    if (t.op(0).is_mem()) {
        t.b.store(t.mem_address(8, true), low_part(t, read_vector(t, 1), 8));
    } else if (t.op(1).kind == Operand::Kind::kXmm) {
        write_avx(t, t.op(0).reg, t.b.emit(Op::movq_v, Type::kV128, {read_vector(t, 1)}));
    } else if (t.insn.row().operands[1].kind == OperandKind::kVecRm) {
        write_avx(t, t.op(0).reg, read_vector(t, 1));
    } else {
        const ValueId value = t.read(1);
        write_avx(t, t.op(0).reg,
                  t.b.emit(t.op(1).size == 8 ? Op::v_from_i64 : Op::v_from_i32, Type::kV128, {value}));
    }
}

/// VMOVLPS, VMOVHPS from memory: the other half comes from the second operand.
template <bool kHigh>
void avx_load_half(Translator &t) {
    const ValueId half = read_vector(t, 2), rest = read_vector(t, 1);
    write_avx(t, t.op(0).reg,
              kHigh ? t.b.emit(Op::unpcklpd, Type::kV128, {rest, half})
                    : t.b.emit(Op::blendpd, Type::kV128, {rest, half}, 0, 1));
}
template void avx_load_half<false>(Translator &);
template void avx_load_half<true>(Translator &);

/// VBROADCASTF128, VBROADCASTI128.
void avx_broadcast_half(Translator &t) {
    const ValueId half = read_vector(t, 1, false);
    write_avx(t, t.op(0).reg, t.b.emit(Op::v_join, Type::kV256, {half, half}));
}

/// VINSERTF128, VINSERTI128.
void avx_insert_half(Translator &t) {
    const ValueId half = read_vector(t, 2, false);
    const unsigned from = t.op(1).reg;
    const bool high = (t.insn.imm & 1) != 0;
    const ValueId low = high ? t.slot(kSlotXmm + from) : half, upper = high ? half : t.slot(kSlotYmmHigh + from);
    t.set_slot(kSlotYmmHigh + t.op(0).reg, upper);
    t.set_slot(kSlotXmm + t.op(0).reg, low);
}

/// VEXTRACTF128, VEXTRACTI128.
void avx_extract_half(Translator &t) {
    const ValueId half = t.slot(((t.insn.imm & 1) != 0 ? kSlotYmmHigh : kSlotXmm) + t.op(1).reg);
    if (t.op(0).is_mem()) {
        t.b.store(t.mem_address(16, true), half);
    } else {
        write_avx(t, t.op(0).reg, half);
    }
}

void avx_zero_upper(Translator &t) {
    for (unsigned n = 0; n < register_count(t); n++) {
        t.set_slot(kSlotYmmHigh + n, t.vector_zero());
    }
}

void avx_zero_all(Translator &t) {
    for (unsigned n = 0; n < register_count(t); n++) {
        write_avx(t, n, t.vector_zero());
    }
}

} // namespace rhea::target::x86::emit
