// Blocking reads and writes of many pieces, whole: short transfers and EINTR are gone on with.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <span>

namespace rhea::block {

/// Has a read that was asked for `asked` bytes and yielded `got`, up to `offset`, met the end of its file? One that ends inside a sector
/// has, and must not go on: another request may have made the file longer meanwhile, and O_DIRECT refuses to begin there.
constexpr bool is_end_of_file(std::uint64_t got, std::uint64_t asked, std::uint64_t offset) {
    return got == 0 || (got < asked && offset % 512 != 0);
}
inline std::uint64_t total_length(std::span<const iovec> pieces) {
    std::uint64_t length = 0;
    for (const iovec &piece : pieces)
        length += piece.iov_len;
    return length;
}

/// Bytes done (fewer than asked for only at the end of the file), or -errno.
std::int64_t read_fully(int fd, std::span<const iovec> pieces, std::uint64_t offset);
/// Bytes done, all of them, or -errno. `fua`: on stable storage, too.
std::int64_t write_fully(int fd, std::span<const iovec> pieces, std::uint64_t offset, bool fua);

} // namespace rhea::block
