#include "block/vhdx/vhdx_node.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"

namespace rhea::block {

VhdxNode::VhdxNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename)
    : ClusterNode(context, "vhdx", std::move(file), std::move(filename)), cache_(file_, 64 << 10, 64), log_(file_) {}

Task<Result<void>> VhdxNode::load() {
    std::array<char, 8> identifier{};
    auto done = co_await file_.read_bytes(0, identifier.data(), identifier.size());
    if (!done)
        co_return done;
    if (std::string_view(identifier.data(), identifier.size()) != kVhdxIdentifier)
        co_return file_.fail(EINVAL, "this is no VHDX image: \"vhdxfile\" at offset 0 is missing");
    auto header = co_await VhdxHeader::load(file_, current_header_);
    if (!header)
        co_return util::fail(header.error());
    header_ = *header;
    done = co_await replay_log();
    if (!done)
        co_return done;
    auto regions = co_await VhdxRegions::load(file_, header_);
    if (!regions)
        co_return util::fail(regions.error());
    regions_ = *regions;
    auto metadata = co_await VhdxMetadata::load(file_, regions_.metadata);
    if (!metadata)
        co_return util::fail(metadata.error());
    metadata_ = *metadata;
    if (metadata_.bat_entries() * 8 > regions_.bat.length)
        co_return file_.fail(EINVAL, "{} entries of the block table do not fit into its region of {} bytes",
                             metadata_.bat_entries(), regions_.bat.length);
    bat_ = {regions_.bat.offset, regions_.bat.length};
    set_shape({metadata_.disk_size, metadata_.block_size});
    co_return done;
}

Task<Result<void>> VhdxNode::replay_log() {
    auto done = co_await log_.scan(header_);
    if (!done || !log_.pending())
        co_return done;
    if (read_only())
        co_return file_.fail(EPERM, "the image was not closed, and its log has to be replayed, which a read-only open cannot; "
                                    "run 'rhea-img check -r all {}'",
                             file_.filename());
    done = co_await log_.replay();
    if (!done)
        co_return done;
    replayed_ = true;
    header_.log_guid = {};
    co_return co_await write_headers();
}

/// Both, one after the other: one of them is valid at any moment.
Task<Result<void>> VhdxNode::write_headers() {
    for (unsigned i = 0; i < 2; ++i) {
        ++header_.sequence;
        const auto raw = header_.encode();
        auto done = co_await file_.write_bytes(kVhdxHeaderAt[1 - current_header_], raw.data(), raw.size());
        if (done)
            done = co_await file_.flush();
        if (!done)
            co_return done;
        current_header_ = 1 - current_header_;
    }
    co_return Result<void>{};
}

Task<Result<void>> VhdxNode::before_write() {
    header_.file_guid = random_uuid(false);
    header_.data_guid = random_uuid(false);
    header_.log_guid = random_uuid(false);
    log_.start(header_);
    co_return co_await write_headers();
}

Task<Result<void>> VhdxNode::close() {
    if (read_only() || is_damaged() || !header_.has_log())
        co_return Result<void>{};
    auto done = co_await file_.flush();
    if (!done)
        co_return done;
    header_.log_guid = {};
    co_return co_await write_headers();
}

/// False where the entry is impossible.
bool VhdxNode::decode(std::uint64_t index, std::uint64_t entry, ClusterPlace &place) const {
    place = {};
    switch (vhdx_state(entry)) {
    case VhdxBlockState::kNotPresent:
        return true;
    case VhdxBlockState::kUndefined:
    case VhdxBlockState::kZero:
    case VhdxBlockState::kUnmapped:
        place.kind = ClusterPlace::Kind::kZero;
        return true;
    case VhdxBlockState::kFullyPresent:
        break;
    default:
        return false;
    }
    place = {ClusterPlace::Kind::kData, vhdx_block_offset(entry)};
    const std::uint64_t used = std::min<std::uint64_t>(metadata_.block_size, length() - index * metadata_.block_size);
    const auto overlaps = [&](std::uint64_t start, std::uint64_t length) {
        return place.offset < start + length && start < place.offset + metadata_.block_size;
    };
    return place.offset >= kVhdxMiB && range_fits(place.offset, used, file_.length()) &&
           !overlaps(header_.log_offset, header_.log_length) && !overlaps(regions_.bat.offset, regions_.bat.length) &&
           !overlaps(regions_.metadata.offset, regions_.metadata.length);
}

