// Image: making and copying L2 tables, growing the L1 table, the map of what lies where.
#include <cerrno>

#include "block/qcow2/bitmaps.h"
#include "block/qcow2/image.h"

namespace rhea::block::qcow2 {

Task<Result<void>> Image::make_l2_writable(std::uint64_t guest) {
    const std::uint64_t index = geometry.l1_index(guest);
    co_await table_mutex_.lock();
    Result<void> done;
    if (index >= l1.size())
        done = co_await grow_l1(index + 1);
    // An entry without a place has no table, whatever else it says.
    if (done && ((l1[index] & kCopied) == 0 || (l1[index] & kOffsetMask) == 0)) {
        if ((l1[index] & kOffsetMask) != 0) {
            done = co_await copy_l2_table(index);
        } else {
            auto run = co_await refcounts.allocate_loading(1);
            if (!run) {
                done = util::fail(run.error());
            } else {
                const std::uint64_t offset = run->first << geometry.cluster_bits;
                note_written(offset + geometry.cluster_size());
                map.add(run->first, 1, Metadata::kActiveL2);
                l2.make_fresh(offset);
                set_l1(index, offset | kCopied);
                publish();
            }
        }
    }
    table_mutex_.unlock();
    co_return done;
}

Task<Result<void>> Image::copy_l2_table(std::uint64_t index) {
    // A shared table is never dirty in the cache, so the file has it as it is.
    const std::uint64_t old = l1[index] & kOffsetMask;
    if (!geometry.aligned(old))
        co_return util::fail(util::Error("{}: entry {} of the L1 table at {:#x} names the L2 table {:#x}, which is not on a cluster boundary; the image "
                                         "is corrupt", filename(), index, header.l1_offset, old).with_code(EUCLEAN));
    std::vector<std::uint8_t> table(geometry.cluster_size());
    auto done = co_await file.read(old, table, "an L2 table");
    if (!done)
        co_return done;
    auto run = co_await refcounts.allocate_loading(1);
    if (!run)
        co_return util::fail(run.error());
    const std::uint64_t offset = run->first << geometry.cluster_bits;
    note_written(offset + geometry.cluster_size());
    l2.forget(offset);
    done = co_await file.write(offset, table, "an L2 table");
    if (!done) {
        co_await free_unused(run->first, 1);
        co_return done;
    }
    map.add(run->first, 1, Metadata::kActiveL2);
    set_l1(index, offset | kCopied);
    publish();
    free_later({old >> geometry.cluster_bits, 1, FreeReason::kOther, true});
    co_return done;
}

Task<Result<void>> Image::grow_l1(std::uint64_t entries, bool exact) {
    if (entries <= l1.size())
        co_return Result<void>{};
    // Some more than asked for: VM states are written in pieces.
    std::uint64_t wanted = exact ? entries : std::max<std::uint64_t>(entries, l1.size() + l1.size() / 2);
    if (wanted * 8 > kMaxL1Bytes)
        wanted = entries;
    if (wanted * 8 > kMaxL1Bytes)
        co_return util::fail(util::Error("{}: the L1 table would need {} bytes, more than {}; a bigger cluster_size allows bigger disks", filename(),
                                         entries * 8, kMaxL1Bytes).with_code(EFBIG));
    const std::uint64_t clusters = geometry.clusters(wanted * 8);
    auto first = co_await refcounts.allocate_contiguous(clusters);
    if (!first)
        co_return util::fail(first.error());
    const std::uint64_t offset = *first << geometry.cluster_bits;
    note_written(offset + clusters * geometry.cluster_size());
    map.add(*first, clusters, Metadata::kActiveL1);
    if (l1_move_.offset != 0) { // moved again before a commit: nothing ever named the place in between
        map.remove(l1_move_.offset >> geometry.cluster_bits, l1_move_.clusters);
        free_later({l1_move_.offset >> geometry.cluster_bits, l1_move_.clusters, FreeReason::kOther, false});
    }
    l1_move_ = {offset, clusters};
    l1.resize(wanted, 0);
    publish();
    co_return Result<void>{};
}

Task<Result<void>> Image::cut_file() {
    auto done = co_await settle();
    for (bool dropped = done.has_value(); dropped;) {
        auto again = co_await refcounts.drop_last_block();
        if (!again)
            co_return util::fail(again.error());
        dropped = *again;
    }
    if (done)
        done = co_await settle();
    std::uint64_t last = geometry.clusters(file.length());
    while (done && last > 0) {
        auto count = co_await refcounts.get_loading(last - 1);
        if (!count)
            co_return util::fail(count.error());
        if (*count != 0)
            break;
        --last;
    }
    if (done && last != 0 && last << geometry.cluster_bits < file.length())
        done = co_await file.node().truncate(last << geometry.cluster_bits);
    co_return done;
}

Task<Result<void>> Image::build_map() {
    map.clear();
    Result<void> damage;
    const std::uint64_t file_end = geometry.align_up(file.length());
    const auto tables = [&](std::uint64_t offset, std::uint64_t bytes, Metadata kind) {
        const bool outside = bytes != 0 && (!geometry.aligned(offset) || offset >= file_end || bytes > file_end - offset);
        if (!outside && (map.add(offset >> geometry.cluster_bits, geometry.clusters(bytes), kind) || kind == Metadata::kInactiveL2))
            return;
        if (damage)
            damage = util::fail(util::Error("{}: {} at {:#x} {}; the image is corrupt", filename(), metadata_name(kind), offset,
                                            outside ? "is not inside the file" : "overlaps other metadata").with_code(EUCLEAN));
    };
    tables(0, 1, Metadata::kHeader);
    tables(header.l1_offset, std::uint64_t{header.l1_size} * 8, Metadata::kActiveL1);
    tables(refcounts.table_offset(), refcounts.table().size() * 8, Metadata::kRefcountTable);
    for (const std::uint64_t block : refcounts.table())
        if (block != 0)
            tables(block, geometry.cluster_size(), Metadata::kRefcountBlock);
    tables(header.snapshot_offset, snapshot_table_size, Metadata::kSnapshotTable);
    if (header.encryption)
        tables(header.encryption->offset, header.encryption->length, Metadata::kEncryption);
    if (header.bitmaps)
        tables(header.bitmaps->directory_offset, header.bitmaps->directory_size, Metadata::kBitmapDirectory);
    for (const std::uint64_t entry : l1)
        if ((entry & kOffsetMask) != 0)
            tables(entry & kOffsetMask, geometry.cluster_size(), Metadata::kActiveL2);
    for (const SnapshotEntry &snapshot : snapshots) {
        tables(snapshot.l1_offset, std::uint64_t{snapshot.l1_size} * 8, Metadata::kInactiveL1);
        if (!map.watches(Metadata::kInactiveL2) || snapshot.l1_size == 0)
            continue;
        std::vector<std::uint8_t> raw(std::size_t{snapshot.l1_size} * 8);
        auto done = co_await file.read(snapshot.l1_offset, raw, "the L1 table of a snapshot");
        if (!done)
            co_return done;
        for (std::size_t i = 0; i < raw.size(); i += 8)
            if (const std::uint64_t table = load_be<std::uint64_t>(&raw[i]) & kOffsetMask; table != 0)
                tables(table, geometry.cluster_size(), Metadata::kInactiveL2);
    }
    co_return damage;
}

Task<Result<void>> Image::prepare_write() {
    if (write_prepared_ && recording_started_ && !damaged_ && (!options.lazy_refcounts || lazy_open_))
        co_return Result<void>{};
    auto done = co_await prepare_tables();
    if (!done || recording_started_)
        co_return done;
    co_await prepare_mutex_.lock();
    if (!recording_started_) {
        done = co_await start_recording(*this);
        recording_started_ = done.has_value();
    }
    prepare_mutex_.unlock();
    co_return done;
}

Task<Result<void>> Image::prepare_tables() {
    if (damaged_)
        co_return util::fail(util::Error("{}: the image was found to be corrupt; it takes no writes: run rhea-img check -r all on it", filename())
                                 .with_code(EIO));
    if (write_prepared_ && (!options.lazy_refcounts || lazy_open_))
        co_return Result<void>{};
    co_await prepare_mutex_.lock();
    Result<void> done;
    if (!write_prepared_) {
        done = co_await build_map();
        if (done && (header.autoclear & ~std::uint64_t{kKnownAutoclear}) != 0) {
            // What somebody else's feature says of this image is not true any more after a write.
            header.autoclear &= kKnownAutoclear;
            done = co_await write_header();
        }
        write_prepared_ = done.has_value();
    }
    if (done && options.lazy_refcounts && !lazy_open_) {
        done = co_await set_incompatible(kDirty, true);
        lazy_open_ = done.has_value();
    }
    prepare_mutex_.unlock();
    co_return done;
}

} // namespace rhea::block::qcow2
