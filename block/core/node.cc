// What a node does unless its driver knows better.
#include "rhea/block/node.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace rhea::block {
namespace {

constexpr std::size_t kZeroChunk = 64 << 10;
constexpr std::uint64_t kZeroRequest = 1 << 20;

/// Never written to: zeroes to write from, as often as needed.
std::uint8_t *zero_chunk() {
    alignas(4096) static constinit std::array<std::uint8_t, kZeroChunk> zeroes{};
    return zeroes.data();
}

util::Failure unsupported(const BlockNode &node, std::string_view what) {
    return util::fail(util::Error("format '{}' has no {}", node.driver(), what).with_code(ENOTSUP));
}

} // namespace

util::Failure io_error(int code, std::string_view what) {
    code = code < 0 ? -code : code;
    return util::fail(util::Error("{}: {}", what, std::strerror(code)).with_code(code));
}

std::vector<BlockNode *> BlockNode::children() const {
    std::vector<BlockNode *> all;
    for (BlockNode *child : {file(), backing()})
        if (child)
            all.push_back(child);
    return all;
}

Task<Result<void>> BlockNode::write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) {
    if (flags & kNoFallback)
        co_return unsupported(*this, "cheap way to write zeroes");
    while (length > 0) {
        const std::uint64_t part = std::min(length, kZeroRequest);
        IoVector zeroes;
        for (std::uint64_t done = 0; done < part; done += kZeroChunk)
            zeroes.append(zero_chunk(), static_cast<std::size_t>(std::min<std::uint64_t>(kZeroChunk, part - done)));
        auto written = co_await write(offset, zeroes, flags & kFua);
        if (!written)
            co_return written;
        offset += part;
        length -= part;
    }
    co_return Result<void>{};
}

Task<Result<void>> close_below(BlockNode &child) {
    if (!child.stands_alone())
        return child.close();
    return child.read_only() ? []() -> Task<Result<void>> { co_return Result<void>{}; }() : child.flush();
}

BlockNode &below_filters(BlockNode &node) {
    BlockNode *below = &node;
    while (below->is_filter())
        below = below->file();
    return *below;
}

Task<bool> BlockNode::copy_from(std::uint64_t, std::uint64_t, BlockNode &, std::uint64_t) { co_return false; }

Task<Result<void>> BlockNode::discard(std::uint64_t, std::uint64_t) { co_return Result<void>{}; }

Task<Result<Extent>> BlockNode::block_status(std::uint64_t, std::uint64_t length) {
    Extent extent;
    extent.length = length;
    extent.data = extent.allocated = true;
    co_return extent;
}

Task<Result<void>> BlockNode::reopen(bool read_only) {
    if (BlockNode *below = file()) {
        auto done = co_await below->reopen(read_only);
        if (!done)
            co_return done;
    }
    read_only_ = read_only;
    co_return Result<void>{};
}

Task<Result<void>> BlockNode::truncate(std::uint64_t, Preallocation) { co_return unsupported(*this, "way to change the size"); }
Task<Result<CheckResult>> BlockNode::check(CheckFix) { co_return unsupported(*this, "check"); }

Task<Result<NodeInfo>> BlockNode::info() {
    NodeInfo info;
    info.format = driver_;
    info.virtual_size = length();
    if (cluster_size() != 0)
        info.cluster_size = cluster_size();
    if (BlockNode *below = file()) {
        auto under = co_await below->info();
        if (!under)
            co_return util::fail(under.error());
        info.filename = under->filename;
        info.actual_size = under->actual_size;
    }
    co_return info;
}

Task<Result<void>> BlockNode::change_backing_file(std::string, std::string) { co_return unsupported(*this, "backing files"); }
Task<Result<void>> BlockNode::snapshot_create(NodeInfo::Snapshot) { co_return unsupported(*this, "internal snapshots"); }
Task<Result<void>> BlockNode::snapshot_apply(std::string) { co_return unsupported(*this, "internal snapshots"); }
Task<Result<void>> BlockNode::snapshot_delete(std::string) { co_return unsupported(*this, "internal snapshots"); }
Task<Result<void>> BlockNode::snapshot_show(std::string) { co_return unsupported(*this, "internal snapshots"); }
Task<Result<void>> BlockNode::make_empty() { co_return unsupported(*this, "way to drop its contents"); }
Task<Result<void>> BlockNode::vmstate_write(std::uint64_t, const IoVector &) {
    co_return unsupported(*this, "room for a machine's state");
}
Task<Result<void>> BlockNode::vmstate_read(std::uint64_t, const IoVector &) {
    co_return unsupported(*this, "room for a machine's state");
}

} // namespace rhea::block
