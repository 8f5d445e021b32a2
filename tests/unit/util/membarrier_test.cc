#include "rhea/util/membarrier.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace rhea::util {
namespace {

TEST(Membarrier, RegisteringTwiceGivesTheSameAnswer) {
    EXPECT_EQ(register_core_sync(), register_core_sync());
}

TEST(Membarrier, ReturnsWhileOtherThreadsRun) {
    std::atomic<bool> stop{false};
    std::atomic<unsigned> turns{0};
    std::thread other([&] {
        while (!stop) {
            ++turns;
        }
    });
    while (turns == 0) {
        std::this_thread::yield();
    }
    for (int i = 0; i < 10; ++i) {
        sync_cores();
    }
    stop = true;
    other.join();
    EXPECT_GT(turns, 0u);
}

}  // namespace
}  // namespace rhea::util
