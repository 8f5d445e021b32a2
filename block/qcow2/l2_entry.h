// One L2 entry, decoded: what a cluster (or, with extended entries, each of its 32 subclusters) is.
#pragma once
#include <cstdint>

#include "block/qcow2/geometry.h"

namespace rhea::block::qcow2 {

enum class Kind : std::uint8_t {
    kUnallocated,      ///< from the backing file; no cluster
    kUnallocatedAlloc, ///< from the backing file; the cluster is there for other subclusters
    kZero,             ///< zeroes; no cluster
    kZeroAlloc,        ///< zeroes; a cluster is kept
    kData,
    kCompressed,
};

struct L2Entry {
    std::uint64_t word = 0;   ///< host-endian first 64 bits
    std::uint64_t bitmap = 0; ///< extended entries: allocation in bits 0-31, zeroes in 32-63

    bool compressed() const { return word & kCompressedBit; }
    bool copied() const { return word & kCopied; }
    std::uint64_t offset() const { return word & kOffsetMask; }
    /// Is there a host cluster? With external data files the cluster at 0 is one.
    bool has_cluster() const { return !compressed() && (offset() != 0 || copied()); }
    std::uint32_t allocated_bits() const { return static_cast<std::uint32_t>(bitmap); }
    std::uint32_t zero_bits() const { return static_cast<std::uint32_t>(bitmap >> 32); }
    friend bool operator==(const L2Entry &, const L2Entry &) = default;

    Kind kind(bool extended, unsigned subcluster) const {
        if (compressed())
            return Kind::kCompressed;
        if (extended) {
            if (allocated_bits() >> subcluster & 1)
                return Kind::kData;
            if (zero_bits() >> subcluster & 1)
                return has_cluster() ? Kind::kZeroAlloc : Kind::kZero;
            return has_cluster() ? Kind::kUnallocatedAlloc : Kind::kUnallocated;
        }
        if (word & kZeroBit)
            return has_cluster() ? Kind::kZeroAlloc : Kind::kZero;
        return has_cluster() ? Kind::kData : Kind::kUnallocated;
    }
    /// Does reading any part of it need the host cluster?
    bool has_data(bool extended) const { return compressed() || (extended ? allocated_bits() != 0 : kind(false, 0) == Kind::kData); }
};

inline L2Entry load_l2(const std::uint8_t *slice, const Geometry &g, std::uint64_t index) {
    if (g.extended_l2)
        return {load_be<std::uint64_t>(slice + index * 16), load_be<std::uint64_t>(slice + index * 16 + 8)};
    return {load_be<std::uint64_t>(slice + index * 8), 0};
}
inline void store_l2(std::uint8_t *slice, const Geometry &g, std::uint64_t index, const L2Entry &entry) {
    if (g.extended_l2) {
        store_be(slice + index * 16, entry.word);
        store_be(slice + index * 16 + 8, entry.bitmap);
    } else {
        store_be(slice + index * 8, entry.word);
    }
}

/// Bits [from, to) of a subcluster map.
inline std::uint32_t subcluster_range(unsigned from, unsigned to) {
    return static_cast<std::uint32_t>(((1ull << to) - 1) & ~((1ull << from) - 1));
}

} // namespace rhea::block::qcow2
