// Memory accesses of single elements of a vector: masked loads and stores, gathers. Plain values.
#pragma once
#include <bit>
#include <cstdint>

namespace rhea::tcg {

/// Inst::imm of ld_mask, st_mask and gather.
struct LaneAccess {
    enum class Kind : std::uint8_t { kLoad, kStore, kGather };
    static constexpr std::uint8_t kWrap32 = 1; ///< masked moves: addresses are modulo 2^32
    static constexpr std::uint8_t kAll = 2;    ///< gathers: every element's mask is known to be set

    Kind kind = Kind::kLoad;
    std::uint8_t bytes = 4;   ///< of an element: 4 or 8
    std::uint8_t count = 4;   ///< elements: 2, 4 or 8
    std::uint8_t flags = 0;
    // Gathers, for a fault in their middle: slots of the halves of the registers that hold the result and the mask.
    std::uint8_t data_low = 0, data_high = 0, mask_low = 0, mask_high = 0;

    std::uint64_t pack() const { return std::bit_cast<std::uint64_t>(*this); }
    static LaneAccess unpack(std::uint64_t value) { return std::bit_cast<LaneAccess>(value); }
};
static_assert(sizeof(LaneAccess) == 8);

/// What such an access works on, in memory.
struct alignas(32) LaneArea {
    std::uint64_t address[8] = {}; ///< gathers
    std::uint8_t data[32] = {};
    std::uint8_t mask[32] = {};    ///< an element's highest bit says whether it is accessed
};

} // namespace rhea::tcg
