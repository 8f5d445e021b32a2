// A node over a backing node for tests, whose own blocks the test can look at.
#pragma once
#include <algorithm>
#include <memory>
#include <set>

#include "tests/support/memory_block_node.h"

namespace rhea::block::testing {

/// An overlay of whole blocks: what was written is its own, all else comes from the backing node.
class OverlayNode final : public BlockNode {
public:
    static constexpr std::uint64_t kBlock = 4096;

    OverlayNode(IoContext &context, std::shared_ptr<BlockNode> backing, std::uint64_t size)
        : BlockNode(context, "overlay"), backing_(std::move(backing)), bytes_(std::make_shared<MemoryBlockNode>(context, size)) {}
    std::uint64_t length() const override { return bytes_->length(); }
    BlockNode *backing() const override { return backing_.get(); }
    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override {
        for (std::uint64_t done = 0; done < to.size();) {
            BlockNode &from = owned.contains((offset + done) / kBlock) ? *bytes_ : *backing_;
            const IoVector piece = to.slice(done, std::min(to.size() - done, kBlock - (offset + done) % kBlock));
            auto got = co_await from.read(offset + done, piece);
            if (!got)
                co_return got;
            done += piece.size();
        }
        co_return Result<void>{};
    }
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override {
        for (std::uint64_t at = offset; at < offset + from.size(); at += kBlock)
            owned.insert(at / kBlock);
        return bytes_->write(offset, from, flags);
    }
    Task<Result<void>> flush() override { return bytes_->flush(); }
    Task<Result<Extent>> block_status(std::uint64_t offset, std::uint64_t) override {
        Extent extent;
        extent.length = kBlock;
        extent.data = extent.allocated = owned.contains(offset / kBlock);
        co_return extent;
    }
    Task<Result<void>> make_empty() override {
        owned.clear();
        co_return Result<void>{};
    }

    std::set<std::uint64_t> owned;

private:
    std::shared_ptr<BlockNode> backing_;
    std::shared_ptr<MemoryBlockNode> bytes_;
};

} // namespace rhea::block::testing
