// Image::commit(): the changes that the caches hold go to the file, in an order that is safe at every moment.
//
//   1. refcount slices, and whole new tables (nothing names them yet)
//   2. new refcount blocks: flush, then the refcount table's entries (or the whole table in its new place, flush, header)
//   3. when entries name new clusters: flush (so data and counts are durable before anything names them)
//   4. slices of L2 tables, sectors of the L1 table (or the whole table in its new place, flush, header)
//   5. flush; now clusters that only old entries named can be freed
//
// What is written is a copy of the caches at one moment, so requests go on changing them meanwhile.
#include <cerrno>

#include "block/qcow2/bitmaps.h"
#include "block/qcow2/image.h"
#include "block/qcow2/task_group.h"

namespace rhea::block::qcow2 {

namespace {

struct Copy {
    Slice *slice;
    std::uint64_t offset;
    std::unique_ptr<std::uint8_t[]> bytes;
};

/// Bytes for one place in the file.
struct Piece {
    std::uint64_t offset;
    std::span<const std::uint8_t> bytes;
};

Task<Result<void>> write_piece(HostFile &file, std::uint64_t offset, IoVector vector) {
    auto done = co_await file.node().write(offset, vector);
    if (!done)
        co_return util::fail(util::Error("{}: cannot write metadata at offset {:#x}: {}", file.filename(), offset, done.error().message())
                                 .with_code(done.error().code()));
    co_return done;
}

/// Writes the pieces (in file order), neighbours together.
Task<Result<void>> write_pieces(HostFile &file, const std::vector<Piece> &pieces) {
    TaskGroup group(file.node().context());
    for (std::size_t i = 0; i < pieces.size() && !group.failed();) {
        IoVector vector;
        const std::uint64_t start = pieces[i].offset;
        while (i < pieces.size() && pieces[i].offset == start + vector.size() && vector.size() < (1u << 20)) {
            vector.append(const_cast<std::uint8_t *>(pieces[i].bytes.data()), pieces[i].bytes.size());
            ++i;
        }
        group.start(write_piece(file, start, std::move(vector)));
        co_await group.below(15);
    }
    co_return co_await group.wait();
}

} // namespace

struct Image::CommitSet {
    bool with_refcounts = true;
    std::vector<Copy> refcounts, l2;
    std::vector<std::uint64_t> fresh_refcounts, fresh_l2;
    Refcounts::TableChange table;
    std::set<std::uint64_t> l1_sectors;
    L1Move l1_move;
    std::vector<std::uint8_t> l1; ///< the whole table as stored, when it moves; else the dirty sectors one after the other
    std::uint64_t l1_entries = 0, old_l1_entries = 0;
    std::vector<FreedRun> freed;
    bool barrier = false;
    std::vector<std::unique_ptr<std::uint8_t[]>> whole_tables;

