// The thunk that finds the carry of the lazy flags in the state: Thunks::carry_to_src2.
#pragma once
#include "tcg/backend/x64/assembler.h"

#include <cstdint>

namespace rhea::tcg::x64 {

/// Here in `out`, code that puts the carry into bit 0 of cc_src2 for what most blocks leave, and jumps to `others` else. Keeps all
/// registers; the flags stay what they are. Returns its address.
const std::uint8_t *emit_carry_to_src2(Assembler &out, const std::uint8_t *others);

} // namespace rhea::tcg::x64
