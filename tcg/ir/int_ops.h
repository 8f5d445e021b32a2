// Integer operations of the IR on values of 8 to 64 bits held zero-extended in 64. Header-only;
// pure functions.
#pragma once
#include <bit>
#include <cstdint>

namespace rhea::tcg::ir {

constexpr std::uint64_t low_bits(std::uint64_t value, unsigned bits) {
    return bits >= 64 ? value : value & ((1ull << bits) - 1);
}

constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned bits) {
    const unsigned up = 64 - bits;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << up) >> up);
}

constexpr bool top_bit(std::uint64_t value, unsigned bits) {
    return (value >> (bits - 1)) & 1;
}

/// x86's count masking.
constexpr unsigned masked_count(std::uint64_t n, unsigned bits) {
    return static_cast<unsigned>(n & (bits == 64 ? 63 : 31));
}

constexpr std::uint64_t shift_left(std::uint64_t a, unsigned n, unsigned bits) {
    return n >= bits ? 0 : low_bits(a << n, bits);
}
constexpr std::uint64_t shift_right(std::uint64_t a, unsigned n, unsigned bits) {
    return n >= bits ? 0 : a >> n;
}
constexpr std::uint64_t shift_arithmetic(std::uint64_t a, unsigned n, unsigned bits) {
    const auto wide = static_cast<std::int64_t>(sign_extend(a, bits));
    return low_bits(static_cast<std::uint64_t>(wide >> (n >= 64 ? 63 : n)), bits);
}

constexpr std::uint64_t rotate_left(std::uint64_t a, unsigned n, unsigned bits) {
    n %= bits;
    return n == 0 ? a : low_bits((a << n) | (a >> (bits - n)), bits);
}
constexpr std::uint64_t rotate_right(std::uint64_t a, unsigned n, unsigned bits) {
    return rotate_left(a, bits - n % bits, bits);
}

/// A value and the carry behind its top bit.
struct WithCarry {
    std::uint64_t value;
    bool carry;
};
/// Rotation of carry:a by an already masked count.
constexpr WithCarry rotate_carry_left(std::uint64_t a, bool carry, unsigned n, unsigned bits) {
    for (n %= bits + 1; n > 0; --n) {
        const bool out = top_bit(a, bits);
        a = low_bits((a << 1) | (carry ? 1 : 0), bits);
        carry = out;
    }
    return {a, carry};
}
constexpr WithCarry rotate_carry_right(std::uint64_t a, bool carry, unsigned n, unsigned bits) {
    return rotate_carry_left(a, carry, bits + 1 - n % (bits + 1), bits);
}

}  // namespace rhea::tcg::ir
