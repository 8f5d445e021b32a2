#include "rhea/util/nearest_name.h"

#include <gtest/gtest.h>

#include <array>

namespace rhea::util {
namespace {

TEST(EditDistance, CountsEachKindOfEdit) {
    EXPECT_EQ(edit_distance("", ""), 0u);
    EXPECT_EQ(edit_distance("serial", "serial"), 0u);
    EXPECT_EQ(edit_distance("", "smp"), 3u);
    EXPECT_EQ(edit_distance("smp", ""), 3u);
    EXPECT_EQ(edit_distance("seral", "serial"), 1u);
    EXPECT_EQ(edit_distance("serrial", "serial"), 1u);
    EXPECT_EQ(edit_distance("serval", "serial"), 1u);
    EXPECT_EQ(edit_distance("seiral", "serial"), 1u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(EditDistance, IsSymmetric) {
    EXPECT_EQ(edit_distance("drive", "device"), edit_distance("device", "drive"));
}

TEST(NearestName, FindsTheClosest) {
    constexpr std::array<std::string_view, 3> names = {"drive", "device", "display"};
    EXPECT_EQ(nearest_name("drvie", names), "drive");
    EXPECT_EQ(nearest_name("devices", names), "device");
}

TEST(NearestName, TheFirstOfEquallyNearNamesWins) {
    constexpr std::array<std::string_view, 2> names = {"hda", "hdb"};
    EXPECT_EQ(nearest_name("hdx", names), "hda");
}

TEST(NearestName, StaysSilentWhenNothingIsClose) {
    constexpr std::array<std::string_view, 2> names = {"drive", "smp"};
    EXPECT_EQ(nearest_name("zzzzz", names), std::nullopt);
    EXPECT_EQ(nearest_name("x", {}), std::nullopt);
}

}  // namespace
}  // namespace rhea::util
