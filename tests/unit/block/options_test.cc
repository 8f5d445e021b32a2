#include "rhea/block/options.h"

#include <gtest/gtest.h>

namespace rhea::block {
namespace {

TEST(NodeOptionsTest, JsonBecomesDottedKeys) {
    auto options = NodeOptions::from_json(
        R"({"driver":"qcow2","file":{"driver":"file","filename":"a\"b"},"read-only":true,"n":[1,{"x":-2.5}],"backing":null})");
    ASSERT_TRUE(options) << options.error().message();
    EXPECT_EQ(options->take("file.filename"), "a\"b");
    EXPECT_EQ(options->take("read-only"), "on");
    EXPECT_EQ(options->take("n.0"), "1");
    EXPECT_EQ(options->take("n.1.x"), "-2.5");
    EXPECT_EQ(options->take("backing"), "");
    NodeOptions file = options->take_child("file");
    EXPECT_EQ(file.take("driver"), "file");
    EXPECT_TRUE(file.finish());
    EXPECT_EQ(options->finish().error().message(), "unknown or unused option 'driver'");
}

TEST(NodeOptionsTest, BadJsonIsRefusedWithItsPlace) {
    EXPECT_EQ(NodeOptions::from_json(R"({"a":})").error().message(), "JSON text is wrong near character 6");
    EXPECT_EQ(NodeOptions::from_json("[1]").error().message(), R"(JSON text is no object such as {"driver":...})");
    EXPECT_FALSE(NodeOptions::from_json(R"({"":1})"));
    EXPECT_FALSE(NodeOptions::from_json(R"({"a":{"":1}})"));
    EXPECT_FALSE(NodeOptions::from_json(std::string(1'000'000, '[')));
    EXPECT_FALSE(NodeOptions::from_json(R"({"a":")" + std::string("\xff\xfe") + "\"}"));
}

TEST(NodeOptionsTest, TextHasDoubledCommasAndAnImpliedKey) {
    auto options = NodeOptions::from_text("a,,b,size=64k,on", "filename");
    ASSERT_TRUE(options);
    EXPECT_EQ(options->take("filename"), "a,b");
    EXPECT_EQ(options->take_size("size", 0), 65536u);
    EXPECT_EQ(options->take_bool("on", false), true);
    EXPECT_TRUE(options->empty());
    EXPECT_EQ(options->take_unsigned("absent", 5), 5u);
}

TEST(NodeOptionsTest, WrongValuesAndUnknownKeysNameTheKey) {
    auto options = NodeOptions::from_text("a=maybe,b=12x,c=5Q,filenam=x");
    EXPECT_EQ(options->take_bool("a", false).error().message(), "'a' takes on or off, not 'maybe'");
    EXPECT_EQ(options->take_unsigned("b", 0).error().message(), "'b' takes a number, not '12x'");
    EXPECT_FALSE(options->take_size("c", 0));
    EXPECT_EQ(options->finish({"filename", "aio"}).error().message(), "unknown option 'filenam'; did you mean 'filename'?");
}

TEST(NodeOptionsTest, AChildIsItsNameOrItsKeys) {
    auto options = NodeOptions::from_text("file.x=1,filex=2,backing=n");
    EXPECT_TRUE(options->has_child("file"));
    EXPECT_TRUE(options->has_child("backing"));
    EXPECT_FALSE(options->has_child("back"));
    EXPECT_EQ(options->take_child("file").values().size(), 1u);
    EXPECT_TRUE(options->has("filex"));
}

} // namespace
} // namespace rhea::block
