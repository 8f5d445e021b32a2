// Overlays into their backing files, and what a drive's device sees of changes below it.
#include "rhea/block/commit.h"

#include <cerrno>

#include "fixture.h"
#include "rhea/block/backend.h"
#include "tests/support/overlay_node.h"

namespace rhea::block {
namespace {

using testing::MemoryBlockNode;
using Overlay = testing::OverlayNode;

constexpr std::uint64_t kBlock = Overlay::kBlock;

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
