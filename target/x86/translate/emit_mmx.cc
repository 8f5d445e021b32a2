// MMX instructions that are not simply the low half of the XMM form.
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {
namespace {

ValueId high_quad(Translator &t, ValueId value) {
    return t.b.emit(Op::movhlps, Type::kV128, {value, value});
}

} // namespace

/// The upper halves of two 64-bit registers interleaved: the upper half of what the 128-bit form makes of their lanes.
template <Op kOp>
void mmx_unpack_high(Translator &t) {
    const ValueId source = read_vector(t, 1);
    write_vector(t, 0, high_quad(t, t.b.emit(kOp, Type::kV128, {read_vector(t, 0), source})));
}
template void mmx_unpack_high<Op::punpcklbw>(Translator &);
template void mmx_unpack_high<Op::punpcklwd>(Translator &);
template void mmx_unpack_high<Op::punpckldq>(Translator &);

template <Op kOp>
void mmx_pack(Translator &t) {
    const ValueId source = read_vector(t, 1);
    const ValueId pair = t.b.emit(Op::punpcklqdq, Type::kV128, {read_vector(t, 0), source});
    write_vector(t, 0, t.b.emit(kOp, Type::kV128, {pair, pair}));
}
template void mmx_pack<Op::packsswb>(Translator &);
template void mmx_pack<Op::packssdw>(Translator &);
template void mmx_pack<Op::packuswb>(Translator &);

template void mmx_pack<Op::phaddw>(Translator &);
template void mmx_pack<Op::phaddd>(Translator &);
template void mmx_pack<Op::phaddsw>(Translator &);
template void mmx_pack<Op::phsubw>(Translator &);
template void mmx_pack<Op::phsubd>(Translator &);
template void mmx_pack<Op::phsubsw>(Translator &);

/// PSHUFB: three bits of an index count here, so both halves of the table are the same.
void mmx_shuffle(Translator &t) {
    const ValueId source = read_vector(t, 1), table = read_vector(t, 0);
    const ValueId twice = t.b.emit(Op::punpcklqdq, Type::kV128, {table, table});
    write_vector(t, 0, t.b.emit(Op::pshufb, Type::kV128, {twice, source}));
}

/// PALIGNR: both operands are one register of the 128-bit kind.
void mmx_align(Translator &t) {
    const ValueId source = read_vector(t, 1);
    const ValueId pair = t.b.emit(Op::punpcklqdq, Type::kV128, {source, read_vector(t, 0)});
    write_vector(t, 0, t.b.emit(Op::psrldq, Type::kV128, {pair}, 0, t.insn.imm & 0xff));
}

/// CVTPI2PS keeps the upper half of the destination; CVTPI2PD fills it.
template <Op kOp>
void convert_from_mmx(Translator &t) {
    const ValueId source = read_vector(t, 1);
    if (is_mmx(t.op(1))) {
        enter_mmx(t); // #XM finds it done
    }
    const ValueId value = vector_value(t, kOp, {source});
    write_vector(t, 0,
                 kOp == Op::cvtdq2pd ? value
                                     : t.b.emit(Op::blendpd, Type::kV128, {read_vector(t, 0), value}, 0, 1));
}
template void convert_from_mmx<Op::cvtdq2ps>(Translator &);
template void convert_from_mmx<Op::cvtdq2pd>(Translator &);

/// The upper half of a packed single source takes no part, nor may it raise anything.
template <Op kOp>
void convert_to_mmx(Translator &t) {
    const ValueId source = read_vector(t, 1);
    enter_mmx(t); // #XM finds it done
    const bool half = kOp == Op::cvtps2dq || kOp == Op::cvttps2dq;
    write_vector(t, 0, vector_value(t, kOp, {half ? t.b.emit(Op::movq_v, Type::kV128, {source}) : source}));
}
template void convert_to_mmx<Op::cvtps2dq>(Translator &);
template void convert_to_mmx<Op::cvttps2dq>(Translator &);
template void convert_to_mmx<Op::cvtpd2dq>(Translator &);
template void convert_to_mmx<Op::cvttpd2dq>(Translator &);

void emms(Translator &t) {
    enter_mmx(t);
    t.set_slot(kSlotFtw, t.b.konst(Type::kI16, 0xff));
}

} // namespace rhea::target::x86::emit
