// What AVX instructions that touch chosen elements of memory are, packed into a helper's argument. Plain values.
#pragma once
#include <bit>
#include <cstdint>

namespace rhea::target::x86 {

/// VMASKMOV, VPMASKMOV and gathers.
struct AvxAccess {
    std::uint8_t data = 0, mask = 0, index = 0; ///< vector registers
    std::uint8_t element = 4;                   ///< bytes
    std::uint8_t index_size = 4, scale = 0;     ///< gathers: bytes of an index, its shift
    std::uint8_t wide = 0;                      ///< VEX.L
    std::uint8_t address = 8;                   ///< gathers: address size in bits 3:0, segment in bits 7:4

    std::uint64_t pack() const { return std::bit_cast<std::uint64_t>(*this); }
    static AvxAccess unpack(std::uint64_t value) { return std::bit_cast<AvxAccess>(value); }
};
static_assert(sizeof(AvxAccess) == 8);

} // namespace rhea::target::x86
