#include "block/copy_on_read/copy_on_read.h"

#include "block/core/filter_node.h"

#include <algorithm>
#include <cerrno>

namespace rhea::block {
namespace {

using util::Error;
using util::fail;
using NodePtr = std::shared_ptr<BlockNode>;

/// What is copied at a time; a multiple of any cluster.
constexpr std::uint64_t kPiece = 2u << 20;
/// Where the node below has no clusters of its own.
constexpr std::uint64_t kLeastUnit = 64u << 10;

class CopyOnReadNode final : public FilterNode {
public:
    CopyOnReadNode(IoContext &context, NodePtr file) : FilterNode(context, "copy-on-read", std::move(file)) {}

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override;
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override {
        CopyRanges::Request request(ranges_, offset, offset + from.size(), false);
        co_await request.enter();
        co_return co_await file()->write(offset, from, flags);
    }
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override {
        CopyRanges::Request request(ranges_, offset, offset + length, false);
        co_await request.enter();
        co_return co_await file()->write_zeroes(offset, length, flags);
    }
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override {
        CopyRanges::Request request(ranges_, offset, offset + length, false);
        co_await request.enter();
        co_return co_await file()->discard(offset, length);
    }

private:
    Task<Result<bool>> comes_from_below(std::uint64_t begin, std::uint64_t end);
    Task<Result<void>> copy_up(std::uint64_t begin, std::uint64_t end);
    Task<Result<void>> copy_piece(std::uint64_t offset, std::uint64_t length);

    CopyRanges ranges_;
};

/// Does the backing file decide any byte of [begin, end)? Where it has none, there is nothing to copy.
Task<Result<bool>> CopyOnReadNode::comes_from_below(std::uint64_t begin, std::uint64_t end) {
    while (begin < end) {
        auto extent = co_await file()->block_status(begin, end - begin);
        if (!extent)
            co_return fail(extent.error());
        if (!extent->allocated && !extent->zero)
            co_return true;
        begin += extent->length;
    }
    co_return false;
}

Task<Result<void>> CopyOnReadNode::copy_piece(std::uint64_t offset, std::uint64_t length) {
    std::vector<std::uint8_t> buffer(static_cast<std::size_t>(length));
    const IoVector bytes(buffer.data(), buffer.size());
    auto done = co_await file()->read(offset, bytes);
    if (!done)
        co_return done;
    if (bytes.is_zero(0, length))
        co_return co_await file()->write_zeroes(offset, length, kMayUnmap);
    co_return co_await file()->write(offset, bytes);
}

/// Whole clusters: so nothing of a cluster comes from the backing file twice.
Task<Result<void>> CopyOnReadNode::copy_up(std::uint64_t begin, std::uint64_t end) {
    const std::uint64_t unit = std::max<std::uint64_t>(file()->cluster_size(), kLeastUnit);
    begin -= begin % unit;
    end = std::min((end + unit - 1) / unit * unit, file()->length());
    CopyRanges::Request request(ranges_, begin, end, true);
    co_await request.enter();
    while (begin < end) {
        auto extent = co_await file()->block_status(begin, std::min(end - begin, kPiece));
        if (!extent)
            co_return fail(extent.error());
        if (!extent->allocated && !extent->zero) {
            auto done = co_await copy_piece(begin, extent->length);
            if (!done)
                co_return done;
        }
        begin += extent->length;
    }
    co_return Result<void>{};
}

Task<Result<void>> CopyOnReadNode::read(std::uint64_t offset, const IoVector &to) {
    if (!read_only() && !file()->read_only()) {
        auto below = co_await comes_from_below(offset, offset + to.size());
        if (!below)
            co_return fail(below.error());
        if (*below) {
            auto copied = co_await copy_up(offset, offset + to.size());
            if (!copied)
                co_return copied;
        }
    }
    co_return co_await file()->read(offset, to);
}

Task<Result<NodePtr>> open_copy_on_read(OpenRequest request) {
    if (auto done = request.options.finish({}); !done)
        co_return fail(done.error());
    if (request.flags.read_only)
        co_return fail(Error("driver 'copy-on-read' writes to the node below it: neither may be read-only").with_code(EPERM));
    co_return std::make_shared<CopyOnReadNode>(request.context, request.file);
}

} // namespace

// ---- requests that keep out of each other's way ----------------------------------------------------------------------

Task<void> CopyRanges::Request::enter() {
    const auto in_the_way = [this](const Request *other) { return conflicts(*other); };
    while (std::ranges::any_of(all_.under_way_, in_the_way))
        co_await all_.waiting_.wait();
    all_.under_way_.push_back(this);
    entered_ = true;
}

CopyRanges::Request::~Request() {
    if (!entered_)
        return;
    std::erase(all_.under_way_, this);
    all_.waiting_.wake_all();
}

// ---- the driver ------------------------------------------------------------------------------------------------------

NodePtr make_copy_on_read(NodePtr below) {
    IoContext &context = below->context();
    const NodeSettings settings = below->settings();
    auto node = std::make_shared<CopyOnReadNode>(context, std::move(below));
    node->set_settings(settings);
    return node;
}

const BlockDriver kCopyOnReadDriver = {
    .name = "copy-on-read",
    .open = open_copy_on_read,
};

} // namespace rhea::block
