// Opening files and devices of the host.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "block/file/file_lock.h"
#include "block/file/file_node.h"
#include "rhea/util/option_list.h"

namespace rhea::block {
namespace {

using util::Error;
using util::fail;

bool host_refuses_writes(int code) { return code == EACCES || code == EPERM || code == EROFS; }

Result<std::uint64_t> device_size(int fd, const std::string &filename) {
    std::uint64_t size = 0;
    if (::ioctl(fd, BLKGETSIZE64, &size) != 0)
        return io_error(errno, fmt::format("cannot learn the size of device '{}'", filename));
    return size;
}

/// Opens by name; `read_only` becomes true when only that was possible and `may_fall_back`.
Result<FileNode::Opened> open_by_name(const std::string &filename, bool &read_only, bool may_fall_back, bool direct) {
    FileNode::Opened opened;
    opened.filename = filename;
    // O_NONBLOCK: a FIFO of that name must not make us wait; files and block devices ignore it.
    const int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (direct ? O_DIRECT : 0);
    opened.fd = ::open(filename.c_str(), flags | (read_only ? O_RDONLY : O_RDWR));
    if (opened.fd < 0 && !read_only && may_fall_back && host_refuses_writes(errno)) {
        opened.fd = ::open(filename.c_str(), flags | O_RDONLY);
        read_only = true;
    }
    if (opened.fd < 0) {
        if (direct && errno == EINVAL)
            return fail(Error("'{}' is on a file system without O_DIRECT; use cache=writeback", filename).with_code(EINVAL));
        return io_error(errno, fmt::format("cannot open '{}'", filename));
    }
    struct stat status{};
    Result<std::uint64_t> size = std::uint64_t{0};
    if (::fstat(opened.fd, &status) != 0)
        size = io_error(errno, fmt::format("cannot look at '{}'", filename));
    else if (S_ISBLK(status.st_mode))
        size = device_size(opened.fd, filename);
    else if (S_ISREG(status.st_mode))
        size = static_cast<std::uint64_t>(status.st_size);
    else
        size = fail(Error("'{}' is neither a file nor a block device", filename).with_code(S_ISDIR(status.st_mode) ? EISDIR : EINVAL));
    if (!size) {
        ::close(opened.fd);
        return fail(size.error());
    }
    opened.size = *size;
    opened.is_device = S_ISBLK(status.st_mode);
    ::fcntl(opened.fd, F_SETFL, ::fcntl(opened.fd, F_GETFL) & ~O_NONBLOCK); // io_uring would give up rather than wait
    return opened;
}

/// aio=: true for threads. Native requests are those of io_uring here: it is what replaced Linux's first asynchronous I/O.
Result<bool> take_aio(OpenRequest &request) {
    const std::string aio = request.options.take("aio").value_or("");
    if (aio.empty() || aio == "threads")
        return aio == "threads";
    if (aio == "native") {
        if (!request.settings.direct)
            return fail(Error("aio=native needs cache=none or cache=directsync (cache.direct=on)").with_code(EINVAL));
        return request.context.engine() != Engine::kIoUring;
    }
    if (aio != "io_uring")
        return fail(Error("aio= takes threads, native or io_uring, not '{}'", aio).with_code(EINVAL));
    if (request.context.engine() != Engine::kIoUring)
        return fail(Error("this host forbids io_uring; use aio=threads").with_code(ENOSYS));
    return false;
}

Result<Locking> take_locking(OpenRequest &request) {
    const std::string text = request.options.take("locking").value_or("auto");
    if (text == "auto")
        return Locking::kAuto;
    if (const auto on = util::parse_bool(text))
        return *on ? Locking::kOn : Locking::kOff;
    return fail(Error("locking= takes on, off or auto, not '{}'", text).with_code(EINVAL));
}

Task<Result<std::shared_ptr<BlockNode>>> open_any(OpenRequest request, std::string driver) {
    std::string filename = request.filename;
    for (const std::string_view prefix : {"file:", "host_device:"})
        if (filename.starts_with(prefix))
            filename.erase(0, prefix.size());
    if (filename.empty())
        co_return fail(Error("driver '{}' needs filename=", driver).with_code(EINVAL));
    auto in_pool = take_aio(request);
    if (!in_pool)
        co_return fail(in_pool.error());
    auto locking = take_locking(request);
    if (!locking)
        co_return fail(locking.error());
    if (auto done = request.options.finish({"filename", "aio", "locking"}); !done)
        co_return fail(done.error());
    bool read_only = request.flags.read_only;
    auto opened = open_by_name(filename, read_only, request.flags.auto_read_only, request.settings.direct);
    if (!opened)
        co_return fail(opened.error());
    opened->in_pool = *in_pool;
    opened->locking = request.flags.no_lock ? Locking::kOff : *locking;
    auto node = std::make_shared<FileNode>(request.context, driver, *opened, request.settings);
    node->set_read_only(read_only);
    if (opened->locking != Locking::kOff) {
        const LockUse use = read_only ? LockUse::kRead : LockUse::kWrite;
        if (auto locked = lock_image(opened->fd, filename, use, *locking == Locking::kOn); !locked)
            co_return fail(locked.error());
    }
    co_return node;
}

} // namespace

Task<Result<void>> FileNode::reopen(bool read_only) {
    if (read_only == this->read_only())
        co_return Result<void>{};
    // A new description of the same file, whatever its name means by now.
    bool mode = read_only;
    auto opened = open_by_name(fmt::format("/proc/self/fd/{}", fd_), mode, false, settings().direct);
    if (!opened)
        co_return fail(Error("cannot open '{}' {}: {}", filename_, read_only ? "read-only" : "for writing", std::strerror(opened.error().code()))
                           .with_code(opened.error().code()));
    if (locking_ != Locking::kOff) {
        unlock_image(fd_); // it stands against ourselves
        const bool required = locking_ == Locking::kOn;
        if (auto locked = lock_image(opened->fd, filename_, read_only ? LockUse::kRead : LockUse::kWrite, required); !locked) {
            (void)lock_image(fd_, filename_, read_only ? LockUse::kWrite : LockUse::kRead, false);
            ::close(opened->fd);
            co_return locked;
        }
    }
    ::close(std::exchange(fd_, opened->fd));
    size_ = opened->size;
    if (direct_)
        direct_ = std::make_unique<DirectIo>(fd_, direct_->alignment(), size_, is_device_);
    set_read_only(read_only);
    co_return Result<void>{};
}

Task<Result<std::shared_ptr<BlockNode>>> open_file(OpenRequest request) { return open_any(std::move(request), "file"); }
Task<Result<std::shared_ptr<BlockNode>>> open_host_device(OpenRequest request) {
    return open_any(std::move(request), "host_device");
}

} // namespace rhea::block
