#include "block/qcow2/host_file.h"

#include <cerrno>

namespace rhea::block::qcow2 {

Task<Result<void>> read_zero_extended(BlockNode &node, std::uint64_t offset, const IoVector &to) {
    const std::uint64_t length = node.length();
    const std::uint64_t inside = offset >= length ? 0 : std::min<std::uint64_t>(to.size(), length - offset);
    if (inside == to.size())
        co_return co_await node.read(offset, to);
    if (inside != 0) {
        // A file that ends inside a sector of its alignment is read up to the end of that sector.
        const IoVector piece = to.slice(0, inside);
        auto done = co_await node.read(offset, piece);
        if (!done)
            co_return done;
    }
    to.fill(inside, 0, to.size() - inside);
    co_return Result<void>{};
}

Task<Result<void>> HostFile::read(std::uint64_t offset, std::span<std::uint8_t> to, const char *what) {
    if (to.empty())
        co_return Result<void>{};
    if (offset >= node_->length()) // an image that was cut off: zeroes would pass for an empty table
        co_return util::fail(util::Error("{}: {} at offset {:#x} lies behind the end of the file at {:#x}; the image is corrupt", filename_, what, offset,
                                         node_->length()).with_code(EUCLEAN));
    const IoVector vector(to);
    auto done = co_await read_zero_extended(*node_, offset, vector);
    if (!done)
        co_return util::fail(util::Error("{}: cannot read {} at offset {:#x}: {}", filename_, what, offset, done.error().message())
                                 .with_code(done.error().code()));
    co_return done;
}

Task<Result<void>> HostFile::write(std::uint64_t offset, std::span<const std::uint8_t> from, const char *what) {
    const IoVector vector(const_cast<std::uint8_t *>(from.data()), from.size());
    auto done = co_await node_->write(offset, vector);
    if (!done)
        co_return util::fail(util::Error("{}: cannot write {} at offset {:#x}: {}", filename_, what, offset, done.error().message())
                                 .with_code(done.error().code()));
    co_return done;
}

Task<Result<void>> HostFile::flush() {
    if (flushes_held_)
        co_return Result<void>{};
    auto done = co_await node_->flush();
    if (!done)
        co_return util::fail(util::Error("{}: cannot flush: {}", filename_, done.error().message()).with_code(done.error().code()));
    co_return done;
}

} // namespace rhea::block::qcow2
