#include "rhea/core/machine_lock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace rhea::core {
namespace {

TEST(MachineLock, WhoWaitsGetsItFromAThreadThatTakesItAgainAtOnce) {
    // A guest that polls a register: held almost all the time, never for long.
    std::atomic<bool> stop{false};
    std::thread poller([&] {
        while (!stop) {
            const MachineLockGuard lock;
            for (int i = 0; i < 100; ++i)
                stop.load();
        }
    });
    std::uint64_t shared = 0;
    std::vector<std::thread> others;
    for (int i = 0; i < 3; ++i)
        others.emplace_back([&] {
            for (int n = 0; n < 2000; ++n) {
                const MachineLockGuard lock;
                ++shared;
            }
        });
    for (std::thread &each : others)
        each.join();
    stop = true;
    poller.join();
    EXPECT_EQ(shared, 6000u);
}

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
