#include <cerrno>

#include "fixture.h"

namespace rhea::block {
namespace {

class RawTest : public BlockTest {};

TEST_F(RawTest, HasWholeSectors) {
    auto node = open(make_file("f", pattern(1000)), "driver=raw");
    ASSERT_TRUE(node);
    EXPECT_EQ((*node)->length(), 1024u);
    auto expected = pattern(1000);
    expected.resize(1024);
    EXPECT_EQ(read(**node, 0, 1024), expected);
    auto info = context_.run((*node)->info());
    EXPECT_EQ(info->format, "raw");
    EXPECT_EQ(info->filename, path("f"));
    EXPECT_EQ(info->virtual_size, 1024u);
}

TEST_F(RawTest, CanBeAPartOfTheFile) {
    make_file("f", pattern(8192));
    auto node = open(path("f"), "driver=raw,offset=1k,size=2k");
    ASSERT_TRUE(node) << node.error().message();
    EXPECT_EQ((*node)->length(), 2048u);
    ASSERT_TRUE(write(**node, 512, pattern(512, 9)));
    const auto all = file_bytes("f");
    const auto part = pattern(512, 9);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 1536));
    EXPECT_EQ(context_.run((*node)->truncate(4096)).error().code(), ENOTSUP);
    node->reset();
    EXPECT_EQ(open(path("f"), "driver=raw,offset=9k").error().code(), EINVAL);
    EXPECT_EQ(open(path("f"), "driver=raw,offset=1k,size=8k").error().code(), EINVAL);
    EXPECT_EQ(open(path("f"), "driver=raw,offset=1k,size=100").error().code(), EINVAL);
}

TEST_F(RawTest, IsCreatedSparse) {
    const BlockDriver *raw = *find_driver("raw");
    ASSERT_TRUE(context_.run(create_image(context_, *raw, path("f"), 10ull << 40, {})));
    auto node = open(path("f"));
    ASSERT_TRUE(node);
    EXPECT_EQ((*node)->driver(), "raw");
    EXPECT_EQ((*node)->length(), 10ull << 40);
}

} // namespace
} // namespace rhea::block
