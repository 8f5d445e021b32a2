#include "block/vpc/vpc_node.h"

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"

namespace rhea::block {

VpcNode::VpcNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename)
    : ClusterNode(context, "vpc", std::move(file), std::move(filename)), cache_(file_, 64 << 10, 64) {}

Task<Result<void>> VpcNode::load(VpcFooter footer, std::uint64_t sectors) {
    footer_ = footer;
    auto header = co_await VpcDynamicHeader::load(file_, footer.header_offset(), sectors);
    if (!header)
        co_return util::fail(header.error());
    header_ = *header;
    table_ = {header_.table_offset, std::uint64_t{header_.table_entries} * 4};
    set_shape({sectors * kVpcSector, header_.block_size});

    // Without a footer at the end the writer was killed between giving a block space and writing the footer behind it.
    VpcFooter last;
    data_end_ = round_up(file_.length(), kVpcSector);
    if (file_.length() >= kVpcFooterBytes && file_.length() % kVpcSector == 0) {
        auto got = co_await file_.read_bytes(file_.length() - kVpcFooterBytes, last.raw.data(), last.raw.size());
        if (!got)
            co_return got;
        if (VpcFooter::is_footer(last.raw.data()))
            data_end_ = file_.length() - kVpcFooterBytes;
    }
    const std::uint64_t table_end = round_up(table_.offset + table_.bytes, kVpcSector);
    const std::uint64_t header_end = footer.header_offset() + kVpcDynamicHeaderBytes;
    data_end_ = std::max({data_end_, table_end, round_up(header_end, kVpcSector)});
    co_return Result<void>{};
}

bool VpcNode::decode(std::uint32_t entry, ClusterPlace &place) const {
    place = {};
    if (entry == kVpcUnused)
        return true;
    const std::uint64_t block = std::uint64_t{entry} * kVpcSector;
    place = {ClusterPlace::Kind::kData, block + header_.bitmap_bytes()};
    const bool in_table = block < table_.offset + table_.bytes && block + header_.block_size > table_.offset;
    return block >= kVpcFooterBytes && !in_table && range_fits(place.offset, header_.block_size, data_end_);
}

bool VpcNode::place_now(std::uint64_t index, ClusterPlace &place) {
    const std::uint8_t *entry = cache_.find(table_, index * 4);
    return entry && decode(load_be32(entry), place);
}

Task<Result<ClusterPlace>> VpcNode::place(std::uint64_t index) {
    auto entry = co_await cache_.load(table_, index * 4);
    if (!entry)
        co_return util::fail(entry.error());
    const std::uint32_t value = load_be32(*entry);
    ClusterPlace place;
    if (!decode(value, place))
        co_return damaged(fmt::format("entry {} of the block allocation table (offset {}) names sector {}, where no block can be",
                                      index, table_.offset + index * 4, value));
    co_return place;
}

Task<Result<void>> VpcNode::allocate(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                     const IoVector &contents) {
    const std::uint64_t stride = std::uint64_t{header_.bitmap_bytes()} + header_.block_size;
    const std::uint64_t start = data_end_, end = start + count * stride;
    if (end / kVpcSector >= kVpcUnused)
        co_return file_.fail(ENOSPC, "the image has no sector numbers left for more blocks");
    auto done = co_await file_.grow(end + kVpcFooterBytes);
    if (!done)
        co_return done;
    data_end_ = end; // also when the rest fails: the space is not used again
    // The old footer lies where the first block's bitmap goes. The copy at offset 0 stays.
    done = co_await file_.write_bytes(end, footer_.raw.data(), footer_.raw.size());
    if (!done)
        co_return done;
    done = co_await write_blocks(start, count, skip, contents);
    if (!done)
        co_return done;
    std::vector<std::uint8_t> entries(count * 4);
    for (std::uint64_t i = 0; i < count; ++i)
        store_be32(&entries[i * 4], static_cast<std::uint32_t>((start + i * stride) / kVpcSector));
    co_return co_await cache_.update(table_, first * 4, entries.data(), entries.size());
}

Task<Result<void>> VpcNode::write_blocks(std::uint64_t start, std::uint64_t count, std::uint64_t skip,
                                         const IoVector &contents) {
    std::uint64_t at = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t block = start + i * (std::uint64_t{header_.bitmap_bytes()} + header_.block_size);
        auto done = co_await file_.fill(block, 0xff, header_.bitmap_bytes());
        if (!done)
            co_return done;
        const std::uint64_t in = i == 0 ? skip : 0;
        const IoVector piece = contents.slice(at, std::min(header_.block_size - in, contents.size() - at));
        done = co_await file_.write(block + header_.bitmap_bytes() + in, piece);
        if (!done)
            co_return done;
        at += piece.size();
    }
    co_return Result<void>{};
}

} // namespace rhea::block
