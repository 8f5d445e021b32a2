// The six arithmetic flags of each f_* op, as RFLAGS bits: the one definition that interpreter,
// constant folding, side-table restore and compute_flags share.
//
// `bits` is the operand width (8, 16, 32, 64); operands may carry anything above it. `flags` is the
// older flags value that some ops keep bits of. Where the SDM leaves a flag undefined:
//   AF after shifts, multiplications and logical ops: 0 (some processors set it after shifts);
//   OF after shifts and rotates by more than one: as the same instruction by one, applied to the
//   last step; SF, ZF, PF after multiplications: of the low half of the product (some processors
//   leave them alone).
#pragma once
#include <cstdint>

#include "rhea/tcg/types.h"

namespace rhea::tcg::ir {

std::uint32_t flags_add(unsigned bits, std::uint64_t r, std::uint64_t b);
std::uint32_t flags_sub(unsigned bits, std::uint64_t r, std::uint64_t b);
std::uint32_t flags_cmp(unsigned bits, std::uint64_t a, std::uint64_t b);
std::uint32_t flags_logic(unsigned bits, std::uint64_t r);
std::uint32_t flags_adc(unsigned bits, std::uint64_t r, std::uint64_t b, std::uint32_t flags);
std::uint32_t flags_sbb(unsigned bits, std::uint64_t r, std::uint64_t b, std::uint32_t flags);
std::uint32_t flags_inc(unsigned bits, std::uint64_t r, std::uint32_t flags);
std::uint32_t flags_dec(unsigned bits, std::uint64_t r, std::uint32_t flags);
std::uint32_t flags_shl(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags);
std::uint32_t flags_shr(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags);
std::uint32_t flags_sar(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags);
std::uint32_t flags_rol(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags);
std::uint32_t flags_ror(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags);
std::uint32_t flags_rcl(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags);
std::uint32_t flags_rcr(unsigned bits, std::uint64_t a, unsigned n, std::uint32_t flags);
std::uint32_t flags_bit(std::uint64_t bit, std::uint32_t flags);
std::uint32_t flags_zf(std::uint64_t bit, std::uint32_t flags);
std::uint32_t flags_of(std::uint64_t bit, std::uint32_t flags);
std::uint32_t flags_mulo(unsigned bits, std::uint64_t low, std::uint64_t overflow);

}  // namespace rhea::tcg::ir
