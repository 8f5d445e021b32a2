#include "tests/diff/comparison.h"

#include "tests/diff/arena.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace rhea::target::x86::diff {
namespace {

using namespace tcg;

struct Undefined {
    std::string_view mnemonic;
    std::uint32_t flags;
};
constexpr Undefined kUndefined[] = {
#define RHEA_UNDEFINED(mnemonic, flags) {mnemonic, flags},
#include "tests/diff/undefined.def"
#undef RHEA_UNDEFINED
};

bool one_of(std::string_view name, std::initializer_list<std::string_view> list) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

/// A fault behind the first element of REP CMPS and SCAS: Intel's manual restores the flags, AMD CPUs show the last element's.
bool compares_strings(const Insn &insn) {
    return insn.rep != RepKind::kNone && one_of(insn.row().mnemonic, {"cmps", "scas"});
}

/// The masked count of a shift or rotate.
unsigned count_of(const Insn &insn, const Snapshot &before, unsigned operand) {
    const std::uint64_t raw = insn.operands[operand].is_reg() ? before.gpr[kRcx] : insn.imm;
    return static_cast<unsigned>(raw & (insn.operands[0].size == 8 ? 63 : 31));
}

std::uint32_t undefined_by_count(const Insn &insn, const Snapshot &before) {
    const std::string_view name = insn.row().mnemonic;
    const unsigned bits = insn.operands[0].size * 8u;
    if (one_of(name, {"rol", "ror", "rcl", "rcr"})) {
        return count_of(insn, before, 1) == 1 ? 0 : kOF;
    }
    if (one_of(name, {"shl", "shr", "sar"})) {
        const unsigned count = count_of(insn, before, 1);
        return count == 0 ? 0 : kAF | (count == 1 ? 0 : kOF) | (count >= bits && name != "sar" ? kCF : 0);
    }
    if (one_of(name, {"shld", "shrd"})) {
        const unsigned count = count_of(insn, before, 2);
        return count == 0 ? 0 : count == 1 ? kAF : kAF | kOF;
    }
    return 0;
}

template <class Compare>
void compare_floats(const FloatState &native, const FloatState &translated, Compare compare) {
    compare("FCW", 0, native.fcw, translated.fcw);
    compare("FSW", 0, native.fsw, translated.fsw);
    compare("tags", 0, native.tags, translated.tags);
    compare("MXCSR", 0, native.mxcsr, translated.mxcsr);
    for (unsigned n = 0; n < 8; n++) {
        compare("mantissa of st", n, native.mantissa[n], translated.mantissa[n]);
        compare("exponent of st", n, native.sign_exponent[n], translated.sign_exponent[n]);
    }
    for (unsigned n = 0; n < 16; n++) {
        compare("low half of xmm", n, native.xmm[n][0], translated.xmm[n][0]);
        compare("high half of xmm", n, native.xmm[n][1], translated.xmm[n][1]);
        compare("third lane of ymm", n, native.ymm_high[n][0], translated.ymm_high[n][0]);
        compare("fourth lane of ymm", n, native.ymm_high[n][1], translated.ymm_high[n][1]);
    }
}

} // namespace

std::uint32_t defined_flags(const Insn &insn, const Snapshot &before, const Snapshot &after) {
    if (after.ending != Ending::kDone) {
        return compares_strings(insn) ? kDirectionFlag : kComparedFlags;
    }
    std::uint32_t undefined = undefined_by_count(insn, before);
    for (const Undefined &row : kUndefined) {
        if (row.mnemonic == insn.row().mnemonic) {
            undefined |= row.flags;
        }
    }
    return kComparedFlags & ~undefined;
}

bool result_defined(const Insn &insn, const Snapshot &before) {
    const std::string_view name = insn.row().mnemonic;
    if (one_of(name, {"shld", "shrd"})) {
        return count_of(insn, before, 2) <= insn.operands[0].size * 8u;
    }
    return !(name == "bswap" && insn.operand_size == 2);
}

