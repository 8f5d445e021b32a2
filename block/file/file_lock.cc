#include "block/file/file_lock.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

namespace rhea::block {
namespace {

using util::Error;
using util::fail;
using util::Result;

// Bits of what a user does (bytes from 100) and of what it does not share (bytes from 200).
constexpr unsigned kConsistentRead = 1, kWrite = 2, kResize = 8, kBits = 4;
constexpr off_t kDoes = 100, kRefuses = 200;

struct Uses {
    unsigned does, refuses;
};
constexpr Uses uses_of(LockUse use) {
    switch (use) {
    case LockUse::kRead:
        return {kConsistentRead, kWrite | kResize};
    case LockUse::kWrite:
        return {kConsistentRead | kWrite | kResize, kWrite | kResize};
    case LockUse::kCreate:
        return {kWrite | kResize, kResize};
    }
    return {0, 0};
}

struct flock byte_lock(short type, off_t at) {
    struct flock lock{};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;
    return lock;
}

/// Shared locks on the bytes of `bits`; errno, or 0.
int hold(int fd, unsigned bits, off_t base) {
    for (unsigned bit = 0; bit < kBits; ++bit)
        if (bits & (1u << bit)) {
            struct flock lock = byte_lock(F_RDLCK, base + static_cast<off_t>(bit));
            if (::fcntl(fd, F_OFD_SETLK, &lock) != 0)
                return errno;
        }
    return 0;
}

/// Does anybody else hold one of the bytes?
bool others_hold(int fd, unsigned bits, off_t base) {
    for (unsigned bit = 0; bit < kBits; ++bit)
        if (bits & (1u << bit)) {
            struct flock lock = byte_lock(F_WRLCK, base + static_cast<off_t>(bit));
            if (::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
                return true;
        }
    return false;
}

} // namespace

void unlock_image(int fd) {
    struct flock lock = byte_lock(F_UNLCK, kDoes);
    lock.l_len = kRefuses + static_cast<off_t>(kBits) - kDoes;
    ::fcntl(fd, F_OFD_SETLK, &lock);
}

Result<void> lock_image(int fd, const std::string &filename, LockUse use, bool required) {
    const Uses mine = uses_of(use);
    int code = hold(fd, mine.does, kDoes);
    if (code == 0)
        code = hold(fd, mine.refuses, kRefuses);
    if (code != 0 && code != EAGAIN && code != EACCES) {
        if (!required)
            return {}; // a file system without locks
        return fail(Error("cannot lock '{}': {}; file.locking=off goes on without", filename, std::strerror(code)).with_code(code));
    }
    // Look only when our own locks are there to be seen: of two who start together, at least one finds the other.
    if (code != 0 || others_hold(fd, mine.does, kRefuses) || others_hold(fd, mine.refuses, kDoes)) {
        unlock_image(fd);
        return fail(Error("'{}' is in use by another process or drive, which must end first{}", filename,
                          use == LockUse::kRead ? " (to read it all the same: force-share=on, or -U of rhea-img)" : "")
                        .with_code(EBUSY));
    }
    return {};
}

} // namespace rhea::block
