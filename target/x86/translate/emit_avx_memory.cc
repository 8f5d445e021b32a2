// VMASKMOV and gathers.
#include "rhea/tcg/lane_access.h"
#include "target/x86/fpu/avx_gather.h"
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {
namespace {

using tcg::LaneAccess;

/// Is the value known to be all ones, as compilers make the mask of a gather that is to load everything?
bool all_ones(Translator &t, ValueId value) {
    const auto &insts = t.b.block().insts;
    if (insts[value].op == Op::v_low) {
        value = insts[value].args[0];
    }
    const tcg::ir::Inst &made = insts[value];
    const bool compares = made.op == Op::pcmpeqb || made.op == Op::pcmpeqw || made.op == Op::pcmpeqd || made.op == Op::pcmpeqq;
    return compares && made.args[0] == made.args[1];
}

ValueId with_all(Translator &t, Op op, Type type, ValueId vector, std::uint64_t imm) { return t.b.emit(op, type, {vector}, 0, imm); }

/// Lanes modulo 2^32.
ValueId low_words(Translator &t, Type type, ValueId lanes) {
    return with_all(t, Op::psrlq_imm, type, with_all(t, Op::psllq_imm, type, lanes, 32), 32);
}

ValueId plus(Translator &t, Type type, ValueId lanes, ValueId scalar) {
    if (t.b.is_const(scalar) && t.b.block().insts[scalar].imm == 0) {
        return lanes;
    }
    const ValueId low = t.b.emit(Op::v_from_i64, Type::kV128, {scalar});
    return t.b.emit(Op::paddq, type, {lanes, t.b.emit(Op::pbroadcastq, type, {low})});
}

/// Linear addresses of elements, whose indices are the 64-bit lanes of a vector.
ValueId addresses(Translator &t, Type type, ValueId index) {
    const MemRef &m = t.insn.mem;
    const bool narrow = t.insn.address_size != 8;
    const ValueId base = m.base == kNoReg ? t.k(static_cast<std::uint64_t>(m.disp)) : t.b.add_imm(t.gpr(m.base), m.disp);
    const ValueId scaled = m.scale == 0 ? index : with_all(t, Op::psllq_imm, type, index, m.scale);
    if (!narrow) {
        return plus(t, type, scaled, t.linear(m.segment, base));
    }
    const ValueId segment = t.linear(m.segment, t.k(0));
    const ValueId linear = plus(t, type, low_words(t, type, plus(t, type, scaled, base)), segment);
    return t.code64() || (t.b.is_const(segment)) ? linear : low_words(t, type, linear);
}

/// The same where the mode wants segment limits checked.
void checked_gather(Translator &t, unsigned element, unsigned index_size) {
    const MemRef &m = t.insn.mem;
    AvxGather gather;
    gather.data = t.op(0).reg;
    gather.mask = t.op(2).reg;
    gather.index = m.index;
    gather.element = static_cast<std::uint8_t>(element);
    gather.index_size = static_cast<std::uint8_t>(index_size);
    gather.scale = m.scale;
    gather.wide = t.insn.vex_length;
    gather.segment = m.segment;
    const ValueId base = m.base == kNoReg ? t.k(static_cast<std::uint64_t>(m.disp)) : t.b.add_imm(t.gpr(m.base), m.disp);
    t.call(HelperId::avx_gather, Type::kNone, {base, t.k(gather.pack()), t.linear(m.segment, t.k(0))});
}

ValueId vector_of(Translator &t, unsigned reg, Type type) {
    return type == Type::kV256 ? read_ymm(t, reg) : t.slot(kSlotXmm + reg);
}

} // namespace

/// Load: register, mask, memory; store: memory, mask, register.
template <unsigned kElement>
void avx_mask_move(Translator &t) {
    const bool store = t.op(0).is_mem();
    const bool wide = t.insn.vex_length != 0;
    const unsigned size = wide ? 32 : 16;
    LaneAccess access;
    access.kind = store ? LaneAccess::Kind::kStore : LaneAccess::Kind::kLoad;
    access.bytes = kElement;
    access.count = static_cast<std::uint8_t>(size / kElement);
    access.flags = t.code64() ? 0 : LaneAccess::kWrap32;
    const ValueId address = t.mem_address(size, store);
    const ValueId mask = read_avx(t, 1);
    if (store) {
        t.b.emit(Op::st_mask, Type::kNone, {address, read_avx(t, 2), mask}, 0, access.pack());
    } else {
        write_avx(t, t.op(0).reg,
                  t.b.emit(Op::ld_mask, wide ? Type::kV256 : Type::kV128, {address, mask}, 0, access.pack()));
    }
}
template void avx_mask_move<4>(Translator &);
template void avx_mask_move<8>(Translator &);

/// Register, memory with a vector index, mask. The three registers differ.
template <unsigned kElement, unsigned kIndex>
void avx_gather(Translator &t) {
    const unsigned data = t.op(0).reg, mask = t.op(2).reg, index = t.insn.mem.index;
    if (data == mask || data == index || mask == index) {
        t.undefined();
        return;
    }
    if (!t.code64() && (t.mode & (kModeSegChecks | kModeFsNull | kModeGsNull)) != 0) {
        checked_gather(t, kElement, kIndex);
        return;
    }
    constexpr unsigned kWidest = kElement > kIndex ? kElement : kIndex;
    const unsigned count = (t.insn.vex_length != 0 ? 32 : 16) / kWidest;
    const Type lanes = count == 2 ? Type::kV128 : Type::kV256; // of 64 bits
    const Type type = count * kElement > 16 ? Type::kV256 : Type::kV128;
    ValueId first = kNoValue, second = kNoValue;
    if constexpr (kIndex == 8) {
        first = addresses(t, lanes, vector_of(t, index, lanes));
    } else {
        first = addresses(t, lanes, t.b.emit(Op::pmovsxdq, lanes, {t.slot(kSlotXmm + index)}));
        if (count == 8) {
            second = addresses(t, lanes, t.b.emit(Op::pmovsxdq, lanes, {t.slot(kSlotYmmHigh + index)}));
        }
    }
    LaneAccess access;
    access.kind = LaneAccess::Kind::kGather;
    access.bytes = kElement;
    access.count = static_cast<std::uint8_t>(count);
    access.data_low = static_cast<std::uint8_t>(kSlotXmm + data);
    access.data_high = static_cast<std::uint8_t>(kSlotYmmHigh + data);
    access.mask_low = static_cast<std::uint8_t>(kSlotXmm + mask);
    access.mask_high = static_cast<std::uint8_t>(kSlotYmmHigh + mask);
    const ValueId chosen = vector_of(t, mask, type);
    const bool all = all_ones(t, chosen);
    access.flags = all ? LaneAccess::kAll : 0;
    const ValueId before = all ? kNoValue : vector_of(t, data, type);
    ValueId value = t.b.emit(Op::gather, type, {first, second == kNoValue ? first : second, chosen}, 0, access.pack());
    if (!all) {
        value = t.b.emit(kElement == 4 ? Op::blendvps : Op::blendvpd, type, {before, value, chosen});
        if (count * kElement == 8) {
            value = t.b.emit(Op::movq_v, Type::kV128, {value});
        }
    }
    write_avx(t, data, value);
    write_avx(t, mask, t.vector_zero());
}
template void avx_gather<4, 4>(Translator &);
template void avx_gather<4, 8>(Translator &);
template void avx_gather<8, 4>(Translator &);
template void avx_gather<8, 8>(Translator &);

} // namespace rhea::target::x86::emit
