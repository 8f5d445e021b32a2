// Creating files: sparse, or with their space taken beforehand.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "block/file/file_lock.h"
#include "block/file/file_node.h"

namespace rhea::block {
namespace {

using util::Error;
using util::fail;

Result<Preallocation> parse_preallocation(const std::string &text) {
    if (text == "off")
        return Preallocation::kOff;
    if (text == "falloc")
        return Preallocation::kFalloc;
    if (text == "full")
        return Preallocation::kFull;
    return fail(Error("preallocation of a file may be off, falloc or full, not '{}'", text).with_code(EINVAL));
}

/// btrfs: no copy on write for this file (only while it is empty).
void set_nocow(int fd) {
    int attributes = 0;
    if (::ioctl(fd, FS_IOC_GETFLAGS, &attributes) == 0) {
        attributes |= FS_NOCOW_FL;
        ::ioctl(fd, FS_IOC_SETFLAGS, &attributes);
    }
}

/// How much space the file system takes at a time for this file (XFS, only while it is empty).
void set_extent_size(int fd, std::uint64_t bytes) {
    struct fsxattr attributes{};
    if (bytes != 0 && ::ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0) {
        attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
        attributes.fsx_extsize = static_cast<std::uint32_t>(bytes);
        ::ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
    }
}

} // namespace

Task<Result<void>> create_file(CreateRequest request) {
    std::string filename = request.filename;
    if (filename.starts_with("file:"))
        filename.erase(0, 5);
    auto preallocation = parse_preallocation(request.options.take("preallocation").value_or("off"));
    if (!preallocation)
        co_return fail(preallocation.error());
    auto nocow = request.options.take_bool("nocow", false);
    if (!nocow)
        co_return fail(nocow.error());
    auto extent_size = request.options.take_size("extent_size_hint", 0);
    if (!extent_size)
        co_return fail(extent_size.error());
    if (*extent_size > UINT32_MAX)
        co_return fail(Error("extent_size_hint={} is too much; at most {} bytes are possible", *extent_size, UINT32_MAX).with_code(EINVAL));
    if (auto done = request.options.finish({"preallocation", "nocow", "extent_size_hint"}); !done)
        co_return done;
    const int fd = ::open(filename.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd < 0)
        co_return io_error(errno, fmt::format("cannot create '{}'", filename));
    struct stat status{};
    if (::fstat(fd, &status) != 0 || !(S_ISREG(status.st_mode) || S_ISBLK(status.st_mode))) {
        ::close(fd);
        co_return fail(Error("'{}' is neither a file nor a block device", filename).with_code(EINVAL));
    }
    FileNode::Opened opened{fd, filename, 0, S_ISBLK(status.st_mode)};
    if (opened.is_device && ::ioctl(fd, BLKGETSIZE64, &opened.size) != 0)
        opened.size = 0;
    FileNode node(request.context, "file", opened, {});
    if (auto locked = lock_image(fd, filename, LockUse::kCreate, false); !locked)
        co_return locked;
    if (!opened.is_device && ::ftruncate(fd, 0) != 0)
        co_return io_error(errno, fmt::format("cannot empty '{}'", filename));
    if (*nocow)
        set_nocow(fd);
    set_extent_size(fd, *extent_size);
    co_return co_await node.truncate(request.size, *preallocation);
}

} // namespace rhea::block
