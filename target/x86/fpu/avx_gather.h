// What a gather is, packed into a helper's argument. Plain values.
#pragma once
#include <bit>
#include <cstdint>

namespace rhea::target::x86 {

struct AvxGather {
    std::uint8_t data = 0, mask = 0, index = 0; ///< vector registers
    std::uint8_t element = 4;                   ///< bytes
    std::uint8_t index_size = 4, scale = 0;     ///< bytes of an index, its shift
    std::uint8_t wide = 0;                      ///< VEX.L
    std::uint8_t segment = 0;

    std::uint64_t pack() const { return std::bit_cast<std::uint64_t>(*this); }
    static AvxGather unpack(std::uint64_t value) { return std::bit_cast<AvxGather>(value); }
};
static_assert(sizeof(AvxGather) == 8);

} // namespace rhea::target::x86
