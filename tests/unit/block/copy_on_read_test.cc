// What a read finds in the backing file is the overlay's afterwards, and the guest's writes are never undone by it.
#include "block/copy_on_read/copy_on_read.h"

#include <cerrno>

#include "fixture.h"
#include "tests/support/overlay_node.h"

namespace rhea::block {
namespace {

using testing::MemoryBlockNode;
using testing::OverlayNode;

constexpr std::uint64_t kBlock = OverlayNode::kBlock, kUnit = 64u << 10, kSize = 4 * kUnit;

class CopyOnReadTest : public BlockTest {
protected:
    CopyOnReadTest() { base_->bytes = pattern(kSize, 3); }

    std::vector<std::uint8_t> in_base(std::uint64_t offset, std::size_t size) const {
        const auto start = base_->bytes.begin() + static_cast<std::ptrdiff_t>(offset);
        return {start, start + static_cast<std::ptrdiff_t>(size)};
    }

    std::shared_ptr<MemoryBlockNode> base_ = std::make_shared<MemoryBlockNode>(context_, kSize);
    std::shared_ptr<OverlayNode> top_ = std::make_shared<OverlayNode>(context_, base_, kSize);
    std::shared_ptr<BlockNode> filter_ = make_copy_on_read(top_);
};

TEST_F(CopyOnReadTest, TheBackingFileIsReadOnce) {
    EXPECT_EQ(read(*filter_, kUnit + 700, 1000), in_base(kUnit + 700, 1000));
    EXPECT_EQ(top_->owned.size(), kUnit / kBlock) << "a whole unit";
    EXPECT_TRUE(top_->owned.contains(kUnit / kBlock));
    EXPECT_FALSE(top_->owned.contains(2 * kUnit / kBlock));
    const std::size_t reads = base_->count(MemoryBlockNode::Kind::kRead);
    EXPECT_EQ(read(*filter_, kUnit, kUnit), in_base(kUnit, kUnit));
    EXPECT_EQ(base_->count(MemoryBlockNode::Kind::kRead), reads);
    EXPECT_EQ(read(*filter_, 0, kSize), in_base(0, kSize));
    EXPECT_EQ(top_->owned.size(), kSize / kBlock);
}

TEST_F(CopyOnReadTest, WhatTheOverlayHasStays) {
    ASSERT_TRUE(write(*filter_, 3 * kBlock, pattern(kBlock, 9)));
    EXPECT_EQ(read(*filter_, 0, kBlock), in_base(0, kBlock));
    EXPECT_EQ(read(*filter_, 3 * kBlock, kBlock), pattern(kBlock, 9));
}

TEST_F(CopyOnReadTest, AWriteDuringACopyIsNotUndone) {
    base_->yields = true;
    const std::vector<std::uint8_t> mine = pattern(kUnit, 9);
    int done = 0;
    const auto reader = [](BlockNode &node, int &count) -> Task<void> {
        std::vector<std::uint8_t> bytes(kBlock);
        const IoVector to(bytes.data(), bytes.size());
        auto got = co_await node.read(0, to);
        EXPECT_TRUE(got);
        ++count;
    };
    const auto writer = [](BlockNode &node, std::vector<std::uint8_t> bytes, int &count) -> Task<void> {
        const IoVector from(bytes.data(), bytes.size());
        auto written = co_await node.write(0, from, kNoFlags);
        EXPECT_TRUE(written);
        ++count;
    };
    const auto both = [&](IoContext &context) -> Task<Result<void>> {
        context.spawn(reader(*filter_, done));
        context.spawn(writer(*filter_, mine, done));
        context.spawn(reader(*filter_, done));
        while (done < 3)
            co_await context.sleep(1'000'000);
        co_return Result<void>{};
    };
    ASSERT_TRUE(context_.run(both(context_)));
    EXPECT_EQ(read(*filter_, 0, kUnit), mine);
}

TEST_F(CopyOnReadTest, ErrorsReachTheReader) {
    base_->fail_request(0, EIO, MemoryBlockNode::Kind::kRead);
    std::vector<std::uint8_t> bytes(kBlock);
    const IoVector to(bytes.data(), bytes.size());
    EXPECT_EQ(context_.run(filter_->read(0, to)).error().code(), EIO);
    EXPECT_TRUE(top_->owned.empty());
    base_->fault = nullptr;
    EXPECT_TRUE(context_.run(filter_->read(0, to))) << "and the range is free again";
}

TEST_F(CopyOnReadTest, NothingIsWrittenBelowAReadOnlyNode) {
    filter_->set_read_only(true);
    EXPECT_EQ(read(*filter_, 0, kBlock), in_base(0, kBlock));
    EXPECT_TRUE(top_->owned.empty());
}

TEST_F(CopyOnReadTest, AsADriver) {
    const auto expected = pattern(kSize, 4);
    make_file("base", expected);
    auto driver = find_driver("qcow2");
    ASSERT_TRUE(driver);
    ASSERT_TRUE(context_.run(create_image(context_, **driver, path("top"), kSize,
                                          NodeOptions::from_text("backing_file=" + path("base") + ",backing_fmt=raw").value())));
    const std::string chain = "driver=copy-on-read,file.driver=qcow2,file.file.driver=file,file.file.filename=" + path("top");
    EXPECT_EQ(open("", chain + ",read-only=on").error().code(), EPERM);
    {
        auto node = open("", chain);
        ASSERT_TRUE(node) << node.error().message();
        EXPECT_EQ(below_filters(**node).driver(), "qcow2");
        EXPECT_EQ(read(**node, 100, 10), std::vector<std::uint8_t>(expected.begin() + 100, expected.begin() + 110));
        ASSERT_TRUE(context_.run((*node)->close()));
    }
    auto alone = open(path("top"), "driver=qcow2,backing=");
    ASSERT_TRUE(alone) << alone.error().message();
    EXPECT_EQ(read(**alone, 0, kUnit), std::vector<std::uint8_t>(expected.begin(), expected.begin() + kUnit)) << "without the backing file";
    EXPECT_EQ(read(**alone, kUnit, kUnit), std::vector<std::uint8_t>(kUnit)) << "what nobody read";
}

} // namespace
} // namespace rhea::block
