// Control and debug registers, MSRs, counters, cache and TLB control.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {
namespace {

constexpr unsigned kCr8 = 8;

/// Slots of CR0, CR2, CR3, CR4. The decoder lets no other number through but 8.
constexpr unsigned kControlSlots[] = {kSlotCr0, 0, kSlotCr2, kSlotCr3, kSlotCr4};

ValueId linear_operand(Translator &t) { return t.linear(t.insn.mem.segment, t.effective_offset()); }

ValueId low_half(Translator &t, ValueId v) { return t.b.zext(t.b.trunc(v, Type::kI32), Type::kI64); }

} // namespace

void smsw(Translator &t) {
    if ((t.mode & kModeUmip) != 0 && t.cpl3()) {
        t.general_protection();
        return;
    }
    t.write(0, t.b.trunc(t.slot(kSlotCr0), tcg::int_type(t.op(0).size)));
}

void lmsw(Translator &t) {
    t.call(HelperId::lmsw, Type::kNone, {t.b.zext(t.read(0), Type::kI64), t.k(t.length())});
    t.leave_state();
}

void clts(Translator &t) {
    t.call(HelperId::clts, Type::kNone, {t.k(t.length())});
    t.leave_state();
}

void mov_from_cr(Translator &t) {
    const unsigned number = t.op(1).reg;
    const ValueId value = number == kCr8 ? t.call(HelperId::read_cr8, Type::kI64) : t.slot(kControlSlots[number]);
    t.write(0, t.b.trunc(value, tcg::int_type(t.op(0).size)));
}

void mov_to_cr(Translator &t) {
    const unsigned number = t.op(0).reg;
    const ValueId value = t.b.zext(t.read(1), Type::kI64);
    t.call(HelperId::write_cr, Type::kNone, {t.k(number), value, t.k(t.length())});
    t.leave_state();
}

void mov_from_dr(Translator &t) {
    const ValueId value = t.call(HelperId::read_dr, Type::kI64, {t.k(t.op(1).reg)});
    t.write(0, t.b.trunc(value, tcg::int_type(t.op(0).size)));
}

void mov_to_dr(Translator &t) {
    const ValueId value = t.b.zext(t.read(1), Type::kI64);
    t.call(HelperId::write_dr, Type::kNone, {t.k(t.op(0).reg), value, t.k(t.length())});
    t.leave_state();
}

void invlpg(Translator &t) {
    t.call(HelperId::invlpg, Type::kNone, {linear_operand(t), t.k(t.length())});
    t.leave_state();
}

void invpcid(Translator &t) {
    const unsigned size = t.code64() ? 8 : 4;
    const ValueId type = t.b.zext(t.reg(t.op(0).reg, size), Type::kI64);
    t.call(HelperId::invpcid, Type::kNone, {type, t.mem_address(16, false), t.k(t.length())});
    t.leave_state();
}

void rdmsr(Translator &t) { t.call(HelperId::rdmsr, Type::kNone); }

void wrmsr(Translator &t) {
    t.call(HelperId::wrmsr, Type::kNone, {t.k(t.length())});
    t.leave_state();
}

void rdtsc(Translator &t) { t.call(HelperId::rdtsc, Type::kNone); }
void rdtscp(Translator &t) { t.call(HelperId::rdtscp, Type::kNone); }
void rdpmc(Translator &t) { t.call(HelperId::rdpmc, Type::kNone); }
void cpuid(Translator &t) { t.call(HelperId::cpuid, Type::kNone); }

void rdpid(Translator &t) { t.write(0, t.b.trunc(t.slot(kSlotTscAux), tcg::int_type(t.op(0).size))); }

/// RDRAND, RDSEED: always ready, so CF = 1 and the other flags 0.
void random(Translator &t) {
    const ValueId value = t.call(HelperId::random, Type::kI64);
    t.write(0, t.b.trunc(value, t.optype()));
    t.b.set_flags(t.flags_of(Op::f_raw, {t.b.konst(Type::kI32, tcg::kCF)}));
}

/// MONITOR arms nothing: MWAIT may return at once. It does access the byte.
void monitor(Translator &t) {
    const unsigned segment = t.insn.segment_override != kNoReg ? t.insn.segment_override : unsigned{kDs};
    const ValueId offset = t.masked(t.gpr(kRax), t.insn.address_size);
    t.load_at(t.access(segment, offset, 1, false), 1);
}

void mwait(Translator &t) {
    t.call(HelperId::mwait, Type::kNone, {t.k(t.length())});
    t.leave_state();
}

void xgetbv(Translator &t) {
    const ValueId value = t.call(HelperId::xgetbv, Type::kI64);
    t.set_gpr(kRax, low_half(t, value));
    t.set_gpr(kRdx, t.b.shr_imm(value, 32));
}

void xsetbv(Translator &t) {
    t.call(HelperId::xsetbv, Type::kNone, {t.k(t.length())});
    t.leave_state();
}

/// CLAC, STAC: AC is part of the mode word, so the run loop has to look.
template <bool kSet>
void set_ac(Translator &t) {
    constexpr std::uint64_t kAc = 1u << 18;
    if (t.cpl3() || t.vm86()) {
        t.undefined(); // not #GP (SDM volume 2, CLAC)
        return;
    }
    const ValueId old = t.slot(kSlotRflags);
    t.set_slot(kSlotRflags, kSet ? t.b.or_(old, t.k(kAc)) : t.b.and_imm(old, ~kAc));
    t.finish_single(t.linear_of(t.next));
}
template void set_ac<false>(Translator &);
template void set_ac<true>(Translator &);

void fence(Translator &t) { t.b.emit(Op::fence, Type::kNone); }

/// CLFLUSH and the like: caches are coherent, so only the access check is left.
void cache_line(Translator &t) { t.load_at(t.mem_address(1, false), 1); }

} // namespace rhea::target::x86::emit
