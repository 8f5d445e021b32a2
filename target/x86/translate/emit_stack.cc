// PUSH POP PUSHA POPA ENTER LEAVE PUSHF POPF.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {

void push(Translator &t) {
    t.push(t.read_as(0, t.opsize()));
}

/// A memory destination that uses RSP sees the incremented one (SDM volume 2, POP).
void pop(Translator &t) {
    const unsigned size = t.opsize();
    const ValueId value = t.pop_load(size);
    if (!t.op(0).is_mem()) {
        t.release(size);
        t.set_reg(t.op(0).reg, size, value);
        return;
    }
    if (t.insn.mem.base == kRsp) {
        t.insn.mem.disp += size;
    }
    t.write(0, value);
    t.release(size);
}

void pusha(Translator &t) {
    const unsigned size = t.opsize();
    for (unsigned n = 0; n < 8; n++) {
        t.b.store(t.push_address(size, n * size), t.reg(n, size));
    }
    t.release(-8 * static_cast<std::int64_t>(size));
}

void popa(Translator &t) {
    const unsigned size = t.opsize();
    ValueId values[8];
    for (unsigned n = 0; n < 8; n++) {
        values[n] = t.pop_load(size, n * size); // RDI first
    }
    t.release(8 * size);
    for (unsigned n = 0; n < 8; n++) {
        if (7 - n != kRsp) {
            t.set_reg(7 - n, size, values[n]);
        }
    }
}

void enter(Translator &t) {
    const unsigned size = t.opsize();
    const std::uint64_t bytes = t.insn.imm & 0xffff, level = t.insn.imm2 & 31;
    if (level != 0) {
        t.call(HelperId::enter, Type::kNone, {t.k(bytes), t.k(level), t.k(size)});
        return;
    }
    t.b.store(t.push_address(size), t.reg(kRbp, size));
    const ValueId frame = t.stack_offset(-static_cast<std::int64_t>(size));
    const ValueId top = t.stack_offset(-static_cast<std::int64_t>(size + bytes));
    // The new top must be writable, though nothing is written there (SDM volume 2, ENTER).
    t.b.emit(Op::check_w, t.optype(), {t.linear(kSs, top)});
    t.set_reg(kRbp, size, t.b.trunc(frame, t.optype()));
    t.set_sp(top);
}

void leave(Translator &t) {
    const unsigned size = t.opsize();
    const ValueId frame = t.gpr(kRbp);
    const ValueId value = t.load_at(t.access(kSs, t.masked(frame, t.stack_size()), size, false), size);
    t.set_sp(t.masked(t.b.add_imm(frame, size), t.stack_size()));
    t.set_reg(kRbp, size, value);
}

/// VM and RF read as 0. DF is -1 or +1 in its slot: bit 10 of it is the flag.
void pushf(Translator &t) {
    constexpr std::uint64_t kRf = 1u << 16, kVm = 1u << 17, kDfBit = 1u << 10;
    if (t.vm86()) {
        t.push(t.b.trunc(t.call(HelperId::pushf_value, Type::kI64, {t.k(t.opsize())}), t.optype()));
        return;
    }
    const ValueId system = t.b.and_imm(t.slot(kSlotRflags), ~(kRf | kVm));
    const ValueId direction = t.b.and_imm(t.slot(kSlotDf), kDfBit);
    const ValueId arithmetic = t.b.zext(t.flags_bits(), Type::kI64);
    const ValueId image = t.b.or_(t.b.or_(system, direction), arithmetic);
    t.push(t.b.trunc(image, t.optype()));
}

void popf(Translator &t) {
    const ValueId image = t.b.zext(t.pop_load(t.opsize()), Type::kI64);
    t.call(HelperId::popf, Type::kNone, {image, t.k(t.opsize()), t.k(t.length())});
    t.release(t.opsize());
    t.leave_state();
}

} // namespace rhea::target::x86::emit
