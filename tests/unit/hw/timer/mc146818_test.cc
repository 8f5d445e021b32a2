#include "hw/timer/mc146818.h"

#include <gtest/gtest.h>

#include "hw/timer/civil_time.h"
#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

TEST(CivilTimeTest, KnownDates) {
    EXPECT_EQ(seconds_from_civil({.year = 2000, .month = 2, .day = 29}), 951'782'400);
    EXPECT_EQ(seconds_from_civil({.year = 1970}), 0);
    const CivilTime leap = civil_from_seconds(1'709'164'800);  // date -u -d @...
    EXPECT_EQ(leap.year, 2024);
    EXPECT_EQ(leap.month, 2);
    EXPECT_EQ(leap.day, 29);
    EXPECT_EQ(leap.weekday, 4);
    const CivilTime past = civil_from_seconds(-1);
    EXPECT_EQ(past.year, 1969);
    EXPECT_EQ(past.second, 59);
    EXPECT_EQ(past.weekday, 3);
    for (std::int64_t s = -4'000'000'000; s < 9'000'000'000; s += 12'345'677) {
        EXPECT_EQ(seconds_from_civil(civil_from_seconds(s)), s);
    }
}

class RtcTest : public ::testing::Test {
  protected:
    RtcTest() { rtc.map(*io.root); }

    std::uint8_t read(std::uint8_t index) {
        io.store(0x70, index);
        return static_cast<std::uint8_t>(io.load(0x71));
    }
    void write(std::uint8_t index, std::uint8_t value) {
        io.store(0x70, index);
        io.store(0x71, value);
    }

    test::FakeSpace io{"io", 0x10000};
    core::Clocks clocks;
    bool manual = (clocks.use_manual_time(1'709'251'198 * kSecond), true);  // 2024-02-29 23:59:58
    test::FakeIrqSink irq;
    Mc146818 rtc{clocks, irq.line(), {}};
};

TEST_F(RtcTest, BcdTimeRollsOverTheLeapDay) {
    EXPECT_EQ(read(0), 0x58);
    EXPECT_EQ(read(2), 0x59);
    EXPECT_EQ(read(4), 0x23);
    EXPECT_EQ(read(6), 5);  // Thursday
    EXPECT_EQ(read(7), 0x29);
    EXPECT_EQ(read(8), 0x02);
    EXPECT_EQ(read(9), 0x24);
    EXPECT_EQ(read(0x32), 0x20);
    clocks.advance(2 * kSecond);
    EXPECT_EQ(read(0), 0);
    EXPECT_EQ(read(4), 0);
    EXPECT_EQ(read(7), 1);
    EXPECT_EQ(read(8), 3);
}

TEST_F(RtcTest, BinaryAndTwelveHours) {
    write(0x0b, 0x04);  // binary, 12 hours
    EXPECT_EQ(read(0), 58);
    EXPECT_EQ(read(4), 0x80 | 11);
    write(0x0b, 0x00);
    EXPECT_EQ(read(4), 0x91);
    clocks.advance(2 * kSecond);
    EXPECT_EQ(read(4), 0x12) << "midnight is 12 AM";
}

TEST_F(RtcTest, UpdateInProgressShowsBeforeTheSecond) {
    EXPECT_EQ(read(0x0a), 0x26);
    clocks.advance(kSecond - 2'228'001);
    EXPECT_EQ(read(0x0a), 0x26);
    clocks.advance(1);
    EXPECT_EQ(read(0x0a), 0xa6);
    clocks.advance(2'228'000);
    EXPECT_EQ(read(0x0a), 0x26);
    EXPECT_EQ(read(0), 0x59);
}

TEST_F(RtcTest, GuestSetsTheTime) {
    write(0x0b, 0x82);  // SET
    write(0, 0x30);
    write(2, 0x15);
    write(4, 0x08);
    write(7, 0x04);
    write(8, 0x07);
    write(9, 0x99);
    write(0x32, 0x19);
    clocks.advance(5 * kSecond);
    EXPECT_EQ(read(0), 0x30) << "the clock stands while SET";
    write(0x0b, 0x02);
    EXPECT_EQ(rtc.guest_ns() / kSecond,
              seconds_from_civil(
                  {.year = 1999, .month = 7, .day = 4, .hour = 8, .minute = 15, .second = 30}));
    EXPECT_EQ(read(6), 1);  // a Sunday
    clocks.advance(kSecond);
    EXPECT_EQ(read(0), 0x31);
}

TEST_F(RtcTest, DividerResetStartsHalfASecondLater) {
    write(0x0b, 0x82);
    write(0x0a, 0x76);
    write(0, 0x10);
    write(0x0a, 0x26);
    write(0x0b, 0x02);
    clocks.advance(kSecond / 2 - 1);
    EXPECT_EQ(read(0), 0x10);
    clocks.advance(1);
    EXPECT_EQ(read(0), 0x11);
}

TEST_F(RtcTest, UpdateEndedInterrupt) {
    write(0x0b, 0x12);
    clocks.advance(kSecond - 1);
    EXPECT_FALSE(irq.level());
    clocks.advance(1);
    EXPECT_TRUE(irq.level());
    EXPECT_EQ(read(0x0c) & 0x90, 0x90);
    EXPECT_FALSE(irq.level());
    EXPECT_EQ(read(0x0c) & 0x90, 0);
    clocks.advance(kSecond);
    EXPECT_TRUE(irq.level());
}

TEST_F(RtcTest, PeriodicInterruptAt1024Hz) {
    read(0x0c);
    write(0x0b, 0x42);
    int count = 0;
    for (int i = 0; i < 10'000; ++i) {
        clocks.advance(100'000);
        if (irq.level()) {
            ++count;
            EXPECT_EQ(read(0x0c) & 0xc0, 0xc0);
        }
    }
    EXPECT_EQ(count, 1024);
}

TEST_F(RtcTest, RateSelection) {
    write(0x0a, 0x2f);  // 2 Hz
    read(0x0c);
    write(0x0b, 0x42);
    clocks.advance(kSecond / 2 - 1);
    EXPECT_FALSE(irq.level());
    clocks.advance(1);
    EXPECT_TRUE(irq.level());
}

TEST_F(RtcTest, AlarmWithAndWithoutWildcards) {
    write(1, 0x05);
    write(3, 0x00);
    write(5, 0x00);
    write(0x0b, 0x22);
    clocks.advance(6 * kSecond);  // 00:00:04
    EXPECT_FALSE(irq.level());
    clocks.advance(kSecond);
    EXPECT_TRUE(irq.level());
    EXPECT_EQ(read(0x0c) & 0xa0, 0xa0);
    clocks.advance(3600 * kSecond);
    EXPECT_FALSE(irq.level());
    write(5, 0xff);  // every hour
    clocks.advance(3600 * kSecond - 1);
    EXPECT_FALSE(irq.level());
    clocks.advance(1);
    EXPECT_TRUE(irq.level());
}

TEST_F(RtcTest, FlagsAreSetWithoutEnables) {
    clocks.advance(kSecond);
    EXPECT_EQ(read(0x0c), 0x50);  // UF and PF, no IRQF
    EXPECT_EQ(read(0x0c), 0);
}

TEST_F(RtcTest, MemorySurvivesReset) {
    rtc.set_cmos(0x5d, 0x12);
    write(0x40, 0x34);
    io.store(0x72, 0x80);
    io.store(0x73, 0x56);
    write(0x0b, 0x72);
    rtc.reset();
    EXPECT_EQ(read(0x5d), 0x12);
    EXPECT_EQ(read(0xc0), 0x34) << "bit 7 of the index is the NMI mask";
    EXPECT_EQ(rtc.cmos(0x80), 0x56);
    EXPECT_EQ(read(0x0b), 0x02);
    EXPECT_EQ(read(0x0d), 0x80);
}

TEST_F(RtcTest, ReadOnlyRegisters) {
    write(0x0c, 0xff);
    write(0x0d, 0x00);
    EXPECT_EQ(read(0x0c) & 0x0f, 0);
    EXPECT_EQ(read(0x0d), 0x80);
    write(0x0a, 0xa6);
    EXPECT_EQ(read(0x0a), 0x26);
}

TEST(RtcConfigTest, OffsetMovesTheGuestsClock) {
    core::Clocks clocks;
    clocks.use_manual_time(0);
    Mc146818 rtc(clocks, {}, {.offset_ns = 86'400 * kSecond});
    EXPECT_EQ(rtc.guest_ns(), 86'400 * kSecond);
}

}  // namespace
}  // namespace rhea::hw
