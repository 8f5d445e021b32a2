// What a pure scalar op computes: the definition that the interpreter runs and the builder folds
// constants with.
#pragma once
#include "rhea/tcg/ir.h"

namespace rhea::tcg::ir {

/// Can eval() compute it: pure, not a vector op, and neither konst nor `second`?
bool can_eval(Op op);

/// The value of `inst` for these arguments (integers zero-extended; flags as RFLAGS bits),
/// zero-extended. The arguments' widths are taken from `block`.
std::uint64_t eval(const Block& block, const Inst& inst, std::uint64_t a, std::uint64_t b,
                   std::uint64_t c);

/// (high:low) / divisor. `fits` false: division by zero or a quotient that does not fit (#DE).
struct Division {
    std::uint64_t quotient = 0, remainder = 0;
    bool fits = false;
};
Division divide(bool is_signed, unsigned bits, std::uint64_t high, std::uint64_t low,
                std::uint64_t divisor);

}  // namespace rhea::tcg::ir
