// Segment registers, descriptor tables, FS and GS bases.
#include "target/x86/translate/emitters.h"

namespace rhea::target::x86::emit {
namespace {

bool umip_refuses(const Translator &t) { return (t.mode & kModeUmip) != 0 && t.cpl3(); }

/// Loads `segment`; `after` does the rest of the instruction (nothing in it can fault). Real mode changes only selector and base; in 64-bit
/// code nothing changes that translation depends on; else the mode may change and the block ends. Behind a load of SS the next
/// instruction belongs to the block: there is no interrupt in between.
template <typename After>
void load_segment(Translator &t, unsigned segment, ValueId selector16, bool shadow, After after) {
    const bool real = !t.protected_mode() && !t.vm86();
    if (real && (!shadow || (t.next_is_whole && !t.single()))) {
        t.set_slot(kSlotSelector + segment, selector16);
        t.set_seg_base(segment, t.b.shl_imm(t.b.zext(selector16, Type::kI64), 4));
        after();
        if (shadow) {
            t.keep_together();
        }
        return;
    }
    const ValueId selector = t.b.zext(selector16, Type::kI64);
    if (t.code64() && (!shadow || (t.next_is_whole && !t.single()))) {
        t.call(HelperId::load_seg_continue, Type::kNone, {t.k(segment), selector});
        after();
        if (shadow) {
            t.keep_together();
        }
        return;
    }
    const std::uint64_t how = t.length() | (shadow ? 0x100u : 0u);
    t.call(HelperId::load_seg, Type::kNone, {t.k(segment), selector, t.k(how)});
    after();
    if (shadow) {
        t.leave_entered(); // no single step between MOV SS and the next instruction (SDM volume 3, 6.8.3)
    } else {
        t.leave_state();
    }
}

} // namespace

void mov_from_seg(Translator &t) { t.write(0, t.b.zext(t.read(1), tcg::int_type(t.op(0).size))); }

void mov_to_seg(Translator &t) {
    const unsigned segment = t.op(0).reg;
    if (segment == kCs) {
        t.undefined();
        return;
    }
    load_segment(t, segment, t.read(1), segment == kSs, [] {});
}

void push_seg(Translator &t) { t.push(t.b.zext(t.read(0), t.optype())); }

void pop_seg(Translator &t) {
    const unsigned segment = t.op(0).reg;
    const ValueId selector = t.pop_load(2);
    // The stack pointer's width is that of the stack segment before the load.
    load_segment(t, segment, selector, segment == kSs, [&t] { t.release(t.opsize()); });
}

/// As far_mem(): no 64-bit offsets.
template <Seg kSeg>
void load_far_pointer(Translator &t) {
    const unsigned size = t.opsize() == 2 ? 2 : 4;
    const ValueId address = t.mem_address(size + 2, false);
    const ValueId offset = t.load_at(address, size);
    const ValueId selector = t.load_at(t.b.add_imm(address, size), 2);
    load_segment(t, kSeg, selector, false, [&] { t.set_reg(t.op(0).reg, size, offset); });
}
template void load_far_pointer<kEs>(Translator &);
template void load_far_pointer<kSs>(Translator &);
template void load_far_pointer<kDs>(Translator &);
template void load_far_pointer<kFs>(Translator &);
template void load_far_pointer<kGs>(Translator &);

/// Memory is written, and needs to be writable, only when the privilege level is raised.
void arpl(Translator &t) {
    const bool two_ways = t.op(0).is_mem() && !t.single();
    const ValueId target = two_ways ? t.read(0) : t.read_for_update(0);
    const ValueId wanted = t.b.and_imm(t.read(1), 3);
    const ValueId less = t.cond_of(t.flags_of(Op::f_cmp, {t.b.and_imm(target, 3), wanted}), Cond::kB);
    const ValueId raised = t.b.or_(t.b.and_imm(target, 0xfffc), wanted);
    const ValueId before = t.b.flags();
    const ValueId after = t.flags_of(Op::f_zf, {less, before});
    if (two_ways) {
        t.b.set_flags(after);
        t.b.emit(Op::br_nz, Type::kNone, {t.b.xor_(less, t.b.konst(Type::kI8, 1))}, 0,
                 static_cast<std::uint64_t>(std::int64_t{t.next}));
        t.b.set_flags(before); // what a fault of the store shows
    }
    if (two_ways) {
        t.b.store(t.access(t.insn.mem.segment, t.effective_offset(), 2, true), raised);
    } else {
        t.write(0, t.b.emit(Op::select, Type::kI16, {less, raised, target}));
    }
    t.b.set_flags(after);
}

/// LAR, LSL: bit 63 of the answer says whether the descriptor may be seen; only then is the register written.
template <bool kLimit>
void load_access_rights(Translator &t) {
    const ValueId selector = t.b.zext(t.read(1), Type::kI64);
    const ValueId answer = t.call(kLimit ? HelperId::lsl : HelperId::lar, Type::kI64, {selector});
    const ValueId valid = t.msb(answer);
    const ValueId before = t.b.flags();
    const unsigned number = t.op(0).reg;
    const ValueId old = t.gpr(number);
    const ValueId found = t.opsize() == 2
                              ? t.b.emit(Op::ins16, Type::kI64, {old, t.b.trunc(answer, Type::kI16)})
                              : t.b.zext(t.b.trunc(answer, Type::kI32), Type::kI64);
    t.set_gpr(number, t.b.emit(Op::select, Type::kI64, {valid, found, old}));
    t.b.set_flags(t.flags_of(Op::f_zf, {valid, before}));
}
template void load_access_rights<false>(Translator &);
template void load_access_rights<true>(Translator &);

template <bool kWrite>
void verify_segment(Translator &t) {
    const ValueId selector = t.b.zext(t.read(0), Type::kI64);
    const ValueId answer = t.call(kWrite ? HelperId::verw : HelperId::verr, Type::kI64, {selector});
    t.b.set_flags(t.flags_of(Op::f_zf, {t.is_not_zero(answer), t.b.flags()}));
}
template void verify_segment<false>(Translator &);
template void verify_segment<true>(Translator &);

template <bool kTask>
void store_system_selector(Translator &t) {
    if (umip_refuses(t)) {
        t.general_protection();
        return;
    }
    const ValueId value = t.call(kTask ? HelperId::str : HelperId::sldt, Type::kI64);
    t.write(0, t.b.zext(t.b.trunc(value, Type::kI16), tcg::int_type(t.op(0).size)));
}
template void store_system_selector<false>(Translator &);
template void store_system_selector<true>(Translator &);

template <bool kTask>
void load_system_selector(Translator &t) {
    t.call(kTask ? HelperId::ltr : HelperId::lldt, Type::kNone, {t.b.zext(t.read(0), Type::kI64)});
}
template void load_system_selector<false>(Translator &);
template void load_system_selector<true>(Translator &);

template <bool kInterrupts>
void store_table(Translator &t) {
    if (umip_refuses(t)) {
        t.general_protection();
        return;
    }
    const unsigned base_size = t.code64() ? 8 : 4;
    const ValueId limit = t.call(kInterrupts ? HelperId::sidt_limit : HelperId::sgdt_limit, Type::kI64);
    const ValueId base = t.call(kInterrupts ? HelperId::sidt_base : HelperId::sgdt_base, Type::kI64);
    const ValueId address = t.mem_address(2 + base_size, true);
    t.b.store(address, t.b.trunc(limit, Type::kI16));
    t.b.store(t.b.add_imm(address, 2), t.b.trunc(base, tcg::int_type(base_size)));
}
template void store_table<false>(Translator &);
template void store_table<true>(Translator &);

template <bool kInterrupts>
void load_table(Translator &t) {
    constexpr std::uint64_t kBase24 = 0xffffff;
    const unsigned base_size = t.code64() ? 8 : 4;
    const ValueId address = t.mem_address(2 + base_size, false);
    const ValueId limit = t.b.zext(t.load_at(address, 2), Type::kI64);
    ValueId base = t.b.zext(t.load_at(t.b.add_imm(address, 2), base_size), Type::kI64);
    if (!t.code64() && t.opsize() == 2) {
        base = t.b.and_imm(base, kBase24);
    }
    t.call(kInterrupts ? HelperId::lidt : HelperId::lgdt, Type::kNone, {limit, base});
}
template void load_table<false>(Translator &);
template void load_table<true>(Translator &);

void swapgs(Translator &t) {
    const ValueId user = t.seg_base(kGs), kernel = t.slot(kSlotKernelGsBase);
    t.set_seg_base(kGs, kernel);
    t.set_slot(kSlotKernelGsBase, user);
}

template <Seg kSeg, bool kWrite>
void base_register(Translator &t) {
    if constexpr (kWrite) {
        t.call(HelperId::wrfsgsbase, Type::kNone, {t.k(kSeg), t.b.zext(t.read(0), Type::kI64)});
    } else {
        const ValueId base = t.call(HelperId::rdfsgsbase, Type::kI64, {t.k(kSeg)});
        t.write(0, t.b.trunc(base, tcg::int_type(t.op(0).size)));
    }
}
template void base_register<kFs, false>(Translator &);
template void base_register<kGs, false>(Translator &);
template void base_register<kFs, true>(Translator &);
template void base_register<kGs, true>(Translator &);

} // namespace rhea::target::x86::emit
