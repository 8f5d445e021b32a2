// Which flags an instruction looks at and which it leaves defined or undefined: what decides whether an instruction may follow
// another one in a sequence whose result is to be the same on every CPU.
#pragma once
#include "target/x86/decode/decode.h"

#include <cstdint>

namespace rhea::target::x86::diff {

struct FlagEffects {
    std::uint32_t reads = 0;
    std::uint32_t defines = 0;
    std::uint32_t undefines = 0; ///< possibly
};
FlagEffects flag_effects(const Insn &insn);
/// What a condition code (0 to 15) looks at.
std::uint32_t flags_of_condition(unsigned cc);

} // namespace rhea::target::x86::diff
