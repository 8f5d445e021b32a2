#include "tests/golden/summary.h"

#include <gtest/gtest.h>

namespace rhea::golden {
namespace {

TEST(GoldenSummary, CountsOnlyWhatHasCounts) {
    Summary summary;
    add_to_summary(summary, "a", "# 2 guest, 3 host\n; add\n");
    add_to_summary(summary, "a", "# 1 guest, 7 host, calls x\n");
    add_to_summary(summary, "b", "# 3 instructions, 8 bytes, 0 calls\n");
    ASSERT_EQ(summary.size(), 1u);
    EXPECT_EQ(summary["a"].snippets, 2u);
    EXPECT_EQ(summary["a"].guest, 3u);
    EXPECT_EQ(summary["a"].host, 10u);
}

TEST(GoldenSummary, TotalsMayOnlyFall) {
    const Summary recorded{{"a", {2, 3, 10}}, {"b", {1, 1, 1}}};
    EXPECT_EQ(compare_summary(recorded, recorded), "");
    EXPECT_EQ(compare_summary(recorded, {{"a", {2, 3, 9}}, {"b", {1, 1, 1}}}), "");
    const Summary worse{{"a", {2, 3, 12}}, {"b", {1, 1, 1}}};
    EXPECT_EQ(compare_summary(recorded, worse), "a: 12 host instructions, 2 more than recorded\n");
    EXPECT_EQ(updated_summary(recorded, worse).at("a").host, 10u);
    EXPECT_EQ(updated_summary(recorded, {{"a", {2, 3, 9}}}).at("a").host, 9u);
}

TEST(GoldenSummary, OtherSnippetsAreRecordedAnew) {
    const Summary recorded{{"a", {2, 3, 10}}};
    EXPECT_NE(compare_summary(recorded, {{"a", {3, 4, 9}}}), "");
    EXPECT_NE(compare_summary(recorded, {}), "");
    EXPECT_EQ(updated_summary(recorded, {{"a", {3, 4, 20}}}).at("a").host, 20u);
}

}  // namespace
}  // namespace rhea::golden