bool VhdxNode::place_now(std::uint64_t index, ClusterPlace &place) {
    const std::uint8_t *entry = cache_.find(bat_, metadata_.bat_index(index) * 8);
    return entry && decode(index, load_le64(entry), place);
}

Task<Result<ClusterPlace>> VhdxNode::place(std::uint64_t index) {
    const std::uint64_t position = metadata_.bat_index(index) * 8;
    auto entry = co_await cache_.load(bat_, position);
    if (!entry)
        co_return util::fail(entry.error());
    const std::uint64_t value = load_le64(*entry);
    ClusterPlace place;
    if (!decode(index, value, place))
        co_return damaged(fmt::format("the entry of block {} in the block table (offset {}) is impossible: {:#x}", index,
                                      bat_.offset + position, value));
    co_return place;
}

Task<Result<std::vector<VhdxSector>>> VhdxNode::changed_sectors(std::uint64_t first, std::uint64_t count,
                                                                std::uint64_t start) {
    std::vector<VhdxSector> sectors;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t position = metadata_.bat_index(first + i) * 8;
        const std::uint64_t sector = position - position % kVhdxLogSector;
        if (sectors.empty() || sectors.back().offset != bat_.offset + sector) {
            auto old = co_await cache_.load(bat_, sector);
            if (!old)
                co_return util::fail(old.error());
            sectors.push_back({bat_.offset + sector, {*old, *old + kVhdxLogSector}});
        }
        store_le64(&sectors.back().bytes[position - sector],
                   vhdx_entry(VhdxBlockState::kFullyPresent, start + i * metadata_.block_size));
    }
    co_return sectors;
}

Task<Result<void>> VhdxNode::allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                      const IoVector &contents) {
    const std::uint64_t start = round_up(file_.length(), kVhdxMiB);
    auto done = co_await file_.grow(start + count * metadata_.block_size);
    if (!done)
        co_return done;
    done = co_await file_.write(start + skip, contents);
    if (!done)
        co_return done;
    auto sectors = co_await changed_sectors(first, count, start);
    if (!sectors)
        co_return util::fail(sectors.error());
    done = co_await log_.append(*sectors);
    for (const VhdxSector &sector : *sectors) {
        if (!done)
            break;
        done = co_await cache_.update(bat_, sector.offset - bat_.offset, sector.bytes.data(), sector.bytes.size());
    }
    co_return done;
}

Task<Result<CheckResult>> VhdxNode::check(CheckFix) {
    CheckResult result;
    result.corruptions_fixed = replayed_;
    result.total_clusters = metadata_.block_count();
    result.image_end_offset = file_.length();
    std::vector<bool> used(file_.length() / kVhdxMiB + 1); // by MiB
    for (std::uint64_t block = 0; block < metadata_.block_count(); ++block) {
        const std::uint64_t position = metadata_.bat_index(block) * 8;
        auto entry = co_await cache_.load(bat_, position);
        if (!entry)
            co_return util::fail(entry.error());
        const std::uint64_t value = load_le64(*entry);
        ClusterPlace place;
        if (!decode(block, value, place)) {
            ++result.corruptions;
            result.messages.push_back(fmt::format("ERROR: the entry of block {} is impossible: {:#x}", block, value));
            continue;
        }
        if (place.kind != ClusterPlace::Kind::kData)
            continue;
        ++result.allocated_clusters;
        bool twice = false;
        for (std::uint64_t at = 0; at < metadata_.block_size; at += kVhdxMiB) {
            const std::uint64_t piece = (place.offset + at) / kVhdxMiB;
            twice = twice || (piece < used.size() && used[piece]);
            if (piece < used.size())
                used[piece] = true;
        }
        if (twice) {
            ++result.corruptions;
            result.messages.push_back(fmt::format("ERROR: block {} lies where another one is, at offset {}", block,
                                                  place.offset));
        }
    }
    co_return result;
}

Task<Result<NodeInfo>> VhdxNode::info() {
    auto info = co_await ClusterNode::info();
    if (info && read_only())
        info->dirty = header_.has_log();
    co_return info;
}

} // namespace rhea::block
