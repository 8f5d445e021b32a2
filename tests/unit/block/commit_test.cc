// Overlays into their backing files, and what a drive's device sees of changes below it.
#include "rhea/block/commit.h"

#include <cerrno>
#include <set>

#include "fixture.h"
#include "rhea/block/backend.h"
#include "tests/support/memory_block_node.h"

namespace rhea::block {
namespace {

using testing::MemoryBlockNode;

constexpr std::uint64_t kBlock = 4096;

/// An overlay of whole blocks: what was written is its own, all else comes from the backing node.
class Overlay final : public BlockNode {
public:
    Overlay(IoContext &context, std::shared_ptr<BlockNode> backing, std::uint64_t size)
        : BlockNode(context, "overlay"), backing_(std::move(backing)), bytes_(std::make_shared<MemoryBlockNode>(context, size)) {}
    std::uint64_t length() const override { return bytes_->length(); }
    BlockNode *backing() const override { return backing_.get(); }
    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override {
        BlockNode &from = owned.contains(offset / kBlock) ? *bytes_ : *backing_;
        return from.read(offset, to);
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

class CommitTest : public BlockTest {
protected:
    CommitTest() { base_->set_read_only(true); }
    std::shared_ptr<MemoryBlockNode> base_ = std::make_shared<MemoryBlockNode>(context_, 4 * kBlock);
    std::shared_ptr<Overlay> top_ = std::make_shared<Overlay>(context_, base_, 8 * kBlock);
};

TEST_F(CommitTest, WhatTheOverlayHoldsIsInTheBackingFileAndStable) {
    ASSERT_TRUE(write(*top_, kBlock, pattern(kBlock, 5)));
    ASSERT_TRUE(write(*top_, 6 * kBlock, pattern(kBlock, 6)));
    auto done = context_.run(commit_to_backing(*top_));
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(base_->length(), 8 * kBlock) << "it grew with the overlay";
    EXPECT_EQ(read(*base_, kBlock, kBlock), pattern(kBlock, 5));
    EXPECT_EQ(read(*base_, 6 * kBlock, kBlock), pattern(kBlock, 6));
    EXPECT_EQ(read(*base_, 0, kBlock), std::vector<std::uint8_t>(kBlock));
    EXPECT_EQ(base_->after_crash(0), base_->bytes);
    EXPECT_TRUE(base_->read_only());
    EXPECT_TRUE(top_->owned.empty());
}

TEST_F(CommitTest, AFailureLeavesTheOverlayWhole) {
    ASSERT_TRUE(write(*top_, kBlock, pattern(kBlock, 5)));
    base_->fail_request(0, ENOSPC, MemoryBlockNode::Kind::kWrite);
    EXPECT_EQ(context_.run(commit_to_backing(*top_)).error().code(), ENOSPC);
    EXPECT_EQ(top_->owned.size(), 1u);
    base_->fail_request(0, EIO, MemoryBlockNode::Kind::kFlush);
    EXPECT_EQ(context_.run(commit_to_backing(*top_)).error().code(), EIO);
    EXPECT_EQ(top_->owned.size(), 1u);
    EXPECT_TRUE(base_->read_only());
    EXPECT_EQ(context_.run(commit_to_backing(*base_)).error().code(), ENOTSUP);
}

TEST_F(CommitTest, TheDevicesRequestsWaitMeanwhile) {
    BlockBackend drive("d", context_);
    ASSERT_TRUE(drive.set_node(base_));
    base_->set_read_only(false);
    std::string order;
    const auto writer = [](BlockBackend &backend, std::string &out) -> Task<void> {
        std::uint8_t byte = 1;
        const IoVector from(&byte, 1);
        auto done = co_await backend.write(0, from);
        EXPECT_TRUE(done);
        out += 'w';
    };
    const auto work = [](IoContext &context, BlockBackend &backend, std::string &out, auto write_one) -> Task<Result<void>> {
        context.spawn(write_one(backend, out));
        co_await context.sleep(2'000'000);
        out += 'a';
        co_return Result<void>{};
    };
    ASSERT_TRUE(drive.run_alone(work(context_, drive, order, writer)));
    drive.drain();
    EXPECT_EQ(order, "aw");
}

TEST_F(CommitTest, AFileIsReopenedForWritingAndBack) {
    make_file("f", pattern(4096));
    auto node = open(path("f"), "driver=raw,read-only=on");
    ASSERT_TRUE(node);
    BlockNode &file = *(*node)->file();
    EXPECT_EQ(write(file, 0, pattern(512, 2)).error().code(), EPERM);
    ASSERT_TRUE(context_.run((*node)->reopen(false)));
    EXPECT_FALSE(file.read_only());
    EXPECT_TRUE(write(**node, 0, pattern(512, 2)));
    EXPECT_EQ(open(path("f"), "driver=raw").error().code(), EBUSY) << "locked as a writer";
    ASSERT_TRUE(context_.run((*node)->reopen(true)));
    EXPECT_TRUE(open(path("f"), "driver=raw,read-only=on"));
    auto reader = open(path("f"), "driver=raw,read-only=on");
    EXPECT_EQ(context_.run((*node)->reopen(false)).error().code(), EBUSY);
    EXPECT_TRUE((*node)->read_only());
    EXPECT_EQ(read(**node, 0, 512), pattern(512, 2));
}

} // namespace
} // namespace rhea::block
