// ADD OR ADC SBB AND SUB XOR CMP, INC DEC NOT NEG TEST, ADCX ADOX.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {
namespace {

bool locked(const Translator &t) { return t.insn.lock && t.op(0).is_mem(); }

Type type_of(Translator &t, unsigned n) { return tcg::int_type(t.op(n).size); }

/// Result and flags of an operation, apart from where they go.
struct Outcome {
    ValueId result, flags;
};

template <AluOp kOp>
Outcome compute(Translator &t, ValueId a, ValueId c) {
    const auto op = [&](Op which) { return t.b.emit(which, t.b.block().type_of(a), {a, c}); };
    const auto with_carry = [&](Op which, Op flags_op) {
        const ValueId carry = t.b.flags();
        const ValueId r = t.b.emit(which, t.b.block().type_of(a), {a, c, carry});
        return Outcome{r, t.flags_of(flags_op, {r, c, carry})};
    };
    const auto logic = [&](Op which) {
        const ValueId r = op(which);
        return Outcome{r, t.flags_of(Op::f_logic, {r})};
    };
    if constexpr (kOp == AluOp::kAdd) {
        const ValueId r = op(Op::add);
        return {r, t.flags_of(Op::f_add, {r, c})};
    } else if constexpr (kOp == AluOp::kSub) {
        const ValueId r = op(Op::sub);
        return {r, t.flags_of(Op::f_sub, {r, c})};
    } else if constexpr (kOp == AluOp::kCmp) {
        return {kNoValue, t.flags_of(Op::f_cmp, {a, c})};
    } else if constexpr (kOp == AluOp::kAdc) {
        return with_carry(Op::adc, Op::f_adc);
    } else if constexpr (kOp == AluOp::kSbb) {
        return with_carry(Op::sbb, Op::f_sbb);
    } else if constexpr (kOp == AluOp::kAnd) {
        return logic(Op::and_);
    } else if constexpr (kOp == AluOp::kOr) {
        return logic(Op::or_);
    } else {
        return logic(Op::xor_);
    }
}

/// With LOCK: one atomic operation on memory, then the same computation on what it found there.
template <AluOp kOp>
void alu_locked(Translator &t) {
    const Type type = type_of(t, 0);
    const ValueId c = t.read(1);
    const ValueId address = t.mem_address(t.op(0).size, true);
    const auto carry = [&] { return t.b.zext(t.b.cond(Cond::kB), type); };
    ValueId old = kNoValue;
    if constexpr (kOp == AluOp::kAdd) {
        old = t.b.emit(Op::atomic_add, type, {address, c});
    } else if constexpr (kOp == AluOp::kSub) {
        old = t.b.emit(Op::atomic_add, type, {address, t.b.emit(Op::neg, type, {c})});
    } else if constexpr (kOp == AluOp::kAdc) {
        old = t.b.emit(Op::atomic_add, type, {address, t.b.add(c, carry())});
    } else if constexpr (kOp == AluOp::kSbb) {
        const ValueId taken = t.b.emit(Op::neg, type, {t.b.add(c, carry())});
        old = t.b.emit(Op::atomic_add, type, {address, taken});
    } else if constexpr (kOp == AluOp::kAnd) {
        old = t.b.emit(Op::atomic_and, type, {address, c});
    } else if constexpr (kOp == AluOp::kOr) {
        old = t.b.emit(Op::atomic_or, type, {address, c});
    } else if constexpr (kOp == AluOp::kXor) {
        old = t.b.emit(Op::atomic_xor, type, {address, c});
    }
    t.b.set_flags(compute<kOp>(t, old, c).flags);
}

/// OF as an i8: of a chain of ADOX and ADCX the value that the last ADOX left.
ValueId overflow_of(Translator &t, ValueId flags) {
    for (ValueId f = flags;;) {
        const tcg::ir::Inst &inst = t.b.block().insts[f];
        if (inst.op == Op::f_of) {
            return inst.args[0];
        }
        if (inst.op != Op::f_bit && inst.op != Op::f_zf) {
            return t.cond_of(flags, Cond::kO);
        }
        f = inst.args[1];
    }
}

} // namespace

