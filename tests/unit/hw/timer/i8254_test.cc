#include "hw/timer/i8254.h"

#include <gtest/gtest.h>

#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

class I8254Test : public ::testing::Test {
  protected:
    I8254Test() {
        clocks.use_manual_time(0);
        pit.map(*io.root);
        pit.reset();
    }

    void program(unsigned counter, unsigned mode, unsigned count, bool bcd = false) {
        io.store(0x43, counter << 6 | 0x30 | mode << 1 | (bcd ? 1 : 0));
        io.store(0x40 + counter, count & 0xff);
        io.store(0x40 + counter, count >> 8);
    }
    unsigned read_count(unsigned counter) {
        io.store(0x43, counter << 6);
        const auto low = static_cast<unsigned>(io.load(0x40 + counter));
        return low | static_cast<unsigned>(io.load(0x40 + counter)) << 8;
    }
    unsigned read_status(unsigned counter) {
        io.store(0x43, 0xe0 | 2u << counter);
        return static_cast<unsigned>(io.load(0x40 + counter));
    }
    /// To the first nanosecond of tick `tick` (since time 0).
    void run_to_tick(std::int64_t tick) {
        const std::int64_t ns = (tick * 1'000'000'000 + I8254::kHz - 1) / I8254::kHz;
        clocks.advance(ns - clocks.virtual_ns());
    }

    test::FakeSpace io{"io", 0x10000};
    core::Clocks clocks;
    test::FakeIrqSink irq;
    I8254 pit{clocks, irq.line()};
};

TEST_F(I8254Test, Mode0CountsToTerminalCountOnce) {
    program(0, 0, 100);
    EXPECT_FALSE(irq.level());
    run_to_tick(51);
    EXPECT_EQ(read_count(0), 50u);
    run_to_tick(100);
    EXPECT_FALSE(irq.level());
    run_to_tick(101);  // N + 1 clocks after the write
    EXPECT_TRUE(irq.level());
    run_to_tick(1000);
    EXPECT_EQ(irq.rises[0], 1);
}

TEST_F(I8254Test, Mode0FirstByteStopsCounting) {
    program(0, 0, 100);
    run_to_tick(200);
    EXPECT_TRUE(pit.output(0));
    io.store(0x40, 10);
    EXPECT_FALSE(pit.output(0));
    run_to_tick(400);
    EXPECT_FALSE(pit.output(0));
    io.store(0x40, 0);
    run_to_tick(411);
    EXPECT_TRUE(pit.output(0));
}

TEST_F(I8254Test, Mode2IsPeriodic) {
    program(0, 2, 1000);
    run_to_tick(1000);  // the last tick of the first period
    EXPECT_FALSE(pit.output(0));
    run_to_tick(1001);
    EXPECT_TRUE(pit.output(0));
    EXPECT_EQ(irq.rises[0], 2);  // going to mode 2 raised OUT, too
    run_to_tick(1001 + 10 * 1000);
    EXPECT_EQ(irq.rises[0], 12);
    EXPECT_EQ(read_count(0), 1000u);
}

TEST_F(I8254Test, Mode2NewCountTakesEffectAfterTheCycle) {
    program(0, 2, 1000);
    run_to_tick(501);
    io.store(0x40, 100);
    io.store(0x40, 0);
    EXPECT_EQ(read_status(0) & 0x40, 0x40u) << "null count";
    EXPECT_EQ(read_count(0), 500u);
    run_to_tick(1001);
    EXPECT_EQ(read_count(0), 100u);
    EXPECT_EQ(read_status(0) & 0x40, 0u);
    run_to_tick(1051);
    EXPECT_EQ(read_count(0), 50u);
}

TEST_F(I8254Test, Mode3IsASquareWave) {
    program(0, 3, 1001);  // odd: one tick more high than low
    run_to_tick(501);
    EXPECT_TRUE(pit.output(0));
    run_to_tick(502);
    EXPECT_FALSE(pit.output(0));
    EXPECT_FALSE(irq.level());
    run_to_tick(1001);
    EXPECT_FALSE(pit.output(0));
    run_to_tick(1002);
    EXPECT_TRUE(irq.level());
    program(0, 3, 1000);
    run_to_tick(1003 + 100);
    EXPECT_EQ(read_count(0), 800u) << "counts by two";
}

TEST_F(I8254Test, Mode4StrobesOnce) {
    program(0, 4, 50);
    EXPECT_TRUE(pit.output(0));
    run_to_tick(51);
    EXPECT_FALSE(pit.output(0));
    EXPECT_FALSE(irq.level());
    run_to_tick(52);
    EXPECT_TRUE(irq.level());
    run_to_tick(5000);
    EXPECT_TRUE(pit.output(0));
}

TEST_F(I8254Test, Modes1And5WaitForTheGate) {
    for (const unsigned mode : {1u, 5u}) {
        const std::int64_t start = 10'000 * mode;
        run_to_tick(start);
        io.store(0x61, 0);
        program(2, mode, 20);
        run_to_tick(start + 100);
        EXPECT_TRUE(pit.output(2));
        io.store(0x61, 1);  // trigger
        run_to_tick(start + 101);
        EXPECT_EQ(pit.output(2), mode == 5);
        run_to_tick(start + 115);
        io.store(0x61, 0);
        io.store(0x61, 1);  // retrigger
        run_to_tick(start + 130);
        EXPECT_EQ(pit.output(2), mode == 5);
        run_to_tick(start + 136);
        EXPECT_EQ(pit.output(2), mode == 1);
    }
}

TEST_F(I8254Test, GatePausesMode0) {
    io.store(0x61, 1);
    program(2, 0, 100);
    run_to_tick(41);
    EXPECT_EQ(read_count(2), 60u);
    io.store(0x61, 0);
    run_to_tick(500);
    EXPECT_EQ(read_count(2), 60u);
    io.store(0x61, 1);
    run_to_tick(559);
    EXPECT_EQ(io.load(0x61) & 0x20, 0u);
    run_to_tick(560);
    EXPECT_EQ(io.load(0x61) & 0x20, 0x20u);
}

TEST_F(I8254Test, Port61TogglesTheRefreshBit) {
    io.store(0x61, 0xff);
    EXPECT_EQ(io.load(0x61) & 0xcf, 0x0fu);
    const auto before = io.load(0x61) & 0x10;
    clocks.advance(15'085);
    EXPECT_NE(io.load(0x61) & 0x10, before);
}

TEST_F(I8254Test, LatchHoldsUntilRead) {
    program(0, 2, 0);
    run_to_tick(1001);
    io.store(0x43, 0x00);
    run_to_tick(5000);
    io.store(0x43, 0x00);  // ignored: not read yet
    const auto low = static_cast<unsigned>(io.load(0x40));
    EXPECT_EQ(low | static_cast<unsigned>(io.load(0x40)) << 8, 65536u - 1000u);
    EXPECT_EQ(read_count(0), 65536u - 4999u);
}

TEST_F(I8254Test, ReadBackGivesStatusThenCount) {
    program(0, 2, 1000);
    run_to_tick(101);
    io.store(0x43, 0xc2);
    EXPECT_EQ(io.load(0x40), 0xb4u);  // OUT high, low/high byte, mode 2
    const auto low = static_cast<unsigned>(io.load(0x40));
    EXPECT_EQ(low | static_cast<unsigned>(io.load(0x40)) << 8, 900u);
}

TEST_F(I8254Test, BcdCounts) {
    program(0, 2, 0x1000, true);
    run_to_tick(2);
    EXPECT_EQ(read_count(0), 0x0999u);
    program(0, 2, 0, true);  // ten thousand
    run_to_tick(2 + 2);
    EXPECT_EQ(read_count(0), 0x9999u);
}

TEST_F(I8254Test, LowByteAccess) {
    io.store(0x43, 0x14);  // counter 0, low byte only, mode 2
    io.store(0x40, 200);
    run_to_tick(51);
    EXPECT_EQ(io.load(0x40), 150u);
    EXPECT_EQ(io.load(0x40), 150u);
}

}  // namespace
}  // namespace rhea::hw
