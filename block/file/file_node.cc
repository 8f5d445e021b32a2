#include "block/file/file_node.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "block/core/file_transfer.h"

namespace rhea::block {
namespace {

/// Transfers of at least so many bytes through the host's page cache are copied by a thread of the pool: io_uring copies what is
/// cached in the thread that submits, so that one thread would do the work of all requests.
constexpr std::size_t kCopiedByPool = 128 << 10;

bool unsupported(std::int64_t code) {
    return code == -EOPNOTSUPP || code == -ENOSYS || code == -ENOTTY || code == -EINVAL || code == -EPERM;
}

} // namespace

FileNode::FileNode(IoContext &context, std::string driver, Opened opened, const NodeSettings &settings)
    : BlockNode(context, std::move(driver)), fd_(opened.fd), filename_(std::move(opened.filename)), size_(opened.size),
      is_device_(opened.is_device), in_pool_(opened.in_pool), locking_(opened.locking) {
    set_settings(settings);
    if (settings.direct)
        direct_ = std::make_unique<DirectIo>(fd_, DirectIo::probe_alignment(fd_, is_device_), size_, is_device_);
}

FileNode::~FileNode() { ::close(fd_); }

util::Failure FileNode::failed(std::int64_t code, std::string_view verb) const {
    return io_error(static_cast<int>(code), fmt::format("cannot {} '{}'", verb, filename_));
}

Task<Result<void>> FileNode::read(std::uint64_t offset, const IoVector &to) {
    std::int64_t got;
    if (direct_)
        got = co_await direct_->read(context(), to, offset, in_pool_);
    else
        got = co_await context().preadv(fd_, to, offset, in_pool_ || to.size() >= kCopiedByPool);
    if (got < 0)
        co_return failed(got, "read");
    const auto done = static_cast<std::uint64_t>(got);
    if (done < to.size())
        to.fill(done, 0, to.size() - done); // behind the end
    co_return Result<void>{};
}

Task<Result<void>> FileNode::write(std::uint64_t offset, const IoVector &from, unsigned flags) {
    if (read_only())
        co_return failed(EPERM, "write");
    const bool fua = (flags & kFua) != 0 && !settings().no_flush;
    std::int64_t done;
    if (direct_)
        done = co_await direct_->write(context(), from, offset, fua, in_pool_);
    else if (context().may_block() && !in_pool_)
        done = write_fully(fd_, from.pieces(), offset, fua);
    else
        done = co_await context().pwritev(fd_, from, offset, fua, in_pool_ || from.size() >= kCopiedByPool);
    if (done < 0)
        co_return failed(done, "write");
    wrote(offset + from.size());
    co_return Result<void>{};
}

Task<bool> FileNode::copy_from(std::uint64_t offset, std::uint64_t length, BlockNode &from, std::uint64_t from_offset) {
    const auto *const source = dynamic_cast<const FileNode *>(&from);
    if (!source || !can_copy_ || read_only() || direct_ || source->direct_)
        co_return false;
    const int in = source->fd_, out = fd_;
    const std::int64_t left = co_await context().in_pool([=] {
        auto in_at = static_cast<off64_t>(from_offset), out_at = static_cast<off64_t>(offset);
        std::uint64_t rest = length;
        while (rest > 0) {
            const ssize_t done = ::copy_file_range(in, &in_at, out, &out_at, rest, 0);
            if (done <= 0)
                break;
            rest -= static_cast<std::uint64_t>(done);
        }
        return static_cast<std::int64_t>(rest);
    });
    can_copy_ = left == 0;
    if (can_copy_)
        wrote(offset + length);
    co_return can_copy_;
}

Task<std::int64_t> FileNode::zero_by_host(std::uint64_t offset, std::uint64_t length, unsigned flags) {
    std::int64_t result = -EOPNOTSUPP;
    if ((flags & kMayUnmap) && settings().unmap && can_punch_) {
        result = co_await context().fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
        if (result == 0 && !is_device_ && offset + length > size_)
            result = ::ftruncate(fd_, static_cast<off_t>(offset + length)) == 0 ? 0 : -errno;
        if (unsupported(result))
            can_punch_ = false;
    }
    if (unsupported(result) && can_zero_) {
        result = co_await context().fallocate(fd_, FALLOC_FL_ZERO_RANGE, offset, length);
        if (unsupported(result) && is_device_) {
            const int fd = fd_;
            std::function<std::int64_t()> work = [fd, offset, length]() -> std::int64_t {
                const std::array<std::uint64_t, 2> range{offset, length};
                return ::ioctl(fd, BLKZEROOUT, range.data()) == 0 ? 0 : -errno;
            };
            auto zeroing = context().in_pool(std::move(work));
            result = co_await zeroing;
        }
        if (unsupported(result))
            can_zero_ = false;
    }
    if (unsupported(result) && !is_device_ && offset >= size_)
        result = co_await context().fallocate(fd_, 0, offset, length); // new space of a file is zero
    co_return result;
}

Task<Result<void>> FileNode::write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) {
    if (read_only())
        co_return failed(EPERM, "write");
    std::int64_t done = co_await zero_by_host(offset, length, flags);
    if (unsupported(done))
        co_return co_await BlockNode::write_zeroes(offset, length, flags);
    if (done < 0)
        co_return failed(done, "write zeroes to");
    wrote(offset + length);
    if (direct_)
        direct_->set_end(std::max(direct_->end(), size_));
    if (flags & kFua)
        co_return co_await flush();
    co_return Result<void>{};
}

