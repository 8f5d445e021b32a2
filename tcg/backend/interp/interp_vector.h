// Vector rows of the interpreter: one function a row of vector_ops.def, of the row's name. A row
// without its function does not link. Functions are pure but for rows with flag M, which run under
// the guest's MXCSR with exceptions masked.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "rhea/tcg/ir.h"

namespace rhea::tcg::interp {

/// A value of any type: integers zero-extended and flags as RFLAGS bits in `low`; v128, and each half
/// of a v256, in both.
struct Value {
    std::uint64_t low = 0, high = 0;
};

/// Lanes of a v128, for example lanes<float>(value)[3].
template <class T>
using Lanes = std::array<T, 16 / sizeof(T)>;
template <class T>
Lanes<T> lanes(const Value& value) {
    return std::bit_cast<Lanes<T>>(value);
}
template <class T>
Value from_lanes(const Lanes<T>& l) {
    return std::bit_cast<Value>(l);
}

struct VectorCall {
    const ir::Inst& inst;  ///< for aux, imm, type
    Value a, b, c;         ///< arguments, zero where the row has fewer
    Value result;          ///< an integer result goes to `low`; only the row's width of it is kept
    // Upper halves, for rows that move lanes between halves (RHEA_IR_VCROSS and its kind) alone.
    Value a_upper, b_upper, c_upper, result_upper;
    bool wide = false; ///< run_wide called

};

/// A v256 row by halves: which, and what each half takes.
enum class Halves : std::uint8_t { kEach, kCount, kWiden, kNarrow, kCross };
struct HalvesRule {
    Halves kind = Halves::kEach;
    std::uint8_t bytes = 0; ///< kWiden
};
/// Runs a row on 256-bit arguments: the row's function once or twice.
void run_wide(VectorCall& call, HalvesRule rule, void (*row)(VectorCall&));

namespace rows {
#define RHEA_IR_OP(name, result, args, flags, meaning) void name(VectorCall& call);
#include "rhea/tcg/vector_ops.def"
#undef RHEA_IR_OP
}  // namespace rows

}  // namespace rhea::tcg::interp
