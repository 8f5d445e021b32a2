#include "block/format/file_access.h"

#include <algorithm>
#include <cerrno>

namespace rhea::block {

namespace {

constexpr std::uint64_t kFillPiece = 1 << 20;
constexpr std::uint64_t kTablePart = 64 << 10;

} // namespace

util::Failure FileAccess::named(int code, std::string sentence) const {
    return util::fail(util::Error(filename_ + ": " + sentence).with_code(code));
}

util::Failure FileAccess::within(const util::Error &error, const char *action, std::uint64_t offset) const {
    const int code = error.code() != 0 ? error.code() : EIO;
    return util::fail(
        util::Error("{}: cannot {} at offset {}: {}", filename_, action, offset, error.message()).with_code(code));
}

Task<Result<void>> FileAccess::read(std::uint64_t offset, const IoVector &to) {
    auto done = co_await file_->read(offset, to);
    if (!done)
        co_return within(done.error(), "read", offset);
    co_return done;
}

Task<Result<void>> FileAccess::write(std::uint64_t offset, const IoVector &from) {
    auto done = co_await file_->write(offset, from);
    if (!done)
        co_return within(done.error(), "write", offset);
    co_return done;
}

Task<Result<void>> FileAccess::read_bytes(std::uint64_t offset, void *to, std::size_t length) {
    const IoVector memory(to, length);
    co_return co_await read(offset, memory);
}

Task<Result<void>> FileAccess::write_bytes(std::uint64_t offset, const void *from, std::size_t length) {
    const IoVector memory(const_cast<void *>(from), length);
    co_return co_await write(offset, memory);
}

Task<Result<void>> FileAccess::fill(std::uint64_t offset, std::uint8_t value, std::uint64_t length) {
    std::vector<std::uint8_t> buffer(std::min(length, kFillPiece), value);
    for (std::uint64_t at = 0; at < length;) {
        const std::uint64_t piece = std::min<std::uint64_t>(length - at, buffer.size());
        auto done = co_await write_bytes(offset + at, buffer.data(), piece);
        if (!done)
            co_return done;
        at += piece;
    }
    co_return Result<void>{};
}

Task<Result<void>> FileAccess::flush() {
    auto done = co_await file_->flush();
    if (!done)
        co_return within(done.error(), "flush", 0);
    co_return done;
}

Task<Result<void>> FileAccess::truncate(std::uint64_t length, Preallocation preallocation) {
    auto done = co_await file_->truncate(length, preallocation);
    if (!done) {
        const int code = done.error().code() != 0 ? done.error().code() : EIO;
        co_return fail(code, "cannot set the file's length to {}: {}", length, done.error().message());
    }
    co_return done;
}

Task<Result<NodeInfo>> FileAccess::info_of(BlockNode &node) const {
    auto info = co_await node.BlockNode::info();
    if (info)
        info->filename = filename_;
    co_return info;
}

Task<Result<void>> FileAccess::write_table(std::uint64_t offset, std::uint64_t count, unsigned width,
                                           std::function<void(std::uint8_t *at, std::uint64_t index)> store) {
    std::vector<std::uint8_t> part(std::min<std::uint64_t>(count, kTablePart / width) * width);
    for (std::uint64_t first = 0; first < count;) {
        const std::uint64_t here = std::min<std::uint64_t>(part.size() / width, count - first);
        for (std::uint64_t i = 0; i < here; ++i)
            store(&part[i * width], first + i);
        auto done = co_await write_bytes(offset + first * width, part.data(), here * width);
        if (!done)
            co_return done;
        first += here;
    }
    co_return Result<void>{};
}

Task<Result<void>> FileAccess::grow(std::uint64_t length) {
    co_await growth_.lock();
    Result<void> done;
    if (length > this->length())
        done = co_await truncate(length);
    growth_.unlock();
    co_return done;
}

} // namespace rhea::block
