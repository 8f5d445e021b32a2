// Checker: the walk over all tables.
#include <cerrno>

#include "block/qcow2/bitmaps.h"
#include "block/qcow2/check.h"
#include "block/qcow2/refcount_entry.h"
#include "block/qcow2/task_group.h"

namespace rhea::block::qcow2 {

namespace {

constexpr std::uint64_t kBatchBytes = 2u << 20;

Task<Result<void>> read_into(HostFile &file, std::uint64_t offset, std::span<std::uint8_t> to) { return file.read(offset, to, "a metadata table"); }

} // namespace

/// Cluster-sized tables, many at once; neighbours in one request.
Task<Result<void>> Checker::read_tables(const std::vector<std::uint64_t> &offsets, std::size_t first, std::size_t number,
                                        std::vector<std::uint8_t> &into) {
    const std::uint64_t size = g_.cluster_size();
    into.resize(number * size);
    TaskGroup group(image_.file.node().context());
    for (std::size_t i = 0; i < number;) {
        std::size_t together = 1;
        while (i + together < number && offsets[first + i + together] == offsets[first + i] + together * size)
            ++together;
        group.start(read_into(image_.file, offsets[first + i], {&into[i * size], together * size}));
        i += together;
        co_await group.below(15);
    }
    co_return co_await group.wait();
}

Task<Result<void>> Checker::load_stored() {
    const std::vector<std::uint64_t> &table = image_.refcounts.table();
    std::vector<std::uint64_t> offsets, indexes;
    for (std::size_t i = 0; i < table.size(); ++i) {
        if (table[i] == 0)
            continue;
        if ((table[i] & kRefcountTableReserved) != 0 || !g_.aligned(table[i])) {
            corruption(fmt::format("ERROR refcount block {} is at {:#x}, not on a cluster boundary", i, table[i]), true);
            needs_rebuild_ = true;
        } else if (table[i] >> g_.cluster_bits >= counted_.size()) {
            corruption(fmt::format("ERROR refcount block {} is at {:#x}, behind the end of the file", i, table[i]), true);
            needs_rebuild_ = true;
        } else {
            offsets.push_back(table[i]);
            indexes.push_back(i);
        }
    }
    const std::size_t batch = std::max<std::uint64_t>(1, kBatchBytes >> g_.cluster_bits);
    std::vector<std::uint8_t> bytes;
    for (std::size_t at = 0; at < offsets.size(); at += batch) {
        const std::size_t number = std::min(batch, offsets.size() - at);
        auto done = co_await read_tables(offsets, at, number, bytes);
        if (!done)
            co_return done;
        for (std::size_t i = 0; i < number; ++i) {
            const std::uint8_t *block = &bytes[i << g_.cluster_bits];
            const std::uint64_t base = indexes[at + i] << g_.refcount_block_bits();
            for (std::uint64_t j = 0; j < g_.refcount_block_entries(); ++j) {
                const std::uint64_t value = get_refcount(block, g_.refcount_order, j);
                if (value == 0)
                    continue;
                if (base + j < stored_.size()) {
                    stored_.set(base + j, value);
                } else { // behind the end of the file: nothing can refer to it
                    leak(fmt::format("Leaked cluster {} refcount={} reference=0", base + j, value));
                    lower_.push_back(base + j);
                    highest_ = std::max(highest_, base + j);
                }
            }
        }
    }
    co_return Result<void>{};
}

Task<Result<void>> Checker::walk() {
    const Header &h = image_.header;
    count(0, 1, "the header");
    auto done = co_await walk_l1(h.l1_offset, std::uint64_t{h.l1_size} * 8, image_.l1, true);
    if (!done)
        co_return done;
    count(h.snapshot_offset, image_.snapshot_table_size, "the snapshot table");
    if (h.encryption)
        count(h.encryption->offset, h.encryption->length, "the LUKS header");
    for (const SnapshotEntry &snapshot : image_.snapshots) {
        if (h.external_data()) {
            corruption(fmt::format("ERROR snapshot '{}' in an image with an external data file", snapshot.name), false);
            continue;
        }
        std::vector<std::uint8_t> raw(std::size_t{snapshot.l1_size} * 8);
        done = co_await image_.file.read(snapshot.l1_offset, raw, "the L1 table of a snapshot");
        if (!done)
            co_return done;
        std::vector<std::uint64_t> l1(snapshot.l1_size);
        for (std::size_t i = 0; i < l1.size(); ++i)
            l1[i] = load_be<std::uint64_t>(&raw[i * 8]);
        done = co_await walk_l1(snapshot.l1_offset, raw.size(), l1, false);
        if (!done)
            co_return done;
    }
    co_return co_await walk_bitmaps();
}

Task<Result<void>> Checker::walk_l1(std::uint64_t offset, std::uint64_t bytes, const std::vector<std::uint64_t> &l1, bool active) {
    count(offset, bytes, "an L1 table");
    std::vector<std::uint64_t> tables, indexes;
    for (std::size_t i = 0; i < l1.size(); ++i) {
        const std::uint64_t table = l1[i] & kOffsetMask;
        if ((l1[i] & kL1Reserved) != 0)
            corruption(fmt::format("ERROR L1 entry {} is {:#x}: reserved bits are set", i, l1[i]), false);
        if (table == 0)
            continue;
        if (!g_.aligned(table)) {
            corruption(fmt::format("ERROR L2 table {:#x} of L1 entry {} is not on a cluster boundary", table, i), false);
            continue;
        }
        count(table, g_.cluster_size(), "an L2 table");
        if (table >> g_.cluster_bits >= counted_.size())
            continue;
        if (active) {
            const bool one = stored_.get(table >> g_.cluster_bits) == 1;
            if (one != ((l1[i] & kCopied) != 0)) {
                corruption(fmt::format("ERROR copied flag of L1 entry {} ({:#x}) does not fit refcount {}", i, l1[i],
                                       stored_.get(table >> g_.cluster_bits)), true);
                copied_fixes_.push_back({offset + i * 8, l1[i]});
            }
        }
        tables.push_back(table);
        indexes.push_back(i);
    }
    const std::size_t batch = std::max<std::uint64_t>(1, kBatchBytes >> g_.cluster_bits);
    std::vector<std::uint8_t> buffer;
    for (std::size_t at = 0; at < tables.size(); at += batch) {
        const std::size_t number = std::min(batch, tables.size() - at);
        auto done = co_await read_tables(tables, at, number, buffer);
        if (!done)
            co_return done;
        for (std::size_t i = 0; i < number; ++i)
            walk_l2(tables[at + i], indexes[at + i], &buffer[i << g_.cluster_bits], active);
    }
    co_return Result<void>{};
}

void Checker::walk_l2(std::uint64_t table, std::uint64_t l1_index, const std::uint8_t *bytes, bool active) {
    const std::uint64_t entries = 1ull << g_.l2_bits();
    const bool plain = !g_.extended_l2 && image_.data == nullptr && !image_.header.external_data();
    for (std::uint64_t i = 0; i < entries; ++i) {
        const L2Entry entry = load_l2(bytes, g_, i);
        if (entry.word == 0 && entry.bitmap == 0)
            continue;
        const std::uint64_t cluster = entry.offset() >> g_.cluster_bits;
        // The everyday entry: a data cluster that is ours alone.
        if (plain && (entry.word & ~kOffsetMask) == kCopied && g_.aligned(entry.offset()) && cluster != 0 && cluster < counted_.size() &&
            (!active || stored_.get(cluster) == 1)) {
            counted_.add(cluster);
            if (active) {
                ++result_.allocated_clusters;
                if (next_contiguous_ != 0 && entry.offset() != next_contiguous_)
                    ++result_.fragmented_clusters;
                next_contiguous_ = entry.offset() + g_.cluster_size();
            }
            continue;
        }
        walk_entry(table, i, (l1_index << g_.l1_shift()) + (i << g_.cluster_bits), entry, active);
    }
}

void Checker::walk_entry(std::uint64_t table, std::uint64_t index, std::uint64_t guest, const L2Entry &entry, bool active) {
    const std::uint64_t at = table + index * g_.l2_entry_size();
    const auto bad = [&](std::string_view what, bool fixable = false) {
        corruption(fmt::format("ERROR L2 entry at {:#x} (guest offset {:#x}) is {:#x}: {}", at, guest, entry.word, what), fixable);
    };
    if (entry.compressed()) {
        if (image_.header.external_data()) {
            bad("a compressed cluster in an image with an external data file");
            return;
        }
        if (entry.copied()) {
            bad("the copied flag is set in a compressed cluster", true);
            entry_fixes_.push_back({at, entry.word & ~kCopied});
        }
        const std::uint64_t offset = g_.compressed_offset(entry.word);
        if (offset >> 56 != 0) {
            bad("the offset of the compressed cluster is beyond 64 PiB");
            return;
        }
        if (g_.extended_l2 && entry.bitmap != 0)
            bad("the subcluster bitmap of a compressed cluster is not zero");
        // Whole sectors are counted, also where the last one lies behind the end of the file.
        std::uint64_t length = g_.compressed_bytes(entry.word);
        if (const std::uint64_t end = image_.file.length(); offset < end && offset + length > g_.align_up(end))
            length = g_.align_up(end) - offset;
        count(offset, length, "a compressed cluster");
        if (active) {
            ++result_.allocated_clusters;
            ++result_.compressed_clusters;
            ++result_.fragmented_clusters; // no two lie as the guest sees them
        }
        return;
    }
    const std::uint64_t reserved = kL2Reserved | (g_.extended_l2 ? kZeroBit : 0);
    if ((entry.word & reserved) != 0)
        bad("reserved bits are set");
    if ((entry.word & kZeroBit) != 0 && image_.header.version < 3)
        bad("a zero cluster in an image of version 2");
    if (g_.extended_l2 && (entry.allocated_bits() & entry.zero_bits()) != 0)
        bad("a subcluster is both allocated and zero");
    if (!entry.has_cluster()) {
        if (g_.extended_l2 && entry.allocated_bits() != 0)
            bad("subclusters are allocated, but there is no cluster");
        return;
    }
    if (image_.header.external_data()) {
        if (entry.offset() != guest)
            bad("the offset in the external data file is not the guest's");
        if (active) {
            ++result_.allocated_clusters;
            if (!entry.copied()) {
                bad("the copied flag is missing", true);
                entry_fixes_.push_back({at, entry.word | kCopied});
            }
        }
        return;
    }
    if (!g_.aligned(entry.offset())) {
        const bool holds_nothing = !entry.has_data(g_.extended_l2) && !g_.extended_l2;
        bad("the host offset is not on a cluster boundary", holds_nothing);
        if (holds_nothing)
            entry_fixes_.push_back({at, kZeroBit});
        return;
    }
    count(entry.offset(), g_.cluster_size(), "a data cluster");
    if (!active)
        return;
    if (entry.has_data(g_.extended_l2) || entry.kind(g_.extended_l2, 0) == Kind::kZeroAlloc) {
        ++result_.allocated_clusters;
        if (next_contiguous_ != 0 && entry.offset() != next_contiguous_)
            ++result_.fragmented_clusters;
        next_contiguous_ = entry.offset() + g_.cluster_size();
    }
    const std::uint64_t cluster = entry.offset() >> g_.cluster_bits;
    const std::uint64_t stored = cluster < stored_.size() ? stored_.get(cluster) : 0;
    if (cluster < stored_.size() && (stored == 1) != entry.copied()) {
        bad(fmt::format("the copied flag does not fit refcount {}", stored), true);
        copied_fixes_.push_back({at, entry.word});
    }
}

Task<Result<void>> Checker::walk_bitmaps() {
    if (!image_.header.bitmaps)
        co_return Result<void>{};
    const BitmapExtension &extension = *image_.header.bitmaps;
    count(extension.directory_offset, extension.directory_size, "the bitmap directory");
    auto entries = co_await read_bitmap_directory(image_);
    if (!entries) {
        corruption("ERROR " + entries.error().message(), false);
        co_return Result<void>{};
    }
    for (const BitmapEntry &entry : *entries) {
        count(entry.table_offset, std::uint64_t{entry.table_size} * 8, "a bitmap table");
        auto table = co_await read_bitmap_table(image_, entry);
        if (!table)
            co_return util::fail(table.error());
        for (const std::uint64_t word : *table) {
            const std::uint64_t offset = word & kOffsetMask;
            if ((word & ~(kOffsetMask | 1)) != 0 || (offset != 0 && (word & 1) != 0) || !g_.aligned(offset))
                corruption(fmt::format("ERROR bitmap '{}' has the table entry {:#x}", entry.name, word), false);
            else if (offset != 0)
                count(offset, g_.cluster_size(), "a cluster of a bitmap");
        }
    }
    co_return Result<void>{};
}

void Checker::walk_refcounts() {
    const Refcounts &refcounts = image_.refcounts;
    count(refcounts.table_offset(), refcounts.table().size() * 8, "the refcount table");
    for (std::size_t i = 0; i < refcounts.table().size(); ++i) {
        const std::uint64_t block = refcounts.table()[i];
        if (block == 0 || !g_.aligned(block) || block >> g_.cluster_bits >= counted_.size())
            continue;
        count(block, g_.cluster_size(), "a refcount block");
        if (counted_.get(block >> g_.cluster_bits) != 1) {
            corruption(fmt::format("ERROR refcount block {} at {:#x} is also something else (reference={})", i, block,
                                   counted_.get(block >> g_.cluster_bits)), true);
            needs_rebuild_ = true;
        }
    }
}

void Checker::compare() {
    const std::vector<std::uint64_t> &table = image_.refcounts.table();
    for (std::uint64_t cluster = 0; cluster < counted_.size(); ++cluster) {
        const std::uint64_t counted = counted_.get(cluster), stored = stored_.get(cluster);
        if ((counted | stored) != 0)
            highest_ = std::max(highest_, cluster);
        if (counted == stored)
            continue;
        if (stored < counted) {
            corruption(fmt::format("ERROR cluster {} refcount={} reference={}", cluster, stored, counted), true);
            raise_.push_back(cluster);
            const std::uint64_t block = cluster >> g_.refcount_block_bits();
            if (block >= table.size() || table[block] == 0)
                needs_rebuild_ = true;
        } else {
            leak(fmt::format("Leaked cluster {} refcount={} reference={}", cluster, stored, counted));
            lower_.push_back(cluster);
        }
    }
}

} // namespace rhea::block::qcow2
