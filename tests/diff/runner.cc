#include "tests/diff/runner.h"

#include "target/x86/translate/translate.h"
#include "tests/diff/comparison.h"
#include "tests/diff/encoder.h"
#include "tests/diff/sequence.h"
#include "tests/diff/vendor.h"

#include <cstdio>
#include <cstring>
#include <stdexcept>

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

/// The host's single step may come between two elements of a gather, before the one that faults.
bool stepped_within(const Snapshot &native, const Snapshot &translated, const Insn &insn) {
    return insn.row().operands[1].kind == OperandKind::kVsib && native.ending == Ending::kDone && native.rip == kStart &&
           translated.ending == Ending::kMemory;
}

/// FXSAVE's MXCSR_MASK shows what the host's MXCSR has; ours has no misaligned mode (bit 17).
void hide_mxcsr_mask(const Insn &insn, std::span<std::uint8_t> native, std::span<std::uint8_t> translated) {
    constexpr std::size_t kMaskAt = 30;
    for (std::size_t n = 0; insn.row().mnemonic == "fxsave" && n < native.size(); n++) {
        if (n >= kMaskAt && native[n] == 2 && translated[n] == 0 && native[n - 1] == translated[n - 1]) {
            native[n] = 0;
            return;
        }
    }
}

/// Overflow that is unmasked counts as exact or not by a result of another exponent range, which running masked does not
/// tell; and our MXCSR has no misaligned mode (bit 17).
bool mxcsr_alone_differs(Snapshot &native, const Snapshot &translated) {
    constexpr std::uint32_t kInexact = 0x20, kMisaligned = 0x20000;
    if (native.ending == Ending::kFloat) {
        native.fp.mxcsr |= translated.fp.mxcsr & kInexact;
    }
    return (native.fp.mxcsr & kMisaligned) != 0;
}

/// Did an instruction of the sequence fault at which the host's vendor does something else?
bool differs_by_vendor(const Sequence &sequence, const Snapshot &end) {
    std::uint64_t at = kStart;
    for (const Insn &insn : sequence.insns) {
        if (end.ending != Ending::kDone && at == end.rip && faults_differ(insn)) {
            return true;
        }
        at += insn.length;
    }
    return false;
}

} // namespace

/// The host is the measure only where it does the same twice: a signal or a debugger from outside can come between a case and its
/// result. What the translation does differently from one time to the next is its own fault.
Verdict Runner::settle(Verdict first, const std::function<Verdict()> &again) {
    constexpr unsigned kRepeats = 3;
    if (first != Verdict::kDifferent) {
        return first;
    }
    const std::string report = report_;
    const Snapshot native = native_end_, translated = translated_end_;
    for (unsigned n = 0; n < kRepeats; n++) {
        const Verdict verdict = again();
        const bool same_translation = translated_end_ == translated;
        if (!same_translation || (verdict == Verdict::kDifferent && native_end_ == native)) {
            report_ = (same_translation ? "" : "the translation did not do the same when it ran again\n") + report;
            return Verdict::kDifferent;
        }
        if (verdict == Verdict::kSame) {
            report_ = "the host did something else when it ran again; at first:\n" + report;
            return Verdict::kUnsteady;
        }
    }
    report_ = "the host does something else each time\n" + report;
    return Verdict::kDifferent;
}

Verdict Runner::run(RowId row, CodeSize size, std::uint64_t seed) {
    return settle(run_row(row, size, seed), [&] { return run_row(row, size, seed); });
}

Verdict Runner::run_sequence(unsigned count, CodeSize size, std::uint64_t seed) {
    return settle(run_instructions(count, size, seed), [&] { return run_instructions(count, size, seed); });
}

