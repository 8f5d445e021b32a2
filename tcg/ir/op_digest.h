// opcodes.def's columns digested at compile time, so that nothing parses them later. For constant tables by op.
#pragma once
#include "rhea/tcg/ir.h"

#include <array>
#include <stdexcept>
#include <string_view>

namespace rhea::tcg::ir {

// A malformed row fails the build: a throw is no constant expression.
constexpr std::uint16_t bits_of_flags(std::string_view flags) {
    constexpr std::string_view kLetters = "PRWFXESM"; // in the order of OpBits
    std::uint16_t bits = 0;
    for (const char c : flags) {
        const std::size_t at = kLetters.find(c);
        if (at == std::string_view::npos)
            throw std::logic_error("unknown letter in the flags column");
        bits = static_cast<std::uint16_t>(bits | 1u << at);
    }
    return bits;
}
static_assert(bits_of_flags("P") == kOpPure && bits_of_flags("E") == kOpEnds && bits_of_flags("M") == kOpMxcsr);

constexpr Type type_of_result(std::string_view result) {
    if (result == "b")
        return Type::kI8;
    if (result == "w")
        return Type::kI16;
    if (result == "d")
        return Type::kI32;
    if (result == "q")
        return Type::kI64;
    if (result == "v" || result == "x")
        return Type::kV128; // v: or kV256, by Inst::type
    if (result == "y")
        return Type::kV256;
    if (result == "flags")
        return Type::kFlags;
    if (result == "T" || result == "none")
        return Type::kNone;
    throw std::logic_error("unknown result column");
}

constexpr OpTraits digest_row(std::string_view result, std::string_view args, std::string_view flags) {
    if (args.size() > 3)
        throw std::logic_error("more than three arguments");
    if (args.find_first_not_of("Tbwdqvxyfi*") != std::string_view::npos)
        throw std::logic_error("unknown argument letter");
    OpTraits traits{bits_of_flags(flags), static_cast<std::uint8_t>(args.size()), type_of_result(result)};
    if (result == "T" || args.find('T') != std::string_view::npos)
        traits.bits |= kOpTyped;
    if (args.find('f') != std::string_view::npos)
        traits.bits |= kOpTakesFlags;
    if (result == "none")
        traits.bits |= kOpNoResult;
    if (result == "v")
        traits.bits |= kOpEitherWidth;
    if (result == "flags")
        traits.bits |= kOpFlagsResult;
    return traits;
}

inline constexpr std::array<OpTraits, kOpCount> kDigestedOps = {
#define RHEA_IR_OP(name, result, args, flags, meaning) digest_row(#result, args, flags),
#include "rhea/tcg/opcodes.def"
#undef RHEA_IR_OP
};

} // namespace rhea::tcg::ir
