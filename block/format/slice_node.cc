#include "block/format/slice_node.h"

#include <algorithm>
#include <cerrno>

namespace rhea::block {

Result<void> SliceNode::check_writable() const {
    if (read_only())
        return file_.fail(EPERM, "the image is open read-only");
    return {};
}

Task<Result<void>> SliceNode::read(std::uint64_t offset, const IoVector &to) { return file_.read(start_ + offset, to); }

Task<Result<void>> SliceNode::write(std::uint64_t offset, const IoVector &from, unsigned flags) {
    if (auto writable = check_writable(); !writable)
        co_return writable;
    if (flags & kCompressed)
        co_return file_.fail(ENOTSUP, "this format stores no compressed clusters");
    auto done = co_await file_.write(start_ + offset, from);
    if (!done || !(flags & kFua))
        co_return done;
    co_return co_await file_.flush();
}

Task<Result<void>> SliceNode::write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) {
    if (auto writable = check_writable(); !writable)
        co_return writable;
    auto done = co_await file_.node().write_zeroes(start_ + offset, length, flags & ~unsigned{kFua});
    if (!done || !(flags & kFua))
        co_return done;
    co_return co_await file_.flush();
}

Task<Result<void>> SliceNode::discard(std::uint64_t offset, std::uint64_t length) {
    if (read_only())
        co_return Result<void>{};
    co_return co_await file_.node().discard(start_ + offset, length);
}

Task<Result<Extent>> SliceNode::block_status(std::uint64_t offset, std::uint64_t length) {
    Extent extent;
    extent.length = length;
    extent.data = extent.allocated = true;
    const std::uint64_t at = start_ + offset;
    if (at < file_.length()) {
        auto below = co_await file_.node().block_status(at, std::min(length, file_.length() - at));
        if (!below)
            co_return util::fail(below.error());
        extent.length = below->length;
        extent.data = below->data;
        extent.zero = below->zero;
    }
    extent.host_offset = at;
    extent.file = file();
    co_return extent;
}

} // namespace rhea::block
