#include "rhea/block/commit.h"

#include <algorithm>
#include <cerrno>

namespace rhea::block {
namespace {

using util::Error;
using util::fail;

constexpr std::uint64_t kChunk = 1 << 20;

Task<Result<void>> copy_range(BlockNode &top, BlockNode &backing, std::uint64_t offset, std::uint64_t length, std::vector<std::uint8_t> &buffer) {
    const IoVector bytes(buffer.data(), static_cast<std::size_t>(length));
    auto got = co_await top.read(offset, bytes);
    if (!got)
        co_return got;
    co_return co_await backing.write(offset, bytes);
}

Task<Result<void>> copy_all(BlockNode &top, BlockNode &backing) {
    const std::uint64_t size = top.length();
    if (backing.length() < size) {
        auto grown = co_await backing.truncate(size);
        if (!grown)
            co_return grown;
    }
    std::vector<std::uint8_t> buffer(kChunk);
    for (std::uint64_t offset = 0; offset < size;) {
        auto extent = co_await top.block_status(offset, size - offset);
        if (!extent)
            co_return fail(extent.error());
        const std::uint64_t length = extent->zero ? extent->length : std::min(extent->length, kChunk);
        if (extent->allocated) {
            Result<void> done;
            if (extent->zero)
                done = co_await backing.write_zeroes(offset, length, kMayUnmap);
            else
                done = co_await copy_range(top, backing, offset, length, buffer);
            if (!done)
                co_return done;
        }
        offset += length;
    }
    co_return co_await backing.flush();
}

} // namespace

Task<Result<void>> commit_to_backing(BlockNode &top) {
    BlockNode *backing = top.backing();
    if (!backing)
        co_return fail(Error("it has no backing file").with_code(ENOTSUP));
    const bool was_read_only = backing->read_only();
    if (was_read_only) {
        auto opened = co_await backing->reopen(false);
        if (!opened)
            co_return opened;
    }
    auto done = co_await copy_all(top, *backing);
    if (was_read_only) {
        auto closed = co_await backing->reopen(true);
        if (done)
            done = std::move(closed);
    }
    if (done && !top.read_only()) {
        // Only now: until the backing file is on stable storage, the overlay has the one copy.
        auto emptied = co_await top.make_empty();
        if (!emptied && emptied.error().code() != ENOTSUP)
            co_return emptied;
        done = co_await top.flush();
    }
    co_return done;
}

} // namespace rhea::block
