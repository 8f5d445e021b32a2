#include "block/vdi/vdi_node.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"

namespace rhea::block {

VdiNode::VdiNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename)
    : ClusterNode(context, "vdi", std::move(file), std::move(filename)), cache_(file_, 64 << 10, 64) {}

Task<Result<void>> VdiNode::load() {
    auto header = co_await VdiHeader::load(file_);
    if (!header)
        co_return util::fail(header.error());
    header_ = *header;
    map_ = {header_.map_offset, std::uint64_t{header_.blocks_in_image} * 4};
    set_shape({header_.disk_size, header_.block_size});
    // Blocks that the count does not know yet: the writer was killed.
    const std::uint64_t stored = file_.length() > header_.data_offset ? file_.length() - header_.data_offset : 0;
    const std::uint64_t blocks = std::min<std::uint64_t>(divide_up(stored, header_.block_size), header_.blocks_in_image);
    header_.blocks_allocated = std::max(header_.blocks_allocated, static_cast<std::uint32_t>(blocks));
    co_return Result<void>{};
}

/// False where the entry is impossible.
bool VdiNode::decode(std::uint32_t entry, ClusterPlace &place) const {
    if (entry == kVdiUnallocated || entry == kVdiDiscarded) {
        place = {entry == kVdiDiscarded ? ClusterPlace::Kind::kZero : ClusterPlace::Kind::kUnallocated, 0};
        return true;
    }
    place = {ClusterPlace::Kind::kData, header_.data_offset + std::uint64_t{entry} * header_.block_size};
    return entry < header_.blocks_in_image && range_fits(place.offset, header_.block_size, file_.length());
}

bool VdiNode::place_now(std::uint64_t index, ClusterPlace &place) {
    const std::uint8_t *entry = cache_.find(map_, index * 4);
    return entry && decode(load_le32(entry), place);
}

Task<Result<ClusterPlace>> VdiNode::place(std::uint64_t index) {
    auto entry = co_await cache_.load(map_, index * 4);
    if (!entry)
        co_return util::fail(entry.error());
    ClusterPlace place;
    const std::uint32_t value = load_le32(*entry);
    if (!decode(value, place))
        co_return damaged(fmt::format("entry {} of the block map (offset {}) names block {}, which is not in the file",
                                      index, map_.offset + index * 4, value));
    co_return place;
}

Task<Result<void>> VdiNode::allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                     const IoVector &contents) {
    const std::uint32_t block = header_.blocks_allocated;
    if (count > header_.blocks_in_image - block)
        co_return damaged(fmt::format("all {} blocks are in use, but block {} has no storage", block, first));
    const std::uint64_t start = header_.data_offset + std::uint64_t{block} * header_.block_size;
    auto done = co_await file_.grow(start + count * header_.block_size);
    if (!done)
        co_return done;
    // From here on the blocks are not given out again: what cannot be finished is lost space.
    header_.blocks_allocated += static_cast<std::uint32_t>(count);
    done = co_await file_.write(start + skip, contents);
    if (!done)
        co_return done;
    std::uint8_t total[4];
    store_le32(total, static_cast<std::uint32_t>(block + count));
    done = co_await file_.write_bytes(kVdiBlocksAllocatedAt, total, sizeof(total));
    if (!done)
        co_return done;
    std::vector<std::uint8_t> entries(count * 4);
    for (std::uint64_t i = 0; i < count; ++i)
        store_le32(&entries[i * 4], static_cast<std::uint32_t>(block + i));
    co_return co_await cache_.update(map_, first * 4, entries.data(), entries.size());
}

Task<Result<CheckResult>> VdiNode::check(CheckFix fix) {
    CheckResult result;
    std::vector<bool> used(header_.blocks_in_image);
    for (std::uint64_t index = 0; index < header_.blocks_in_image; ++index) {
        auto entry = co_await cache_.load(map_, index * 4);
        if (!entry)
            co_return util::fail(entry.error());
        const std::uint32_t block = load_le32(*entry);
        ClusterPlace place;
        if (!decode(block, place)) {
            ++result.corruptions;
            result.messages.push_back(fmt::format("ERROR: entry {} of the block map names block {}, which is not in the file",
                                                  index, block));
        } else if (place.kind == ClusterPlace::Kind::kData) {
            if (used[block]) {
                ++result.corruptions;
                result.messages.push_back(fmt::format("ERROR: block {} is used twice, again by entry {}", block, index));
            } else {
                ++result.allocated_clusters;
            }
            used[block] = true;
        }
    }
    std::uint8_t stored[4];
    auto got = co_await file_.read_bytes(kVdiBlocksAllocatedAt, stored, sizeof(stored));
    if (!got)
        co_return util::fail(got.error());
    result.total_clusters = header_.blocks_in_image;
    result.image_end_offset = header_.data_offset + std::uint64_t{header_.blocks_allocated} * header_.block_size;
    const std::uint32_t count = load_le32(stored);
    if (count == result.allocated_clusters)
        co_return result;
    if (fix == CheckFix::kAll && result.corruptions == 0 && count < header_.blocks_allocated) {
        store_le32(stored, header_.blocks_allocated);
        auto written = co_await file_.write_bytes(kVdiBlocksAllocatedAt, stored, sizeof(stored));
        if (!written)
            co_return util::fail(written.error());
        ++result.corruptions_fixed;
    } else if (count < result.allocated_clusters) {
        ++result.corruptions;
    }
    if (count > result.allocated_clusters)
        result.leaks = count - result.allocated_clusters;
    result.messages.push_back(fmt::format("{}: the header counts {} allocated blocks, the block map has {}",
                                          count > result.allocated_clusters ? "Leaked blocks" : "ERROR", count,
                                          result.allocated_clusters));
    co_return result;
}

} // namespace rhea::block
