#include "target/x86/translate/translator.h"

#include <algorithm>
#include <string_view>

namespace rhea::target::x86 {
namespace {

bool named(const Insn &insn, std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), insn.row().mnemonic) != names.end();
}

/// Vector operands of 16 and 32 bytes whose misalignment is #GP.
bool aligned_by_itself(const Insn &insn) {
    if (insn.vex) {
        return named(insn, {"vmovaps", "vmovapd", "vmovdqa", "vmovntps", "vmovntpd", "vmovntdq", "vmovntdqa"});
    }
    return !insn.row().mnemonic.starts_with("sha") &&
           !named(insn, {"movups", "movupd", "movdqu", "lddqu", "pcmpestri", "pcmpestrm", "pcmpistri", "pcmpistrm"});
}

/// What EFLAGS.AC wants of the address of `size` bytes (SDM vol. 3, table 6-7, and what AMD CPUs do where it has nothing): 1 is nothing.
unsigned checked_alignment(const Insn &insn, unsigned size) {
    constexpr unsigned kTenBytes = 10;
    if (named(insn, {"sgdt", "sidt", "lgdt", "lidt"}) || insn.row().mnemonic.find("maskmovp") != std::string_view::npos ||
        insn.row().mnemonic.starts_with("vpmaskmov") || (insn.row().flags & kRowXsave) != 0) {
        return 1;
    }
    if (named(insn, {"jmpf", "callf", "lds", "les", "lss", "lfs", "lgs", "bound"})) {
        return insn.operand_size; // of each part
    }
    if (named(insn, {"maskmovdqu", "vmaskmovdqu"})) {
        return 8;
    }
    if (named(insn, {"fnstenv", "fldenv", "fnsave", "frstor"})) {
        return insn.operand_size == 2 ? 2 : 4;
    }
    if (named(insn, {"fxsave", "fxrstor"})) {
        return 4; // before the #GP of its own alignment
    }
    switch (size) {
    case 2:
    case 4:
    case 8: return size;
    case kTenBytes: return 8;
    case 16:
    case 32: return aligned_by_itself(insn) ? 1 : 16;
    default: return 1;
    }
}

} // namespace

namespace {
constexpr std::uint32_t kSingleModes = kModeTf | kModeShadow | kModeBreakpoints;
} // namespace

Translator::Translator(tcg::ir::Block &block, const TranslateContext &ctx)
    : b(block, *ctx.guest), context(ctx), mode(block.mode), single_mode_((block.mode & kSingleModes) != 0) {}

DecodeMode Translator::decode_mode() const {
    DecodeMode decode_mode;
    decode_mode.code64 = code64();
    decode_mode.code32 = (mode & kModeCode32) != 0;
    decode_mode.real_or_vm86 = !protected_mode();
    decode_mode.features = context.features;
    return decode_mode;
}

// ---- values ----

ValueId Translator::reg(unsigned number, unsigned size, bool high) {
    const ValueId full = gpr(number);
    if (high) {
        return b.emit(Op::hi8, Type::kI8, {full});
    }
    return b.trunc(full, tcg::int_type(size));
}

void Translator::set_reg(unsigned number, unsigned size, ValueId value, bool high) {
    const unsigned n = kSlotGpr + number;
    switch (size) {
    case 1: set_slot(n, b.emit(high ? Op::ins8h : Op::ins8, Type::kI64, {slot(n), value})); break;
    case 2: set_slot(n, b.emit(Op::ins16, Type::kI64, {slot(n), value})); break;
    default: set_slot(n, b.zext(value, Type::kI64)); break;
    }
}

ValueId Translator::is_zero(ValueId value) {
    return cond_of(flags_of(Op::f_logic, {value}), Cond::kE);
}

ValueId Translator::is_not_zero(ValueId value) {
    return cond_of(flags_of(Op::f_logic, {value}), Cond::kNE);
}

ValueId Translator::msb(ValueId value) {
    return b.trunc(b.shr_imm(value, tcg::type_bits(b.block().type_of(value)) - 1), Type::kI8);
}

// ---- operands ----

ValueId Translator::read(unsigned n) { return read_as(n, op(n).size); }

ValueId Translator::read_as(unsigned n, unsigned size) {
    const Operand &operand = op(n);
    switch (operand.kind) {
    case Operand::Kind::kMem: return b.load(tcg::int_type(size), mem_address(size, false));
    case Operand::Kind::kImm:
        if (immediate_.length != 0 && immediate_.length <= size) [[unlikely]] {
            return read_field(immediate_, tcg::int_type(size));
        }
        return b.konst(tcg::int_type(size), insn.imm);
    case Operand::Kind::kSeg: return slot(kSlotSelector + operand.reg);
    default: return reg(operand.reg, size, operand.high);
    }
}

ValueId Translator::read_for_update(unsigned n) {
    const Operand &operand = op(n);
    if (operand.is_mem()) {
        return b.load(tcg::int_type(operand.size), mem_address(operand.size, true), tcg::kMemWriteIntent);
    }
    return read(n);
}

void Translator::write(unsigned n, ValueId value) {
    const Operand &operand = op(n);
    if (operand.is_mem()) {
        b.store(mem_address(operand.size, true), value);
    } else {
        set_reg(operand.reg, operand.size, value, operand.high);
    }
}

// ---- addresses ----

ValueId Translator::masked(ValueId offset64, unsigned size) {
    return size == 8 ? offset64 : b.zext(b.trunc(offset64, tcg::int_type(size)), Type::kI64);
}

