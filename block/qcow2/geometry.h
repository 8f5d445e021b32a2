// What follows from the header's sizes: how offsets split into table indexes. A plain value, never changed after open
// (but by amend, which opens anew).
#pragma once
#include <bit>
#include <cstdint>

#include "block/qcow2/format.h"

namespace rhea::block::qcow2 {

struct Geometry {
    unsigned cluster_bits = 16;
    unsigned refcount_order = 4;
    bool extended_l2 = false;
    unsigned l2_slice_bits = 12;       ///< log2 of the bytes of an L2 slice, at most cluster_bits
    unsigned refcount_slice_bits = 12; ///< the same for refcount blocks

    std::uint64_t cluster_size() const { return 1ull << cluster_bits; }
    std::uint64_t cluster_mask() const { return cluster_size() - 1; }
    std::uint64_t clusters(std::uint64_t bytes) const { return (bytes >> cluster_bits) + ((bytes & cluster_mask()) != 0); }
    std::uint64_t align_down(std::uint64_t offset) const { return offset & ~cluster_mask(); }
    std::uint64_t align_up(std::uint64_t offset) const { return align_down(offset + cluster_mask()); }
    bool aligned(std::uint64_t offset) const { return (offset & cluster_mask()) == 0; }

    unsigned l2_entry_bits() const { return extended_l2 ? 4 : 3; }
    unsigned l2_entry_size() const { return 1u << l2_entry_bits(); }
    /// log2 of the entries of an L2 table.
    unsigned l2_bits() const { return cluster_bits - l2_entry_bits(); }
    /// log2 of the guest bytes that one L1 entry covers.
    unsigned l1_shift() const { return cluster_bits + l2_bits(); }
    /// Where the guest bytes of the next L1 entry begin.
    std::uint64_t next_l2_table(std::uint64_t guest) const { return ((guest >> l1_shift()) + 1) << l1_shift(); }
    std::uint64_t l1_index(std::uint64_t guest) const { return guest >> l1_shift(); }
    std::uint64_t l1_entries(std::uint64_t bytes) const {
        const std::uint64_t each = 1ull << l1_shift();
        return (bytes >> l1_shift()) + ((bytes & (each - 1)) != 0);
    }
    std::uint64_t l2_slice_size() const { return 1ull << l2_slice_bits; }
    /// Entries of an L2 slice.
    std::uint64_t slice_entries() const { return 1ull << (l2_slice_bits - l2_entry_bits()); }
    std::uint64_t l2_index(std::uint64_t guest) const { return (guest >> cluster_bits) & ((1ull << l2_bits()) - 1); }

    unsigned subclusters() const { return extended_l2 ? kSubclusters : 1; }
    unsigned subcluster_bits() const { return extended_l2 ? cluster_bits - 5 : cluster_bits; }
    std::uint64_t subcluster_size() const { return 1ull << subcluster_bits(); }

    unsigned refcount_bits() const { return 1u << refcount_order; }
    std::uint64_t max_refcount() const { return refcount_order == 6 ? ~0ull : (1ull << refcount_bits()) - 1; }
    /// log2 of the clusters that one refcount block covers.
    unsigned refcount_block_bits() const { return cluster_bits + 3 - refcount_order; }
    std::uint64_t refcount_block_entries() const { return 1ull << refcount_block_bits(); }
    /// log2 of the clusters that one slice of a refcount block covers.
    unsigned refcount_slice_entry_bits() const { return refcount_slice_bits + 3 - refcount_order; }

    // Compressed cluster descriptors: offset below, number of additional sectors above.
    unsigned compressed_size_shift() const { return 62 - (cluster_bits - 8); }
    std::uint64_t compressed_offset_mask() const { return (1ull << compressed_size_shift()) - 1; }
    std::uint64_t compressed_offset(std::uint64_t entry) const { return entry & compressed_offset_mask(); }
    /// Bytes from the descriptor's offset to the end of its last sector.
    std::uint64_t compressed_bytes(std::uint64_t entry) const {
        const std::uint64_t sectors = ((entry >> compressed_size_shift()) & ((1ull << (cluster_bits - 8)) - 1)) + 1;
        return sectors * 512 - (compressed_offset(entry) & 511);
    }
    std::uint64_t compressed_entry(std::uint64_t offset, std::uint64_t bytes) const {
        const std::uint64_t sectors = ((offset + bytes - 1) >> 9) - (offset >> 9);
        return kCompressedBit | sectors << compressed_size_shift() | offset;
    }
    std::uint64_t max_compressed_offset() const {
        const std::uint64_t limit = 1ull << compressed_size_shift();
        return limit < kMaxHostOffset ? limit : kMaxHostOffset;
    }
};

} // namespace rhea::block::qcow2
