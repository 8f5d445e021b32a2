#include "tests/diff/sequence.h"

#include "tests/diff/arena.h"
#include "tests/diff/flag_effects.h"
#include "tests/diff/vendor.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace rhea::target::x86::diff {
namespace {

/// Stack instructions keep the stack in the arena when there are few of them.
bool is_stack(const Row &row) { return row.mnemonic == "push" || row.mnemonic == "pop" || row.mnemonic == "leave"; }

bool is_branch(const Insn &insn) { return insn.operands[0].kind == Operand::Kind::kRel; }

bool writes_stack_registers(const Insn &insn) {
    return std::any_of(insn.operands.begin(), insn.operands.end(), [](const Operand &op) {
        return op.is_reg() && !op.high && (op.reg == kRsp || op.reg == kRbp);
    });
}

/// `far`: round any register, where there is hardly ever memory.
bool memory_is_near(const Insn &insn, bool far) {
    if (!insn.mem_form() || insn.row().mnemonic == "lea" || insn.row().mnemonic == "nop") {
        return true;
    }
    const MemRef &m = insn.mem;
    if (insn.address_size == 2 || m.segment > kDs || m.segment == kCs || m.index != kNoReg) {
        return false;
    }
    return far || m.base == kNoReg || ((m.base == kRsp || m.base == kRbp) && m.disp > -0x200 && m.disp < 0x200);
}

/// Jumps go to the next instruction whether taken or not.
bool make_branch_short(Encoded &e) {
    if (!is_branch(e.insn)) {
        return true;
    }
    if (e.insn.operand_size == 2) {
        return false;
    }
    const bool byte = e.insn.row().operands[0].kind == OperandKind::kRel8;
    std::memset(&e.bytes[e.insn.length - (byte ? 1u : 4u)], 0, byte ? 1 : 4);
    return true;
}

bool acceptable(Encoded &e, std::uint32_t undefined, bool far) {
    if (e.insn.lock && !e.insn.operands[0].is_mem()) {
        return false; // #UD ends everything too early
    }
    if (writes_stack_registers(e.insn) || !memory_is_near(e.insn, far) || (flag_effects(e.insn).reads & undefined) != 0) {
        return false;
    }
    const bool far_bit = e.insn.operands[0].is_mem() && e.insn.operands[1].is_reg() && e.insn.row().mnemonic.starts_with("bt");
    const bool indirect = (e.insn.row().mnemonic == "jmp" || e.insn.row().mnemonic == "call") && !is_branch(e.insn);
    return !far_bit && !indirect && !(e.insn.row().mnemonic == "bswap" && e.insn.operand_size == 2) && make_branch_short(e);
}

} // namespace

bool suits_sequences(const Row &row, bool unmasking) {
    constexpr std::string_view kNot[] = {
        "push",  "pop",   "pusha",  "popa",  "leave",  "enter", "ret",  "retf",  "callf", "jmpf",     "iret",     "int",
        "int3",  "int1",  "into",   "bound", "popf",   "ins",   "outs", "in",    "out",   "cli",      "sti",      "xlat",
        "fldcw", "fldenv", "frstor", "ldmxcsr", "maskmovq", "maskmovdqu", "vmaskmovdqu", "vldmxcsr", "shld",  "shrd",  "rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase", "les",  "lds",   "lss",   "lfs",      "lgs",      "ud0",
        "ud1",   "ud2",   "rdpmc",  "rsm",   "clac",   "stac",  "div",  "idiv",  "std",   "cld"};
    constexpr std::uint16_t kFlags = kRowPriv | kRowNatural | kRowRandom | kRowFpuSave;
    const bool string = row.operands[0].kind == OperandKind::kString;
    const bool segment = row.operands[0].kind == OperandKind::kSeg;
    if (unmasking && (row.mnemonic == "fldcw" || row.mnemonic == "fldenv")) {
        return true;
    }
    return (row.flags & kFlags) == 0 && !string && !segment &&
           std::find(std::begin(kNot), std::end(kNot), row.mnemonic) == std::end(kNot);
}

Sequence encode_sequence(unsigned count, CodeSize size, FeatureSet features, Random &random) {
    constexpr std::uint16_t kFloating = kRowX87 | kRowMmx;
    Sequence sequence;
    sequence.floating = random.one_in(4);
    const bool unmasking = sequence.floating && random.one_in(2); // with exceptions that become pending
    const unsigned limit = (sequence.floating ? 1000 : 40) * count;
    for (unsigned tries = 0; tries < limit && sequence.insns.size() < count; tries++) {
        const RowId row = static_cast<RowId>(random.below(kRowCount));
        const bool other = (kRows[row].flags & kFloating) == 0;
        const bool wanted = !unmasking || sequence.insns.size() != 2 || kRows[row].mnemonic == "fldcw";
        if (sequence.floating && ((other && !random.one_in(16)) || !wanted)) {
            continue;
        }
        const bool stack = is_stack(kRows[row]) && random.one_in(4);
        if ((!suits_sequences(kRows[row], unmasking) && !stack) || !features.has(kRows[row].feature)) {
            continue;
        }
        std::optional<Encoded> e = encode_row(row, size, features, random, kStart + sequence.bytes.size());
        const bool far = sequence.floating && random.one_in(8);
        if (!e || !acceptable(*e, sequence.undefined_flags, far) || encoding_differs(e->insn, size) ||
            shows_differences(e->insn)) {
            continue;
        }
        const FlagEffects effects = flag_effects(e->insn);
        sequence.undefined_flags = (sequence.undefined_flags & ~effects.defines) | effects.undefines;
        sequence.bytes.insert(sequence.bytes.end(), e->bytes.begin(), e->bytes.begin() + e->insn.length);
        sequence.insns.push_back(e->insn);
    }
    return sequence;
}

Snapshot random_sequence_state(CodeSize size, Random &random) {
    Snapshot s;
    for (unsigned n = 0; n < 16; n++) {
        s.gpr[n] = size == CodeSize::k64 ? random.interesting() : n < 8 ? random.interesting() & 0xffffffff : 0;
    }
    if (random.one_in(2)) {
        s.gpr[kRcx] &= 0x3f;
    }
    s.flags = static_cast<std::uint32_t>(random.next()) & tcg::kArithFlags;
    // Exceptions stay masked: which of several faults comes first is not the question here.
    random_float_state(s.fp, random);
    s.fp.fcw |= 0x3f;
    s.fp.fsw &= 0x7f7f;
    s.fp.mxcsr |= 0x1f80;
    s.rip = kStart;
    const std::uint64_t base = size == CodeSize::k16 ? 0 : kDataAddress;
    s.gpr[kRsp] = base + 0x400 + (random.below(0x1000) & ~7u);
    s.gpr[kRbp] = base + 0x400 + (random.below(0x1000) & ~7u);
    return s;
}

} // namespace rhea::target::x86::diff
