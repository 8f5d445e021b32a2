// Access to entries of a refcount block, whose width is 1 to 64 bits.
#pragma once
#include <cstdint>

#include "block/qcow2/format.h"

namespace rhea::block::qcow2 {

inline std::uint64_t get_refcount(const std::uint8_t *block, unsigned order, std::uint64_t index) {
    switch (order) {
    case 3: return block[index];
    case 4: return load_be<std::uint16_t>(block + index * 2);
    case 5: return load_be<std::uint32_t>(block + index * 4);
    case 6: return load_be<std::uint64_t>(block + index * 8);
    default: {
        // Bit 0 of a byte belongs to the entry of the lowest index.
        const std::uint64_t bit = index << order;
        return (block[bit >> 3] >> (bit & 7)) & ((1u << (1u << order)) - 1);
    }
    }
}

inline void set_refcount(std::uint8_t *block, unsigned order, std::uint64_t index, std::uint64_t value) {
    switch (order) {
    case 3: block[index] = static_cast<std::uint8_t>(value); break;
    case 4: store_be(block + index * 2, static_cast<std::uint16_t>(value)); break;
    case 5: store_be(block + index * 4, static_cast<std::uint32_t>(value)); break;
    case 6: store_be(block + index * 8, value); break;
    default: {
        const std::uint64_t bit = index << order;
        const unsigned mask = ((1u << (1u << order)) - 1) << (bit & 7);
        block[bit >> 3] = static_cast<std::uint8_t>((block[bit >> 3] & ~mask) | (static_cast<unsigned>(value) << (bit & 7)));
    }
    }
}

} // namespace rhea::block::qcow2
