#include "block/qcow2/refcounts.h"

#include <cerrno>

#include "block/qcow2/refcount_entry.h"

namespace rhea::block::qcow2 {

Refcounts::Refcounts(HostFile &file, const Geometry &geometry, MetadataMap &map, std::uint64_t cache_bytes)
    : file_(file), geometry_(geometry), map_(map),
      cache_(file, "a refcount block", geometry.cluster_bits, geometry.refcount_slice_bits, cache_bytes >> geometry.refcount_slice_bits) {}

Task<Result<void>> Refcounts::load_table(std::uint64_t offset, std::uint32_t clusters) {
    const std::uint64_t bytes = std::uint64_t{clusters} << geometry_.cluster_bits;
    std::vector<std::uint8_t> raw(bytes);
    auto done = co_await file_.read(offset, raw, "the refcount table");
    if (!done)
        co_return done;
    table_.assign(bytes / 8, 0);
    for (std::size_t i = 0; i < table_.size(); ++i)
        table_[i] = load_be<std::uint64_t>(&raw[i * 8]);
    table_offset_ = offset;
    co_return Result<void>{};
}

void Refcounts::set_table(std::vector<std::uint64_t> table, std::uint64_t offset) {
    cache_.forget_all();
    table_ = std::move(table);
    table_offset_ = offset;
    hint_ = exact_hint_ = 0;
    moved_ = false;
    dirty_entries_.clear();
}

Slice *Refcounts::slice_of(std::uint64_t cluster, Need &need) {
    const std::uint64_t block = table_[cluster >> geometry_.refcount_block_bits()];
    const std::uint64_t in_block = cluster & (geometry_.refcount_block_entries() - 1);
    const std::uint64_t offset = block + ((in_block >> geometry_.refcount_slice_entry_bits()) << geometry_.refcount_slice_bits);
    Slice *slice = cache_.find(offset);
    if (slice == nullptr)
        need = {&cache_, offset};
    return slice;
}

namespace {
/// Is `offset` a place where a refcount block can be?
bool plausible_block(const Geometry &geometry, std::uint64_t offset) {
    return offset != 0 && geometry.aligned(offset) && offset < kMaxHostOffset;
}
} // namespace

Result<Need> Refcounts::get(std::uint64_t cluster, std::uint64_t &value) {
    const std::uint64_t block = cluster >> geometry_.refcount_block_bits();
    value = 0;
    if (block >= table_.size() || table_[block] == 0)
        return Need{};
    if (!plausible_block(geometry_, table_[block]))
        return util::fail(util::Error("{}: entry {} of the refcount table at {:#x} names the refcount block {:#x}, which is not on a cluster boundary; "
                                      "the image is corrupt", file_.filename(), block, table_offset_, table_[block]).with_code(EUCLEAN));
    Need need;
    Slice *slice = slice_of(cluster, need);
    if (slice == nullptr)
        return need;
    value = get_refcount(slice->data, geometry_.refcount_order, index_in_slice(cluster));
    return Need{};
}

Result<Need> Refcounts::change(std::uint64_t first, std::uint64_t count, bool increment, std::uint64_t *least_after) {
    std::uint64_t value = 0;
    auto found = get(first, value);
    if (!found || *found)
        return found;
    const std::uint64_t block = first >> geometry_.refcount_block_bits();
    if (block >= table_.size() || table_[block] == 0)
        return util::fail(util::Error("{}: the cluster at {:#x} is in use, but has no refcount; the image is corrupt", file_.filename(),
                                      first << geometry_.cluster_bits).with_code(EUCLEAN));
    Need need;
    Slice *slice = slice_of(first, need);
    if (slice == nullptr)
        return need;
    const std::uint64_t at = index_in_slice(first);
    const unsigned order = geometry_.refcount_order;
    std::uint64_t least = ~0ull;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t old = get_refcount(slice->data, order, at + i);
        if (old == (increment ? geometry_.max_refcount() : 0))
            return increment
                       ? util::fail(util::Error("{}: the refcount of the cluster at {:#x} is {} already, the most that refcount_bits={} can hold",
                                                file_.filename(), (first + i) << geometry_.cluster_bits, old, geometry_.refcount_bits())
                                        .with_code(EOVERFLOW))
                       : util::fail(util::Error("{}: the cluster at {:#x} is freed, but its refcount is zero; the image is corrupt",
                                                file_.filename(), (first + i) << geometry_.cluster_bits).with_code(EUCLEAN));
    }
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t old = get_refcount(slice->data, order, at + i);
        const std::uint64_t now = increment ? old + 1 : old - 1;
        set_refcount(slice->data, order, at + i, now);
        least = std::min(least, now);
        if (now == 0)
            note_free(first + i);
    }
    cache_.mark_dirty(*slice);
    if (least_after != nullptr)
        *least_after = least;
    return Need{};
}

void Refcounts::set_fresh(std::uint64_t cluster, std::uint64_t value) {
    Need need;
    Slice *slice = slice_of(cluster, need); // of a fresh block: always there
    set_refcount(slice->data, geometry_.refcount_order, index_in_slice(cluster), value);
    cache_.mark_dirty(*slice);
}

