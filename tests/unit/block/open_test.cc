// From names and options to graphs of nodes.
#include <malloc.h>

#include <cerrno>

#include "fixture.h"
#include "tests/support/memory_block_node.h"

namespace rhea::block {
namespace {

class OpenTest : public BlockTest {
protected:
    std::string open_error(const std::string &filename, const std::string &options = "") {
        auto node = open(filename, options);
        return node ? "" : node.error().message();
    }
    unsigned number_ = 0;
};

TEST_F(OpenTest, NamesOfBackingFilesAreRelativeToTheImage) {
    EXPECT_EQ(resolve_backing("/a/b/img", "base"), "/a/b/base");
    EXPECT_EQ(resolve_backing("img", "base"), "base");
    EXPECT_EQ(resolve_backing("d/img", "../base"), "d/../base");
    EXPECT_EQ(resolve_backing("/a/img", "/base"), "/base");
    EXPECT_EQ(resolve_backing("/a/img", "nbd://h/x"), "nbd://h/x");
    EXPECT_EQ(resolve_backing("/a/img", "./b:c"), "/a/./b:c");
    EXPECT_EQ(resolve_backing("nbd://h/x", "base"), "nbd://h/base");
    EXPECT_EQ(resolve_backing("file:img", "base"), "file:base");
    EXPECT_EQ(resolve_backing("/a/img", ""), "");
    EXPECT_EQ(resolve_backing("json:{\"a\":\"/\"}", "base"), "base");
}

TEST_F(OpenTest, SchemesChooseTheProtocol) {
    make_file("f", pattern(512));
    auto node = open("file:" + path("f"));
    ASSERT_TRUE(node) << node.error().message();
    EXPECT_EQ((*node)->file()->driver(), "file");
    EXPECT_EQ(open_error("fiel:x"), "unknown protocol 'fiel' in 'fiel:x' (did you mean 'file'?); write ./fiel:x for a file of that name");
    make_file("a:b", pattern(512));
    EXPECT_TRUE(open(path("a:b")));
}

TEST_F(OpenTest, JsonNamesAndDottedOptionsMeanTheSame) {
    make_file("f", pattern(4096));
    auto by_json = open(R"(json:{"driver":"raw","offset":512,"file":{"driver":"file","filename":")" + path("f") + R"("}})");
    ASSERT_TRUE(by_json) << by_json.error().message();
    const auto bytes = read(**by_json, 0, 512);
    by_json->reset();
    auto by_text = open("", "driver=raw,offset=512,file.driver=file,file.filename=" + path("f"));
    ASSERT_TRUE(by_text) << by_text.error().message();
    EXPECT_EQ(read(**by_text, 0, 512), bytes);
    EXPECT_EQ(open_error("json:{"), "json:{: JSON text is wrong near character 2");
    EXPECT_EQ(open_error(R"(json:{"filename":"json:{}"})"), "a json: name inside a json: name");
}

TEST_F(OpenTest, MistakesAreNamed) {
    make_file("f", pattern(512));
    EXPECT_EQ(open_error(path("f"), "driver=rav"), "unknown block driver 'rav'; did you mean 'raw'?");
    EXPECT_EQ(open_error(path("f"), "driver=raw,ofset=3"), "unknown option 'ofset'; did you mean 'offset'?");
    EXPECT_EQ(open_error("", "driver=raw"), "no image is named: file= or filename= is missing");
    EXPECT_EQ(open_error("", "driver=raw,file=nobody"), "there is no node 'nobody' for file=");
    EXPECT_EQ(open_error(path("f"), "discard=maybe"), "discard= takes ignore or unmap, not 'maybe'");
    EXPECT_EQ(open_error(path("f"), "detect-zeroes=unmap"), "detect-zeroes=unmap needs discard=unmap");
    EXPECT_EQ(open_error(path("f"), "read-only=perhaps"), "'read-only' takes on or off, not 'perhaps'");
}

TEST_F(OpenTest, SettingsGoDownToTheFile) {
    make_file("f", pattern(512));
    auto node = open(path("f"), "driver=raw,discard=unmap,cache.no-flush=on,detect-zeroes=on");
    ASSERT_TRUE(node) << node.error().message();
    EXPECT_TRUE((*node)->file()->settings().unmap);
    EXPECT_TRUE((*node)->file()->settings().no_flush);
    EXPECT_EQ((*node)->file()->settings().detect_zeroes, DetectZeroes::kOff);
    EXPECT_EQ((*node)->settings().detect_zeroes, DetectZeroes::kOn);
    node->reset();
    node = open(path("f"), "driver=raw,discard=unmap,file.discard=ignore,read-only=on");
    EXPECT_FALSE((*node)->file()->settings().unmap);
    EXPECT_TRUE((*node)->read_only());
}

TEST_F(OpenTest, NamedNodesCanBeBuiltUpon) {
    make_file("f", pattern(4096));
    NodeNames names;
    OpenFlags flags;
    flags.names = &names;
    auto below = open("", "driver=file,node-name=disk,read-only=on,filename=" + path("f"), flags);
    ASSERT_TRUE(below);
    EXPECT_EQ(names.find("disk"), *below);
    EXPECT_EQ(open("", "driver=raw,file=disk", flags).error().message(), "node 'disk' takes no writes; say read-only=on here, too");
    auto above = open("", "driver=raw,file=disk,read-only=on,node-name=top", flags);
    ASSERT_TRUE(above) << above.error().message();
    EXPECT_EQ((*above)->file(), below->get());
    EXPECT_EQ(open("", "driver=file,node-name=disk,locking=off,filename=" + path("f"), flags).error().message(), "there is already a node 'disk'");
    EXPECT_EQ(names.all().size(), 2u);
    above->reset();
    EXPECT_EQ(names.all().size(), 1u);
}

/// Drives that come and go for ever: names that were made for their nodes are all different.
TEST_F(OpenTest, NamesOfNodesThatWentTakeNoMemory) {
    NodeNames names;
    const auto come_and_go = [&](unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            const auto node = std::make_shared<testing::MemoryBlockNode>(context_);
            node->set_node_name("#block" + std::to_string(number_++));
            ASSERT_TRUE(names.add(node));
        }
    };
    come_and_go(100);
    const std::size_t before = ::mallinfo2().uordblks;
    come_and_go(1000);
    EXPECT_LT(::mallinfo2().uordblks, before + 64 * 1024);
}

TEST_F(OpenTest, CacheModes) {
    NodeOptions options;
    EXPECT_EQ(set_cache_mode(options, "directsync"), true);
    EXPECT_EQ(options.take("cache.direct"), "on");
    EXPECT_EQ(set_cache_mode(options, "unsafe"), false);
    EXPECT_EQ(options.take("cache.no-flush"), "on");
    EXPECT_FALSE(set_cache_mode(options, "writeforward"));
}

} // namespace
} // namespace rhea::block
