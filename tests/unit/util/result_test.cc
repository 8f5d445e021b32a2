#include "rhea/util/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace rhea::util {
namespace {

Result<int> half(int number) {
    if (number % 2 != 0) {
        return fail("{} is odd", number);
    }
    return number / 2;
}

TEST(Error, FormatsItsSentence) {
    EXPECT_EQ(Error("no such drive: {}", "hda").message(), "no such drive: hda");
}

TEST(Error, TakesAPlainStringAsItStands) {
    EXPECT_EQ(Error(std::string("{} is not a format here")).message(), "{} is not a format here");
}

TEST(Error, WithinPutsTheContextInFront) {
    const Error error = Error("no such file").within("-drive disk.img");
    EXPECT_EQ(error.message(), "-drive disk.img: no such file");
}

TEST(Result, HoldsAValue) {
    const Result<int> result = half(8);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(*result, 4);
}

TEST(Result, HoldsAnError) {
    const Result<int> result = half(7);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().message(), "7 is odd");
}

TEST(Result, ChainsStopAtTheFirstError) {
    EXPECT_EQ(half(8).and_then(half), 2);
    EXPECT_EQ(half(6).and_then(half).error().message(), "3 is odd");
}

TEST(Result, VoidAndMoveOnlyValuesWork) {
    const Result<void> done{};
    EXPECT_TRUE(done.has_value());
    const Result<void> failed = fail(Error("nothing to do for {}", 1));
    EXPECT_FALSE(failed.has_value());
    Result<std::unique_ptr<int>> owned = std::make_unique<int>(3);
    EXPECT_EQ(*std::move(owned).value(), 3);
}

}  // namespace
}  // namespace rhea::util
