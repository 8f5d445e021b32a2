#include "block/qcow2/snapshot_table.h"

#include <cerrno>

namespace rhea::block::qcow2 {

namespace {

constexpr std::size_t kFixedSize = 40, kKnownExtra = 24;

std::size_t padded(std::size_t size) { return (size + 7) & ~std::size_t{7}; }

std::vector<std::uint8_t> serialise(const std::vector<SnapshotEntry> &snapshots) {
    std::vector<std::uint8_t> out;
    for (const SnapshotEntry &s : snapshots) {
        const std::size_t at = out.size(), extra = kKnownExtra + s.unknown_extra.size();
        out.resize(at + padded(kFixedSize + extra + s.id.size() + s.name.size()));
        std::uint8_t *p = &out[at];
        store_be(p, s.l1_offset);
        store_be(p + 8, s.l1_size);
        store_be(p + 12, static_cast<std::uint16_t>(s.id.size()));
        store_be(p + 14, static_cast<std::uint16_t>(s.name.size()));
        store_be(p + 16, s.date_sec);
        store_be(p + 20, s.date_nsec);
        store_be(p + 24, s.vm_clock_nsec);
        store_be(p + 32, s.vm_state_size > 0xffffffff ? std::uint32_t{0} : static_cast<std::uint32_t>(s.vm_state_size));
        store_be(p + 36, static_cast<std::uint32_t>(extra));
        store_be(p + 40, s.vm_state_size);
        store_be(p + 48, s.disk_size);
        store_be(p + 56, s.icount);
        p += kFixedSize + kKnownExtra;
        p = std::copy(s.unknown_extra.begin(), s.unknown_extra.end(), p);
        p = std::copy(s.id.begin(), s.id.end(), p);
        std::copy(s.name.begin(), s.name.end(), p);
    }
    return out;
}

} // namespace

Task<Result<void>> load_snapshot_table(Image &image) {
    const Header &h = image.header;
    image.snapshots.clear();
    image.snapshot_table_size = 0;
    std::uint64_t at = h.snapshot_offset;
    const auto refuse = [&](std::uint32_t index, std::string_view what) {
        return util::fail(util::Error("{}: snapshot {} of {} (table entry at {:#x}): {}", image.filename(), index + 1, h.snapshot_count, at, what)
                              .with_code(EINVAL));
    };
    const std::uint64_t end = image.geometry.align_up(image.file.length());
    for (std::uint32_t i = 0; i < h.snapshot_count; ++i) {
        std::uint8_t fixed[kFixedSize];
        if (at + kFixedSize > end || at - h.snapshot_offset > kMaxSnapshotTableBytes)
            co_return refuse(i, "it lies behind the end of the file, or the table is too long");
        auto done = co_await image.file.read(at, fixed, "the snapshot table");
        if (!done)
            co_return done;
        SnapshotEntry s;
        s.l1_offset = load_be<std::uint64_t>(fixed);
        s.l1_size = load_be<std::uint32_t>(fixed + 8);
        const std::size_t id_size = load_be<std::uint16_t>(fixed + 12), name_size = load_be<std::uint16_t>(fixed + 14);
        s.date_sec = load_be<std::uint32_t>(fixed + 16);
        s.date_nsec = load_be<std::uint32_t>(fixed + 20);
        s.vm_clock_nsec = load_be<std::uint64_t>(fixed + 24);
        s.vm_state_size = load_be<std::uint32_t>(fixed + 32);
        const std::uint32_t extra = load_be<std::uint32_t>(fixed + 36);
        if (extra > kMaxSnapshotExtra)
            co_return refuse(i, fmt::format("it has {} bytes of extra data; at most {} are possible", extra, kMaxSnapshotExtra));
        std::vector<std::uint8_t> rest(extra + id_size + name_size);
        done = co_await image.file.read(at + kFixedSize, rest, "the snapshot table");
        if (!done)
            co_return done;
        if (extra >= 8)
            s.vm_state_size = load_be<std::uint64_t>(&rest[0]);
        s.disk_size = extra >= 16 ? load_be<std::uint64_t>(&rest[8]) : h.size;
        if (extra >= 24)
            s.icount = load_be<std::uint64_t>(&rest[16]);
        if (extra > kKnownExtra)
            s.unknown_extra.assign(rest.begin() + kKnownExtra, rest.begin() + extra);
        const char *text = reinterpret_cast<const char *>(rest.data()) + extra;
        s.id.assign(text, id_size);
        s.name.assign(text + id_size, name_size);
        if (!image.geometry.aligned(s.l1_offset) || std::uint64_t{s.l1_size} * 8 > kMaxL1Bytes || (s.l1_offset == 0 && s.l1_size != 0) ||
            s.l1_offset + std::uint64_t{s.l1_size} * 8 > end)
            co_return refuse(i, fmt::format("its L1 table at {:#x} with {} entries is not inside the file", s.l1_offset, s.l1_size));
        at += padded(kFixedSize + rest.size());
        image.snapshots.push_back(std::move(s));
    }
    image.snapshot_table_size = at - h.snapshot_offset;
    co_return Result<void>{};
}

Task<Result<void>> store_snapshot_table(Image &image, std::vector<SnapshotEntry> snapshots) {
    const std::vector<std::uint8_t> bytes = serialise(snapshots);
    const Geometry &g = image.geometry;
    if (bytes.size() > kMaxSnapshotTableBytes || snapshots.size() > kMaxSnapshots)
        co_return util::fail(util::Error("{}: there is no room for another snapshot in the snapshot table", image.filename()).with_code(EFBIG));
    std::uint64_t offset = 0;
    const std::uint64_t clusters = g.clusters(bytes.size());
    if (clusters != 0) {
        auto first = co_await image.refcounts.allocate_contiguous(clusters);
        if (!first)
            co_return util::fail(first.error());
        offset = *first << g.cluster_bits;
        image.note_written(offset + (clusters << g.cluster_bits));
        auto done = co_await image.file.write(offset, bytes, "the snapshot table");
        if (done)
            done = co_await image.commit(); // its refcounts, and itself
        if (!done) {
            co_await image.free_unused(*first, clusters);
            co_return done;
        }
    }
    const Header old = image.header;
    image.header.snapshot_count = static_cast<std::uint32_t>(snapshots.size());
    image.header.snapshot_offset = offset;
    auto done = co_await image.write_header();
    if (done)
        done = co_await image.file.flush();
    if (!done) {
        image.header = old; // whether the new header got there is not known: its clusters stay taken
        co_return done;
    }
    const std::uint64_t old_clusters = g.clusters(image.snapshot_table_size);
    if (old_clusters != 0) {
        image.map.remove(old.snapshot_offset >> g.cluster_bits, old_clusters);
        image.free_later({old.snapshot_offset >> g.cluster_bits, old_clusters, FreeReason::kOther, false});
    }
    image.map.add(offset >> g.cluster_bits, clusters, Metadata::kSnapshotTable);
    image.snapshots = std::move(snapshots);
    image.snapshot_table_size = bytes.size();
    co_return done;
}

std::size_t find_snapshot(const Image &image, const std::string &id_or_name) {
    const auto by = [&](auto member) {
        std::size_t i = 0;
        while (i < image.snapshots.size() && image.snapshots[i].*member != id_or_name)
            ++i;
        return i;
    };
    const std::size_t found = by(&SnapshotEntry::id);
    return found < image.snapshots.size() ? found : by(&SnapshotEntry::name);
}

} // namespace rhea::block::qcow2
