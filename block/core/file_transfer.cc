#include "block/core/file_transfer.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace rhea::block {
namespace {

/// Pieces of one system call; the stack holds them.
constexpr std::size_t kPieces = 64;

template <typename Call> std::int64_t transfer(std::span<const iovec> pieces, std::uint64_t offset, bool is_read, Call &&call) {
    std::int64_t done = 0;
    std::size_t skip = 0; // bytes of pieces[0] that are done
    while (!pieces.empty()) {
        std::array<iovec, kPieces> part;
        const std::size_t count = std::min(pieces.size(), part.size());
        std::copy_n(pieces.begin(), count, part.begin());
        part[0].iov_base = static_cast<char *>(part[0].iov_base) + skip;
        part[0].iov_len -= skip;
        const ssize_t got = call(part.data(), static_cast<int>(count), static_cast<off_t>(offset) + done);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (got == 0)
            break;
        done += got;
        const std::uint64_t asked = total_length(std::span(part).first(count));
        if (is_read && is_end_of_file(static_cast<std::uint64_t>(got), asked, offset + static_cast<std::uint64_t>(done)))
            break;
        skip += static_cast<std::size_t>(got);
        while (!pieces.empty() && skip >= pieces[0].iov_len) {
            skip -= pieces[0].iov_len;
            pieces = pieces.subspan(1);
        }
    }
    return done;
}

} // namespace

std::int64_t read_fully(int fd, std::span<const iovec> pieces, std::uint64_t offset) {
    return transfer(pieces, offset, true, [fd](const iovec *part, int count, off_t at) { return ::preadv(fd, part, count, at); });
}

std::int64_t write_fully(int fd, std::span<const iovec> pieces, std::uint64_t offset, bool fua) {
    const int flags = fua ? RWF_DSYNC : 0;
    const std::int64_t done = transfer(pieces, offset, false, [fd, flags](const iovec *part, int count, off_t at) {
        return flags ? ::pwritev2(fd, part, count, at, flags) : ::pwritev(fd, part, count, at);
    });
    // A write of nothing into a piece of something: the device is full.
    return done >= 0 && static_cast<std::uint64_t>(done) < total_length(pieces) ? -ENOSPC : done;
}

} // namespace rhea::block
