// Timers: order, re-arming, what stops with the machine, and the descriptor.
#include <gtest/gtest.h>
#include <poll.h>

#include <string>

#include "rhea/core/clock.h"
#include "rhea/core/machine_lock.h"

namespace rhea::core {
namespace {

bool readable(int fd, int timeout_ms) {
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, timeout_ms) == 1;
}

TEST(Timer, ManyFireInOrderOfDeadline) {
    Clocks clocks;
    clocks.use_manual_time();
    std::vector<std::int64_t> fired;
    std::vector<std::unique_ptr<Timer>> timers;
    std::uint64_t random = 1;
    for (int i = 0; i < 500; ++i) {
        timers.push_back(std::make_unique<Timer>(clocks, ClockType::kVirtual,
                                                 [&] { fired.push_back(clocks.virtual_ns()); }));
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        timers.back()->arm(static_cast<std::int64_t>(random >> 50));
    }
    for (std::size_t i = 0; i < timers.size(); i += 3) {
        timers[i]->disarm();
    }
    clocks.advance(1 << 20);
    EXPECT_EQ(fired.size(), 333u);
    EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
}

TEST(Timer, EqualDeadlinesFireInOrderOfArming) {
    Clocks clocks;
    clocks.use_manual_time();
    std::string order;
    Timer a(clocks, ClockType::kVirtual, [&] { order += 'a'; });
    Timer b(clocks, ClockType::kVirtual, [&] { order += 'b'; });
    Timer c(clocks, ClockType::kVirtual, [&] { order += 'c'; });
    a.arm(10);
    b.arm(10);
    c.arm(10);
    a.arm(10);  // again: last
    clocks.advance(10);
    EXPECT_EQ(order, "bca");
}

TEST(Timer, RearmingInThePastDoesNotStarveTheLoop) {
    Clocks clocks;
    clocks.use_manual_time(1000);
    int fired = 0;
    Timer* self = nullptr;
    Timer timer(clocks, ClockType::kVirtual, [&] {
        ++fired;
        self->arm(0);
    });
    self = &timer;
    timer.arm(0);
    EXPECT_EQ(clocks.run_expired(), 1);
    EXPECT_EQ(clocks.run_expired(), 1);
    EXPECT_EQ(fired, 2);
}

TEST(Timer, CallbacksRunUnderTheMachineLock) {
    Clocks clocks;
    clocks.use_manual_time(1);
    bool held = false;
    Timer timer(clocks, ClockType::kHost, [&] { held = MachineLock::held_by_this_thread(); });
    timer.arm(0);
    EXPECT_EQ(clocks.run_expired(), 1);
    EXPECT_TRUE(held);
}

TEST(Timer, ACallbackMayDisarmAnother) {
    Clocks clocks;
    clocks.use_manual_time();
    Timer* other = nullptr;
    Timer first(clocks, ClockType::kVirtual, [&] { other->disarm(); });
    Timer second(clocks, ClockType::kVirtual, [] { FAIL(); });
    other = &second;
    first.arm(5);
    second.arm(5);
    clocks.advance(10);
    EXPECT_FALSE(second.armed());
}

TEST(Timer, ADeadTimerDoesNotFire) {
    Clocks clocks;
    clocks.use_manual_time();
    {
        Timer timer(clocks, ClockType::kVirtual, [] { FAIL(); });
        timer.arm(1);
    }
    clocks.advance(10);
}

TEST(Timer, TheDescriptorTellsOfEachClock) {
    for (const ClockType type : {ClockType::kVirtual, ClockType::kHost, ClockType::kRealtime}) {
        Clocks clocks;
        int fired = 0;
        Timer timer(clocks, type, [&] { ++fired; });
        EXPECT_FALSE(readable(clocks.fd(), 0));
        timer.arm(clocks.now(type) - 1);
        EXPECT_TRUE(readable(clocks.fd(), 10'000));
        EXPECT_EQ(clocks.run_expired(), 1);
        EXPECT_EQ(fired, 1);
        EXPECT_FALSE(readable(clocks.fd(), 0));
    }
}

TEST(Timer, AnEarlierDeadlineWakesEarlier) {
    Clocks clocks;
    const std::int64_t hour = 3600 * kNanosecondsPerSecond;
    Timer late(clocks, ClockType::kVirtual, [] {});
    Timer early(clocks, ClockType::kVirtual, [] {});
    EXPECT_GE(clocks.fd(), 0);
    late.arm(clocks.virtual_ns() + hour);
    EXPECT_FALSE(readable(clocks.fd(), 0));
    early.arm(clocks.virtual_ns());
    EXPECT_TRUE(readable(clocks.fd(), 10'000));
    EXPECT_EQ(clocks.run_expired(), 1);
    EXPECT_TRUE(late.armed());
}

TEST(Timer, VirtualTimersWaitWhileTheMachineIsStopped) {
    Clocks clocks;
    clocks.set_running(false);
    int fired = 0;
    Timer timer(clocks, ClockType::kVirtual, [&] { ++fired; });
    EXPECT_GE(clocks.fd(), 0);
    timer.arm(0);
    EXPECT_FALSE(readable(clocks.fd(), 0));
    EXPECT_EQ(clocks.run_expired(), 0);
    clocks.set_running(true);
    EXPECT_TRUE(readable(clocks.fd(), 10'000));
    EXPECT_EQ(clocks.run_expired(), 1);
}

TEST(Timer, RestoringTheClockMovesItsDeadlines) {
    Clocks clocks;
    Timer timer(clocks, ClockType::kVirtual, [] {});
    EXPECT_GE(clocks.fd(), 0);
    timer.arm(1'000'000 * kNanosecondsPerSecond);
    EXPECT_FALSE(readable(clocks.fd(), 0));
    clocks.set_virtual_ns(1'000'000 * kNanosecondsPerSecond);
    EXPECT_TRUE(readable(clocks.fd(), 10'000));
}

}  // namespace
}  // namespace rhea::core
