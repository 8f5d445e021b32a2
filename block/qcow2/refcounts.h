// The refcounts of an image's clusters, and finding free ones.
//
// The refcount table is held whole (8 bytes for 2 GiB of a usual image); blocks through a SliceCache. Changes are made
// in memory only; the commit (commit.cc) brings them to the file in an order that is safe at every moment:
// - counts may always be written: an increment that gets there early is a leak;
// - a decrement is only made here once nothing on disk names the cluster any more (Metadata::free_later).
//
// A new refcount block describes itself: it lies in the first cluster of the range that it covers. When the table is
// full it moves to the first cluster beyond what it covers.
#pragma once
#include <cstdint>
#include <set>
#include <vector>

#include "block/qcow2/geometry.h"
#include "block/qcow2/need.h"
#include "block/qcow2/overlap.h"

namespace rhea::block::qcow2 {

struct ClusterRun {
    std::uint64_t first = 0, count = 0; ///< clusters
};

class Refcounts {
public:
    Refcounts(HostFile &file, const Geometry &geometry, MetadataMap &map, std::uint64_t cache_bytes);

    /// Reads the table and checks its entries.
    Task<Result<void>> load_table(std::uint64_t offset, std::uint32_t clusters);
    /// Takes the place of a table that was read: (re)building an image.
    void set_table(std::vector<std::uint64_t> table, std::uint64_t offset);

    Result<Need> get(std::uint64_t cluster, std::uint64_t &value);
    /// Adds one to, or takes one from, each of the clusters, which one slice covers (see slice_rest()). All or nothing.
    Result<Need> change(std::uint64_t first, std::uint64_t count, bool increment, std::uint64_t *least_after = nullptr);
    /// How many clusters from `cluster` on the same slice covers.
    std::uint64_t slice_rest(std::uint64_t cluster) const {
        const std::uint64_t entries = 1ull << geometry_.refcount_slice_entry_bits();
        return entries - (cluster & (entries - 1));
    }
    /// Takes free clusters in one run: at most `want`, at least 1 (all of them when `exact`; then `want` is at most
    /// max_exact()). Their count becomes 1.
    Result<Need> allocate(std::uint64_t want, bool exact, ClusterRun &run);
    /// Takes up to `want` free clusters at `first`; none when that one is not free.
    Result<Need> allocate_at(std::uint64_t first, std::uint64_t want, std::uint64_t &got);
    std::uint64_t max_exact() const { return 1ull << (geometry_.refcount_slice_entry_bits() - 1); }
    /// Takes `count` clusters in one run, any number.
    Task<Result<std::uint64_t>> allocate_contiguous(std::uint64_t count);

    // The same with loading.
    Task<Result<std::uint64_t>> get_loading(std::uint64_t cluster);
    Task<Result<void>> set_loading(std::uint64_t cluster, std::uint64_t value);
    Task<Result<void>> change_loading(std::uint64_t first, std::uint64_t count, bool increment);
    /// Gives up the highest refcount block when it counts nothing but itself; false: it does, or there is none.
    Task<Result<bool>> drop_last_block();
    Task<Result<ClusterRun>> allocate_loading(std::uint64_t want);

    /// A cluster is free again: look there first.
    void note_free(std::uint64_t cluster) {
        hint_ = std::min(hint_, cluster);
        exact_hint_ = std::min(exact_hint_, cluster);
    }

    SliceCache &cache() { return cache_; }
    const SliceCache &cache() const { return cache_; }
    const std::vector<std::uint64_t> &table() const { return table_; }
    std::uint64_t table_offset() const { return table_offset_; }
    std::uint64_t table_clusters() const { return geometry_.clusters(table_.size() * 8); }
    /// Clusters that the present blocks and table could describe.
    std::uint64_t covered() const { return static_cast<std::uint64_t>(table_.size()) << geometry_.refcount_block_bits(); }

    // ---- for the commit ------------------------------------------------------------------------------------------
    bool table_dirty() const { return moved_ || !dirty_entries_.empty(); }
    struct TableChange {
        bool moved = false;
        std::uint64_t old_offset = 0, old_clusters = 0; ///< when it moved
        std::uint64_t offset = 0, clusters = 0;         ///< where it is
        std::set<std::uint64_t> entries;                ///< indexes, when it did not move
        std::vector<std::uint8_t> bytes;                ///< as stored: the sectors of `entries` one after the other, or all
    };
    TableChange take_table_change();
    void put_back(TableChange change);

private:
    Slice *slice_of(std::uint64_t cluster, Need &need);
    std::uint64_t index_in_slice(std::uint64_t cluster) const {
        return cluster & ((1ull << geometry_.refcount_slice_entry_bits()) - 1);
    }
    Result<void> make_block(std::uint64_t block, std::uint64_t at_cluster);
    Result<void> grow_table(std::uint64_t block);
    Result<void> check_new(std::uint64_t first, std::uint64_t count) const;
    void set_fresh(std::uint64_t cluster, std::uint64_t value);

    HostFile &file_;
    const Geometry &geometry_;
    MetadataMap &map_;
    SliceCache cache_;
    std::vector<std::uint64_t> table_; ///< offsets of blocks; 0: none
    std::uint64_t table_offset_ = 0;
    std::uint64_t hint_ = 0, exact_hint_ = 0; ///< no free cluster is searched before it
    bool moved_ = false;
    std::uint64_t old_offset_ = 0, old_clusters_ = 0;
    std::set<std::uint64_t> dirty_entries_;
};

} // namespace rhea::block::qcow2