ValueId Translator::sum(Type type, ValueId base, ValueId index) {
    const MemRef &m = insn.mem;
    for (const Sum &known : sums_) {
        if (known.base == base && known.index == index && known.scale == m.scale && known.disp == m.disp) {
            return known.value;
        }
    }
    const ValueId value = b.emit(Op::lea, type, {base, index}, m.scale, static_cast<std::uint64_t>(m.disp));
    sums_[1] = sums_[0];
    sums_[0] = {base, index, value, m.scale, m.disp};
    return value;
}

ValueId Translator::effective_offset() {
    if (mem_offset_ != kNoValue) {
        return mem_offset_;
    }
    const MemRef &m = insn.mem;
    const unsigned size = insn.address_size;
    // Computed in 32 or 64 bits: lea has no 16-bit form, and the low bits are the same.
    const Type type = size == 8 ? Type::kI64 : Type::kI32;
    const unsigned bytes = tcg::type_bytes(type);
    ValueId value = kNoValue;
    if (displacement_.length != 0) [[unlikely]] {
        value = offset_by_field(type);
    } else if (m.rip_relative) {
        value = b.trunc(b.add_imm(b.emit(Op::pc_page, Type::kI64), next + m.disp), type);
    } else if (m.base == kNoReg && m.index == kNoReg) {
        value = b.konst(type, static_cast<std::uint64_t>(m.disp));
    } else if (m.index == kNoReg) {
        value = b.add_imm(reg(m.base, bytes), m.disp);
    } else if (m.base == kNoReg) {
        value = b.add_imm(b.shl_imm(reg(m.index, bytes), m.scale), m.disp);
    } else {
        value = sum(type, reg(m.base, bytes), reg(m.index, bytes));
    }
    if (size == 2) {
        value = b.trunc(value, Type::kI16);
    }
    mem_offset_ = b.zext(value, Type::kI64);
    return mem_offset_;
}

ValueId Translator::linear(unsigned segment, ValueId offset64) {
    if (code64()) {
        return segment == kFs || segment == kGs ? b.add(seg_base(segment), offset64) : offset64;
    }
    const std::uint32_t flat = segment == kCs                        ? kModeCsBaseZero
                               : segment == kFs || segment == kGs ? 0u
                                                                  : std::uint32_t{kModeDataFlat};
    if ((mode & flat) != 0) {
        return offset64; // has no more than 32 bits outside 64-bit code
    }
    return masked(b.add(seg_base(segment), offset64), 4);
}

ValueId Translator::access(unsigned segment, ValueId offset64, unsigned size, bool write) {
    // Code segments are never writable and may be unreadable; the mode word tells only of the data segments.
    const bool through_code = segment == kCs && protected_mode();
    const bool null = (segment == kFs && (mode & kModeFsNull) != 0) || (segment == kGs && (mode & kModeGsNull) != 0);
    if (((mode & kModeSegChecks) != 0 || through_code || null) && !code64()) {
        call(HelperId::seg_check, Type::kNone, {k(segment), offset64, k(size | (write ? 0x100u : 0u))});
    }
    const ValueId address = linear(segment, offset64);
    if (const unsigned alignment = (mode & kModeAlignCheck) != 0 ? checked_alignment(insn, size) : 1; alignment > 1) {
        call(HelperId::check_alignment, Type::kNone, {address, k(alignment - 1), k(size)});
    }
    return address;
}

ValueId Translator::mem_address(unsigned size, bool write) {
    if (mem_linear_ == kNoValue) {
        mem_linear_ = access(insn.mem.segment, effective_offset(), size, write);
    }
    return mem_linear_;
}

// ---- stack ----

ValueId Translator::stack_offset(std::int64_t add) {
    return masked(b.add_imm(gpr(kRsp), add), stack_size());
}

ValueId Translator::push_address(unsigned size, unsigned below) {
    return access(kSs, stack_offset(-static_cast<std::int64_t>(size + below)), size, true);
}

void Translator::push(ValueId value) {
    const unsigned size = tcg::type_bytes(b.block().type_of(value));
    const ValueId top = stack_offset(-static_cast<std::int64_t>(size));
    b.store(access(kSs, top, size, true), value);
    set_sp(top);
}

void Translator::set_sp(ValueId value64) {
    if (stack_size() == 2) {
        set_reg(kRsp, 2, b.trunc(value64, Type::kI16));
    } else {
        set_gpr(kRsp, value64);
    }
}

ValueId Translator::pop_load(unsigned size, unsigned above) {
    return load_at(access(kSs, stack_offset(above), size, false), size);
}

// ---- code addresses ----

ValueId Translator::linear_of(std::int32_t page_offset) {
    return b.add_imm(b.emit(Op::pc_page, Type::kI64), page_offset);
}

ValueId Translator::eip_of(std::int32_t page_offset) {
    ValueId value = linear_of(page_offset);
    if (code64()) {
        return value;
    }
    if ((mode & kModeCsBaseZero) == 0) {
        value = b.sub(value, seg_base(kCs));
    }
    return masked(value, 4);
}

ValueId Translator::linear_of_eip(ValueId eip) { return code64() ? eip : linear(kCs, eip); }

ValueId Translator::call(HelperId helper, Type result, std::initializer_list<ValueId> args) {
    return b.call(static_cast<std::uint16_t>(helper), result, args);
}

} // namespace rhea::target::x86
