#include "tcg/ir/flags_eval.h"

#include <bit>

#include "tcg/ir/int_ops.h"

namespace rhea::tcg::ir {
namespace {

constexpr std::uint32_t when(bool condition, std::uint32_t flag) {
    return condition ? flag : 0;
}

/// SF, ZF and PF of a result that has nothing above its width.
std::uint32_t sign_zero_parity(unsigned bits, std::uint64_t r) {
    return when(top_bit(r, bits), kSF) | when(r == 0, kZF) |
           when((std::popcount(r & 0xff) & 1) == 0, kPF);
}

/// Everything but CF of r = x + b (+ carry) or r = x - b (- carry).
std::uint32_t of_sum(unsigned bits, std::uint64_t x, std::uint64_t b, std::uint64_t r) {
    return sign_zero_parity(bits, r) | when(top_bit((x ^ r) & (b ^ r), bits), kOF) |
           when((x ^ b ^ r) & 0x10, kAF);
}
std::uint32_t of_difference(unsigned bits, std::uint64_t x, std::uint64_t b, std::uint64_t r) {
    return sign_zero_parity(bits, r) | when(top_bit((x ^ b) & (x ^ r), bits), kOF) |
           when((x ^ b ^ r) & 0x10, kAF);
}

std::uint32_t with_carry_overflow(std::uint32_t flags, bool carry, bool overflow) {
    return (flags & ~(kCF | kOF)) | when(carry, kCF) | when(overflow, kOF);
}

}  // namespace

std::uint32_t flags_add(unsigned bits, std::uint64_t r, std::uint64_t b) {
    return flags_adc(bits, r, b, 0);
}
std::uint32_t flags_sub(unsigned bits, std::uint64_t r, std::uint64_t b) {
    return flags_sbb(bits, r, b, 0);
}
std::uint32_t flags_cmp(unsigned bits, std::uint64_t a, std::uint64_t b) {
    return flags_sbb(bits, a - b, b, 0);
}

std::uint32_t flags_logic(unsigned bits, std::uint64_t r) {
    return sign_zero_parity(bits, low_bits(r, bits));
}

std::uint32_t flags_adc(unsigned bits, std::uint64_t r, std::uint64_t b, std::uint32_t flags) {
    r = low_bits(r, bits);
    b = low_bits(b, bits);
    const std::uint64_t carry = flags & kCF;
    const std::uint64_t x = low_bits(r - b - carry, bits);
    return of_sum(bits, x, b, r) | when(carry ? r <= b : r < b, kCF);
}

std::uint32_t flags_sbb(unsigned bits, std::uint64_t r, std::uint64_t b, std::uint32_t flags) {
    r = low_bits(r, bits);
    b = low_bits(b, bits);
    const std::uint64_t carry = flags & kCF;
    const std::uint64_t x = low_bits(r + b + carry, bits);
    return of_difference(bits, x, b, r) | when(carry ? x <= b : x < b, kCF);
}

std::uint32_t flags_inc(unsigned bits, std::uint64_t r, std::uint32_t flags) {
    return (flags_add(bits, r, 1) & ~kCF) | (flags & kCF);
}
std::uint32_t flags_dec(unsigned bits, std::uint64_t r, std::uint32_t flags) {
    return (flags_sub(bits, r, 1) & ~kCF) | (flags & kCF);
}

std::uint32_t flags_shl(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags) {
    n = masked_count(n, bits);
    if (n == 0)
        return flags;
    const std::uint64_t before = shift_left(low_bits(a, bits), n - 1, bits);
    const std::uint64_t r = shift_left(before, 1, bits);
    const bool carry = top_bit(before, bits);
    return with_carry_overflow(sign_zero_parity(bits, r), carry, top_bit(r, bits) != carry);
}

std::uint32_t flags_shr(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags) {
    n = masked_count(n, bits);
    if (n == 0)
        return flags;
    const std::uint64_t before = shift_right(low_bits(a, bits), n - 1, bits);
    return with_carry_overflow(sign_zero_parity(bits, before >> 1), before & 1,
                               top_bit(before, bits));
}

std::uint32_t flags_sar(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags) {
    n = masked_count(n, bits);
    if (n == 0)
        return flags;
    const std::uint64_t before = shift_arithmetic(low_bits(a, bits), n - 1, bits);
    return with_carry_overflow(sign_zero_parity(bits, shift_arithmetic(before, 1, bits)),
                               before & 1, false);
}

std::uint32_t flags_rol(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags) {
    n = masked_count(n, bits);
    if (n == 0)
        return flags;
    const std::uint64_t r = rotate_left(low_bits(a, bits), n, bits);
    return with_carry_overflow(flags, r & 1, top_bit(r, bits) != ((r & 1) != 0));
}

std::uint32_t flags_ror(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags) {
    n = masked_count(n, bits);
    if (n == 0)
        return flags;
    const std::uint64_t r = rotate_right(low_bits(a, bits), n, bits);
    return with_carry_overflow(flags, top_bit(r, bits), top_bit(r, bits) != top_bit(r, bits - 1));
}

std::uint32_t flags_rcl(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags) {
    n = masked_count(n, bits);
    if (n == 0)
        return flags;
    const WithCarry r = rotate_carry_left(low_bits(a, bits), flags & kCF, n, bits);
    return with_carry_overflow(flags, r.carry, top_bit(r.value, bits) != r.carry);
}

std::uint32_t flags_rcr(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags) {
    n = masked_count(n, bits);
    if (n == 0)
        return flags;
    const WithCarry r = rotate_carry_right(low_bits(a, bits), flags & kCF, n, bits);
    return with_carry_overflow(flags, r.carry,
                               top_bit(r.value, bits) != top_bit(r.value, bits - 1));
}

std::uint32_t flags_bit(std::uint64_t bit, std::uint32_t flags) {
    return (flags & ~kCF) | when(bit & 1, kCF);
}
std::uint32_t flags_zf(std::uint64_t bit, std::uint32_t flags) {
    return (flags & ~kZF) | when(bit & 1, kZF);
}

std::uint32_t flags_of(std::uint64_t bit, std::uint32_t flags) {
    return (flags & ~kOF) | when(bit & 1, kOF);
}

std::uint32_t flags_mulo(unsigned bits, std::uint64_t low, std::uint64_t overflow) {
    return with_carry_overflow(sign_zero_parity(bits, low_bits(low, bits)), overflow & 1,
                               overflow & 1);
}

}  // namespace rhea::tcg::ir
