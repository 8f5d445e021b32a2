// SSE3 to SSE4.2, SHA: instructions that are more than one row with the operands of the encoding.
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {
namespace {

/// A length of PCMPESTRx as 32 bits: of 64 bits everything from 16 on counts the same.
ValueId narrow_length(Translator &t, ValueId value) {
    const ValueId low = t.b.trunc(value, Type::kI32);
    const ValueId same = t.cond_of(t.flags_of(Op::f_cmp, {value, t.b.sext(low, Type::kI64)}), Cond::kE);
    return t.b.emit(Op::select, Type::kI32, {same, low, t.b.konst(Type::kI32, 0x7fffffff)});
}

ValueId lengths(Translator &t) {
    const auto length = [&](unsigned number) {
        const ValueId value = t.gpr(number);
        return t.b.zext(t.insn.rex_w() ? narrow_length(t, value) : t.b.trunc(value, Type::kI32), Type::kI64);
    };
    return t.b.or_(length(kRax), t.b.shl_imm(length(kRdx), 32));
}

/// The index in ECX's place, flags above it.
ValueId compare_strings(Translator &t, bool with_lengths, ValueId a, ValueId c) {
    const std::uint64_t imm = t.insn.imm & 0xff;
    return with_lengths ? t.b.emit(Op::pcmpestri, Type::kI64, {a, c, lengths(t)}, 0, imm)
                        : t.b.emit(Op::pcmpistri, Type::kI64, {a, c}, 0, imm);
}

void set_string_flags(Translator &t, ValueId both) {
    const ValueId bits = t.b.trunc(t.b.shr_imm(both, 32), Type::kI32);
    t.b.set_flags(t.flags_of(Op::f_raw, {bits}));
}

} // namespace

/// PINSRB, PINSRD, PINSRQ.
template <Op kOp32, Op kOp64>
void insert_lane(Translator &t) {
    const bool wide = t.op(1).size == 8;
    const ValueId value = wide ? t.read(1) : t.b.zext(t.read(1), Type::kI32);
    write_vector(t, 0, t.b.emit(wide ? kOp64 : kOp32, Type::kV128, {read_vector(t, 0), value}, 0, t.insn.imm & 15));
}
template void insert_lane<Op::pinsrb, Op::pinsrb>(Translator &);
template void insert_lane<Op::pinsrd, Op::pinsrq>(Translator &);

/// PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS.
template <Op kOp32, Op kOp64>
void extract_lane(Translator &t) {
    const unsigned size = t.op(0).size;
    const bool wide = size == 8;
    constexpr std::uint64_t kLanes = kOp32 == Op::pextrb ? 16 : kOp32 == Op::pextrw ? 8 : 4;
    const std::uint64_t lane = t.insn.imm & (wide ? 1 : kLanes - 1);
    const ValueId value =
        t.b.emit(wide ? kOp64 : kOp32, wide ? Type::kI64 : Type::kI32, {read_vector(t, 1)}, 0, lane);
    t.write(0, t.b.trunc(value, tcg::int_type(size)));
}
template void extract_lane<Op::pextrb, Op::pextrb>(Translator &);
template void extract_lane<Op::pextrw, Op::pextrw>(Translator &);
template void extract_lane<Op::pextrd, Op::pextrq>(Translator &);

/// INSERTPS: memory is one lane, so nothing is chosen from it.
void insert_single(Translator &t) {
    const std::uint64_t imm = t.insn.imm & (t.op(1).is_mem() ? 0x3f : 0xff);
    const ValueId source = read_vector(t, 1);
    write_vector(t, 0, t.b.emit(Op::insertps, Type::kV128, {read_vector(t, 0), source}, 0, imm));
}

/// XMM0 is the third operand.
template <Op kOp>
void with_xmm0(Translator &t) {
    const ValueId source = read_vector(t, 1, kOp != Op::sha256rnds2); // AMD's CPUs take any address there
    write_vector(t, 0, t.b.emit(kOp, Type::kV128, {read_vector(t, 0), source, t.slot(kSlotXmm)}));
}
template void with_xmm0<Op::blendvps>(Translator &);
template void with_xmm0<Op::blendvpd>(Translator &);
template void with_xmm0<Op::pblendvb>(Translator &);
template void with_xmm0<Op::sha256rnds2>(Translator &);

/// PCMPISTRI, PCMPESTRI. Memory need not be aligned.
template <bool kExplicit>
void string_index(Translator &t) {
    const ValueId source = read_vector(t, 1, false);
    const ValueId both = compare_strings(t, kExplicit, read_vector(t, 0), source);
    t.set_reg(kRcx, 4, t.b.trunc(both, Type::kI32));
    set_string_flags(t, both);
}
template void string_index<false>(Translator &);
template void string_index<true>(Translator &);

/// PCMPISTRM, PCMPESTRM: the mask is one row, the flags another, which goes when nobody looks at them.
template <bool kExplicit>
void string_mask(Translator &t) {
    const ValueId source = read_vector(t, 1, false), a = read_vector(t, 0);
    const ValueId both = compare_strings(t, kExplicit, a, source);
    const std::uint64_t imm = t.insn.imm & 0xff;
    t.set_slot(kSlotXmm, kExplicit ? t.b.emit(Op::pcmpestrm, Type::kV128, {a, source, lengths(t)}, 0, imm)
                                   : t.b.emit(Op::pcmpistrm, Type::kV128, {a, source}, 0, imm));
    set_string_flags(t, both);
}
template void string_mask<false>(Translator &);
template void string_mask<true>(Translator &);

} // namespace rhea::target::x86::emit
