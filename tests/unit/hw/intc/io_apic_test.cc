#include "hw/intc/io_apic.h"

#include <gtest/gtest.h>

#include <deque>

#include "hw/intc/irq_gates.h"
#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

class FakeMessagePort final : public InterruptMessagePort {
  public:
    bool deliver(const InterruptMessage& message) override {
        messages.push_back(message);
        return accept;
    }
    bool accept = true;
    std::deque<InterruptMessage> messages;
};

class IoApicTest : public ::testing::Test {
  protected:
    IoApicTest() { apic.map(*memory.root); }

    std::uint32_t read(unsigned index) {
        memory.store(kBase, index, 4);
        return static_cast<std::uint32_t>(memory.load(kBase + 0x10, 4));
    }
    void write(unsigned index, std::uint32_t value) {
        memory.store(kBase, index, 4);
        memory.store(kBase + 0x10, value, 4);
    }
    void set_entry(unsigned pin, std::uint32_t low, std::uint32_t destination = 0) {
        write(0x11 + 2 * pin, destination << 24);
        write(0x10 + 2 * pin, low);
    }

    static constexpr core::hwaddr kBase = 0xfec00000;
    static constexpr std::uint32_t kLevel = 0x8000, kMasked = 0x10000, kRemoteIrr = 0x4000;
    test::FakeSpace memory{"memory", 1ull << 32};
    FakeMessagePort port;
    IoApic apic{port};
};

TEST_F(IoApicTest, IdentificationRegisters) {
    EXPECT_EQ(read(1), 0x00170020u);
    write(0, 0x0f000000);
    EXPECT_EQ(read(0), 0x0f000000u);
    EXPECT_EQ(read(2), 0x0f000000u);
    EXPECT_EQ(read(0x10), kMasked);
    EXPECT_EQ(read(0x3f), 0u);
    EXPECT_EQ(read(0x40), 0u);
}

TEST_F(IoApicTest, EdgeSendsOneMessageARise) {
    set_entry(4, 0x31 | 0x800, 0x05);
    apic.pin(4).raise();
    ASSERT_EQ(port.messages.size(), 1u);
    EXPECT_EQ(port.messages[0].vector, 0x31);
    EXPECT_EQ(port.messages[0].destination, 5u);
    EXPECT_TRUE(port.messages[0].logical);
    EXPECT_FALSE(port.messages[0].level_triggered);
    apic.pin(4).raise();
    EXPECT_EQ(port.messages.size(), 1u);
    apic.pin(4).lower();
    apic.pin(4).raise();
    EXPECT_EQ(port.messages.size(), 2u);
}

TEST_F(IoApicTest, MaskedEdgeIsLost) {
    set_entry(4, 0x31 | kMasked);
    apic.pin(4).raise();
    set_entry(4, 0x31);
    EXPECT_TRUE(port.messages.empty());
}

TEST_F(IoApicTest, LevelWaitsForEoi) {
    set_entry(11, 0x61 | kLevel);
    apic.pin(11).raise();
    ASSERT_EQ(port.messages.size(), 1u);
    EXPECT_TRUE(port.messages[0].level_triggered);
    EXPECT_TRUE(read(0x10 + 22) & kRemoteIrr);
    apic.pin(11).lower();
    apic.pin(11).raise();
    EXPECT_EQ(port.messages.size(), 1u);
    apic.end_of_interrupt(0x62);
    EXPECT_EQ(port.messages.size(), 1u);
    apic.end_of_interrupt(0x61);
    EXPECT_EQ(port.messages.size(), 2u) << "the line is still up";
    apic.pin(11).lower();
    memory.store(kBase + 0x40, 0x61, 4);  // the EOI register does the same
    EXPECT_EQ(port.messages.size(), 2u);
    EXPECT_FALSE(read(0x10 + 22) & kRemoteIrr);
}

TEST_F(IoApicTest, MaskedLevelIsSentWhenUnmasked) {
    set_entry(10, 0x50 | kLevel | kMasked);
    apic.pin(10).raise();
    EXPECT_TRUE(port.messages.empty());
    set_entry(10, 0x50 | kLevel);
    EXPECT_EQ(port.messages.size(), 1u);
}

TEST_F(IoApicTest, UnacceptedLevelDoesNotSetRemoteIrr) {
    port.accept = false;
    set_entry(10, 0x50 | kLevel);
    apic.pin(10).raise();
    EXPECT_FALSE(read(0x10 + 20) & kRemoteIrr);
}

TEST_F(IoApicTest, GuestCannotWriteStatusBits) {
    set_entry(3, 0x7000 | kLevel | kMasked);
    EXPECT_EQ(read(0x10 + 6) & 0x5000, 0u);
    // Turning an entry to edge clears a remote IRR that no EOI would.
    set_entry(3, 0x40 | kLevel);
    apic.pin(3).raise();
    EXPECT_TRUE(read(0x10 + 6) & kRemoteIrr);
    set_entry(3, 0x40 | kMasked);
    EXPECT_FALSE(read(0x10 + 6) & kRemoteIrr);
}

TEST_F(IoApicTest, DeliveryModesArePassedOn) {
    set_entry(0, 0x700);
    apic.pin(0).raise();
    ASSERT_EQ(port.messages.size(), 1u);
    EXPECT_EQ(port.messages[0].mode, DeliveryMode::kExtInt);
    set_entry(1, 0x600 | 0x30);  // start-up is reserved here
    apic.pin(1).raise();
    EXPECT_EQ(port.messages.size(), 1u);
}

TEST(GsiRouterTest, TimerGoesToPinTwoAndSourcesShare) {
    test::FakeIrqSink pic, io_apic;
    GsiRouter router(&pic, &io_apic);
    router.isa(0).raise();
    EXPECT_TRUE(pic.level(0));
    EXPECT_TRUE(io_apic.level(2));
    EXPECT_FALSE(io_apic.level(0));
    router.line(IrqSource::kSci, 9).raise();
    router.line(IrqSource::kPirq, 9).raise();
    router.line(IrqSource::kSci, 9).lower();
    EXPECT_TRUE(pic.level(9));
    EXPECT_EQ(pic.rises[9], 1);
    router.line(IrqSource::kPirq, 9).lower();
    EXPECT_FALSE(pic.level(9));
    router.line(IrqSource::kPirq, 20).raise();
    EXPECT_TRUE(io_apic.level(20));
    EXPECT_EQ(pic.levels.count(20), 0u);
}

}  // namespace
}  // namespace rhea::hw
