// x87: one helper call an instruction, which runs it on the host's x87 (fpu/x87_run.h). Values kept in host registers over
// a block would be several times faster; what helpers do is the reference for that.
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

} // namespace

void x87_register(Translator &t) { t.call(HelperId::x87_register, Type::kNone, {t.k(info_of(t))}); }

template <unsigned kBytes>
void x87_load(Translator &t) {
    const ValueId address = t.mem_address(kBytes, false);
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

/// The load faults as the store would, before anything changes; and where an unmasked exception keeps the instruction
/// from storing, what was there is stored again.
template <unsigned kBytes>
void x87_store(Translator &t) {
    const ValueId address = t.mem_address(kBytes, true);
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

void x87_with_flags(Translator &t) {
    t.call(HelperId::x87_flags, Type::kNone, {t.k(info_of(t)), t.b.zext(t.flags_bits(), Type::kI64)});
}

void x87_compare_flags(Translator &t) {
    const ValueId bits =
        t.call(HelperId::x87_flags, Type::kI32, {t.k(info_of(t)), t.b.zext(t.flags_bits(), Type::kI64)});
    t.b.set_flags(t.flags_of(Op::f_raw, {bits}));
}

void fwait(Translator &t) { t.call(HelperId::fwait, Type::kNone); }
void fninit(Translator &t) { t.call(HelperId::fninit, Type::kNone); }
void fnclex(Translator &t) { t.call(HelperId::fnclex, Type::kNone); }

void fldcw(Translator &t) { t.call(HelperId::fldcw, Type::kNone, {t.b.zext(t.read(0), Type::kI64)}); }
void fnstcw(Translator &t) { t.b.store(t.mem_address(2, true), t.slot(kSlotFcw)); }

void fnstsw(Translator &t) {
    const ValueId top = t.b.trunc(t.b.shl_imm(t.slot(kSlotFpuTop), kTopShift), Type::kI16);
    const ValueId word = t.b.or_(t.slot(kSlotFsw), top);
    if (t.op(0).is_mem()) {
        t.b.store(t.mem_address(2, true), word);
    } else {
        t.set_reg(kRax, 2, word);
    }
}

template <bool kWhole>
void x87_load_image(Translator &t) {
    const ValueId address = t.mem_address(image_size(kWhole, t.opsize()), false);
    t.call(kWhole ? HelperId::frstor : HelperId::fldenv, Type::kNone, {address, t.k(t.opsize())});
}
template void x87_load_image<false>(Translator &);
template void x87_load_image<true>(Translator &);

template <bool kWhole>
void x87_store_image(Translator &t) {
    const ValueId address = t.mem_address(image_size(kWhole, t.opsize()), true);
    t.call(kWhole ? HelperId::fnsave : HelperId::fnstenv, Type::kNone, {address, t.k(t.opsize())});
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
