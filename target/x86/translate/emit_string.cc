// String instructions and ports. Without REP a string instruction is inline; with it one call does many elements.
#include "target/x86/translate/emitters.h"

#include <bit>

namespace rhea::target::x86::emit {
namespace {

unsigned source_segment(const Translator &t) {
    return t.insn.segment_override != kNoReg ? t.insn.segment_override : unsigned{kDs};
}

ValueId step_of(Translator &t, unsigned size) {
    return t.b.shl_imm(t.slot(kSlotDf), static_cast<unsigned>(std::countr_zero(size)));
}

void advance(Translator &t, unsigned number, ValueId step) {
    const unsigned size = t.insn.address_size;
    t.set_reg(number, size, t.b.trunc(t.b.add(t.gpr(number), step), tcg::int_type(size)));
}

ValueId source_address(Translator &t, unsigned size) {
    const ValueId offset = t.masked(t.gpr(kRsi), t.insn.address_size);
    return t.access(source_segment(t), offset, size, false);
}

ValueId destination_address(Translator &t, unsigned size, bool write) {
    return t.access(kEs, t.masked(t.gpr(kRdi), t.insn.address_size), size, write);
}

StringInfo string_info(const Translator &t) {
    StringInfo info;
    info.size = t.op(0).size;
    info.address_size = t.insn.address_size;
    info.segment = static_cast<std::uint8_t>(source_segment(t));
    info.rep = t.insn.rep;
    info.code64 = t.code64();
    info.one = (t.mode & kModeTf) != 0;
    return info;
}

/// One call; not 0: interrupted, so the instruction is the next one again.
void call_string(Translator &t, HelperId helper) {
    const ValueId result = t.call(helper, Type::kI64, {t.k(string_info(t).pack())});
    const ValueId again = t.is_not_zero(result);
    if (t.single()) {
        t.finish_single(t.b.emit(Op::select, Type::kI64, {again, t.linear_of(t.offset), t.linear_of(t.next)}), again);
        return;
    }
    t.b.emit(Op::br_nz, Type::kNone, {again}, 0, static_cast<std::uint64_t>(std::int64_t{t.offset}));
}

constexpr HelperId kRepHelpers[] = {HelperId::rep_movs, HelperId::rep_cmps, HelperId::rep_stos, HelperId::rep_lods,
                                    HelperId::rep_scas};

/// The port in operand `n`: an immediate byte or DX.
ValueId port(Translator &t, unsigned n) { return t.b.zext(t.read(n), Type::kI64); }

} // namespace

template <StringOp kOp>
void string_op(Translator &t) {
    const unsigned size = t.op(0).size;
    if (t.insn.rep != RepKind::kNone) {
        call_string(t, kRepHelpers[static_cast<unsigned>(kOp)]);
        if (!t.ended()) {
            t.leave_direct(t.next);
        }
        return;
    }
    const ValueId step = step_of(t, size);
    if constexpr (kOp == StringOp::kMovs) {
        const ValueId value = t.load_at(source_address(t, size), size);
        t.b.store(destination_address(t, size, true), value);
        advance(t, kRsi, step);
        advance(t, kRdi, step);
    } else if constexpr (kOp == StringOp::kStos) {
        t.b.store(destination_address(t, size, true), t.reg(kRax, size));
        advance(t, kRdi, step);
    } else if constexpr (kOp == StringOp::kLods) {
        const ValueId value = t.load_at(source_address(t, size), size);
        advance(t, kRsi, step);
        t.set_reg(kRax, size, value);
    } else if constexpr (kOp == StringOp::kScas) {
        const ValueId value = t.load_at(destination_address(t, size, false), size);
        advance(t, kRdi, step);
        t.b.set_flags(t.flags_of(Op::f_cmp, {t.reg(kRax, size), value}));
    } else {
        // When both fault, RDI's comes first (as on AMD CPUs).
        const ValueId right = t.load_at(destination_address(t, size, false), size);
        const ValueId left = t.load_at(source_address(t, size), size);
        advance(t, kRsi, step);
        advance(t, kRdi, step);
        t.b.set_flags(t.flags_of(Op::f_cmp, {left, right}));
    }
}
template void string_op<StringOp::kMovs>(Translator &);
template void string_op<StringOp::kCmps>(Translator &);
template void string_op<StringOp::kStos>(Translator &);
template void string_op<StringOp::kLods>(Translator &);
template void string_op<StringOp::kScas>(Translator &);

template <bool kIn>
void string_io(Translator &t) {
    call_string(t, kIn ? HelperId::ins : HelperId::outs);
    if (!t.ended()) {
        t.leave_next(t.next);
    }
}
template void string_io<false>(Translator &);
template void string_io<true>(Translator &);

template <int kStep>
void set_direction(Translator &t) {
    t.set_slot(kSlotDf, t.k(static_cast<std::uint64_t>(std::int64_t{kStep})));
}
template void set_direction<+1>(Translator &);
template void set_direction<-1>(Translator &);

void in(Translator &t) {
    const unsigned size = t.op(0).size;
    const ValueId value = t.call(HelperId::in, Type::kI64, {port(t, 1), t.k(size)});
    t.set_reg(kRax, size, t.b.trunc(value, tcg::int_type(size)));
}

/// The device may have raised an interrupt or changed the machine.
void out(Translator &t) {
    const ValueId value = t.b.zext(t.read(1), Type::kI64);
    t.call(HelperId::out, Type::kNone, {port(t, 0), value, t.k(t.op(1).size)});
    t.leave_next(t.next);
}

} // namespace rhea::target::x86::emit