Verdict Runner::run_row(RowId row, CodeSize size, std::uint64_t seed) {
    Random random(seed);
    std::optional<Encoded> encoded = encode_row(row, size, features_, random, kStart);
    if (!encoded || encoding_differs(encoded->insn, size)) {
        return Verdict::kNotEncoded;
    }
    Snapshot before = random_state(*encoded, size, random);
    // RETF looks at the outer level's stack first, on the host, though it will not go there.
    before.align_check = checks_alignment(seed) && kRows[row].mnemonic != "retf";
    fill_data(random, before.fp.used);
    std::memset(arena_.code(), 0x90, 64);
    std::memcpy(arena_.code(), encoded->bytes.data(), encoded->insn.length);

    save_code();
    restore_data();
    const bool string = kRows[row].operands[0].kind == OperandKind::kString;
    if (string) {
        arena_.code()[encoded->insn.length] = 0xcc;
    }
    Snapshot native = native_.run(before, size, string);
    native_end_ = native;
    if (kRows[row].mnemonic == "cmps") {
        native.fault_address = 0; // which operand's fault comes first varies
    }
    std::memcpy(native_data_.data(), arena_.data(), native_data_.size());
    hide_trap_flag(encoded->insn, native, native_data_.data(), size);
    const bool pushes_first = kRows[row].mnemonic == "callf" || (host_is_intel() && kRows[row].mnemonic == "call");
    if (pushes_first && native.ending == Ending::kMemory) {
        native_data_ = initial_; // the host may have pushed before it faulted
    }
    restore_data();
    // A load of SS holds back the single step: the host did one more instruction, a NOP.
    const bool two = loads_stack_segment(encoded->insn) && native.rip == kStart + encoded->insn.length + 1u;
    Snapshot translated;
    try {
        translated = translated_.run(before, size, {two ? 2u : 1u, 1, 0, string, random.one_in(2)});
    } catch (const std::runtime_error &error) {
        report_ = error.what();
        return Verdict::kDifferent;
    }
    translated_end_ = translated;
    if (native.ending == Ending::kDone && !result_defined(encoded->insn, before)) {
        return Verdict::kSame;
    }
    hide_mxcsr_mask(encoded->insn, native_data_, {arena_.data(), kWritableSize});
    if ((encoded->insn.row().flags & (kRowX87 | kRowFpuSave)) != 0) {
        native.fault_address = 0; // which of two pages: varies
    }
    if (mxcsr_alone_differs(native, translated) || faults_at_target(native, translated, size) ||
        stepped_within(native, translated, encoded->insn) || settle_fault(encoded->insn, native, translated)) {
        return Verdict::kSame;
    }
    const std::uint32_t flags = defined_flags(encoded->insn, before, native);
    const std::string differences =
        difference(native, translated, flags, native_data_, {arena_.data(), kWritableSize});
    if (differences.empty()) {
        return Verdict::kSame;
    }
    make_report(encoded->insn.length, size, before, native, translated, differences);
    return Verdict::kDifferent;
}

Verdict Runner::run_instructions(unsigned count, CodeSize size, std::uint64_t seed) {
    Random random(seed);
    const Sequence sequence = encode_sequence(count, size, features_, random);
    if (sequence.insns.empty()) {
        return Verdict::kNotEncoded;
    }
    Snapshot before = random_sequence_state(size, random);
    before.align_check = checks_alignment(seed);
    fill_data(random, random.one_in(2));
    std::memcpy(arena_.code(), sequence.bytes.data(), sequence.bytes.size());
    arena_.code()[sequence.bytes.size()] = 0xcc;
    save_code();
    restore_data();
    Snapshot native = native_.run(before, size, true);
    native_end_ = native;
    if (sequence.floating) {
        native.fault_address = 0; // which of two pages: varies
    }
    std::memcpy(native_data_.data(), arena_.data(), native_data_.size());
    restore_data();
    const std::uint64_t end = kStart + sequence.bytes.size();
    constexpr unsigned kBlocks = 64;
    Snapshot translated;
    try {
        translated = translated_.run(before, size, {kBlocks, 64, end, false, random.one_in(2)});
    } catch (const std::runtime_error &error) {
        report_ = error.what();
        return Verdict::kDifferent;
    }
    translated_end_ = translated;
    if (translated.ending == Ending::kBreakpoint && translated.rip == end + 1) {
        translated.ending = Ending::kDone;
        translated.rip = end;
    }
    if (differs_by_vendor(sequence, native) || differs_by_vendor(sequence, translated)) {
        return Verdict::kSame;
    }
    // A fault in the middle: which flags are defined there is not known, registers and memory are.
    const std::uint32_t flags = native.ending == Ending::kDone ? kComparedFlags & ~sequence.undefined_flags : 0;
    const std::string differences =
        difference(native, translated, flags, native_data_, {arena_.data(), kWritableSize});
    if (differences.empty()) {
        return Verdict::kSame;
    }
    make_report(sequence.bytes.size(), size, before, native, translated, differences);
    return Verdict::kDifferent;
}

void Runner::fill_data(Random &random, bool floats) {
    for (std::size_t n = 0; n < initial_.size(); n += 8) {
        const std::uint64_t word = floats ? interesting_float(random) : random.interesting();
        std::memcpy(&initial_[n], &word, 8);
    }
}

void Runner::save_code() { std::memcpy(code_.data(), reinterpret_cast<const std::uint8_t *>(kCodeAddress), code_.size()); }

/// The page with the code too: a random address may lie there.
void Runner::restore_data() {
    std::memcpy(arena_.data(), initial_.data(), initial_.size());
    std::memcpy(reinterpret_cast<std::uint8_t *>(kCodeAddress), code_.data(), code_.size());
}

void Runner::make_report(std::size_t length, CodeSize size, const Snapshot &before, const Snapshot &native,
                         const Snapshot &translated, const std::string &differences) {
    const std::uint32_t mode = size == CodeSize::k64   ? std::uint32_t{kModeCode64}
                               : size == CodeSize::k32 ? std::uint32_t{kModeCode32}
                                                       : 0u;
    // What differs comes first: a log may keep the beginning only.
    report_ = "differences\n" + differences + disassemble(mode, kStart, arena_.code(), length) + "before\n" + describe(before) +
              "native\n" + describe(native) + "translated\n" + describe(translated) + translated_.ir();
}

} // namespace rhea::target::x86::diff
