// Blocking reads and writes of many pieces, whole: short transfers and EINTR are gone on with.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <span>

namespace rhea::block {

/// Bytes done (fewer than asked for only at the end of the file), or -errno.
std::int64_t read_fully(int fd, std::span<const iovec> pieces, std::uint64_t offset);
/// Bytes done, all of them, or -errno. `fua`: on stable storage, too.
std::int64_t write_fully(int fd, std::span<const iovec> pieces, std::uint64_t offset, bool fua);

} // namespace rhea::block
