#include "tests/diff/runner.h"

#include "target/x86/translate/translate.h"
#include "tests/diff/comparison.h"
#include "tests/diff/encoder.h"

#include <cstdio>
#include <cstring>

namespace rhea::target::x86::diff {
namespace {

/// Single stepping sets TF, which an instruction that stores the flags shows.
void hide_trap_flag(const Insn &insn, const Snapshot &native, std::uint8_t *data, CodeSize size) {
    if (insn.row().mnemonic != "pushf" || native.ending != Ending::kDone) {
        return;
    }
    const std::uint64_t base = size == CodeSize::k16 ? kDataAddress : 0;
    const std::uint64_t at = base + native.gpr[kRsp] + 1 - kDataAddress;
    if (at < kWritableSize) {
        data[at] &= 0xfe;
    }
}

bool loads_stack_segment(const Insn &insn) {
    return insn.operands[0].kind == Operand::Kind::kSeg && insn.operands[0].reg == kSs;
}

/// A jump to what is no address faults on the host at the jump, translated at its target.
bool faults_at_target(const Snapshot &native, const Snapshot &translated, CodeSize size) {
    const std::int64_t top = static_cast<std::int64_t>(translated.rip) >> 47;
    return size == CodeSize::k64 && native.ending == Ending::kMemory && native.rip == kStart &&
           translated.ending == Ending::kDone && top != 0 && top != -1;
}

} // namespace

Verdict Runner::run(RowId row, CodeSize size, std::uint64_t seed) {
    Random random(seed);
    std::optional<Encoded> encoded = encode_row(row, size, features_, random);
    if (!encoded) {
        return Verdict::kNotEncoded;
    }
    Snapshot before = random_state(*encoded, size, random);
    for (std::size_t n = 0; n < initial_.size(); n += 8) {
        const std::uint64_t word = random.interesting();
        std::memcpy(&initial_[n], &word, 8);
    }
    std::memset(arena_.code(), 0x90, 64);
    std::memcpy(arena_.code(), encoded->bytes.data(), encoded->insn.length);

    std::memcpy(arena_.data(), initial_.data(), initial_.size());
    const bool string = kRows[row].operands[0].kind == OperandKind::kString;
    if (string) {
        arena_.code()[encoded->insn.length] = 0xcc;
    }
    const Snapshot native = native_.run(before, size, string);
    std::memcpy(native_data_.data(), arena_.data(), native_data_.size());
    hide_trap_flag(encoded->insn, native, native_data_.data(), size);
    std::memcpy(arena_.data(), initial_.data(), initial_.size());
    // A load of SS holds back the single step: the host did one more instruction, a NOP.
    const bool two = loads_stack_segment(encoded->insn) && native.rip == kStart + encoded->insn.length + 1u;
    const Snapshot translated = translated_.run(before, size, two ? 2 : 1, 1, random.one_in(2));
    if (native.ending == Ending::kDone && !result_defined(encoded->insn, before)) {
        return Verdict::kSame;
    }
    if (faults_at_target(native, translated, size)) {
        return Verdict::kSame;
    }
    const std::uint32_t flags = defined_flags(encoded->insn, before, native);
    const std::string differences =
        difference(native, translated, flags, native_data_, {arena_.data(), kWritableSize});
    if (differences.empty()) {
        return Verdict::kSame;
    }
    make_report(*encoded, size, before, native, translated, differences);
    return Verdict::kDifferent;
}

void Runner::make_report(const Encoded &encoded, CodeSize size, const Snapshot &before, const Snapshot &native,
                         const Snapshot &translated, const std::string &differences) {
    const std::uint32_t mode = size == CodeSize::k64   ? std::uint32_t{kModeCode64}
                               : size == CodeSize::k32 ? std::uint32_t{kModeCode32}
                                                       : 0u;
    report_ = disassemble(mode, kStart, encoded.bytes.data(), encoded.insn.length);
    report_ += "before\n" + describe(before) + "native\n" + describe(native) + "translated\n" + describe(translated);
    report_ += "differences\n" + differences + translated_.ir();
}

} // namespace rhea::target::x86::diff
