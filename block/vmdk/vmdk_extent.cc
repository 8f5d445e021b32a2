#include "block/vmdk/vmdk_extent.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/vmdk/vmdk_descriptor.h"

namespace rhea::block {

namespace {

/// A GTE: the grain reads as zeroes (with kVmdkZeroGrain).
constexpr std::uint32_t kZeroGte = 1;

} // namespace

VmdkSparseExtent::VmdkSparseExtent(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename)
    : ClusterNode(context, "vmdk", std::move(file), std::move(filename)), directories_(file_, 4096, 64),
      tables_(file_, 2048, 512) {}

Task<Result<void>> VmdkSparseExtent::load() {
    auto header = co_await VmdkHeader::load(file_);
    if (!header)
        co_return util::fail(header.error());
    header_ = *header;
    if (!read_only() && header_.in_footer)
        co_return file_.fail(ENOTSUP, "stream-optimized extents whose directory is at their end are not written; open the "
                                      "image read-only, or convert it");
    if (!read_only() && header_.version == 3 && !header_.compressed())
        co_return file_.fail(ENOTSUP, "extents of version 3 are not written (changed blocks are tracked); open the image "
                                      "read-only, or convert it");
    gd_ = {header_.gd_offset * kVmdkSector, header_.gd_entries() * 4};
    if ((header_.flags & kVmdkRedundant) && header_.rgd_offset != header_.gd_offset)
        rgd_ = {header_.rgd_offset * kVmdkSector, gd_.bytes};
    set_shape({header_.capacity * kVmdkSector, static_cast<std::uint32_t>(header_.grain_bytes())});
    end_ = round_up(std::max(file_.length(), header_.grain_offset > file_.length() / kVmdkSector
                                                 ? file_.length()
                                                 : header_.grain_offset * kVmdkSector),
                    header_.compressed() ? kVmdkSector : header_.grain_bytes());
    co_return Result<void>{};
}

void VmdkSparseExtent::set_backing_at(std::shared_ptr<BlockNode> backing, std::uint64_t start) {
    backing_ = std::move(backing);
    backing_start_ = start;
}

Task<Result<void>> VmdkSparseExtent::read_backing(std::uint64_t offset, const IoVector &to) {
    return ClusterNode::read_backing(backing_start_ + offset, to);
}

// ---- tables ----------------------------------------------------------------------------------------------------------

Table VmdkSparseExtent::gt(std::uint64_t sector) const {
    return {sector * kVmdkSector, std::uint64_t{header_.gtes_per_gt} * 4};
}

bool VmdkSparseExtent::valid_gt(std::uint64_t sector) const {
    const Table table = gt(sector);
    const auto overlaps = [&](const Table &other) {
        return table.offset < other.offset + other.bytes && other.offset < table.offset + table.bytes;
    };
    return table.offset >= kVmdkHeaderBytes && range_fits(table.offset, table.bytes, file_.length()) && !overlaps(gd_) &&
           !overlaps(rgd_);
}

/// False where the entry is impossible.
bool VmdkSparseExtent::decode(std::uint32_t entry, ClusterPlace &place) const {
    place = {};
    if (entry == 0)
        return true;
    if (entry == kZeroGte && (header_.flags & kVmdkZeroGrain)) {
        place.kind = ClusterPlace::Kind::kZero;
        return true;
    }
    place = {header_.compressed() ? ClusterPlace::Kind::kCompressed : ClusterPlace::Kind::kData, entry * kVmdkSector};
    const auto inside = [&](const Table &table) {
        return place.offset < table.offset + table.bytes && table.offset < place.offset + kVmdkSector;
    };
    return place.offset < file_.length() && !inside(gd_) && !inside(rgd_);
}

bool VmdkSparseExtent::place_now(std::uint64_t index, ClusterPlace &place) {
    place = {};
    const std::uint8_t *entry = directories_.find(gd_, index / header_.gtes_per_gt * 4);
    if (!entry)
        return false;
    const std::uint32_t table = load_le32(entry);
    if (table == 0)
        return true;
    if (!valid_gt(table))
        return false;
    entry = tables_.find(gt(table), index % header_.gtes_per_gt * 4);
    return entry && decode(load_le32(entry), place);
}

Task<Result<ClusterPlace>> VmdkSparseExtent::place(std::uint64_t index) {
    const std::uint64_t gd_index = index / header_.gtes_per_gt, gt_index = index % header_.gtes_per_gt;
    auto entry = co_await directories_.load(gd_, gd_index * 4);
    if (!entry)
        co_return util::fail(entry.error());
    const std::uint32_t table = load_le32(*entry);
    ClusterPlace place;
    if (table == 0)
        co_return place;
    if (!valid_gt(table))
        co_return damaged(fmt::format("entry {} of the grain directory (offset {}) names sector {}, where no grain table "
                                      "can be",
                                      gd_index, gd_.offset + gd_index * 4, table));
    entry = co_await tables_.load(gt(table), gt_index * 4);
    if (!entry)
        co_return util::fail(entry.error());
    const std::uint32_t value = load_le32(*entry);
    if (!decode(value, place))
        co_return damaged(fmt::format("entry {} of the grain table at sector {} names sector {}, where no grain can be",
                                      gt_index, table, value));
    co_return place;
}

Task<Result<void>> VmdkSparseExtent::allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                              const IoVector &contents) {
    if (header_.compressed())
        co_return co_await store_compressed(first, count, skip, contents);
    const std::uint64_t start = end_, end = start + count * header_.grain_bytes();
    if (end / kVmdkSector > UINT32_MAX)
        co_return file_.fail(ENOSPC, "the extent has no sector numbers left for more grains");
    auto done = co_await file_.grow(end);
    if (!done)
        co_return done;
    end_ = end; // also when the rest fails: the space is not used again
    done = co_await file_.write(start + skip, contents);
    if (!done)
        co_return done;
    co_return co_await set_entries(first, count, static_cast<std::uint32_t>(start / kVmdkSector),
                                   static_cast<std::uint32_t>(header_.granularity));
}

