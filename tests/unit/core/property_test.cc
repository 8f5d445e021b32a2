#include "rhea/core/property.h"

#include <gtest/gtest.h>

namespace rhea::core {
namespace {

class PropertyTest : public ::testing::Test {
  protected:
    bool flag = true;
    std::uint8_t small = 3;
    std::uint32_t port = 0x3f8;
    std::uint64_t size = 1 << 20;
    std::string text = "none";
    PropertySet set;

    PropertyTest() {
        set.add_bool("flag", flag, "a flag");
        set.add_uint("small", small, "a small number", 15);
        set.add_uint("iobase", port, "a port");
        set.add_size("size", size, "a size");
        set.add_string("text", text, "a text");
    }
    std::string error_of(std::string_view name, std::string_view value) {
        const auto result = set.set(name, value);
        return result ? "" : result.error().message();
    }
};

TEST_F(PropertyTest, SetsWhatIsWellFormed) {
    EXPECT_EQ(error_of("flag", "off"), "");
    EXPECT_FALSE(flag);
    EXPECT_EQ(error_of("flag", "yes"), "");
    EXPECT_TRUE(flag);
    EXPECT_EQ(error_of("small", "15"), "");
    EXPECT_EQ(small, 15);
    EXPECT_EQ(error_of("iobase", "0x2F8"), "");
    EXPECT_EQ(port, 0x2f8u);
    EXPECT_EQ(error_of("text", ""), "");
    EXPECT_EQ(text, "");
    const std::pair<const char*, std::uint64_t> sizes[] = {
        {"512", 512}, {"4k", 4096}, {"2M", 2 << 20}, {"1G", 1 << 30}};
    for (const auto& [written, expected] : sizes) {
        EXPECT_EQ(error_of("size", written), "");
        EXPECT_EQ(size, expected) << written;
    }
}

TEST_F(PropertyTest, RefusesTheRestByName) {
    const std::pair<const char*, const char*> rows[] = {
        {"flag", "maybe"}, {"flag", ""},          {"small", "16"},   {"small", "-1"},
        {"small", "1x"},   {"small", ""},         {"iobase", "0x"},  {"iobase", "4294967296"},
        {"size", "4q"},    {"size", "99999999T"}, {"size", "banana"}};
    for (const auto& [name, value] : rows) {
        const std::string error = error_of(name, value);
        EXPECT_NE(error.find(name), std::string::npos) << name << "=" << value;
    }
    EXPECT_TRUE(flag);
    EXPECT_EQ(small, 3);
    EXPECT_EQ(port, 0x3f8u);
    EXPECT_EQ(size, 1u << 20);
}

TEST_F(PropertyTest, AnUnknownNameBringsTheNearest) {
    EXPECT_NE(error_of("iobas", "1").find("'iobase'"), std::string::npos);
    EXPECT_NE(error_of("zzzzzzzzzz", "1").find("zzzzzzzzzz"), std::string::npos);
}

TEST_F(PropertyTest, TellsTypesDefaultsAndValues) {
    const Property* property = set.find("small");
    ASSERT_NE(property, nullptr);
    EXPECT_EQ(property->type, "uint8");
    EXPECT_EQ(property->default_text, "3");
    ASSERT_TRUE(set.set("small", "9"));
    EXPECT_EQ(property->get(), "9");
    EXPECT_EQ(set.find("none"), nullptr);
    EXPECT_EQ(set.all().size(), 5u);
}

TEST_F(PropertyTest, AnotherDefaultIsForWhatIsNotSet) {
    ASSERT_TRUE(set.set("small", "9"));
    ASSERT_TRUE(set.set_default("small", "7"));
    EXPECT_EQ(small, 9);
    ASSERT_TRUE(set.set_default("iobase", "0x10"));
    EXPECT_EQ(port, 0x10u);
    ASSERT_TRUE(set.set("iobase", "0x20"));
    EXPECT_EQ(port, 0x20u);
    EXPECT_FALSE(set.set_default("iobas", "1"));
    EXPECT_FALSE(set.set_default("size", "banana"));
}

}  // namespace
}  // namespace rhea::core
