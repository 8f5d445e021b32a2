// x87. With all exceptions masked (the mode word says so) an instruction is an x87_* op: itself on the host's x87. Else it is a
// helper call that looks for pending exceptions first and runs it in C++ (fpu/x87_run.h).
#include "target/x86/fpu/x87_info.h"
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {
namespace {

constexpr unsigned kTopShift = 11;

std::uint64_t info_of(const Translator &t) {
    X87Info info;
    info.opcode = static_cast<std::uint16_t>((t.insn.opcode & 7) << 8 | t.insn.modrm);
    info.memory = t.insn.mem_form();
    info.segment = info.memory ? t.insn.mem.segment : 0;
    return info.pack();
}

/// Size of the image that FNSTENV, FNSAVE and their counterparts access (SDM volume 1, 8.1.10).
constexpr unsigned image_size(bool whole, unsigned operand_size) {
    return (operand_size == 2 ? 14 : 28) + (whole ? 80 : 0);
}

std::uint16_t opcode_of(const Translator &t) { return static_cast<std::uint16_t>(X87Info::unpack(info_of(t)).opcode); }

/// FIP, FOP and, of memory operands, FDP. The page is said once a block, so that an instruction costs a constant's store.
void note_place(Translator &t) {
    constexpr unsigned kOffsetShift = 16;
    if (!t.x87_page_known) {
        t.set_slot(kSlotFipPage, t.eip_of(0));
        t.x87_page_known = true;
    }
    const auto offset = static_cast<std::uint32_t>(t.offset);
    t.set_slot(kSlotFpuPlace, t.b.konst(Type::kI32, offset << kOffsetShift | opcode_of(t)));
    t.set_slot(kSlotFcs, t.slot(kSlotSelector + static_cast<unsigned>(kCs)));
    if (t.insn.mem_form()) {
        t.set_slot(kSlotFdp, t.effective_offset());
        t.set_slot(kSlotFds, t.slot(kSlotSelector + t.insn.mem.segment));
    }
}

/// Behind a helper that may have changed which exceptions are masked.
void leave_masks_changed(Translator &t) {
    t.call(HelperId::x87_leave, Type::kNone, {t.k(t.length())});
    t.leave_state();
}

/// A waiting instruction reports what is pending before it looks at its operand.
void report_pending(Translator &t) {
    if (!t.x87_masked()) {
        t.call(HelperId::fwait, Type::kNone);
    }
}

/// The condition of FCMOVcc (SDM volume 2, tables ).
Cond move_condition(const Translator &t) {
    constexpr Cond kConds[] = {Cond::kB, Cond::kE, Cond::kBE, Cond::kP};
    const Cond cc = kConds[(t.insn.modrm >> 3) & 3];
    return (t.insn.opcode & 1) == 0 ? cc : static_cast<Cond>(static_cast<unsigned>(cc) ^ 1);
}

} // namespace

void x87_register(Translator &t) {
    if (!t.x87_masked()) {
        t.call(HelperId::x87_register, Type::kNone, {t.k(info_of(t))});
        return;
    }
    t.b.emit(Op::x87_run, Type::kNone, {}, opcode_of(t));
    note_place(t);
}

template <unsigned kBytes>
void x87_load(Translator &t) {
    report_pending(t);
    const ValueId address = t.mem_address(kBytes, false);
    if (t.x87_masked()) {
        t.b.emit(Op::x87_ld, Type::kNone, {address}, opcode_of(t));
        note_place(t);
        return;
    }
    ValueId info = t.k(info_of(t));
    ValueId value = kNoValue;
    if constexpr (kBytes == 10) {
        value = t.b.load(Type::kI64, address);
        const ValueId high = t.b.zext(t.b.load(Type::kI16, t.b.add_imm(address, 8)), Type::kI64);
        info = t.b.or_(info, t.b.shl_imm(high, X87Info::kHighShift));
    } else {
        value = t.b.zext(t.b.load(tcg::int_type(kBytes), address), Type::kI64);
    }
    t.call(HelperId::x87_load, Type::kNone, {info, value, t.effective_offset()});
}
template void x87_load<2>(Translator &);
template void x87_load<4>(Translator &);
template void x87_load<8>(Translator &);
template void x87_load<10>(Translator &);

/// By helper: the load faults as the store would, before anything changes; and where an unmasked exception keeps the
/// instruction from storing, what was there is stored again.
template <unsigned kBytes>
void x87_store(Translator &t) {
    report_pending(t);
    const ValueId address = t.mem_address(kBytes, true);
    if (t.x87_masked()) {
        t.b.emit(Op::x87_st, Type::kNone, {address}, opcode_of(t));
        note_place(t);
        return;
    }
    const ValueId info = t.k(info_of(t));
    constexpr unsigned kLow = kBytes == 10 ? 8 : kBytes;
    const auto old_value = [&](ValueId at, unsigned size) {
        return t.b.zext(t.b.load(tcg::int_type(size), at, tcg::kMemWriteIntent), Type::kI64);
    };
    const ValueId low = old_value(address, kLow);
    if constexpr (kBytes == 10) {
        const ValueId top = t.b.add_imm(address, 8);
        const ValueId old_high = old_value(top, 2);
        const ValueId high = t.call(HelperId::x87_store_high, Type::kI16, {info, old_high});
        const ValueId value = t.call(HelperId::x87_store, Type::kI64, {info, low, t.effective_offset()});
        t.b.store(address, value);
        t.b.store(top, high);
    } else {
        const ValueId value = t.call(HelperId::x87_store, tcg::int_type(kLow), {info, low, t.effective_offset()});
        t.b.store(address, value);
    }
}
template void x87_store<2>(Translator &);
template void x87_store<4>(Translator &);
template void x87_store<8>(Translator &);
template void x87_store<10>(Translator &);

void x87_move_if(Translator &t) {
    if (!t.x87_masked()) {
        t.call(HelperId::x87_flags, Type::kNone, {t.k(info_of(t)), t.b.zext(t.flags_bits(), Type::kI64)});
        return;
    }
    t.b.emit(Op::x87_move, Type::kNone, {t.cond_of(t.b.flags(), move_condition(t))}, t.insn.modrm & 7);
    note_place(t);
}

void x87_compare_flags(Translator &t) {
    ValueId bits = kNoValue;
    if (t.x87_masked()) {
        bits = t.b.emit(Op::x87_test, Type::kI32, {}, opcode_of(t));
        note_place(t);
    } else {
        bits = t.call(HelperId::x87_flags, Type::kI32, {t.k(info_of(t)), t.b.zext(t.flags_bits(), Type::kI64)});
    }
    t.b.set_flags(t.flags_of(Op::f_raw, {bits}));
}

/// Nothing can be pending where all is masked.
void fwait(Translator &t) {
    if (!t.x87_masked() || (t.mode & kModeFpuTrap) != 0) {
        t.call(HelperId::fwait, Type::kNone);
    }
}

void fninit(Translator &t) {
    t.call(HelperId::fninit, Type::kNone);
    t.x87_page_known = false;
    if (!t.x87_masked()) {
        leave_masks_changed(t);
    }
}

void fnclex(Translator &t) {
    if (t.x87_masked()) {
        t.b.emit(Op::x87_run, Type::kNone, {}, opcode_of(t));
    } else {
        t.call(HelperId::fnclex, Type::kNone);
    }
}

void fldcw(Translator &t) {
    report_pending(t);
    const ValueId value = t.read(0);
    if (t.x87_masked() && !t.single()) {
        t.b.emit(Op::x87_set_control, Type::kNone, {value}, static_cast<std::uint16_t>(HelperId::fldcw_unmask), t.length());
        return;
    }
    t.call(HelperId::fldcw, Type::kNone, {t.b.zext(value, Type::kI64)});
    leave_masks_changed(t);
}

void fnstcw(Translator &t) {
    const ValueId word = t.x87_masked() ? t.b.emit(Op::x87_control, Type::kI16) : t.slot(kSlotFcw);
    t.b.store(t.mem_address(2, true), word);
}

void fnstsw(Translator &t) {
    ValueId word = kNoValue;
    if (t.x87_masked()) {
        word = t.b.emit(Op::x87_status, Type::kI16);
    } else {
        const ValueId top = t.b.trunc(t.b.shl_imm(t.slot(kSlotFpuTop), kTopShift), Type::kI16);
        word = t.b.or_(t.slot(kSlotFsw), top);
    }
    if (t.op(0).is_mem()) {
        t.b.store(t.mem_address(2, true), word);
    } else {
        t.set_reg(kRax, 2, word);
    }
}

template <bool kWhole>
void x87_load_image(Translator &t) {
    report_pending(t);
    const ValueId address = t.mem_address(image_size(kWhole, t.opsize()), false);
    t.call(kWhole ? HelperId::frstor : HelperId::fldenv, Type::kNone, {address, t.k(t.opsize())});
    leave_masks_changed(t);
}
template void x87_load_image<false>(Translator &);
template void x87_load_image<true>(Translator &);

/// Both mask all exceptions.
template <bool kWhole>
void x87_store_image(Translator &t) {
    const ValueId address = t.mem_address(image_size(kWhole, t.opsize()), true);
    t.call(kWhole ? HelperId::fnsave : HelperId::fnstenv, Type::kNone, {address, t.k(t.opsize())});
    t.x87_page_known = false;
    if (!t.x87_masked()) {
        leave_masks_changed(t);
    }
}
template void x87_store_image<false>(Translator &);
template void x87_store_image<true>(Translator &);

void fxsave(Translator &t) {
    const ValueId address = t.mem_address(255, true);
    t.call(HelperId::fxsave, Type::kNone, {address, t.k(t.insn.rex_w() ? 1 : 0)});
}

/// MXCSR may change, and with it the mode word.
void fxrstor(Translator &t) {
    const ValueId address = t.mem_address(255, false);
    t.call(HelperId::fxrstor, Type::kNone, {address, t.k(t.insn.rex_w() ? 1 : 0), t.k(t.length())});
    t.leave_state();
}

} // namespace rhea::target::x86::emit
