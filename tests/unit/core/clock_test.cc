#include "rhea/core/clock.h"

#include <gtest/gtest.h>
#include <string>

namespace rhea::core {
namespace {

TEST(Clock, TimersFireInOrderAndMayBeRearmed) {
    Clocks clocks;
    clocks.use_manual_time();
    std::string order;
    Timer late(clocks, ClockType::kVirtual, [&] { order += 'l'; });
    Timer *self = nullptr;
    Timer periodic(clocks, ClockType::kVirtual, [&] {
        order += 'p';
        if (order.size() < 4)
            self->arm(self->deadline_ns() + 10);
    });
    self = &periodic;
    Timer never(clocks, ClockType::kVirtual, [&] { order += 'n'; });
    late.arm(25);
    periodic.arm(10);
    never.arm(12);
    never.disarm();
    clocks.advance(100);
    EXPECT_EQ(order, "pplp");
    EXPECT_FALSE(periodic.armed());
}

TEST(Clock, TheVirtualClockStands) {
    Clocks clocks;
    clocks.set_running(false);
    const std::int64_t at = clocks.virtual_ns();
    EXPECT_EQ(clocks.virtual_ns(), at);
    clocks.set_virtual_ns(5'000'000'000);
    EXPECT_EQ(clocks.virtual_ns(), 5'000'000'000);
    clocks.set_running(true);
    EXPECT_GE(clocks.virtual_ns(), 5'000'000'000);
}

} // namespace
} // namespace rhea::core
