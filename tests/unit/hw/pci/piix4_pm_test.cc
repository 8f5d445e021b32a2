#include "hw/pci/piix4_pm.h"

#include <gtest/gtest.h>

#include "hw/pci/pci_bus.h"
#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

class Piix4PmTest : public ::testing::Test {
  protected:
    Piix4PmTest() {
        clocks.use_manual_time(0);
        EXPECT_TRUE(bus.attach(pm, {.slot = 1, .function = 3}));
    }

    void enable_timer_interrupt() {
        io.store(0xb2, 0xf1);
        io.store(0x602, 1, 2);
    }

    test::FakeSpace io{"io", 0x10000};
    core::Clocks clocks;
    test::FakeRequests requests;
    test::FakeIrqSink sci;
    test::FakeSpace memory{"memory", 1ull << 32};
    PciBus bus{{*memory.root, *io.root, memory.space}};
    Piix4Pm pm{clocks, requests, sci.line(), *io.root, {.pm_base = 0x600}};
};

/// When the 24-bit timer's top bit flips first.
constexpr std::int64_t kHalfRangeNs = (1ll << 23) * 1'000'000'000 / AcpiPm::kTimerHz + 1;

TEST_F(Piix4PmTest, Identity) {
    EXPECT_EQ(pm.config().read(0, 4), 0x71138086u);
    EXPECT_EQ(pm.config().read(8, 4), 0x06800003u);
    EXPECT_EQ(pm.config().read(0x40, 4), 0x601u);
    EXPECT_TRUE(pm.config().read(0x58, 4) & 1u << 25) << "firmware must not wait for SMM";
}

TEST_F(Piix4PmTest, BlockMovesWithPmBase) {
    EXPECT_EQ(io.load(0x604, 2), 0u);
    pm.config().write(0x40, 0xb000, 4);
    EXPECT_EQ(io.load(0x604, 2), 0xffffu);
    EXPECT_EQ(io.load(0xb004, 2), 0u);
    pm.config().write(0x80, 0, 1);
    EXPECT_EQ(io.load(0xb004, 2), 0xffffu);
    pm.reset();
    EXPECT_EQ(io.load(0x604, 2), 0u);
}

TEST_F(Piix4PmTest, TimerRunsAt3579545HzIn24Bits) {
    EXPECT_EQ(io.load(0x608, 4), 0u);
    clocks.advance(1'000'000'000);
    EXPECT_EQ(io.load(0x608, 4), 3'579'545u);
    clocks.advance(4'000'000'000);
    EXPECT_EQ(io.load(0x608, 4), 5u * 3'579'545 - (1u << 24));
    io.store(0x608, 0, 4);
    EXPECT_EQ(io.load(0x608, 4), 5u * 3'579'545 - (1u << 24)) << "read-only";
}

TEST_F(Piix4PmTest, SmiCommandSwitchesAcpi) {
    io.store(0xb3, 0x42);
    EXPECT_EQ(io.load(0xb3), 0x42u);
    io.store(0xb2, 0xf1);
    EXPECT_EQ(io.load(0x604, 2), 1u);
    io.store(0xb2, 0xf0);
    EXPECT_EQ(io.load(0x604, 2), 0u);
    io.store(0xb2, 0x00);
    EXPECT_EQ(io.load(0x604, 2), 0u);
}

TEST_F(Piix4PmTest, TimerOverflowInterrupts) {
    enable_timer_interrupt();
    clocks.advance(kHalfRangeNs - 1000);
    EXPECT_FALSE(sci.level());
    clocks.advance(1000);
    EXPECT_TRUE(sci.level());
    EXPECT_EQ(io.load(0x600, 2), 1u);
    io.store(0x600, 1, 2);
    EXPECT_FALSE(sci.level());
    EXPECT_EQ(io.load(0x600, 2), 0u);
    clocks.advance(kHalfRangeNs);
    EXPECT_TRUE(sci.level());
}

TEST_F(Piix4PmTest, OverflowIsSeenWithoutItsInterrupt) {
    clocks.advance(kHalfRangeNs);
    EXPECT_EQ(io.load(0x600, 2), 1u);
    EXPECT_FALSE(sci.level());
}

TEST_F(Piix4PmTest, PowerButton) {
    pm.pm().press_power_button();
    EXPECT_EQ(io.load(0x600, 2), 0x100u);
    EXPECT_FALSE(sci.level());
    io.store(0x602, 0x100, 2);
    EXPECT_FALSE(sci.level()) << "not before SCI_EN";
    io.store(0x604, 1, 2);
    EXPECT_TRUE(sci.level());
    io.store(0x600, 0x100, 2);
    EXPECT_FALSE(sci.level());
}

TEST_F(Piix4PmTest, GeneralPurposeEvents) {
    io.store(0xb2, 0xf1);
    pm.pm().raise_gpe(1);
    EXPECT_EQ(io.load(0xafe0, 2), 2u);
    EXPECT_FALSE(sci.level());
    io.store(0xafe2, 2, 2);
    EXPECT_TRUE(sci.level());
    io.store(0xafe0, 2, 1);
    EXPECT_FALSE(sci.level());
}

TEST_F(Piix4PmTest, SoftOffShutsDown) {
    io.store(0x604, 1, 2);
    io.store(0x604, 0x2001, 2);
    ASSERT_EQ(requests.shutdowns.size(), 1u);
    EXPECT_EQ(requests.shutdowns[0], core::ShutdownCause::kGuestShutdown);
    EXPECT_EQ(io.load(0x604, 2), 1u) << "SLP_EN reads as zero";
    io.store(0x604, 0x2401, 2);  // S3 is not offered: wakes at once
    EXPECT_EQ(requests.shutdowns.size(), 1u);
    EXPECT_EQ(io.load(0x600, 2), 0x8000u);
}

TEST_F(Piix4PmTest, SmbusHasNoDevices) {
    EXPECT_EQ(io.load(0x700), 0xffu);
    pm.config().write(0x90, 0x700, 4);
    pm.config().write(0xd2, 0x09, 1);
    EXPECT_EQ(io.load(0x700), 0u);
    io.store(0x704, 0xa1);
    io.store(0x702, 0x48);  // START, byte data
    EXPECT_EQ(io.load(0x700), 0x04u) << "device error, not busy";
    io.store(0x700, 0xff);
    EXPECT_EQ(io.load(0x700), 0u);
}

}  // namespace
}  // namespace rhea::hw