std::string describe(const Snapshot &s) {
    constexpr const char *kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"};
    std::string text;
    char line[64];
    for (unsigned n = 0; n < 16; n++) {
        char name[8];
        std::snprintf(name, sizeof name, n < 8 ? "%s" : "r%s%u", n < 8 ? kNames[n] : "", n);
        std::snprintf(line, sizeof line, "%3s=%016llx%s", name, static_cast<unsigned long long>(s.gpr[n]),
                      n % 4 == 3 ? "\n" : " ");
        text += line;
    }
    std::snprintf(line, sizeof line, "rip=%llx flags=%x %s %llx\n", static_cast<unsigned long long>(s.rip), s.flags,
                  ending_name(s.ending), static_cast<unsigned long long>(s.fault_address));
    text += line;
    if (!s.fp.used) {
        return text;
    }
    std::snprintf(line, sizeof line, "fcw=%x fsw=%x tags=%x mxcsr=%x\n", s.fp.fcw, s.fp.fsw, s.fp.tags, s.fp.mxcsr);
    text += line;
    for (unsigned n = 0; n < 24; n++) {
        const bool st = n < 8;
        const std::uint64_t high = st ? s.fp.sign_exponent[n] : s.fp.xmm[n - 8][1];
        const std::uint64_t low = st ? s.fp.mantissa[n] : s.fp.xmm[n - 8][0];
        std::snprintf(line, sizeof line, "%3s%02u=%016llx:%016llx%s", st ? "st" : "xmm", st ? n : n - 8,
                      static_cast<unsigned long long>(high), static_cast<unsigned long long>(low),
                      n % 2 == 1 ? "\n" : " ");
        text += line;
    }
    for (unsigned n = 0; n < 16; n++) {
        std::snprintf(line, sizeof line, "high%02u=%016llx:%016llx%s", n,
                      static_cast<unsigned long long>(s.fp.ymm_high[n][1]),
                      static_cast<unsigned long long>(s.fp.ymm_high[n][0]), n % 2 == 1 ? "\n" : " ");
        text += line;
    }
    return text;
}

std::string difference(const Snapshot &native, const Snapshot &translated, std::uint32_t flags,
                       std::span<const std::uint8_t> native_data, std::span<const std::uint8_t> translated_data,
                       const SideNames &names) {
    std::string text;
    char line[160];
    const auto compare = [&](const char *what, unsigned n, std::uint64_t a, std::uint64_t b) {
        if (a != b) {
            std::snprintf(line, sizeof line, "  %s %u: %s %llx, %s %llx\n", what, n, names.first,
                          static_cast<unsigned long long>(a), names.second, static_cast<unsigned long long>(b));
            text += line;
        }
    };
    if (native.ending != translated.ending) {
        text += std::string("  ending: ") + names.first + " " + ending_name(native.ending) + ", " + names.second + " " +
                ending_name(translated.ending) + "\n";
    }
    for (unsigned n = 0; n < 16; n++) {
        compare("register", n, native.gpr[n], translated.gpr[n]);
    }
    for (unsigned n = 0; n < kSegCount; n++) {
        compare("selector", n, native.selectors[n], translated.selectors[n]);
    }
    compare("fs base", 0, native.fs_base, translated.fs_base);
    compare("gs base", 0, native.gs_base, translated.gs_base);
    compare("rip", 0, native.rip, translated.rip);
    compare("flags of mask", flags, native.flags & flags, translated.flags & flags);
    if (native.fault_address != 0 && translated.fault_address != 0) {
        compare("fault address", 0, native.fault_address, translated.fault_address);
    }
    compare_floats(native.fp, translated.fp, compare);
    const auto mismatch = std::mismatch(native_data.begin(), native_data.end(), translated_data.begin());
    if (mismatch.first != native_data.end()) {
        const auto at = static_cast<unsigned>(mismatch.first - native_data.begin());
        compare("memory at data +", at, *mismatch.first, *mismatch.second);
    }
    return text;
}

} // namespace rhea::target::x86::diff
