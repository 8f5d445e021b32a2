#include "block/raw/raw.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace rhea::block {
namespace {

using util::Error;
using util::fail;

constexpr std::uint64_t kSector = 512;
constexpr std::size_t kHead = 2048; ///< what probing looks at

class RawNode final : public BlockNode {
public:
    RawNode(IoContext &context, std::shared_ptr<BlockNode> file, std::string filename, std::uint64_t offset,
            std::optional<std::uint64_t> size)
        : BlockNode(context, "raw"), file_(std::move(file)), filename_(std::move(filename)), offset_(offset), size_(size) {}

    std::uint64_t length() const override {
        if (size_)
            return *size_;
        const std::uint64_t all = file_->length();
        // A disk has whole sectors; what the last one lacks reads as zeroes.
        return all > offset_ ? (all - offset_ + kSector - 1) / kSector * kSector : 0;
    }
    std::uint32_t request_alignment() const override { return file_->request_alignment(); }
    BlockNode *file() const override { return file_.get(); }
    bool has_fua() const override { return file_->has_fua(); }

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override { return file_->read(offset_ + offset, to); }
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override {
        if (probed && offset < kHead) {
            auto allowed = co_await check_head(offset, from);
            if (!allowed)
                co_return allowed;
        }
        co_return co_await file_->write(offset_ + offset, from, flags);
    }
    Task<bool> copy_from(std::uint64_t offset, std::uint64_t length, BlockNode &from, std::uint64_t from_offset) override {
        if (probed && offset < kHead)
            co_return false; // its bytes must be looked at
        co_return co_await file_->copy_from(offset_ + offset, length, from, from_offset);
    }
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override {
        return file_->write_zeroes(offset_ + offset, length, flags);
    }
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override {
        return file_->discard(offset_ + offset, length);
    }
    Task<Result<void>> flush() override { return file_->flush(); }
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t length) override {
        return file_->block_status(offset_ + offset, length);
    }
    Task<Result<void>> truncate(std::uint64_t length, Preallocation preallocation) override {
        if (size_)
            co_return fail(Error("'{}' was opened with size=, which fixes its size", filename_).with_code(ENOTSUP));
        co_return co_await file_->truncate(offset_ + length, preallocation);
    }
    Task<Result<void>> close() override { return close_below(*file_); }

    bool probed = false;

private:
    /// A guest must not be able to make the next start take its disk for an image with, say, a backing file of its choice.
    Task<Result<void>> check_head(std::uint64_t offset, const IoVector &from) {
        std::array<std::uint8_t, kHead> head{};
        const IoVector all(head.data(), head.size());
        auto got = co_await file_->read(offset_, all);
        if (!got)
            co_return got;
        const std::uint64_t count = std::min<std::uint64_t>(from.size(), kHead - offset);
        from.copy_to(0, head.data() + offset, static_cast<std::size_t>(count));
        for (const BlockDriver *driver : block_drivers())
            if (driver->probe && driver != &kRawDriver && driver->probe(head, {}) > 0)
                co_return fail(Error("'{}' was taken for raw, and this write would make it look like {}; say format=raw to allow it",
                                     filename_, driver->name)
                                   .with_code(EPERM));
        co_return Result<void>{};
    }

    std::shared_ptr<BlockNode> file_;
    std::string filename_;
    std::uint64_t offset_;
    std::optional<std::uint64_t> size_;
};

Task<Result<std::shared_ptr<BlockNode>>> open_raw(OpenRequest request) {
    auto offset = request.options.take_size("offset", 0);
    if (!offset)
        co_return fail(offset.error());
    std::optional<std::uint64_t> size;
    if (request.options.has("size")) {
        auto given = request.options.take_size("size", 0);
        if (!given)
            co_return fail(given.error());
        size = *given;
    }
    if (auto done = request.options.finish({"offset", "size"}); !done)
        co_return fail(done.error());
    const std::uint64_t all = request.file->length();
    if (*offset > all || (size && (*size % kSector != 0 || *size > all - *offset)))
        co_return fail(Error("offset={} and size={} are not inside '{}', which has {} bytes, or are not whole sectors of 512 bytes", *offset,
                             size.value_or(0), request.filename, all)
                           .with_code(EINVAL));
    co_return std::make_shared<RawNode>(request.context, request.file, request.filename, *offset, size);
}

Task<Result<void>> create_raw(CreateRequest request) {
    auto creating = request.create_file_with(request.size, std::move(request.options));
    auto file = co_await creating;
    if (!file)
        co_return fail(file.error());
    co_return co_await (*file)->close();
}

/// What the file says it has; how much of that the host leaves out is its own affair (qemu-img measures so too).
Result<std::pair<std::uint64_t, std::uint64_t>> measure_raw(std::uint64_t size, std::uint64_t, NodeOptions) {
    return std::pair{size, size};
}

constexpr std::array<OptionDescription, 2> kOpenOptions{{
    {"offset", "size", "where the disk begins in the file", "0"},
    {"size", "size", "how much of the file is the disk", "all behind offset"},
}};
constexpr std::array<OptionDescription, 4> kCreateOptions{{
    {"extent_size_hint", "size", "Space that XFS takes at a time for the file; other file systems do not look at it", "0"},
    {"preallocation", "str", "Whether the file gets its space at once: no (off), without writing (falloc), by writing zeros (full)", "off"},
    {"nocow", "bool (on/off)", "Make a file whose blocks btrfs overwrites in place; other file systems do not look at it", "off"},
    {"size", "size", "Bytes of the disk that the guest sees", ""},
}};

} // namespace

void mark_probed(BlockNode &raw) {
    if (auto *node = dynamic_cast<RawNode *>(&raw))
        node->probed = true;
}

const BlockDriver kRawDriver = {
    .name = "raw",
    .probe = [](std::span<const std::uint8_t>, std::string_view) { return 1; },
    .open = open_raw,
    .create = create_raw,
    .open_options = kOpenOptions,
    .create_options = kCreateOptions,
    .measure = measure_raw,
};

} // namespace rhea::block
