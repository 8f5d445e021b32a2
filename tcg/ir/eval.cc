#include "tcg/ir/eval.h"

#include <bit>
#include <optional>

#include "rhea/tcg/backend.h"
#include "tcg/ir/flags_eval.h"
#include "tcg/ir/int_ops.h"

namespace rhea::tcg::ir {
namespace {

using U64 = std::uint64_t;
using U128 = unsigned __int128;
using S128 = __int128;

U64 multiply_high(bool is_signed, unsigned bits, U64 a, U64 b) {
    if (is_signed) {
        const S128 product = static_cast<S128>(static_cast<std::int64_t>(sign_extend(a, bits))) *
                             static_cast<std::int64_t>(sign_extend(b, bits));
        return static_cast<U64>(product >> bits);
    }
    return static_cast<U64>((static_cast<U128>(a) * b) >> bits);
}

/// SHLD: the upper `bits` of a:b (:b for 16 bits, where counts reach 31) shifted left.
U64 double_shift_left(U64 a, U64 b, U64 count, unsigned bits) {
    const unsigned n = masked_count(count, bits);
    if (n == 0)
        return a;
    if (bits <= 16)
        return ((a << 2 * bits | b << bits | b) << n) >> 2 * bits;
    return (a << n) | (b >> (bits - n));
}

U64 double_shift_right(U64 a, U64 b, U64 count, unsigned bits) {
    const unsigned n = masked_count(count, bits);
    if (n == 0)
        return a;
    if (bits <= 16)
        return (b << 2 * bits | b << bits | a) >> n;
    return (a >> n) | (b << (bits - n));
}

U64 byte_swap(U64 a, unsigned bits) {
    return __builtin_bswap64(a) >> (64 - bits);
}

U64 deposit_bits(U64 a, U64 mask) {
    U64 result = 0;
    for (; mask != 0; mask &= mask - 1, a >>= 1) {
        if (a & 1)
            result |= mask & -mask;
    }
    return result;
}

U64 extract_bits(U64 a, U64 mask) {
    U64 result = 0;
    for (unsigned to = 0; mask != 0; mask &= mask - 1, ++to) {
        if (a & mask & -mask)
            result |= 1ull << to;
    }
    return result;
}

/// CRC-32C (polynomial 0x11EDC6F41, bit-reflected), one step of `bits`.
U64 crc32c(U64 crc, U64 data, unsigned bits) {
    for (unsigned i = 0; i < bits; ++i) {
        const U64 bit = (crc ^ (data >> i)) & 1;
        crc = (crc >> 1) ^ (bit ? 0x82f63b78u : 0);
    }
    return crc;
}

std::uint32_t eval_flags(Op op, unsigned bits, U64 a, U64 b, U64 c) {
    const auto n = static_cast<unsigned>(b & 0xff);
    const auto f1 = static_cast<std::uint32_t>(b), f2 = static_cast<std::uint32_t>(c);
    switch (op) {
        case Op::f_raw:
            return static_cast<std::uint32_t>(a) & kArithFlags;
        case Op::f_add:
            return flags_add(bits, a, b);
        case Op::f_sub:
            return flags_sub(bits, a, b);
        case Op::f_cmp:
            return flags_cmp(bits, a, b);
        case Op::f_logic:
            return flags_logic(bits, a);
        case Op::f_adc:
            return flags_adc(bits, a, b, f2);
        case Op::f_sbb:
            return flags_sbb(bits, a, b, f2);
        case Op::f_inc:
            return flags_inc(bits, a, f1);
        case Op::f_dec:
            return flags_dec(bits, a, f1);
        case Op::f_shl:
            return flags_shl(bits, a, n, f2);
        case Op::f_shr:
            return flags_shr(bits, a, n, f2);
        case Op::f_sar:
            return flags_sar(bits, a, n, f2);
        case Op::f_rol:
            return flags_rol(bits, a, n, f2);
        case Op::f_ror:
            return flags_ror(bits, a, n, f2);
        case Op::f_rcl:
            return flags_rcl(bits, a, n, f2);
        case Op::f_rcr:
            return flags_rcr(bits, a, n, f2);
        case Op::f_bit:
            return flags_bit(a, f1);
        case Op::f_zf:
            return flags_zf(a, f1);
        case Op::f_of:
            return flags_of(a, f1);
        case Op::f_mulo:
            return flags_mulo(bits, a, b);
        default:
            return 0;
    }
}

/// Arithmetic, logic and shifts; the result may carry anything above the width.
std::optional<U64> eval_arithmetic(Op op, unsigned bits, U64 a, U64 b, U64 c) {
    const unsigned n = masked_count(b, bits);
    switch (op) {
        case Op::add:
            return a + b;
        case Op::sub:
            return a - b;
        case Op::adc:
            return a + b + (c & kCF);
        case Op::sbb:
            return a - b - (c & kCF);
        case Op::and_:
            return a & b;
        case Op::or_:
            return a | b;
        case Op::xor_:
            return a ^ b;
        case Op::andn:
            return ~a & b;
        case Op::not_:
            return ~a;
        case Op::neg:
            return 0 - a;
        case Op::mul:
            return a * b;
        case Op::mulhu:
            return multiply_high(false, bits, a, b);
        case Op::mulhs:
            return multiply_high(true, bits, a, b);
        case Op::shl:
            return shift_left(a, n, bits);
        case Op::shr:
            return shift_right(a, n, bits);
        case Op::sar:
            return shift_arithmetic(a, n, bits);
        case Op::rol:
            return rotate_left(a, static_cast<unsigned>(b), bits);
        case Op::ror:
            return rotate_right(a, static_cast<unsigned>(b), bits);
        case Op::rcl:
            return rotate_carry_left(a, c & kCF, n, bits).value;
        case Op::rcr:
            return rotate_carry_right(a, c & kCF, n, bits).value;
        case Op::shld:
            return double_shift_left(a, b, c, bits);
        case Op::shrd:
            return double_shift_right(a, b, c, bits);
        case Op::bswap:
            return byte_swap(a, bits);
        case Op::ctz:
            return a == 0 ? bits : static_cast<unsigned>(std::countr_zero(a));
        case Op::clz:
            return static_cast<unsigned>(std::countl_zero(a)) - (64 - bits);
        case Op::popcnt:
            return static_cast<unsigned>(std::popcount(a));
        case Op::pdep:
            return deposit_bits(a, b);
        case Op::pext:
            return extract_bits(a, b);
        default:
            return std::nullopt;
    }
}

}  // namespace

bool can_eval(Op op) {
    return op_traits(op).pure() && !is_vector_op(op) && op != Op::konst && op != Op::second;
}

U64 eval(const Block& block, const Inst& inst, U64 a, U64 b, U64 c) {
    if (op_traits(inst.op).bits & kOpFlagsResult)
        return eval_flags(inst.op, type_bits(inst.type), a, b, c);
    const unsigned bits = type_bits(inst.type);
    if (const auto value = eval_arithmetic(inst.op, bits, a, b, c))
        return low_bits(*value, bits);
    const auto width = [&](unsigned i) { return type_bits(block.type_of(inst.args[i])); };
    const auto holds = [&] {
        return condition_holds(static_cast<Cond>(inst.aux), static_cast<std::uint32_t>(a));
    };
    switch (inst.op) {
        case Op::trunc:
            return low_bits(a, bits);
        case Op::zext:
            return a;
        case Op::sext:
            return low_bits(sign_extend(a, width(0)), bits);
        case Op::hi8:
            return (a >> 8) & 0xff;
        case Op::ins8:
            return (a & ~0xffull) | b;
        case Op::ins8h:
            return (a & ~0xff00ull) | b << 8;
        case Op::ins16:
            return (a & ~0xffffull) | b;
        case Op::lea: {
            const auto displacement =
                static_cast<U64>(static_cast<std::int64_t>(static_cast<std::int32_t>(inst.imm)));
            return low_bits(a + (b << inst.aux) + displacement, bits);
        }
        case Op::select:
            return a != 0 ? b : c;
        case Op::select_cc:
            return holds() ? b : c;
        case Op::cond:
            return holds() ? 1 : 0;
        case Op::crc32:
            return crc32c(a, b, width(1));
        case Op::mulso: {
            const unsigned from = width(0);
            const auto product = static_cast<__int128>(static_cast<std::int64_t>(sign_extend(a, from))) *
                                 static_cast<std::int64_t>(sign_extend(b, from));
            const auto low = static_cast<std::int64_t>(sign_extend(static_cast<U64>(product), from));
            return product != low ? 1 : 0;
        }
        case Op::bzhi:
            return (b & 0xff) < bits ? a & ((U64{1} << (b & 0xff)) - 1) : a;
        case Op::bextr: {
            const U64 start = b & 0xff, count = b >> 8 & 0xff;
            const U64 moved = start < bits ? a >> start : 0;
            return count < bits ? moved & ((U64{1} << count) - 1) : moved;
        }
        case Op::f_bits:
            return a & kArithFlags;
        default:
            return 0;
    }
}

Division divide(bool is_signed, unsigned bits, U64 high, U64 low, U64 divisor) {
    if (divisor == 0)
        return {};
    U128 dividend = (static_cast<U128>(high) << bits) | low;
    if (!is_signed) {
        const U128 quotient = dividend / divisor;
        if ((quotient >> bits) != 0)
            return {};
        return {static_cast<U64>(quotient), static_cast<U64>(dividend % divisor), true};
    }
    // Magnitudes, so that the most negative dividend by -1 overflows here and not in the host.
    const bool negative = top_bit(high, bits), negative_divisor = top_bit(divisor, bits);
    if (negative)
        dividend = 0 - dividend;
    if (bits < 64)
        dividend &= (static_cast<U128>(1) << 2 * bits) - 1;
    const U64 magnitude = negative_divisor ? low_bits(0 - divisor, bits) : divisor;
    const U128 quotient = dividend / magnitude;
    const auto remainder = static_cast<U64>(dividend % magnitude);
    const bool negative_quotient = negative != negative_divisor;
    const U128 limit = static_cast<U128>(1) << (bits - 1);
    if (quotient > limit || (quotient == limit && !negative_quotient))
        return {};
    const auto low_quotient = static_cast<U64>(quotient);
    return {low_bits(negative_quotient ? 0 - low_quotient : low_quotient, bits),
            low_bits(negative ? 0 - remainder : remainder, bits), true};
}

}  // namespace rhea::tcg::ir
