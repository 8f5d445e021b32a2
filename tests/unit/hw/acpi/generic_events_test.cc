// The event device of machines without fixed ACPI hardware: power button, sleep and reset registers.
#include "hw/acpi/generic_events.h"

#include <gtest/gtest.h>

#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

class GenericEventsTest : public ::testing::Test {
  protected:
    GenericEventsTest() { events.map(*space.root); }
    std::uint64_t pending() { return space.load(GenericEvents::kBase, 4); }

    test::FakeSpace space{"memory", std::uint64_t{1} << 32};
    test::FakeRequests requests;
    test::FakeIrqSink wire;
    GenericEvents events{requests, wire.line(9)};
};

TEST_F(GenericEventsTest, ThePowerButtonIsAnEventThatAReadTakes) {
    EXPECT_EQ(pending(), 0u);
    events.press_power_button();
    EXPECT_FALSE(wire.level(9)) << "an edge";
    EXPECT_EQ(pending(), 2u);
    EXPECT_EQ(pending(), 0u);
    events.press_power_button();
    events.reset();
    EXPECT_EQ(pending(), 0u);
}

TEST_F(GenericEventsTest, SleepControl) {
    space.store(GenericEvents::kRegisters, 5 << 2, 1);  // without SLP_EN
    space.store(GenericEvents::kRegisters, 3 << 2 | 1 << 5, 1);
    EXPECT_TRUE(requests.shutdowns.empty());
    space.store(GenericEvents::kRegisters, 5 << 2 | 1 << 5, 1);
    EXPECT_EQ(requests.shutdowns, std::vector{core::ShutdownCause::kGuestShutdown});
    EXPECT_EQ(space.load(GenericEvents::kRegisters, 1), 0u);
    space.store(GenericEvents::kRegisters + 1, 0x80, 1);
    EXPECT_EQ(space.load(GenericEvents::kRegisters + 1, 1), 0u) << "WAK_STS: it never slept";
}

TEST_F(GenericEventsTest, ResetRegister) {
    space.store(GenericEvents::kRegisters + 2, 0x41, 1);
    EXPECT_TRUE(requests.resets.empty());
    space.store(GenericEvents::kRegisters + 2, 0x42, 1);
    EXPECT_EQ(requests.resets, std::vector{core::ShutdownCause::kGuestReset});
}

}  // namespace
}  // namespace rhea::hw
