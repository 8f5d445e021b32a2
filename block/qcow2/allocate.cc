// Refcounts: finding free clusters.
#include <cerrno>

#include "block/qcow2/refcount_entry.h"
#include "block/qcow2/refcounts.h"

namespace rhea::block::qcow2 {

Result<Need> Refcounts::allocate(std::uint64_t want, bool exact, ClusterRun &run) {
    // Holes that are much smaller than the request are left for smaller ones.
    const std::uint64_t enough = exact ? want : std::min<std::uint64_t>(want, 8);
    const unsigned order = geometry_.refcount_order;
    std::uint64_t cluster = exact ? std::max(hint_, exact_hint_) : hint_;
    for (;;) {
        const std::uint64_t block = cluster >> geometry_.refcount_block_bits();
        if (block >= table_.size()) {
            if (auto grown = grow_table(block); !grown)
                return util::fail(grown.error());
            continue;
        }
        if (table_[block] == 0) {
            if (auto made = make_block(block, cluster); !made)
                return util::fail(made.error());
            ++cluster;
            continue;
        }
        if (!geometry_.aligned(table_[block]) || table_[block] >= kMaxHostOffset)
            return util::fail(util::Error("{}: entry {} of the refcount table at {:#x} names the refcount block {:#x}, which cannot be; the image is "
                                          "corrupt", file_.filename(), block, table_offset_, table_[block]).with_code(EUCLEAN));
        Need need;
        Slice *slice = slice_of(cluster, need);
        if (slice == nullptr)
            return need;
        const std::uint64_t base = cluster - index_in_slice(cluster);
        const std::uint64_t entries = 1ull << geometry_.refcount_slice_entry_bits();
        for (std::uint64_t at = cluster - base; at < entries;) {
            if (get_refcount(slice->data, order, at) != 0) {
                ++at;
                continue;
            }
            std::uint64_t end = at + 1;
            while (end < entries && end - at < want && get_refcount(slice->data, order, end) == 0)
                ++end;
            // A run that is cut off by the slice's end may go on, but is taken as it is: requests are cut there anyway.
            const bool at_end = end == entries && !exact;
            if (end - at < enough && !at_end) {
                at = end;
                continue;
            }
            run = {base + at, end - at};
            if (auto ok = check_new(run.first, run.count); !ok)
                return util::fail(ok.error());
            for (std::uint64_t i = at; i < end; ++i)
                set_refcount(slice->data, order, i, 1);
            cache_.mark_dirty(*slice);
            if (!exact)
                hint_ = base + end;
            return Need{};
        }
        cluster = base + entries;
        // Small holes that were passed over wait until something before them is freed, or the image is opened anew: so
        // a search never looks at a slice twice.
        (exact ? exact_hint_ : hint_) = cluster;
    }
}

Result<Need> Refcounts::allocate_at(std::uint64_t first, std::uint64_t want, std::uint64_t &got) {
    got = 0;
    const std::uint64_t block = first >> geometry_.refcount_block_bits();
    if (block >= table_.size() || table_[block] == 0 || !geometry_.aligned(table_[block]))
        return Need{};
    Need need;
    Slice *slice = slice_of(first, need);
    if (slice == nullptr)
        return need;
    const std::uint64_t at = index_in_slice(first);
    want = std::min(want, slice_rest(first));
    std::uint64_t count = 0;
    while (count < want && get_refcount(slice->data, geometry_.refcount_order, at + count) == 0)
        ++count;
    if (count == 0)
        return Need{};
    if (auto ok = check_new(first, count); !ok)
        return util::fail(ok.error());
    for (std::uint64_t i = 0; i < count; ++i)
        set_refcount(slice->data, geometry_.refcount_order, at + i, 1);
    cache_.mark_dirty(*slice);
    if (hint_ >= first && hint_ < first + count)
        hint_ = first + count;
    got = count;
    return Need{};
}

Task<Result<std::uint64_t>> Refcounts::get_loading(std::uint64_t cluster) {
    std::uint64_t value = 0;
    for (;;) {
        auto need = get(cluster, value);
        if (!need)
            co_return util::fail(need.error());
        if (!*need)
            co_return value;
        auto loaded = co_await need->load();
        if (!loaded)
            co_return util::fail(loaded.error());
    }
}

Task<Result<void>> Refcounts::set_loading(std::uint64_t cluster, std::uint64_t value) {
    auto present = co_await get_loading(cluster);
    if (!present)
        co_return util::fail(present.error());
    if (*present == value)
        co_return Result<void>{};
    Need need;
    Slice *slice = slice_of(cluster, need); // here since get_loading(); and there is a block, or the count were zero
    if (slice == nullptr)
        co_return util::fail(util::Error("{}: the refcount of cluster {} is not in memory", file_.filename(), cluster).with_code(EIO));
    set_refcount(slice->data, geometry_.refcount_order, index_in_slice(cluster), value);
    cache_.mark_dirty(*slice);
    if (value == 0)
        note_free(cluster);
    co_return Result<void>{};
}

Task<Result<void>> Refcounts::change_loading(std::uint64_t first, std::uint64_t count, bool increment) {
    while (count != 0) {
        const std::uint64_t part = std::min(count, slice_rest(first));
        auto need = change(first, part, increment);
        if (!need)
            co_return util::fail(need.error());
        if (*need) {
            auto loaded = co_await need->load();
            if (!loaded)
                co_return loaded;
            continue;
        }
        first += part;
        count -= part;
    }
    co_return Result<void>{};
}

Task<Result<ClusterRun>> Refcounts::allocate_loading(std::uint64_t want) {
    ClusterRun run;
    for (;;) {
        auto need = allocate(want, false, run);
        if (!need)
            co_return util::fail(need.error());
        if (!*need)
            co_return run;
        auto loaded = co_await need->load();
        if (!loaded)
            co_return util::fail(loaded.error());
    }
}

Task<Result<bool>> Refcounts::drop_last_block() {
    std::uint64_t block = table_.size();
    while (block != 0 && table_[block - 1] == 0)
        --block;
    if (block-- < 2)
        co_return false; // the first one has the header
    const unsigned bits = geometry_.refcount_block_bits();
    const std::uint64_t home = table_[block] >> geometry_.cluster_bits;
    if (home >> bits != block)
        co_return false;
    for (std::uint64_t cluster = block << bits; cluster < (block + 1) << bits; ++cluster) {
        auto count = co_await get_loading(cluster);
        if (!count)
            co_return util::fail(count.error());
        if (*count != (cluster == home ? 1u : 0u))
            co_return false;
    }
    cache_.forget(table_[block]);
    table_[block] = 0;
    dirty_entries_.insert(block);
    map_.remove(home, 1);
    note_free(home);
    co_return true;
}

Task<Result<std::uint64_t>> Refcounts::allocate_contiguous(std::uint64_t count) {
    if (count <= max_exact()) {
        ClusterRun run;
        for (;;) {
            auto need = allocate(count, true, run);
            if (!need)
                co_return util::fail(need.error());
            if (!*need)
                co_return run.first;
            auto loaded = co_await need->load();
            if (!loaded)
                co_return util::fail(loaded.error());
        }
    }
    // More than the search finds in one piece: in clusters that no refcount block describes yet, with the blocks for them
    // behind. Only tables of images with tiny clusters are that long.
    for (;;) {
        std::uint64_t block = table_.size();
        while (block != 0 && table_[block - 1] == 0)
            --block;
        const unsigned bits = geometry_.refcount_block_bits();
        const std::uint64_t file_end = geometry_.clusters(file_.length());
        block = std::max(block, (file_end >> bits) + ((file_end & (geometry_.refcount_block_entries() - 1)) != 0));
        const std::uint64_t start = block << bits;
        std::uint64_t blocks = 0;
        while (blocks < ((start + count + blocks - 1) >> bits) + 1 - block)
            ++blocks;
        if (block + blocks > table_.size()) {
            if (auto grown = grow_table(block + blocks - 1); !grown)
                co_return util::fail(grown.error());
            continue;
        }
        if (auto ok = check_new(start, count + blocks); !ok)
            co_return util::fail(ok.error());
        for (std::uint64_t i = 0; i < blocks; ++i)
            if (auto made = make_block(block + i, start + count + i); !made)
                co_return util::fail(made.error());
        for (std::uint64_t i = 0; i < count + blocks; ++i)
            set_fresh(start + i, 1);
        co_return start;
    }
}

} // namespace rhea::block::qcow2