    bool nothing() const {
        return refcounts.empty() && l2.empty() && fresh_refcounts.empty() && fresh_l2.empty() && !table.moved && table.entries.empty() &&
               l1_sectors.empty() && l1_move.offset == 0;
    }
};

namespace {

void take_slices(SliceCache &cache, std::vector<Copy> &copies) {
    for (Slice *slice : cache.dirty_slices()) {
        copies.push_back({slice, slice->offset, std::make_unique_for_overwrite<std::uint8_t[]>(cache.slice_size())});
        std::memcpy(copies.back().bytes.get(), slice->data, cache.slice_size());
        cache.mark_clean(*slice);
        ++slice->pins;
    }
}

/// `copies` of tables that are not fresh as pieces; those of fresh ones into images of whole tables.
std::vector<Piece> pieces_of(const SliceCache &cache, const std::vector<Copy> &copies, const std::vector<std::uint64_t> &fresh, bool want_fresh,
                             std::vector<std::unique_ptr<std::uint8_t[]>> &whole_tables) {
    std::vector<Piece> pieces;
    if (want_fresh) {
        auto copy = copies.begin();
        for (const std::uint64_t table : fresh) {
            auto bytes = std::make_unique<std::uint8_t[]>(cache.table_size()); // zeroes
            while (copy != copies.end() && copy->offset < table)
                ++copy;
            for (; copy != copies.end() && copy->offset < table + cache.table_size(); ++copy)
                std::memcpy(bytes.get() + (copy->offset - table), copy->bytes.get(), cache.slice_size());
            pieces.push_back({table, {bytes.get(), cache.table_size()}});
            whole_tables.push_back(std::move(bytes));
        }
        return pieces;
    }
    for (const Copy &copy : copies)
        if (!std::binary_search(fresh.begin(), fresh.end(), cache.table_start(copy.offset)))
            pieces.push_back({copy.offset, {copy.bytes.get(), cache.slice_size()}});
    return pieces;
}

void release(const std::vector<Copy> &copies) {
    for (const Copy &copy : copies)
        --copy.slice->pins;
}

void mark_again(SliceCache &cache, const std::vector<Copy> &copies) {
    for (const Copy &copy : copies)
        if (copy.slice->offset == copy.offset && cache.find(copy.offset) == copy.slice)
            cache.mark_dirty(*copy.slice);
}

} // namespace

Image::CommitSet Image::take_changes(bool with_refcounts) {
    CommitSet set;
    set.with_refcounts = with_refcounts;
    if (with_refcounts) {
        take_slices(refcounts.cache(), set.refcounts);
        set.fresh_refcounts = refcounts.cache().fresh_tables();
        set.table = refcounts.take_table_change();
    }
    take_slices(l2, set.l2);
    set.fresh_l2 = l2.fresh_tables();
    set.l1_sectors = std::exchange(l1_dirty_, {});
    set.l1_move = std::exchange(l1_move_, {});
    set.l1_entries = l1.size();
    if (set.l1_move.offset != 0) {
        set.l1.resize(set.l1_move.clusters << geometry.cluster_bits);
        for (std::size_t i = 0; i < l1.size(); ++i)
            store_be(&set.l1[i * 8], l1[i]);
    } else {
        set.l1.resize(set.l1_sectors.size() * 512);
        std::uint8_t *at = set.l1.data();
        for (const std::uint64_t sector : set.l1_sectors)
            for (std::size_t i = 0; i < 64; ++i, at += 8)
                store_be(at, sector * 64 + i < l1.size() ? l1[sector * 64 + i] : std::uint64_t{0});
    }
    set.freed = std::exchange(freed_, {});
    set.barrier = std::exchange(barrier_, false);
    return set;
}

void Image::put_back(CommitSet &set) {
    mark_again(refcounts.cache(), set.refcounts);
    mark_again(l2, set.l2);
    if (set.with_refcounts)
        refcounts.put_back(std::move(set.table));
    l1_dirty_.merge(set.l1_sectors);
    if (l1_move_.offset == 0)
        l1_move_ = set.l1_move;
    freed_.insert(freed_.begin(), set.freed.begin(), set.freed.end());
    barrier_ = true;
}

Task<Result<void>> Image::flush_files() {
    if (data) {
        auto done = co_await data->flush();
        if (!done)
            co_return done;
    }
    co_return co_await file.flush();
}

Task<Result<void>> Image::write_refcount_table(CommitSet &set) {
    auto done = co_await file.flush();
    if (!done)
        co_return done;
    if (!set.table.moved) {
        std::vector<Piece> pieces;
        std::uint64_t last = ~0ull;
        std::size_t at = 0;
        for (const std::uint64_t entry : set.table.entries) {
            if (entry / 64 == last)
                continue;
            last = entry / 64;
            pieces.push_back({set.table.offset + last * 512, {&set.table.bytes[at], 512}});
            at += 512;
        }
        co_return co_await write_pieces(file, pieces);
    }
    done = co_await file.write(set.table.offset, set.table.bytes, "the refcount table");
    if (done)
        done = co_await file.flush();
    if (!done)
        co_return done;
    header.refcount_table_offset = set.table.offset;
    header.refcount_table_clusters = static_cast<std::uint32_t>(set.table.clusters);
    done = co_await write_header();
    if (!done) {
        header.refcount_table_offset = set.table.old_offset;
        header.refcount_table_clusters = static_cast<std::uint32_t>(set.table.old_clusters);
        co_return done;
    }
    map.remove(set.table.old_offset >> geometry.cluster_bits, set.table.old_clusters);
    set.freed.push_back({set.table.old_offset >> geometry.cluster_bits, set.table.old_clusters, FreeReason::kOther, false});
    set.table.moved = false;
    co_return done;
}

Task<Result<void>> Image::write_l1(CommitSet &set) {
    if (set.l1_move.offset == 0) {
        std::vector<Piece> pieces;
        std::size_t at = 0;
        for (const std::uint64_t sector : set.l1_sectors) {
            pieces.push_back({header.l1_offset + sector * 512, {&set.l1[at], 512}});
            at += 512;
        }
        co_return co_await write_pieces(file, pieces);
    }
    auto done = co_await file.write(set.l1_move.offset, set.l1, "the L1 table");
    if (done)
        done = co_await file.flush();
    if (!done)
        co_return done;
    const std::uint64_t old_offset = header.l1_offset;
    const std::uint32_t old_size = header.l1_size;
    header.l1_offset = set.l1_move.offset;
    header.l1_size = static_cast<std::uint32_t>(set.l1_entries);
    done = co_await write_header();
    if (!done) {
        header.l1_offset = old_offset;
        header.l1_size = old_size;
        co_return done;
    }
    const std::uint64_t old_clusters = geometry.clusters(std::uint64_t{old_size} * 8);
    map.remove(old_offset >> geometry.cluster_bits, old_clusters);
    if (old_offset != 0)
        set.freed.push_back({old_offset >> geometry.cluster_bits, old_clusters, FreeReason::kOther, false});
    set.l1_move = {};
    co_return done;
}

Task<Result<void>> Image::write_changes(CommitSet &set) {
    const auto fresh_refcounts = pieces_of(refcounts.cache(), set.refcounts, set.fresh_refcounts, true, set.whole_tables);
    const auto fresh_l2 = pieces_of(l2, set.l2, set.fresh_l2, true, set.whole_tables);
    const auto refcount_slices = pieces_of(refcounts.cache(), set.refcounts, set.fresh_refcounts, false, set.whole_tables);
    const auto l2_slices = pieces_of(l2, set.l2, set.fresh_l2, false, set.whole_tables);
    const std::array<const std::vector<Piece> *, 3> first{&fresh_refcounts, &refcount_slices, &fresh_l2};
    for (const std::vector<Piece> *pieces : first) {
        auto done = co_await write_pieces(file, *pieces);
        if (!done)
            co_return done;
    }
    if (set.table.moved || !set.table.entries.empty()) {
        auto done = co_await write_refcount_table(set);
        if (!done)
            co_return done;
        set.barrier = true; // before anything is named whose counts are in those blocks
    }
    const bool entries = !l2_slices.empty() || !set.l1_sectors.empty() || set.l1_move.offset != 0;
    if (entries && set.barrier) {
        auto done = co_await flush_files();
        if (!done)
            co_return done;
    }
    auto done = co_await write_pieces(file, l2_slices);
    if (done && (!set.l1_sectors.empty() || set.l1_move.offset != 0))
        done = co_await write_l1(set);
    if (!done)
        co_return done;
    if (entries && set.barrier)
        co_return co_await file.flush();
    co_return co_await flush_files();
}

Task<Result<void>> Image::commit_once() {
    if (!writable)
        co_return Result<void>{};
    if (damaged_)
        co_return util::fail(util::Error("{}: the image was found to be corrupt; it takes no writes", filename()).with_code(EIO));
    auto ripening = free_now(grace.take_ripe());
    auto ripened = co_await ripening;
    if (!ripened) {
        co_await note_error(ripened.error());
        if (damaged_)
            co_return util::fail(ripened.error().with_code(EIO));
    }
    const bool lazy = lazy_open_ && !closing_ && !refcounts.cache().wants_commit();
    CommitSet set = take_changes(!lazy);
    if (set.nothing() && set.freed.empty()) {
        auto done = co_await flush_files();
        if (!done)
            barrier_ = barrier_ || set.barrier;
        co_return done;
    }
    auto done = co_await write_changes(set);
    release(set.refcounts);
    release(set.l2);
    if (!done) {
        put_back(set);
        co_return done;
    }
    for (const std::uint64_t table : set.fresh_refcounts)
        refcounts.cache().clear_fresh(table);
    for (const std::uint64_t table : set.fresh_l2)
        l2.clear_fresh(table);
    grace.retire(std::move(set.freed));
    auto freeing = free_now(grace.take_ripe());
    auto freed = co_await freeing;
    if (!freed) // the image is damaged, or a leak stays; what was to be durable is
        co_await note_error(freed.error());
    co_return Result<void>{};
}

Task<Result<void>> Image::commit() {
    const std::shared_ptr<Pending> mine = next_commit_;
    while (!mine->done) {
        if (committing_) {
            co_await commit_done_.wait();
            continue;
        }
        committing_ = true;
        next_commit_ = std::make_shared<Pending>();
        mine->result = co_await commit_once();
        mine->done = true;
        committing_ = false;
        commit_done_.wake_all();
    }
    co_return mine->result;
}

Task<Result<void>> Image::write_header() {
    co_await header_mutex_.lock();
    auto bytes = serialise_header(header, filename());
    Result<void> done;
    if (bytes)
        done = co_await file.write(0, *bytes, "the header");
    else
        done = util::fail(bytes.error());
    header_mutex_.unlock();
    co_return done;
}

Task<Result<void>> Image::set_incompatible(std::uint64_t bit, bool on) {
    if (((header.incompatible & bit) != 0) == on)
        co_return Result<void>{};
    const std::uint64_t old = header.incompatible;
    header.incompatible = on ? old | bit : old & ~bit;
    auto done = co_await write_header();
    if (done)
        done = co_await file.flush();
    if (!done)
        header.incompatible = old;
    co_return done;
}

Task<Result<void>> Image::settle() {
    const bool was_closing = std::exchange(closing_, true);
    Result<void> done;
    // What a commit frees changes counts again; after the second there is nothing left.
    do
        done = co_await commit();
    while (done && (!refcounts.cache().clean() || !l2.clean() || !freed_.empty() || !grace.idle()));
    closing_ = was_closing;
    co_return done;
}

Task<Result<void>> Image::begin_surgery() {
    auto done = co_await prepare_write();
    if (done)
        done = co_await settle();
    if (done && header.version >= 3)
        done = co_await set_incompatible(kDirty, true);
    co_return done;
}

Task<Result<void>> Image::end_surgery() {
    if (damaged_)
        co_return Result<void>{};
    auto done = co_await settle();
    if (done && !lazy_open_)
        done = co_await set_incompatible(kDirty, false);
    co_return done;
}

Task<Result<void>> Image::finish() {
    if (!writable || damaged_)
        co_return Result<void>{};
    auto recorded = co_await stop_recording(*this);
    auto done = co_await settle(); // also when a bitmap could not be stored: it says of itself that it has gaps
    recording_ended();
    if (done && lazy_open_) {
        done = co_await set_incompatible(kDirty, false);
        lazy_open_ = !done.has_value();
    }
    co_return done ? recorded : done;
}

} // namespace rhea::block::qcow2