Task<Result<void>> FileNode::discard(std::uint64_t offset, std::uint64_t length) {
    if (!settings().unmap || !can_punch_)
        co_return Result<void>{};
    std::int64_t done;
    if (is_device_) {
        const int fd = fd_;
        std::function<std::int64_t()> work = [fd, offset, length]() -> std::int64_t {
            const std::array<std::uint64_t, 2> range{offset, length};
            return ::ioctl(fd, BLKDISCARD, range.data()) == 0 ? 0 : -errno;
        };
        auto discarding = context().in_pool(std::move(work));
        done = co_await discarding;
    } else {
        done = co_await context().fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    }
    if (unsupported(done)) {
        can_punch_ = false; // only a hint: nothing is wrong
        co_return Result<void>{};
    }
    if (done < 0)
        co_return failed(done, "discard a part of");
    co_return Result<void>{};
}

Task<Result<void>> FileNode::flush() {
    if (settings().no_flush)
        co_return Result<void>{};
    // After an error the host counts the lost pages as written, so that a second call would succeed: it must not.
    std::int64_t done = -EIO;
    if (!flush_failed_)
        done = co_await context().fdatasync(fd_);
    if (done < 0) {
        flush_failed_ = true;
        co_return failed(done, "flush");
    }
    co_return Result<void>{};
}

Task<Result<Extent>> FileNode::block_status(std::uint64_t offset, std::uint64_t length) {
    Extent extent;
    extent.length = length;
    extent.data = extent.allocated = true;
    extent.host_offset = offset;
    extent.file = this;
    if (is_device_ || !can_seek_holes_)
        co_return extent;
    const auto at = static_cast<off_t>(offset);
    const off_t data = ::lseek(fd_, at, SEEK_DATA);
    if (data < 0 && errno != ENXIO) {
        can_seek_holes_ = false;
        co_return extent;
    }
    if (data == at) {
        const off_t hole = ::lseek(fd_, at, SEEK_HOLE);
        if (hole > at)
            extent.length = std::min(length, static_cast<std::uint64_t>(hole - at));
        co_return extent;
    }
    // A hole, up to the next data; ENXIO: to the end.
    if (data > at)
        extent.length = std::min(length, static_cast<std::uint64_t>(data - at));
    extent.data = false;
    extent.zero = true;
    co_return extent;
}

Task<std::int64_t> FileNode::preallocate(std::uint64_t from, std::uint64_t to, Preallocation preallocation) {
    if (preallocation == Preallocation::kFalloc)
        co_return co_await context().fallocate(fd_, 0, from, to - from);
    auto written = co_await BlockNode::write_zeroes(from, to - from, kNoFlags);
    if (!written)
        co_return -written.error().code();
    co_return co_await context().fdatasync(fd_);
}

Task<Result<void>> FileNode::truncate(std::uint64_t length, Preallocation preallocation) {
    if (read_only())
        co_return failed(EPERM, "resize");
    if (is_device_) {
        if (length <= size_)
            co_return Result<void>{};
        co_return util::fail(util::Error("device '{}' has {} bytes; it cannot grow to {}", filename_, size_, length).with_code(ENOSPC));
    }
    if (preallocation == Preallocation::kMetadata)
        co_return util::fail(util::Error("'{}' is a file: preallocation may be off, falloc or full", filename_).with_code(ENOTSUP));
    const std::uint64_t before = size_;
    if (::ftruncate(fd_, static_cast<off_t>(length)) != 0)
        co_return failed(errno, "resize");
    size_ = length;
    if (direct_)
        direct_->set_end(length);
    if (preallocation != Preallocation::kOff && length > before) {
        const std::int64_t done = co_await preallocate(before, length, preallocation);
        if (done < 0) {
            if (::ftruncate(fd_, static_cast<off_t>(before)) == 0)
                size_ = before;
            if (direct_)
                direct_->set_end(size_);
            co_return failed(done, "preallocate space for");
        }
    }
    co_return Result<void>{};
}

Task<Result<NodeInfo>> FileNode::info() {
    NodeInfo info;
    info.format = driver();
    info.filename = filename_;
    info.virtual_size = size_;
    struct stat status{};
    if (::fstat(fd_, &status) == 0)
        info.actual_size = static_cast<std::uint64_t>(status.st_blocks) * 512;
    co_return info;
}

} // namespace rhea::block
