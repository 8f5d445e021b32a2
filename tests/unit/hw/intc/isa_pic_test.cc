#include "hw/intc/isa_pic.h"

#include <gtest/gtest.h>

#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

constexpr core::hwaddr kMaster = 0x20, kSlave = 0xa0;
constexpr std::uint8_t kEoi = 0x20;

class IsaPicTest : public ::testing::Test {
  protected:
    IsaPicTest() {
        pic.connect_output(output.line());
        pic.map(*io.root);
        pic.reset();
        initialise();
    }

    void initialise(std::uint8_t icw4 = 0x01) {
        write_words(kMaster, {0x11, 0x20, 0x04, icw4});
        write_words(kSlave, {0x11, 0x28, 0x02, icw4});
        io.store(kMaster + 1, 0);
        io.store(kSlave + 1, 0);
    }
    void write_words(core::hwaddr port, std::initializer_list<std::uint8_t> words) {
        unsigned i = 0;
        for (const std::uint8_t word : words) {
            io.store(port + (i++ ? 1 : 0), word);
        }
    }
    std::uint64_t read_isr(core::hwaddr port) {
        io.store(port, 0x0b);
        return io.load(port);
    }
    std::uint64_t read_irr(core::hwaddr port) {
        io.store(port, 0x0a);
        return io.load(port);
    }

    test::FakeSpace io{"io", 0x10000};
    test::FakeIrqSink output;
    IsaPic pic;
};

TEST_F(IsaPicTest, EdgeIsLatchedUntilAcknowledge) {
    pic.irq(3).pulse();
    EXPECT_TRUE(output.level());
    EXPECT_EQ(read_irr(kMaster), 0x08u);
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x23);
    EXPECT_FALSE(output.level());
    EXPECT_EQ(read_irr(kMaster), 0u);
    EXPECT_EQ(read_isr(kMaster), 0x08u);
    io.store(kMaster, kEoi);
    EXPECT_EQ(read_isr(kMaster), 0u);
}

TEST_F(IsaPicTest, HeldEdgeInterruptsOnce) {
    pic.irq(4).raise();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x24);
    io.store(kMaster, kEoi);
    EXPECT_FALSE(output.level());
    pic.irq(4).raise();
    EXPECT_FALSE(output.level());
}

TEST_F(IsaPicTest, PriorityAndNesting) {
    pic.irq(5).raise();
    pic.irq(1).raise();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x21);
    EXPECT_FALSE(output.level());  // IR5 waits for IR1's end
    pic.irq(0).raise();
    EXPECT_TRUE(output.level());  // a higher one nests
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x20);
    io.store(kMaster, kEoi);
    EXPECT_FALSE(output.level());
    io.store(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x25);
}

TEST_F(IsaPicTest, CascadeGivesTheSlavesVector) {
    pic.irq(14).raise();
    EXPECT_TRUE(output.level());
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x2e);
    EXPECT_EQ(read_isr(kMaster), 0x04u);
    EXPECT_EQ(read_isr(kSlave), 0x40u);
    pic.irq(15).raise();
    EXPECT_FALSE(output.level());
    io.store(kSlave, kEoi);
    io.store(kMaster, kEoi);
    EXPECT_TRUE(output.level());
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x2f);
}

TEST_F(IsaPicTest, SpecialFullyNestedLetsTheSlaveNest) {
    initialise(0x11);
    pic.irq(14).raise();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x2e);
    pic.irq(9).raise();
    EXPECT_TRUE(output.level());
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x29);
}

TEST_F(IsaPicTest, LevelTriggeredFollowsTheWire) {
    io.store(0x4d1, 0x0c);  // IRQ 10 and 11
    EXPECT_EQ(io.load(0x4d1), 0x0cu);
    pic.irq(11).raise();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x2b);
    io.store(kSlave, kEoi);
    io.store(kMaster, kEoi);
    EXPECT_TRUE(output.level()) << "the device has not let go";
    pic.irq(11).lower();
    EXPECT_FALSE(output.level());
}

