#include <gtest/gtest.h>

#include "rhea/util/log.h"

namespace rhea::util {
namespace {

TEST(LogRangesTest, ReadsTheThreeForms) {
    const auto ranges = parse_log_ranges("0x8000..0x8fff,0x1000+0x200,0x60000-0x1000");
    ASSERT_TRUE(ranges);
    ASSERT_EQ(ranges->size(), 3u);
    EXPECT_EQ((*ranges)[0].first, 0x8000u);
    EXPECT_EQ((*ranges)[0].last, 0x8fffu);
    EXPECT_EQ((*ranges)[1].last, 0x11ffu);
    EXPECT_EQ((*ranges)[2].first, 0x5f001u);
    EXPECT_EQ((*ranges)[2].last, 0x60000u);
}

TEST(LogRangesTest, RefusesWhatIsNoRange) {
    for (const char* text : {"", "0x10", "x..y", "2..1", "1+0", "1..", "1-3"}) {
        EXPECT_FALSE(parse_log_ranges(text)) << text;
    }
}

TEST(LogRangesTest, RestrictsWhatIsLogged) {
    set_log_mask(kLogInAsm);
    set_log_ranges({{0x100, 0x1ff}});
    EXPECT_TRUE(log_enabled_at(kLogInAsm, 0x100));
    EXPECT_TRUE(log_enabled_at(kLogInAsm, 0x1ff));
    EXPECT_FALSE(log_enabled_at(kLogInAsm, 0x200));
    EXPECT_FALSE(log_enabled_at(kLogExec, 0x100));
    set_log_ranges({});
    EXPECT_TRUE(log_enabled_at(kLogInAsm, 0x200));
    set_log_mask(0);
}

}  // namespace
}  // namespace rhea::util
