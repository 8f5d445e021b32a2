#include "tests/diff/flag_effects.h"

#include "rhea/tcg/types.h"

#include <string_view>

namespace rhea::target::x86::diff {
namespace {

using namespace tcg;

constexpr std::uint32_t kAll = kArithFlags;
constexpr std::uint32_t kWithoutOf = kAll & ~kOF, kWithoutCf = kAll & ~kCF;

struct Effect {
    std::string_view mnemonic;
    std::uint32_t reads, defines, undefines;
};
constexpr Effect kEffects[] = {
    {"add", 0, kAll, 0}, {"sub", 0, kAll, 0}, {"cmp", 0, kAll, 0}, {"neg", 0, kAll, 0}, {"xadd", 0, kAll, 0},
    {"cmpxchg", 0, kAll, 0}, {"cmps", 0, kAll, 0}, {"scas", 0, kAll, 0}, {"popcnt", 0, kAll, 0},
    {"adc", kCF, kAll, 0}, {"sbb", kCF, kAll, 0}, {"inc", 0, kWithoutCf, 0}, {"dec", 0, kWithoutCf, 0},
    {"and", 0, kAll & ~kAF, kAF}, {"or", 0, kAll & ~kAF, kAF}, {"xor", 0, kAll & ~kAF, kAF}, {"test", 0, kAll & ~kAF, kAF},
    {"sahf", 0, kWithoutOf, 0}, {"lahf", kWithoutOf, 0, 0}, {"pushf", kAll, 0, 0},
    {"clc", 0, kCF, 0}, {"stc", 0, kCF, 0}, {"cmc", kCF, 0, 0}, {"salc", kCF, 0, 0},
    {"adcx", kCF, kCF, 0}, {"adox", kOF, kOF, 0}, {"arpl", 0, kZF, 0}, {"lar", 0, kZF, 0}, {"lsl", 0, kZF, 0},
    {"verr", 0, kZF, 0}, {"verw", 0, kZF, 0}, {"cmpxchg8b", 0, kZF, 0}, {"cmpxchg16b", 0, kZF, 0},
    {"imul", 0, kCF | kOF, kSF | kZF | kAF | kPF}, {"mul", 0, kCF | kOF, kSF | kZF | kAF | kPF},
    {"div", 0, 0, kAll}, {"idiv", 0, 0, kAll}, {"bt", 0, kCF, kOF | kSF | kAF | kPF},
    {"bts", 0, kCF, kOF | kSF | kAF | kPF}, {"btr", 0, kCF, kOF | kSF | kAF | kPF}, {"btc", 0, kCF, kOF | kSF | kAF | kPF},
    {"bsf", 0, kZF, kAll & ~kZF}, {"bsr", 0, kZF, kAll & ~kZF}, {"tzcnt", 0, kCF | kZF, kOF | kSF | kAF | kPF},
    {"lzcnt", 0, kCF | kZF, kOF | kSF | kAF | kPF}, {"andn", 0, kAll & ~(kAF | kPF), kAF | kPF},
    {"bextr", 0, kCF | kOF | kZF, kSF | kAF | kPF}, {"bzhi", 0, kAll & ~(kAF | kPF), kAF | kPF},
    {"blsr", 0, kAll & ~(kAF | kPF), kAF | kPF}, {"blsmsk", 0, kAll & ~(kAF | kPF), kAF | kPF},
    {"blsi", 0, kAll & ~(kAF | kPF), kAF | kPF}, {"daa", kCF | kAF, kWithoutOf, kOF}, {"das", kCF | kAF, kWithoutOf, kOF},
    {"aaa", kAF, kCF | kAF, kAll & ~(kCF | kAF)}, {"aas", kAF, kCF | kAF, kAll & ~(kCF | kAF)},
    {"aam", 0, kSF | kZF | kPF, kCF | kAF | kOF}, {"aad", 0, kSF | kZF | kPF, kCF | kAF | kOF},
    // A count in CL may be 0: then nothing is defined.
    {"shl", 0, 0, kAF | kOF | kCF}, {"shr", 0, 0, kAF | kOF | kCF}, {"sar", 0, 0, kAF | kOF}, {"shld", 0, 0, kAF | kOF | kCF},
    {"shrd", 0, 0, kAF | kOF | kCF}, {"rol", 0, 0, kOF}, {"ror", 0, 0, kOF}, {"rcl", kCF, 0, kOF}, {"rcr", kCF, 0, kOF},
    {"fcmovb", kCF, 0, 0}, {"fcmovnb", kCF, 0, 0}, {"fcmove", kZF, 0, 0}, {"fcmovne", kZF, 0, 0},
    {"fcmovbe", kCF | kZF, 0, 0}, {"fcmovnbe", kCF | kZF, 0, 0}, {"fcmovu", kPF, 0, 0}, {"fcmovnu", kPF, 0, 0},
    {"ucomiss", 0, kAll, 0}, {"ucomisd", 0, kAll, 0}, {"comiss", 0, kAll, 0}, {"comisd", 0, kAll, 0},
    {"ptest", 0, kAll, 0}, {"pcmpestri", 0, kAll, 0}, {"pcmpestrm", 0, kAll, 0}, {"pcmpistri", 0, kAll, 0},
    {"pcmpistrm", 0, kAll, 0},
    {"testps", 0, kAll, 0}, {"testpd", 0, kAll, 0},
    {"loope", kZF, 0, 0}, {"loopne", kZF, 0, 0}, {"into", kOF, 0, 0},
};

/// Shifts and rotates by a constant that is not 0 define what they define always.
void refine_constant_shift(const Insn &insn, FlagEffects &effects) {
    const std::string_view name = insn.row().mnemonic;
    const bool shift = name == "shl" || name == "shr" || name == "sar", rotate = name == "rol" || name == "ror";
    if ((!shift && !rotate) || insn.operands[1].kind != Operand::Kind::kImm) {
        return;
    }
    const unsigned count = insn.imm & (insn.operands[0].size == 8 ? 63u : 31u);
    if (count == 0) {
        effects = {};
        return;
    }
    effects.defines |= shift ? kSF | kZF | kPF : 0;
    if (count < insn.operands[0].size * 8u) {
        effects.defines |= kCF;
    }
    if (count == 1) {
        effects.defines |= kOF;
    }
    effects.undefines &= ~effects.defines;
}

} // namespace

std::uint32_t flags_of_condition(unsigned cc) {
    constexpr std::uint32_t kRead[] = {kOF, kCF, kZF, kCF | kZF, kSF, kPF, kSF | kOF, kSF | kOF | kZF};
    return kRead[cc >> 1];
}

FlagEffects flag_effects(const Insn &insn) {
    const Row &row = insn.row();
    if ((row.selection & sel::plus_cc) != 0) {
        return {flags_of_condition(insn.opcode & 15), 0, 0};
    }
    for (const Effect &effect : kEffects) {
        const bool vex = row.mnemonic.starts_with('v') && effect.mnemonic == row.mnemonic.substr(1);
        if (effect.mnemonic == row.mnemonic || vex) {
            FlagEffects effects{effect.reads, effect.defines, effect.undefines};
            refine_constant_shift(insn, effects);
            return effects;
        }
    }
    return {};
}

} // namespace rhea::target::x86::diff
