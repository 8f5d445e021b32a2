#include "block/qcow2/image.h"

#include <cerrno>

#include "block/qcow2/bitmaps.h"

namespace rhea::block::qcow2 {

namespace {
Geometry geometry_for(const Header &header, const OpenOptions &options) {
    Geometry g = header.geometry();
    if (options.l2_slice_bits != 0)
        g.l2_slice_bits = std::clamp(options.l2_slice_bits, kMinClusterBits, g.cluster_bits);
    return g;
}
} // namespace

Image::Image(HostFile host_file, Header image_header, const OpenOptions &open_options)
    : file(std::move(host_file)), header(std::move(image_header)), geometry(geometry_for(header, open_options)), options(open_options),
      map(open_options.overlap), refcounts(file, geometry, map, open_options.refcount_cache_bytes),
      l2(file, "an L2 table", geometry.cluster_bits, geometry.l2_slice_bits, open_options.l2_cache_bytes >> geometry.l2_slice_bits),
      written_end_(file.length()) {}

Image::~Image() = default;

void Image::record(std::uint64_t offset, std::uint64_t length) {
    for (RecordingBitmap &each : recording)
        each.bits.mark(offset, length);
}

Task<Result<void>> Image::load_l1() {
    l1.assign(header.l1_size, 0);
    std::vector<std::uint8_t> raw(std::size_t{header.l1_size} * 8);
    auto done = co_await file.read(header.l1_offset, raw, "the L1 table");
    if (!done)
        co_return done;
    for (std::size_t i = 0; i < l1.size(); ++i)
        l1[i] = load_be<std::uint64_t>(&raw[i * 8]);
    co_return Result<void>{};
}

Result<Need> Image::find_l2(std::uint64_t guest, Slice *&slice, std::uint64_t &index) {
    slice = nullptr;
    const std::uint64_t i = geometry.l1_index(guest);
    if (i >= l1.size())
        return Need{};
    const std::uint64_t table = l1[i] & kOffsetMask;
    if (table == 0)
        return Need{};
    if (!geometry.aligned(table))
        return util::fail(util::Error("{}: entry {} of the L1 table at {:#x} names the L2 table {:#x}, which is not on a cluster boundary; the image is "
                                      "corrupt", filename(), i, header.l1_offset, table).with_code(EUCLEAN));
    const std::uint64_t entry = geometry.l2_index(guest), in_slice = geometry.slice_entries() - 1;
    const std::uint64_t offset = table + ((entry & ~in_slice) << geometry.l2_entry_bits());
    slice = l2.find(offset);
    if (slice == nullptr)
        return Need{&l2, offset};
    index = entry & in_slice;
    return Need{};
}

Result<void> Image::check_entry(const L2Entry &entry, std::uint64_t guest) const {
    const auto refuse = [&](std::string_view what) {
        return util::fail(util::Error("{}: the L2 entry of the cluster at guest offset {:#x} is {:#x}: {}; the image is corrupt", filename(),
                                      geometry.align_down(guest), entry.word, what).with_code(EUCLEAN));
    };
    if (entry.compressed()) {
        if (header.external_data())
            return refuse("a compressed cluster in an image with an external data file");
        return {};
    }
    if (!geometry.aligned(entry.offset()))
        return refuse("the host offset is not on a cluster boundary");
    if (entry.word & kZeroBit) {
        if (header.version < 3)
            return refuse("a zero cluster in an image of version 2");
        if (geometry.extended_l2)
            return refuse("bit 0 is set with extended L2 entries");
    }
    if (geometry.extended_l2 && (entry.allocated_bits() & entry.zero_bits()) != 0)
        return refuse("a subcluster is both allocated and zero");
    if (geometry.extended_l2 && entry.allocated_bits() != 0 && !entry.has_cluster())
        return refuse("subclusters are allocated, but there is no cluster");
    if (header.external_data()) {
        if (entry.has_cluster() && entry.offset() != geometry.align_down(guest))
            return refuse("the offset in the external data file must be the guest's");
    } else if (entry.copied() && entry.offset() == 0) {
        return refuse("the host offset is 0, where the header is");
    }
    return {};
}

void Image::set_l1(std::uint64_t index, std::uint64_t entry) {
    l1[index] = entry;
    l1_dirty_.insert(index / 64);
}

void Image::free_later(FreedRun run) {
    if (run.count == 0)
        return;
    if (!freed_.empty()) {
        FreedRun &last = freed_.back();
        if (last.first + last.count == run.first && last.reason == run.reason && last.table == run.table) {
            last.count += run.count;
            return;
        }
    }
    freed_.push_back(run);
}

void Image::free_entry_later(const L2Entry &entry, FreeReason reason) {
    if (entry.compressed()) {
        const std::uint64_t offset = geometry.compressed_offset(entry.word);
        const std::uint64_t first = offset >> geometry.cluster_bits;
        const std::uint64_t last = (offset + geometry.compressed_bytes(entry.word) - 1) >> geometry.cluster_bits;
        freed_.push_back({first, last - first + 1, reason, false}); // not merged: the next may start in the same cluster
    } else if (entry.has_cluster()) {
        if (data != nullptr)
            return; // an external data file has no refcounts
        free_later({entry.offset() >> geometry.cluster_bits, 1, reason, false});
    }
}

Task<Result<void>> Image::free_unused(std::uint64_t first, std::uint64_t count) {
    return refcounts.change_loading(first, count, false);
}

Task<Result<void>> Image::free_now(std::vector<FreedRun> runs) {
    for (const FreedRun &run : runs) {
        const bool pass = run.reason == FreeReason::kRequest    ? options.pass_discard_request
                          : run.reason == FreeReason::kSnapshot ? options.pass_discard_snapshot
                                                                : options.pass_discard_other;
        // The file gives space back before the count says that it is free: afterwards it may be somebody's.
        std::uint64_t free_from = 0, free_count = 0;
        for (std::uint64_t i = 0; i < run.count; ++i) {
            auto count = co_await refcounts.get_loading(run.first + i);
            if (!count)
                co_return util::fail(count.error());
            if (*count != 1)
                continue;
            if (compressed_tail >> geometry.cluster_bits == run.first + i)
                compressed_tail = 0; // nothing may be packed into it any more
            if (run.table) {
                l2.forget((run.first + i) << geometry.cluster_bits);
                map.remove(run.first + i, 1);
            }
            if (free_count != 0 && free_from + free_count == run.first + i) {
                ++free_count;
                continue;
            }
            if (pass && free_count != 0)
                co_await file.node().discard(free_from << geometry.cluster_bits, free_count << geometry.cluster_bits);
            free_from = run.first + i;
            free_count = 1;
        }
        if (pass && free_count != 0) {
            const std::uint64_t offset = free_from << geometry.cluster_bits, length = file.length();
            if (offset < length)
                co_await file.node().discard(offset, std::min(free_count << geometry.cluster_bits, length - offset));
        }
        auto done = co_await refcounts.change_loading(run.first, run.count, false);
        if (!done)
            co_return done;
    }
    co_return Result<void>{};
}

Result<void> Image::check_no_overlap(std::uint64_t offset, std::uint64_t length) const {
    if (map.watched() == overlap::kNone || data != nullptr || length == 0)
        return {};
    MetadataMap::Hit hit{};
    const std::uint64_t first = offset >> geometry.cluster_bits;
    if (!map.hits(first, ((offset + length - 1) >> geometry.cluster_bits) - first + 1, hit))
        return {};
    return util::fail(util::Error("{}: a write of guest data would overwrite {} at {:#x}; the image is corrupt", filename(), metadata_name(hit.kind),
                                  hit.cluster << geometry.cluster_bits).with_code(EUCLEAN));
}

Task<util::Error> Image::note_error(const util::Error &error) {
    if (error.code() != EUCLEAN)
        co_return error;
    if (writable && !damaged_) {
        damaged_ = true; // first: nothing else is written from here on
        if (header.version >= 3)
            co_await set_incompatible(kCorrupt, true);
    }
    co_return error.with_code(EIO);
}

} // namespace rhea::block::qcow2