TEST_F(IsaPicTest, ElcrKeepsTheEdgeOnlyInputs) {
    io.store(0x4d0, 0xff);
    io.store(0x4d1, 0xff);
    EXPECT_EQ(io.load(0x4d0), 0xf8u);
    EXPECT_EQ(io.load(0x4d1), 0xdeu);
}

TEST_F(IsaPicTest, SpuriousVectorIsSeven) {
    io.store(0x4d0, 0x20);
    pic.irq(5).raise();
    pic.irq(5).lower();
    EXPECT_FALSE(output.level());
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x27);
    EXPECT_EQ(read_isr(kMaster), 0u);
}

TEST_F(IsaPicTest, MaskedRequestWaits) {
    io.store(kMaster + 1, 0x10);
    EXPECT_EQ(io.load(kMaster + 1), 0x10u);
    pic.irq(4).pulse();
    EXPECT_FALSE(output.level());
    io.store(kMaster + 1, 0);
    EXPECT_TRUE(output.level());
}

TEST_F(IsaPicTest, AutoEoiLeavesNothingInService) {
    initialise(0x03);
    pic.irq(6).pulse();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x26);
    EXPECT_EQ(read_isr(kMaster), 0u);
}

TEST_F(IsaPicTest, RotationMovesTheLowestPriority) {
    pic.irq(3).pulse();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x23);
    io.store(kMaster, 0xa0);  // rotate on non-specific EOI: IR3 is last now
    pic.irq(3).pulse();
    pic.irq(4).pulse();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x24);
    io.store(kMaster, kEoi);
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x23);
    io.store(kMaster, kEoi);
    io.store(kMaster, 0xc0 | 5);  // set priority: IR6 is first
    pic.irq(0).pulse();
    pic.irq(6).pulse();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x26);
}

TEST_F(IsaPicTest, SpecificEoi) {
    pic.irq(6).pulse();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x26);
    pic.irq(1).pulse();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x21);
    io.store(kMaster, 0x60 | 6);
    EXPECT_EQ(read_isr(kMaster), 0x02u);
}

TEST_F(IsaPicTest, SpecialMaskModeOpensLowerLevels) {
    pic.irq(1).pulse();
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x21);
    pic.irq(5).pulse();
    EXPECT_FALSE(output.level());
    io.store(kMaster + 1, 0x02);
    EXPECT_FALSE(output.level());
    io.store(kMaster, 0x68);
    EXPECT_TRUE(output.level());
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x25);
    io.store(kMaster, kEoi);  // does not touch the masked IS bit
    EXPECT_EQ(read_isr(kMaster), 0x02u);
}

TEST_F(IsaPicTest, PollIsAnAcknowledge) {
    io.store(kMaster, 0x0c);
    EXPECT_EQ(io.load(kMaster), 0u);
    pic.irq(4).pulse();
    io.store(kMaster, 0x0c);
    EXPECT_EQ(io.load(kMaster), 0x84u);
    EXPECT_EQ(read_isr(kMaster), 0x10u);
    EXPECT_FALSE(output.level());
}

TEST_F(IsaPicTest, InitialisationForgetsEdgesButNotLevels) {
    pic.irq(3).raise();
    io.store(0x4d0, 0x20);
    pic.irq(5).raise();
    initialise();
    EXPECT_EQ(read_irr(kMaster), 0x20u);
    pic.irq(3).raise();
    EXPECT_EQ(read_irr(kMaster), 0x20u) << "a new edge needs the line to go low first";
}

TEST_F(IsaPicTest, SilentWhileBeingInitialised) {
    io.store(kMaster, 0x11);
    pic.irq(0).raise();
    EXPECT_FALSE(output.level());
    io.store(kMaster + 1, 0x40);
    io.store(kMaster + 1, 0x04);
    io.store(kMaster + 1, 0x01);
    EXPECT_TRUE(output.level());
    EXPECT_EQ(pic.acknowledge_interrupt(), 0x40);
}

}  // namespace
}  // namespace rhea::hw
