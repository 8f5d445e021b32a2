#include "rhea/core/machine_lock.h"

#include <gtest/gtest.h>

#include <thread>

namespace rhea::core {
namespace {

TEST(MachineLock, Nests) {
    EXPECT_FALSE(MachineLock::held_by_this_thread());
    {
        MachineLockGuard outer;
        { MachineLockGuard inner; }
        EXPECT_TRUE(MachineLock::held_by_this_thread());
    }
    EXPECT_FALSE(MachineLock::held_by_this_thread());
}

TEST(MachineLock, TryingDoesNotWait) {
    const auto try_elsewhere = [] {
        bool got = false;
        std::thread([&got] {
            got = MachineLock::try_acquire();
            if (got) {
                MachineLock::release();
            }
        }).join();
        return got;
    };
    EXPECT_TRUE(try_elsewhere());
    const MachineLockGuard lock;
    EXPECT_FALSE(try_elsewhere());
    ASSERT_TRUE(MachineLock::try_acquire()) << "it nests";
    MachineLock::release();
    EXPECT_TRUE(MachineLock::held_by_this_thread());
}

TEST(MachineLock, KeepsOtherThreadsOut) {
    int counter = 0;
    auto count = [&] {
        for (int i = 0; i < 20000; ++i) {
            MachineLockGuard lock;
            ++counter;
        }
    };
    std::thread first(count), second(count);
    first.join();
    second.join();
    EXPECT_EQ(counter, 40000);
}

}  // namespace
}  // namespace rhea::core
