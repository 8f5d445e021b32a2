// Plain types that every room shares: addresses, sizes, access attributes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace rhea::core {

/// A guest physical address, or an offset in an address space (bytes).
using hwaddr = std::uint64_t;
/// A position in the concatenation of all RamBlocks: the identity of a byte of guest RAM or ROM,
/// whatever guest physical addresses it is mapped at.
using ram_addr_t = std::uint64_t;

inline constexpr unsigned kPageBits = 12;
inline constexpr std::uint64_t kPageSize = 1u << kPageBits;
inline constexpr std::uint64_t kPageMask = ~(kPageSize - 1);

/// What became of an access to an address space.
enum class MemTxResult : std::uint8_t {
    kOk,
    kDecodeError, ///< nothing answers at that address: reads give all ones, writes are lost
    kAccessError, ///< something answers, but not to this size or direction
};

} // namespace rhea::core
