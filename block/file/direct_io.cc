#include "block/file/direct_io.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace rhea::block {
namespace {

constexpr std::uint64_t kBounceSize = 1 << 20;
constexpr std::uint32_t kPage = 4096;

struct Free {
    void operator()(std::uint8_t *memory) const { std::free(memory); }
};
using Buffer = std::unique_ptr<std::uint8_t, Free>;

Buffer make_buffer(std::uint64_t size) {
    return Buffer(static_cast<std::uint8_t *>(std::aligned_alloc(kPage, static_cast<std::size_t>((size + kPage - 1) & ~std::uint64_t{kPage - 1}))));
}

} // namespace

std::uint32_t DirectIo::probe_alignment(int fd, bool is_device) {
    int sector = 0;
    if (is_device && ::ioctl(fd, BLKSSZGET, &sector) == 0 && sector >= 512 && sector <= 65536 && (sector & (sector - 1)) == 0)
        return static_cast<std::uint32_t>(sector);
    const Buffer buffer = make_buffer(2 * kPage);
    // Offset, length and memory alike: a block that is not at a page's start.
    for (std::uint32_t size = 512; buffer && size < kPage; size *= 2)
        if (::pread(fd, buffer.get() + size, size, size) >= 0)
            return size;
    return kPage;
}

bool DirectIo::fits(const IoVector &memory, std::uint64_t offset) const {
    std::uint64_t bits = offset;
    for (const iovec &piece : memory.pieces())
        bits |= reinterpret_cast<std::uintptr_t>(piece.iov_base) | piece.iov_len;
    return (bits & (alignment_ - 1)) == 0;
}

Task<std::int64_t> DirectIo::read(IoContext &context, const IoVector &to, std::uint64_t offset, bool in_pool) {
    if (fits(to, offset))
        co_return co_await context.preadv(fd_, to, offset, in_pool);
    std::uint64_t done = 0;
    const Buffer buffer = make_buffer(std::min(kBounceSize, up(to.size()) + alignment_));
    if (!buffer)
        co_return -ENOMEM;
    while (done < to.size()) {
        const std::uint64_t at = offset + done, begin = down(at);
        const std::uint64_t end = std::min(up(offset + to.size()), begin + kBounceSize);
        const IoVector all(buffer.get(), static_cast<std::size_t>(end - begin));
        const std::int64_t got = co_await context.preadv(fd_, all, begin, in_pool);
        if (got < 0)
            co_return got;
        const std::uint64_t read_end = std::min(begin + static_cast<std::uint64_t>(got), offset + to.size());
        if (read_end <= at)
            break;
        to.copy_from(done, buffer.get() + (at - begin), static_cast<std::size_t>(read_end - at));
        done = read_end - offset;
        if (begin + static_cast<std::uint64_t>(got) < end)
            break; // the end of the file
    }
    co_return static_cast<std::int64_t>(done);
}

Task<std::int64_t> DirectIo::write(IoContext &context, const IoVector &from, std::uint64_t offset, bool fua, bool in_pool) {
    // Blocks that are written in part are read first: nobody else may write them meanwhile.
    const Range mine{down(offset), up(offset + from.size())};
    const auto overlaps = [&](const Range &other) { return other.begin < mine.end && mine.begin < other.end; };
    while (std::any_of(writing_.begin(), writing_.end(), overlaps))
        co_await written_.wait();
    const auto entry = writing_.insert(writing_.end(), mine);
    end_ = std::max(end_, offset + from.size());
    std::int64_t result;
    if (fits(from, offset))
        result = co_await context.pwritev(fd_, from, offset, fua, in_pool);
    else
        result = co_await bounce_write(context, from, offset, fua, in_pool);
    // The last block may reach behind what was asked for.
    if (!is_device_ && mine.end > end_ && ::ftruncate(fd_, static_cast<off_t>(end_)) != 0 && result >= 0)
        result = -errno;
    writing_.erase(entry);
    written_.wake_all();
    co_return result;
}

Task<std::int64_t> DirectIo::bounce_write(IoContext &context, const IoVector &from, std::uint64_t offset, bool fua, bool in_pool) {
    const Buffer buffer = make_buffer(std::min(kBounceSize, up(from.size()) + alignment_));
    if (!buffer)
        co_return -ENOMEM;
    std::uint64_t done = 0;
    while (done < from.size()) {
        const std::uint64_t at = offset + done, begin = down(at);
        const std::uint64_t end = std::min(up(offset + from.size()), begin + kBounceSize);
        const std::uint64_t stop = std::min(end, offset + from.size());
        // The first and the last block, when only a part of them is ours.
        const std::array<std::uint64_t, 2> edges{begin, end - alignment_};
        for (const std::uint64_t edge : edges) {
            const bool is_partial = edge < at || edge + alignment_ > stop;
            if (!is_partial)
                continue;
            std::memset(buffer.get() + (edge - begin), 0, alignment_);
            const IoVector block(buffer.get() + (edge - begin), alignment_);
            const std::int64_t got = co_await context.preadv(fd_, block, edge, in_pool);
            if (got < 0)
                co_return got;
        }
        from.copy_to(done, buffer.get() + (at - begin), static_cast<std::size_t>(stop - at));
        const IoVector all(buffer.get(), static_cast<std::size_t>(end - begin));
        const std::int64_t wrote = co_await context.pwritev(fd_, all, begin, fua, in_pool);
        if (wrote < 0)
            co_return wrote;
        done = stop - offset;
    }
    co_return static_cast<std::int64_t>(done);
}

} // namespace rhea::block