template <AluOp kOp>
void alu(Translator &t) {
    if constexpr (kOp == AluOp::kCmp) {
        const ValueId a = t.read(0);
        t.b.set_flags(compute<kOp>(t, a, t.read(1)).flags);
    } else {
        if (locked(t)) {
            alu_locked<kOp>(t);
            return;
        }
        const ValueId a = t.read_for_update(0);
        const Outcome outcome = compute<kOp>(t, a, t.read(1));
        t.write(0, outcome.result);
        t.b.set_flags(outcome.flags);
    }
}
template void alu<AluOp::kAdd>(Translator &);
template void alu<AluOp::kOr>(Translator &);
template void alu<AluOp::kAdc>(Translator &);
template void alu<AluOp::kSbb>(Translator &);
template void alu<AluOp::kAnd>(Translator &);
template void alu<AluOp::kSub>(Translator &);
template void alu<AluOp::kXor>(Translator &);
template void alu<AluOp::kCmp>(Translator &);

template <int kStep>
void inc_dec(Translator &t) {
    const Type type = type_of(t, 0);
    const ValueId step = t.b.konst(type, static_cast<std::uint64_t>(std::int64_t{kStep}));
    const bool atomic = locked(t);
    const ValueId old = atomic ? t.b.emit(Op::atomic_add, type, {t.mem_address(t.op(0).size, true), step})
                               : t.read_for_update(0);
    const ValueId r = t.b.add(old, step);
    const ValueId before = t.b.flags();
    if (!atomic) {
        t.write(0, r);
    }
    t.b.set_flags(t.flags_of(kStep > 0 ? Op::f_inc : Op::f_dec, {r, before}));
}
template void inc_dec<+1>(Translator &);
template void inc_dec<-1>(Translator &);

void not_(Translator &t) {
    const Type type = type_of(t, 0);
    if (locked(t)) {
        t.b.emit(Op::atomic_xor, type, {t.mem_address(t.op(0).size, true), t.b.konst(type, ~0ull)});
    } else {
        t.write(0, t.b.emit(Op::not_, type, {t.read_for_update(0)}));
    }
}

void neg(Translator &t) {
    const Type type = type_of(t, 0);
    const ValueId old = t.read_for_update(0);
    const ValueId r = t.b.emit(Op::neg, type, {old});
    if (locked(t)) {
        // No atomic negation: try once, and do the instruction again when another CPU came between.
        const ValueId found = t.b.emit(Op::atomic_cmpxchg, type, {t.mem_address(t.op(0).size, true), old, r});
        const ValueId lost = t.cond_of(t.flags_of(Op::f_cmp, {found, old}), Cond::kNE);
        t.b.emit(Op::br_nz, Type::kNone, {lost}, 0, static_cast<std::uint64_t>(std::int64_t{t.offset}));
    } else {
        t.write(0, r);
    }
    t.b.set_flags(t.flags_of(Op::f_sub, {r, old}));
}

void test(Translator &t) {
    const ValueId a = t.read(0);
    t.b.set_flags(t.flags_of(Op::f_logic, {t.b.and_(a, t.read(1))}));
}

/// ADCX adds with CF and changes only CF; ADOX does the same with OF.
template <bool kOverflow>
void add_carry_extended(Translator &t) {
    const ValueId before = t.b.flags();
    const ValueId none = t.flags_of(Op::f_raw, {t.b.konst(Type::kI32, 0)});
    const ValueId carry = kOverflow ? t.flags_of(Op::f_bit, {overflow_of(t, before), none}) : before;
    const ValueId c = t.read(1);
    const ValueId r = t.b.emit(Op::adc, type_of(t, 0), {t.read(0), c, carry});
    const ValueId out = t.cond_of(t.flags_of(Op::f_adc, {r, c, carry}), Cond::kB);
    t.write(0, r);
    t.b.set_flags(t.flags_of(kOverflow ? Op::f_of : Op::f_bit, {out, before}));
}
template void add_carry_extended<false>(Translator &);
template void add_carry_extended<true>(Translator &);

} // namespace rhea::target::x86::emit
