// Locks that keep programs from spoiling each other's images, understood by QEMU and its tools as well (file.locking=).
//
// An image's users hold byte-range locks of the open file description: one byte a thing that they do, one a thing that they do
// not bear in others. So a lock says something only to those who look. The bytes are QEMU's (block/file-posix).
#pragma once
#include <string>

#include "rhea/util/result.h"

namespace rhea::block {

/// locking=
enum class Locking : unsigned char { kOff, kAuto, kOn };
enum class LockUse : unsigned char { kRead, kWrite, kCreate };

/// Locks `fd` for `use`; fails when another process (or another drive of this one) stands against it. `required`: fails also
/// where the file system has no such locks.
util::Result<void> lock_image(int fd, const std::string &filename, LockUse use, bool required);
void unlock_image(int fd);

} // namespace rhea::block
