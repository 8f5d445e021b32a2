// XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {

/// With memory always atomic (SDM volume 2, XCHG).
void xchg(Translator &t) {
    const Type type = tcg::int_type(t.op(0).size);
    const ValueId c = t.read(1);
    if (t.op(0).is_mem()) {
        t.write(1, t.b.emit(Op::atomic_xchg, type, {t.mem_address(t.op(0).size, true), c}));
        return;
    }
    const ValueId a = t.read(0);
    t.write(0, c);
    t.write(1, a);
}

/// 90 without REX.B is NOP (and PAUSE with F3): it does not clear the upper half of RAX.
void xchg_rax(Translator &t) {
    if (t.op(0).reg != kRax) {
        xchg(t);
    } else if (t.insn.rep == RepKind::kRep && t.context.several_cpus) {
        t.call(HelperId::pause, Type::kNone, {});
    }
}

void xadd(Translator &t) {
    const Type type = tcg::int_type(t.op(0).size);
    const ValueId c = t.read(1);
    const bool atomic = t.insn.lock && t.op(0).is_mem();
    const ValueId old = atomic ? t.b.emit(Op::atomic_add, type, {t.mem_address(t.op(0).size, true), c})
                               : t.read_for_update(0);
    const ValueId r = t.b.add(old, c);
    if (t.op(0).is_mem()) {
        if (!atomic) {
            t.write(0, r);
        }
        t.write(1, old);
    } else {
        t.write(1, old);
        t.write(0, r);
    }
    t.b.set_flags(t.flags_of(Op::f_add, {r, c}));
}

/// The accumulator is written only on failure; memory is always written (SDM volume 2, CMPXCHG).
void cmpxchg(Translator &t) {
    const unsigned size = t.op(0).size;
    const Type type = tcg::int_type(size);
    const ValueId expected = t.reg(kRax, size), desired = t.read(1);
    constexpr auto kEqual = static_cast<std::uint16_t>(Cond::kE);
    const bool atomic = t.insn.lock && t.op(0).is_mem();
    const ValueId old =
        atomic ? t.b.emit(Op::atomic_cmpxchg, type, {t.mem_address(size, true), expected, desired})
               : t.read_for_update(0);
    const ValueId flags = t.flags_of(Op::f_cmp, {expected, old});
    // Full-width selects: a 32-bit write would clear the upper half of a register that stays as it is.
    const auto full = [&](unsigned number, ValueId value, bool high) {
        const ValueId whole = t.gpr(number);
        return size >= 4   ? t.b.zext(value, Type::kI64)
               : size == 2 ? t.b.emit(Op::ins16, Type::kI64, {whole, value})
                           : t.b.emit(high ? Op::ins8h : Op::ins8, Type::kI64, {whole, value});
    };
    const auto choose = [&](ValueId when_equal, ValueId otherwise) {
        return t.b.emit(Op::select_cc, Type::kI64, {flags, when_equal, otherwise}, kEqual);
    };
    if (t.op(0).is_mem()) {
        if (!atomic) {
            t.write(0, t.b.emit(Op::select_cc, type, {flags, desired, old}, kEqual));
        }
        t.set_gpr(kRax, choose(t.gpr(kRax), full(kRax, old, false)));
    } else {
        const Operand &target = t.op(0);
        const ValueId accumulator = choose(t.gpr(kRax), full(kRax, old, false));
        t.set_gpr(kRax, accumulator);
        const ValueId present = t.gpr(target.reg);
        t.set_gpr(target.reg, choose(full(target.reg, desired, target.high), present));
    }
    t.b.set_flags(flags);
}

/// CMPXCHG8B, with REX.W CMPXCHG16B.
void cmpxchg_wide(Translator &t) {
    const bool sixteen = t.opsize() == 8;
    if (sixteen && !t.context.features.has(Feature::kCx16)) {
        t.undefined();
        return;
    }
    const ValueId address = t.mem_address(sixteen ? 16 : 8, true);
    t.call(sixteen ? HelperId::cmpxchg16b : HelperId::cmpxchg8b, Type::kNone, {address, t.k(t.insn.lock ? 1 : 0)});
}

} // namespace rhea::target::x86::emit
