// The op table: opcodes.def's rows with their strings digested at compile time, so that nothing
// parses them later.
#include <stdexcept>

#include "rhea/tcg/ir.h"

namespace rhea::tcg::ir {
namespace {

// A malformed row fails the build: a throw is no constant expression.
constexpr std::uint16_t bits_of_flags(std::string_view flags) {
    std::uint16_t bits = 0;
    for (const char c : flags) {
        switch (c) {
            case 'P':
                bits |= kOpPure;
                break;
            case 'R':
                bits |= kOpReads;
                break;
            case 'W':
                bits |= kOpWrites;
                break;
            case 'F':
                bits |= kOpFaults;
                break;
            case 'X':
                bits |= kOpLeaves;
                break;
            case 'E':
                bits |= kOpEnds;
                break;
            case 'S':
                bits |= kOpState;
                break;
            case 'M':
                bits |= kOpMxcsr;
                break;
            default:
                throw std::logic_error("unknown letter in the flags column");
        }
    }
    return bits;
}

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
        return Type::kV128;  // v: or kV256, by Inst::type
    if (result == "y")
        return Type::kV256;
    if (result == "flags")
        return Type::kFlags;
    if (result == "T" || result == "none")
        return Type::kNone;
    throw std::logic_error("unknown result column");
}

constexpr OpInfo row(std::string_view name, std::string_view result, std::string_view args,
                     std::string_view flags, std::string_view meaning) {
    OpInfo info{
        name, result, args, flags, meaning, bits_of_flags(flags), 0, type_of_result(result)};
    if (args.size() > 3)
        throw std::logic_error("more than three arguments");
    if (args.find_first_not_of("Tbwdqvxyfi*") != std::string_view::npos)
        throw std::logic_error("unknown argument letter");
    info.arity = static_cast<std::uint8_t>(args.size());
    if (result == "T" || args.find('T') != std::string_view::npos)
        info.bits |= kOpTyped;
    if (args.find('f') != std::string_view::npos)
        info.bits |= kOpTakesFlags;
    if (result == "none")
        info.bits |= kOpNoResult;
    if (result == "flags")
        info.bits |= kOpFlagsResult;
    return info;
}

}  // namespace

constexpr std::array<OpInfo, kOpCount> kOpTable = {
#define RHEA_IR_OP(name, result, args, flags, meaning) row(#name, #result, args, flags, meaning),
#include "rhea/tcg/opcodes.def"
#undef RHEA_IR_OP
};

static_assert(sizeof(Inst) == 32);  // translation time is memory traffic

void Block::clear() {
    insts.clear();
    insns.clear();
    mode = 0;
    page_offset = 0;
    byte_length = 0;
    crosses_page = false;
}

}  // namespace rhea::tcg::ir
