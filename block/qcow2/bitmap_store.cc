// Bitmaps: their bits from and to the file, and their directory.
//
// A changed bitmap gets a new table and new clusters, and all of them a new directory; the header, which is written last, changes
// from the old one to the new one. So a crash leaves one or the other, and at most leaked clusters.
#include <algorithm>
#include <cerrno>

#include "block/qcow2/bitmaps.h"

namespace rhea::block::qcow2 {

namespace {

/// Bytes of a bitmap in memory, at most; more is not recorded in.
constexpr std::uint64_t kMaxBitmapBytes = 512u << 20;

std::vector<std::uint8_t> serialise(const std::vector<BitmapEntry> &entries) {
    std::vector<std::uint8_t> out;
    for (const BitmapEntry &entry : entries) {
        const std::size_t at = out.size();
        out.resize(at + stored_size(entry), 0);
        std::uint8_t *p = &out[at];
        store_be(p, entry.table_offset);
        store_be(p + 8, entry.table_size);
        store_be(p + 12, entry.flags);
        p[16] = entry.type;
        p[17] = entry.granularity_bits;
        store_be(p + 18, static_cast<std::uint16_t>(entry.name.size()));
        store_be(p + 20, static_cast<std::uint32_t>(entry.extra.size()));
        auto after = std::copy(entry.extra.begin(), entry.extra.end(), p + kFixedSize);
        std::copy(entry.name.begin(), entry.name.end(), after);
    }
    return out;
}

/// Writes bytes to new clusters, which nothing names yet; where they lie.
Task<Result<std::uint64_t>> write_new(Image &image, std::span<const std::uint8_t> bytes, const char *what) {
    const Geometry &g = image.geometry;
    const std::uint64_t clusters = g.clusters(bytes.size());
    auto first = co_await image.refcounts.allocate_contiguous(clusters);
    if (!first)
        co_return util::fail(first.error());
    const std::uint64_t offset = *first << g.cluster_bits;
    image.note_written(offset + (clusters << g.cluster_bits));
    std::vector<std::uint8_t> whole(clusters << g.cluster_bits);
    std::copy(bytes.begin(), bytes.end(), whole.begin());
    auto done = co_await image.file.write(offset, whole, what);
    if (!done) {
        co_await image.free_unused(*first, clusters);
        co_return util::fail(done.error());
    }
    co_return offset;
}

} // namespace

Result<BitmapBits> empty_bitmap(const Image &image, const BitmapEntry &entry) {
    const std::uint64_t bytes = BitmapBits::bits_of(image.header.size, entry.granularity_bits) / 8;
    if (bytes > kMaxBitmapBytes)
        return util::fail(util::Error("{}: bitmap '{}' takes {} bytes; at most {} are possible: a bigger granularity makes it smaller",
                                      image.filename(), entry.name, bytes, kMaxBitmapBytes).with_code(EFBIG));
    return BitmapBits(image.header.size, entry.granularity_bits);
}

Task<Result<BitmapBits>> load_bitmap(Image &image, const BitmapEntry &entry) {
    const Geometry &g = image.geometry;
    if (!entry.extra.empty() && (entry.flags & BitmapEntry::kExtraCompatible) == 0)
        co_return util::fail(util::Error("{}: bitmap '{}' has extra data that says how to use it, which is not known here", image.filename(),
                                         entry.name).with_code(ENOTSUP));
    const std::uint64_t bytes = (BitmapBits::bits_of(image.header.size, entry.granularity_bits) + 7) / 8;
    if (entry.table_size != g.clusters(bytes))
        co_return util::fail(util::Error("{}: bitmap '{}' has a table of {} entries; the disk needs {}", image.filename(), entry.name,
                                         entry.table_size, g.clusters(bytes)).with_code(EINVAL));
    auto empty = empty_bitmap(image, entry);
    if (!empty)
        co_return util::fail(empty.error());
    BitmapBits bits = std::move(*empty);
    auto table = co_await read_bitmap_table(image, entry);
    if (!table)
        co_return util::fail(table.error());
    for (std::size_t i = 0; i < table->size(); ++i) {
        const std::uint64_t offset = (*table)[i] & kOffsetMask, at = i << g.cluster_bits;
        const auto part = bits.bytes().subspan(at, std::min<std::uint64_t>(g.cluster_size(), bytes - at));
        if (offset == 0) {
            std::fill(part.begin(), part.end(), ((*table)[i] & 1) != 0 ? std::uint8_t{0xff} : std::uint8_t{0});
            continue;
        }
        if (!g.aligned(offset) || ((*table)[i] & ~kOffsetMask) != 0)
            co_return util::fail(util::Error("{}: bitmap '{}' has the table entry {:#x}", image.filename(), entry.name, (*table)[i]).with_code(EINVAL));
        auto done = co_await image.file.read(offset, part, "a cluster of a bitmap");
        if (!done)
            co_return util::fail(done.error());
    }
    if (const unsigned used = bits.size() % 8; used != 0) // whatever is stored behind the end
        bits.bytes().back() &= static_cast<std::uint8_t>((1u << used) - 1);
    co_return bits;
}

Task<Result<void>> store_bitmap(Image &image, BitmapEntry &entry, const BitmapBits &bits) {
    const Geometry &g = image.geometry;
    const std::span<const std::uint8_t> bytes = bits.bytes();
    std::vector<std::uint8_t> table(g.clusters(bytes.size()) * 8);
    if (table.size() > kMaxBitmapTableBytes)
        co_return util::fail(util::Error("{}: the table of bitmap '{}' would take {} bytes; a bigger granularity makes it smaller", image.filename(),
                                         entry.name, table.size()).with_code(EFBIG));
    entry.table_offset = entry.table_size = 0;
    if (table.empty()) // of a disk without bytes
        co_return Result<void>{};
    for (std::size_t i = 0; i * 8 < table.size(); ++i) {
        const std::uint64_t at = i << g.cluster_bits;
        const auto part = bytes.subspan(at, std::min<std::uint64_t>(g.cluster_size(), bytes.size() - at));
        if (std::all_of(part.begin(), part.end(), [](std::uint8_t byte) { return byte == 0; }))
            continue; // 0: no bit is set
        auto offset = co_await write_new(image, part, "a cluster of a bitmap");
        if (!offset)
            co_return util::fail(offset.error());
        store_be(&table[i * 8], *offset);
    }
    auto offset = co_await write_new(image, table, "a bitmap table");
    if (!offset)
        co_return util::fail(offset.error());
    entry.table_offset = *offset;
    entry.table_size = static_cast<std::uint32_t>(table.size() / 8);
    co_return Result<void>{};
}

Task<Result<void>> free_bitmap(Image &image, const BitmapEntry &entry) {
    const Geometry &g = image.geometry;
    auto table = co_await read_bitmap_table(image, entry);
    if (!table)
        co_return util::fail(table.error());
    for (const std::uint64_t word : *table)
        if (const std::uint64_t offset = word & kOffsetMask; offset != 0 && g.aligned(offset))
            image.free_later({offset >> g.cluster_bits, 1, FreeReason::kOther, false});
    image.free_later({entry.table_offset >> g.cluster_bits, g.clusters(std::uint64_t{entry.table_size} * 8), FreeReason::kOther, false});
    co_return Result<void>{};
}

Task<Result<void>> store_bitmap_directory(Image &image, const std::vector<BitmapEntry> &entries) {
    const Geometry &g = image.geometry;
    const std::vector<std::uint8_t> bytes = serialise(entries);
    if (entries.size() > kMaxBitmaps || bytes.size() > kMaxBitmapDirectoryBytes)
        co_return util::fail(util::Error("{}: there is no room for another bitmap", image.filename()).with_code(EFBIG));
    const Header old = image.header;
    image.header.bitmaps.reset();
    image.header.autoclear &= ~std::uint64_t{kBitmapsConsistent};
    if (!entries.empty()) {
        auto offset = co_await write_new(image, bytes, "the bitmap directory");
        if (!offset) {
            image.header = old;
            co_return util::fail(offset.error());
        }
        image.header.bitmaps = BitmapExtension{static_cast<std::uint32_t>(entries.size()), bytes.size(), *offset};
        image.header.autoclear |= kBitmapsConsistent;
    }
    image.publish();
    auto done = co_await image.commit(); // the counts of all that is new, and itself
    if (done)
        done = co_await image.write_header();
    if (done)
        done = co_await image.file.flush();
    if (!done) {
        image.header = old; // whether the new header got there is not known: its clusters stay taken
        co_return done;
    }
    if (old.bitmaps) {
        const std::uint64_t first = old.bitmaps->directory_offset >> g.cluster_bits, count = g.clusters(old.bitmaps->directory_size);
        image.map.remove(first, count);
        image.free_later({first, count, FreeReason::kOther, false});
    }
    if (image.header.bitmaps)
        image.map.add(image.header.bitmaps->directory_offset >> g.cluster_bits, g.clusters(bytes.size()), Metadata::kBitmapDirectory);
    co_return done;
}

} // namespace rhea::block::qcow2