Task<Result<bool>> VmdkSparseExtent::make_zero(std::uint64_t first, std::uint64_t count, unsigned) {
    if (!(header_.flags & kVmdkZeroGrain))
        co_return false;
    // A grain with storage would be lost space: the format has no list of free ones.
    for (std::uint64_t index = first; index < first + count; ++index) {
        auto found = co_await place(index);
        if (!found)
            co_return util::fail(found.error());
        if (found->kind != ClusterPlace::Kind::kUnallocated && found->kind != ClusterPlace::Kind::kZero)
            co_return false;
    }
    auto done = co_await set_entries(first, count, kZeroGte, 0);
    if (!done)
        co_return util::fail(done.error());
    co_return true;
}

Task<Result<void>> VmdkSparseExtent::set_entries(std::uint64_t first, std::uint64_t count, std::uint32_t value,
                                                 std::uint32_t step) {
    while (count > 0) {
        const std::uint64_t gt_index = first % header_.gtes_per_gt;
        const std::uint64_t here = std::min<std::uint64_t>(count, header_.gtes_per_gt - gt_index);
        std::vector<std::uint8_t> entries(here * 4);
        for (std::uint64_t i = 0; i < here; ++i)
            store_le32(&entries[i * 4], static_cast<std::uint32_t>(value + i * step));
        Result<void> done;
        if (rgd_.bytes != 0)
            done = co_await set_gt_entries(rgd_, first / header_.gtes_per_gt, gt_index, entries);
        if (done)
            done = co_await set_gt_entries(gd_, first / header_.gtes_per_gt, gt_index, entries);
        if (!done)
            co_return done;
        first += here;
        count -= here;
        value += static_cast<std::uint32_t>(here * step);
    }
    co_return Result<void>{};
}

Task<Result<void>> VmdkSparseExtent::set_gt_entries(Table directory, std::uint64_t gd_index, std::uint64_t gt_index,
                                                    const std::vector<std::uint8_t> &entries) {
    auto entry = co_await directories_.load(directory, gd_index * 4);
    if (!entry)
        co_return util::fail(entry.error());
    std::uint64_t table = load_le32(*entry);
    if (table != 0) {
        if (!valid_gt(table))
            co_return damaged(fmt::format("entry {} of the grain directory at offset {} names sector {}, where no grain "
                                          "table can be",
                                          gd_index, directory.offset, table));
        co_return co_await tables_.update(gt(table), gt_index * 4, entries.data(), entries.size());
    }
    table = end_ / kVmdkSector;
    end_ += round_up(header_.gt_sectors() * kVmdkSector, header_.compressed() ? kVmdkSector : header_.grain_bytes());
    if (end_ / kVmdkSector > UINT32_MAX)
        co_return file_.fail(ENOSPC, "the extent has no sector numbers left for more grain tables");
    auto done = co_await file_.grow(end_);
    if (!done)
        co_return done;
    done = co_await tables_.update(gt(table), gt_index * 4, entries.data(), entries.size());
    if (!done)
        co_return done;
    std::uint8_t raw[4];
    store_le32(raw, static_cast<std::uint32_t>(table));
    co_return co_await directories_.update(directory, gd_index * 4, raw, sizeof(raw));
}

Task<Result<CheckResult>> VmdkSparseExtent::check(CheckFix) {
    CheckResult result;
    result.total_clusters = cluster_count();
    result.image_end_offset = file_.length();
    for (std::uint64_t index = 0; index < cluster_count(); ++index) {
        auto found = co_await place(index);
        if (!found) {
            ++result.corruptions;
            if (result.messages.size() < 1000)
                result.messages.push_back("ERROR: " + found.error().message());
            continue;
        }
        result.allocated_clusters += found->kind == ClusterPlace::Kind::kData || found->kind == ClusterPlace::Kind::kCompressed;
        result.compressed_clusters += found->kind == ClusterPlace::Kind::kCompressed;
    }
    co_return result;
}

} // namespace rhea::block
