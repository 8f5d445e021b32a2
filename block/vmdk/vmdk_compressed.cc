// Grains of stream-optimized extents: a marker (first sector, size) and a zlib stream, padded to whole sectors.
#include <zlib.h>

#include <algorithm>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/vmdk/vmdk_descriptor.h"
#include "block/vmdk/vmdk_extent.h"

namespace rhea::block {

namespace {

/// Inflates into `to`; what the stream does not fill is zero. False when it is damaged.
bool inflate_grain(const std::vector<std::uint8_t> &from, std::size_t skip, std::vector<std::uint8_t> &to) {
    z_stream stream{};
    if (inflateInit(&stream) != Z_OK)
        return false;
    stream.next_in = const_cast<std::uint8_t *>(from.data()) + skip;
    stream.avail_in = static_cast<uInt>(from.size() - skip);
    stream.next_out = to.data();
    stream.avail_out = static_cast<uInt>(to.size());
    const int result = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    std::fill(to.end() - stream.avail_out, to.end(), 0);
    return result == Z_STREAM_END || (result == Z_BUF_ERROR && stream.avail_out == 0);
}

} // namespace

Task<Result<VmdkSparseExtent::Grain>> VmdkSparseExtent::load_grain(std::uint64_t index, std::uint64_t offset) {
    std::uint64_t stored = std::min(2 * header_.grain_bytes(), file_.length() - offset);
    std::size_t skip = 0;
    if (header_.flags & kVmdkMarkers) {
        std::uint8_t marker[kVmdkMarkerBytes];
        auto got = co_await file_.read_bytes(offset, marker, sizeof(marker));
        if (!got)
            co_return util::fail(got.error());
        const std::uint64_t sector = load_le64(marker), size = load_le32(marker + 8);
        if (sector != index * header_.granularity || size == 0 || size > 2 * header_.grain_bytes() ||
            !range_fits(offset, sizeof(marker) + size, file_.length()))
            co_return damaged(fmt::format("the marker at offset {} (sector {}, {} bytes) is not that of grain {}", offset,
                                          sector, size, index));
        skip = sizeof(marker);
        stored = skip + size;
    }
    std::vector<std::uint8_t> compressed(stored);
    auto got = co_await file_.read_bytes(offset, compressed.data(), compressed.size());
    if (!got)
        co_return util::fail(got.error());
    auto grain = std::make_shared<std::vector<std::uint8_t>>(header_.grain_bytes());
    std::function<std::int64_t()> work = [&] { return inflate_grain(compressed, skip, *grain) ? 0 : -1; };
    auto working = context().in_pool(std::move(work));
    const std::int64_t failed = co_await working;
    if (failed)
        co_return damaged(fmt::format("the compressed data of grain {} at offset {} are damaged", index, offset));
    co_return grain;
}

Task<Result<void>> VmdkSparseExtent::read_compressed(std::uint64_t index, std::uint64_t offset, std::uint64_t in,
                                                     const IoVector &to) {
    if (!last_grain_ || last_index_ != index) {
        auto grain = co_await load_grain(index, offset);
        if (!grain)
            co_return util::fail(grain.error());
        last_grain_ = *grain;
        last_index_ = index;
    }
    to.copy_from(0, last_grain_->data() + in, to.size());
    co_return Result<void>{};
}

Task<Result<void>> VmdkSparseExtent::store_compressed(std::uint64_t first, std::uint64_t count, std::uint64_t skip,
                                                      const IoVector &contents) {
    std::uint64_t at = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t in = i == 0 ? skip : 0;
        const IoVector piece = contents.slice(at, std::min(header_.grain_bytes() - in, contents.size() - at));
        auto stored = co_await compress_grain(first + i, in, piece);
        if (!stored)
            co_return util::fail(stored.error());
        auto done = co_await append_grain(first + i, *stored);
        if (!done)
            co_return done;
        at += piece.size();
    }
    co_return Result<void>{};
}

Task<Result<std::vector<std::uint8_t>>> VmdkSparseExtent::compress_grain(std::uint64_t index, std::uint64_t in,
                                                                         const IoVector &contents) {
    std::vector<std::uint8_t> grain(header_.grain_bytes());
    contents.copy_to(0, grain.data() + in, contents.size());
    const std::size_t front = header_.flags & kVmdkMarkers ? kVmdkMarkerBytes : 0;
    uLongf size = compressBound(grain.size());
    std::vector<std::uint8_t> stored(front + size);
    std::function<std::int64_t()> work = [&] { return compress(&stored[front], &size, grain.data(), grain.size()); };
    auto working = context().in_pool(std::move(work));
    const std::int64_t failed = co_await working;
    if (failed)
        co_return file_.fail(EIO, "grain {} cannot be compressed", index);
    stored.resize(round_up(front + size, kVmdkSector));
    std::fill(stored.begin() + static_cast<std::ptrdiff_t>(front + size), stored.end(), 0);
    if (front > 0) {
        store_le64(&stored[0], index * header_.granularity);
        store_le32(&stored[8], static_cast<std::uint32_t>(size));
    }
    co_return stored;
}

Task<Result<void>> VmdkSparseExtent::append_grain(std::uint64_t index, const std::vector<std::uint8_t> &stored) {
    const std::uint64_t start = end_;
    if ((start + stored.size()) / kVmdkSector > UINT32_MAX)
        co_return file_.fail(ENOSPC, "the extent has no sector numbers left for more grains");
    auto done = co_await file_.write_bytes(start, stored.data(), stored.size());
    if (!done)
        co_return done;
    end_ += stored.size();
    co_return co_await set_entries(index, 1, static_cast<std::uint32_t>(start / kVmdkSector), 0);
}

/// Whole grains are compressed before the lock is taken, so that several are at a time.
Task<Result<void>> VmdkSparseExtent::write(std::uint64_t offset, const IoVector &from, unsigned flags) {
    if (!header_.compressed())
        co_return co_await ClusterNode::write(offset, from, flags);
    if (auto ready = co_await prepare_write(); !ready)
        co_return ready;
    for (std::uint64_t at = 0; at < from.size();) {
        const std::uint64_t in = (offset + at) % header_.grain_bytes();
        const std::uint64_t in_grain = std::min(header_.grain_bytes() - in, length() - (offset + at));
        const IoVector piece = from.slice(at, std::min(from.size() - at, in_grain));
        Result<void> done;
        if (in == 0 && piece.size() == in_grain)
            done = co_await write_grain((offset + at) / header_.grain_bytes(), piece);
        else
            done = co_await ClusterNode::write(offset + at, piece, kNoFlags);
        if (!done)
            co_return done;
        at += piece.size();
    }
    if (flags & kFua)
        co_return co_await flush();
    co_return Result<void>{};
}

Task<Result<void>> VmdkSparseExtent::write_grain(std::uint64_t index, const IoVector &contents) {
    auto stored = co_await compress_grain(index, 0, contents);
    if (!stored)
        co_return util::fail(stored.error());
    co_await allocation_.lock();
    auto found = co_await place(index);
    Result<void> done;
    if (!found)
        done = util::fail(found.error());
    else if (found->kind == ClusterPlace::Kind::kCompressed)
        done = file_.fail(EIO, "grain {} is compressed already, and compressed grains are not overwritten", index);
    else
        done = co_await append_grain(index, *stored);
    allocation_.unlock();
    co_return done;
}

} // namespace rhea::block