Result<void> Refcounts::check_new(std::uint64_t first, std::uint64_t count) const {
    MetadataMap::Hit hit{};
    if (first == 0)
        return util::fail(util::Error("{}: the refcount of the header's cluster at 0 is zero; the image is corrupt", file_.filename()).with_code(EUCLEAN));
    if (map_.hits(first, count, hit))
        return util::fail(util::Error("{}: the cluster at {:#x} has refcount zero, but holds {}; the image is corrupt", file_.filename(),
                                      hit.cluster << geometry_.cluster_bits, metadata_name(hit.kind)).with_code(EUCLEAN));
    if (first + count > kMaxHostOffset >> geometry_.cluster_bits)
        return util::fail(util::Error("{}: the image file would grow beyond 64 PiB", file_.filename()).with_code(EFBIG));
    return {};
}

Result<void> Refcounts::make_block(std::uint64_t block, std::uint64_t at_cluster) {
    if (auto ok = check_new(at_cluster, 1); !ok)
        return ok;
    table_[block] = at_cluster << geometry_.cluster_bits;
    dirty_entries_.insert(block);
    cache_.make_fresh(table_[block]);
    map_.add(at_cluster, 1, Metadata::kRefcountBlock);
    if (at_cluster >> geometry_.refcount_block_bits() == block)
        set_fresh(at_cluster, 1);
    return {};
}

Result<void> Refcounts::grow_table(std::uint64_t block) {
    // The new table and the blocks that describe it and themselves lie in clusters that the old one does not reach.
    const std::uint64_t start = covered();
    const std::uint64_t per_cluster = geometry_.cluster_size() / 8;
    std::uint64_t entries = std::max(block + 1, table_.size() + table_.size() / 2);
    std::uint64_t table_clusters = 0, blocks = 0;
    for (;;) {
        table_clusters = (entries + per_cluster - 1) / per_cluster;
        const std::uint64_t end = start + table_clusters + blocks;
        const std::uint64_t more = ((end - 1) >> geometry_.refcount_block_bits()) + 1 - table_.size();
        if (more == blocks && table_.size() + blocks <= table_clusters * per_cluster)
            break;
        blocks = more;
        entries = std::max(entries, table_.size() + blocks);
    }
    if (table_clusters << geometry_.cluster_bits > kMaxRefcountTableBytes)
        return util::fail(util::Error("{}: the refcount table would need {} bytes, more than {}; the image cannot grow (a bigger cluster_size could)",
                                      file_.filename(), table_clusters << geometry_.cluster_bits, kMaxRefcountTableBytes).with_code(EFBIG));
    if (auto ok = check_new(start, table_clusters + blocks); !ok)
        return ok;
    if (!moved_) {
        old_offset_ = table_offset_;
        old_clusters_ = this->table_clusters();
    } else {
        // Moved twice within one commit: the place in between was never named on disk. It stays a leak of this session
        // unless given back, which is simple: its counts are in memory.
        for (std::uint64_t i = 0; i < this->table_clusters(); ++i) {
            const std::uint64_t cluster = (table_offset_ >> geometry_.cluster_bits) + i;
            Need need;
            if (Slice *slice = slice_of(cluster, need)) {
                set_refcount(slice->data, geometry_.refcount_order, index_in_slice(cluster), 0);
                cache_.mark_dirty(*slice);
            }
        }
        map_.remove(table_offset_ >> geometry_.cluster_bits, this->table_clusters());
    }
    const std::uint64_t first_block = table_.size();
    table_.resize(table_clusters * per_cluster, 0);
    for (std::uint64_t i = 0; i < blocks; ++i)
        if (auto ok = make_block(first_block + i, start + table_clusters + i); !ok)
            return ok;
    for (std::uint64_t i = 0; i < table_clusters + blocks; ++i)
        set_fresh(start + i, 1);
    table_offset_ = start << geometry_.cluster_bits;
    map_.add(start, table_clusters, Metadata::kRefcountTable);
    moved_ = true;
    return {};
}

Refcounts::TableChange Refcounts::take_table_change() {
    TableChange change{moved_, old_offset_, old_clusters_, table_offset_, table_clusters(), std::exchange(dirty_entries_, {}), {}};
    const auto store = [this, &change](std::uint64_t first, std::uint64_t count) {
        const std::size_t at = change.bytes.size();
        change.bytes.resize(at + count * 8);
        for (std::uint64_t i = 0; i < count && first + i < table_.size(); ++i)
            store_be(&change.bytes[at + i * 8], table_[first + i]);
    };
    if (moved_) {
        store(0, change.clusters * geometry_.cluster_size() / 8);
    } else {
        std::set<std::uint64_t> sectors;
        for (const std::uint64_t entry : change.entries)
            sectors.insert(entry / 64);
        for (const std::uint64_t sector : sectors)
            store(sector * 64, 64);
    }
    moved_ = false;
    return change;
}

void Refcounts::put_back(TableChange change) {
    if (change.moved) {
        moved_ = true;
        old_offset_ = change.old_offset;
        old_clusters_ = change.old_clusters;
    }
    dirty_entries_.merge(change.entries);
}

} // namespace rhea::block::qcow2
