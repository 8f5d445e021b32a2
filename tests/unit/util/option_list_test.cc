#include "rhea/util/option_list.h"

#include <gtest/gtest.h>

namespace rhea::util {
namespace {

TEST(ParseSizeTest, CountsPlainNumbersInTheUnit) {
    EXPECT_EQ(parse_size("512", 1 << 20).value(), 512u << 20);
    EXPECT_EQ(parse_size("512").value(), 512u);
}

TEST(ParseSizeTest, KnowsSuffixesAndFractions) {
    EXPECT_EQ(parse_size("64k").value(), 65536u);
    EXPECT_EQ(parse_size("1G", 1 << 20).value(), 1u << 30);
    EXPECT_EQ(parse_size("1.5G", 1 << 20).value(), 3u << 29);
    EXPECT_EQ(parse_size("1.5", 1 << 20).value(), 3u << 19);
    EXPECT_EQ(parse_size("1E").value(), std::uint64_t{1} << 60);
    EXPECT_EQ(parse_size("0x10").value(), 16u);
    EXPECT_EQ(parse_size("7b").value(), 7u);
}

TEST(ParseSizeTest, RefusesWhatIsNoSize) {
    for (const char* text : {"", "k", "-1", "1Q", "1..5", "1e3", "1 G", "nan", "."}) {
        EXPECT_FALSE(parse_size(text)) << text;
    }
}

TEST(ParseSizeTest, RefusesWhatOverflows) {
    EXPECT_FALSE(parse_size("16E"));
    EXPECT_FALSE(parse_size("18446744073709551615", 2));
    EXPECT_FALSE(parse_size("99999999999999999999G"));
}

TEST(OptionListTest, GivesValuesByKey) {
    auto list = OptionList::parse("pc,accel=kvm:tcg,sub.key=v", "type");
    EXPECT_EQ(list.take("type"), "pc");
    EXPECT_EQ(list.take("accel"), "kvm:tcg");
    EXPECT_EQ(list.take("sub.key"), "v");
    EXPECT_EQ(list.take("nothing"), std::nullopt);
    EXPECT_TRUE(list.finish({}));
}

TEST(OptionListTest, ReadsADoubledCommaAsOne) {
    auto list = OptionList::parse("file,path=a,,b,,,,c,id=x", "backend");
    EXPECT_EQ(list.take("path"), "a,b,,c");
    EXPECT_EQ(list.take("id"), "x");
}

TEST(OptionListTest, LetsTheLastOfEqualKeysWin) {
    auto list = OptionList::parse("a=1,a=2");
    EXPECT_EQ(list.take("a"), "2");
    EXPECT_TRUE(list.finish({}));
}

TEST(OptionListTest, ReadsFlags) {
    auto list = OptionList::parse("server,nowait,x=off", "");
    EXPECT_TRUE(list.take_bool("server", false).value());
    EXPECT_FALSE(list.take_bool("wait", true).value());
    EXPECT_FALSE(list.take_bool("x", true).value());
    EXPECT_TRUE(list.take_bool("absent", true).value());
    EXPECT_TRUE(list.finish({}));
}

TEST(OptionListTest, RefusesAFlagsOtherValues) {
    auto list = OptionList::parse("wait=maybe");
    const auto value = list.take_bool("wait", true);
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error().message(), "'wait' takes on or off, not 'maybe'");
}

TEST(OptionListTest, FindsHelp) {
    EXPECT_TRUE(OptionList::parse("help", "type").wants_help());
    EXPECT_TRUE(OptionList::parse("x,?", "driver").wants_help());
    EXPECT_FALSE(OptionList::parse("x,help=on", "driver").wants_help());
}

TEST(OptionListTest, NamesWhatNobodyTookAndTheNearestKey) {
    auto list = OptionList::parse("iobas=4");
    const auto done = list.finish({"iosize", "iobase"});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().message(),
              "unknown or unused parameter 'iobas'; did you mean 'iobase'?");
}

TEST(OptionListTest, HandsOverTheRestInOrder) {
    auto list = OptionList::parse("x,b=1,c,a=2", "driver");
    list.take("driver");
    const OptionList::Pairs expected{{"b", "1"}, {"c", "on"}, {"a", "2"}};
    EXPECT_EQ(list.take_rest(), expected);
    EXPECT_TRUE(list.finish({}));
}

}  // namespace
}  // namespace rhea::util
