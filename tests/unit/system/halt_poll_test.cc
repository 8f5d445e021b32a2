#include "system/halt_poll.h"

#include <gtest/gtest.h>

namespace rhea::system {
namespace {

using namespace std::chrono_literals;

TEST(HaltPoll, LooksLongerAfterShortHaltsAndNotAtAllAfterALongOne) {
    HaltPoll poll(false);
    EXPECT_EQ(poll.window(), 0ns);
    poll.halted_for(30us);
    EXPECT_EQ(poll.window(), HaltPoll::kFirst);
    poll.halted_for(30us);
    EXPECT_EQ(poll.window(), 2 * HaltPoll::kFirst);
    poll.halted_for(15us); // found while looking: long enough
    EXPECT_EQ(poll.window(), 2 * HaltPoll::kFirst);
    for (int i = 0; i < 10; ++i)
        poll.halted_for(HaltPoll::kMax);
    EXPECT_EQ(poll.window(), HaltPoll::kMax);
    poll.halted_for(4ms);
    EXPECT_EQ(poll.window(), 0ns);
}

TEST(HaltPoll, LeavesTheOnlyCpuToOthers) {
    HaltPoll poll(true);
    for (int i = 0; i < 10; ++i)
        poll.halted_for(30us);
    EXPECT_EQ(poll.window(), 0ns);
}

} // namespace
} // namespace rhea::system
