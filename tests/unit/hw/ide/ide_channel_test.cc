// Two drives on a channel, absent ones, and the bus master.
#include "tests/unit/hw/ide/ide_rig.h"

namespace rhea::hw {
namespace {

using namespace ata;
using Kind = test::MemoryBlockNode::Kind;

constexpr std::uint64_t kSectors = 4096;

class IdeChannelTest : public ::testing::TestWithParam<bool> {
  protected:
    IdeChannelTest() : rig(GetParam()) {}
    test::MemoryBlockNode& add(const std::string& id, unsigned channel, unsigned unit) {
        test::MemoryBlockNode& node = rig.add_drive(id, kSectors * kSectorSize);
        node.bytes = test::IdeRig::pattern(node.bytes.size(), unit + 1);
        EXPECT_TRUE(rig.add_disk(channel, id, {{"unit", std::to_string(unit)}}));
        return node;
    }
    void reset() {
        rig.control(kSoftReset | kInterruptDisable);
        rig.control(0);
        rig.settle();
    }
    /// How drivers look whether somebody is there (libata's and SeaBIOS's way).
    bool answers(unsigned slave, unsigned channel = 0) {
        rig.out(kDevice, static_cast<std::uint8_t>(0xa0 | slave << 4), channel);
        rig.out(kCount, 0x55, channel);
        rig.out(kLbaLow, 0xaa, channel);
        return rig.in(kCount, channel) == 0x55 && rig.in(kLbaLow, channel) == 0xaa && rig.in(kStatus, channel) != 0;
    }
    test::IdeRig rig;
};
INSTANTIATE_TEST_SUITE_P(AtOnceAndLater, IdeChannelTest, ::testing::Bool());

TEST_P(IdeChannelTest, PciFunction) {
    const PciConfigSpace& config = rig.controller->config();
    EXPECT_EQ(config.get32(0), 0x70108086u);
    EXPECT_EQ(config.get32(8) >> 8, 0x010180u);
    EXPECT_EQ(config.get8(pci_reg::kInterruptPin), 0);
    rig.controller->config().write(0x20, 0xffffffff, 4);
    EXPECT_EQ(config.get32(0x20), 0xfffffff1u);
}

TEST_P(IdeChannelTest, ChannelsAnswerWhileTheyAreEnabled) {
    add("d", 0, 0);
    EXPECT_EQ(rig.in(kStatus), 0x50);
    rig.controller->config().write(0x40, 0, 2);
    EXPECT_EQ(rig.in(kStatus), 0xff);
    rig.controller->config().write(0x40, 0x8000, 2);
    EXPECT_EQ(rig.in(kStatus), 0x50);
    rig.controller->config().write(4, 0, 2);
    EXPECT_EQ(rig.in(kStatus), 0xff);
    rig.controller->reset();
    rig.controller->config().write(4, 1, 2);
    EXPECT_EQ(rig.in(kStatus), 0x50) << "firmware that knows QEMU's machine does not enable the channels";
}

TEST_P(IdeChannelTest, NoGhosts) {
    EXPECT_FALSE(answers(0));
    EXPECT_FALSE(answers(1));
    EXPECT_EQ(rig.in(kStatus) & (kBsy | kDrq), 0) << "nobody has to be waited for";
    add("d", 0, 0);
    reset();
    EXPECT_TRUE(answers(0));
    EXPECT_FALSE(answers(1));
    EXPECT_FALSE(answers(0, 1));
    rig.command(kIdentifyDevice, 0, 0, 1);
    EXPECT_EQ(rig.irq.rises[14], 0);
    EXPECT_EQ(rig.in(kStatus), 0);
    EXPECT_EQ(rig.alternate(), 0);
}

TEST_P(IdeChannelTest, SlaveAlone) {
    add("d", 1, 1);
    EXPECT_FALSE(answers(0, 1));
    EXPECT_EQ(rig.in(kStatus, 1), 0);
    EXPECT_TRUE(answers(1, 1));
    rig.out(kStatus, kIdentifyDevice, 1);
    rig.settle();
    EXPECT_TRUE(rig.irq.level(15));
}

TEST_P(IdeChannelTest, TwoDrivesShareTheWire) {
    const test::MemoryBlockNode &first = add("d0", 0, 0), &second = add("d1", 0, 1);
    reset();
    EXPECT_TRUE(answers(0));
    EXPECT_TRUE(answers(1));
    rig.command(kReadSectors, 4, 1, 1);
    EXPECT_TRUE(rig.irq.level(14));
    EXPECT_EQ(rig.read_data(512), std::vector(second.bytes.begin() + 4 * 512, second.bytes.begin() + 5 * 512));
    rig.out(kDevice, 0xe0);
    EXPECT_FALSE(rig.irq.level(14)) << "the other drive has nothing to say";
    rig.command(kReadSectors, 4, 1, 0);
    EXPECT_EQ(rig.read_data(512), std::vector(first.bytes.begin() + 4 * 512, first.bytes.begin() + 5 * 512));
    rig.out(kStatus, kExecuteDiagnostic);
    EXPECT_EQ(rig.in(kError), 0x01);
    EXPECT_EQ(rig.in(kDevice), 0x00);
    const auto full = rig.add_disk(0, "d0");
    EXPECT_FALSE(full);
}

TEST_P(IdeChannelTest, InterruptsCanBeDisabled) {
    add("d", 0, 0);
    rig.control(kInterruptDisable);
    rig.command(kReadVerify, 0, 1);
    EXPECT_FALSE(rig.irq.level(14));
    rig.control(0);
    EXPECT_TRUE(rig.irq.level(14));
    EXPECT_EQ(rig.alternate(), 0x50);
    EXPECT_TRUE(rig.irq.level(14)) << "the alternate status ends nothing";
    rig.in(kStatus);
    EXPECT_FALSE(rig.irq.level(14));
}

// ---- bus master -----------------------------------------------------------------------------------------------------

TEST_P(IdeChannelTest, ReadDmaIntoSeveralPieces) {
    const test::MemoryBlockNode& node = add("d", 0, 0);
    rig.prd(0x1000, 0x20000, 512, false);
    rig.prd(0x1008, 0x31000, 1024, false);
    rig.prd(0x1010, 0x40002, 512, true);
    rig.command(kReadDma, 50, 4);
    EXPECT_EQ(rig.in(kStatus) & kDrq, kDrq) << "waits for the bus master";
    rig.start_dma(0x1000, true);
    EXPECT_EQ(rig.dma_status() & 7, 4) << "not active, interrupt";
    EXPECT_TRUE(rig.irq.level(14));
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(std::memcmp(rig.ram_block.host() + 0x20000, &node.bytes[50 * 512], 512), 0);
    EXPECT_EQ(std::memcmp(rig.ram_block.host() + 0x31000, &node.bytes[51 * 512], 1024), 0);
    EXPECT_EQ(std::memcmp(rig.ram_block.host() + 0x40002, &node.bytes[53 * 512], 512), 0);
    rig.io.store(test::IdeRig::kBusMaster + 2, 4);
    EXPECT_EQ(rig.dma_status() & 7, 0);
}

TEST_P(IdeChannelTest, WriteDmaStartedBeforeTheCommand) {
    const test::MemoryBlockNode& node = add("d", 0, 0);
    const auto data = test::IdeRig::pattern(128 * 512, 77);
    std::memcpy(rig.ram_block.host() + 0x50000, data.data(), data.size());
    rig.prd(0x1000, 0x50000, 0x10000, true);  // 64 KiB: a count of 0
    rig.start_dma(0x1000, false);
    EXPECT_EQ(rig.dma_status() & 7, 1);
    rig.command48(kWriteDmaFuaExt, 1000, 128);
    EXPECT_EQ(rig.dma_status() & 7, 4);
    EXPECT_TRUE(std::equal(data.begin(), data.end(), node.bytes.begin() + 1000 * 512));
    EXPECT_EQ(node.log.back().flags & block::kFua, unsigned{block::kFua});
}

TEST_P(IdeChannelTest, TablesThatDoNotFit) {
    add("d", 0, 0);
    rig.prd(0x1000, 0x20000, 1024, true);
    rig.command(kReadDma, 0, 1);
    rig.start_dma(0x1000, true);
    EXPECT_EQ(rig.dma_status() & 7, 5) << "longer than the transfer: still active";
    rig.io.store(test::IdeRig::kBusMaster, 0);
    EXPECT_EQ(rig.dma_status() & 7, 4);
    rig.in(kStatus);
    rig.irq.rises[14] = 0;
    rig.command(kReadDma, 0, 4);
    rig.start_dma(0x1000, true);
    EXPECT_EQ(rig.dma_status() & 7, 0) << "shorter: stops without an interrupt";
    EXPECT_EQ(rig.irq.rises[14], 0);
}

TEST_P(IdeChannelTest, MemoryThatIsNotThere) {
    add("d", 0, 0);
    rig.prd(0x1000, 0xe0000000, 512, true);
    rig.command(kReadDma, 0, 1);
    rig.start_dma(0x1000, true);
    EXPECT_EQ(rig.dma_status() & 7, 6) << "error";
    EXPECT_EQ(rig.in(kStatus), 0x51);
    rig.command(kWriteDma, 0, 1);
    rig.start_dma(0xfffffff0, false);
    EXPECT_EQ(rig.dma_status() & 7, 6) << "no table";
    EXPECT_EQ(rig.in(kStatus), 0x51);
    rig.controller->config().write(4, 1, 2);  // no bus master
    rig.prd(0x1000, 0x20000, 512, true);
    rig.command(kReadDma, 0, 1);
    rig.start_dma(0x1000, true);
    EXPECT_EQ(rig.dma_status() & 7, 6);
}

TEST_P(IdeChannelTest, AStoppedBusMasterWritesNoMore) {
    add("d", 0, 0);
    rig.prd(0x1000, 0x20000, 512, true);
    rig.command(kReadDma, 3, 1);
    rig.io.store(test::IdeRig::kBusMaster + 4, 0x1000, 4);
    rig.io.store(test::IdeRig::kBusMaster, 9);
    rig.io.store(test::IdeRig::kBusMaster, 8);  // before the data is there
    rig.settle();
    EXPECT_EQ(rig.memory.load(0x20000, 8), 0u);
    EXPECT_EQ(rig.in(kStatus), 0x51);
    rig.command(kReadDma, 3, 1);
    rig.start_dma(0x1000, true);
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_NE(rig.memory.load(0x20000, 8), 0u);
}

TEST_P(IdeChannelTest, TrimDiscardsRanges) {
    const test::MemoryBlockNode& node = add("d", 0, 0);
    const auto range = [&](unsigned at, std::uint64_t lba, std::uint64_t count) {
        rig.memory.store(0x20000 + 8 * at, lba | count << 48, 8);
    };
    range(0, 100, 50);
    range(1, 200, 1);
    rig.prd(0x1000, 0x20000, 512, true);
    rig.out(kError, 1);
    rig.command48(kDataSetManagement, 0, 1);
    rig.start_dma(0x1000, false);
    EXPECT_EQ(rig.in(kStatus), 0x50);
    ASSERT_EQ(node.count(Kind::kDiscard), 2u);
    EXPECT_EQ(node.log[0].offset, 100u * 512);
    EXPECT_EQ(node.log[0].length, 50u * 512);
    range(2, kSectors - 1, 2);
    rig.out(kError, 1);
    rig.command48(kDataSetManagement, 0, 1);
    rig.start_dma(0x1000, false);
    EXPECT_EQ(rig.in(kStatus), 0x51) << "behind the end";
    EXPECT_EQ(node.count(Kind::kDiscard), 2u) << "none of them";
    rig.out(kError, 1);
    rig.command48(kDataSetManagement, 0, 9);
    EXPECT_EQ(rig.in(kStatus), 0x51) << "more blocks than word 105 says";
}

TEST_P(IdeChannelTest, StoppedDmaIsDoneAgain) {
    test::MemoryBlockNode& node = add("d", 0, 0);
    rig.drives["d"]->set_error_actions(block::ErrorAction::kStop, block::ErrorAction::kStop);
    node.fail_request(0, EIO);
    rig.prd(0x1000, 0x20000, 512, true);
    rig.command(kReadDma, 3, 1);
    rig.start_dma(0x1000, true);
    EXPECT_EQ(rig.dma_status() & 7, 1);
    rig.drives["d"]->on_resume();
    rig.settle();
    EXPECT_EQ(rig.dma_status() & 7, 4);
    EXPECT_EQ(std::memcmp(rig.ram_block.host() + 0x20000, &node.bytes[3 * 512], 512), 0);
}

TEST_P(IdeChannelTest, FirmwarePath) {
    add("d", 1, 0);
    const auto entries = rig.disks[0]->boot_entries();
    ASSERT_EQ(entries.size(), 1u);
    EXPECT_EQ(entries[0].index, -1);
    EXPECT_EQ(entries[0].path, "/pci@i0cf8/ide@1,1/drive@1/disk@0");
}

}  // namespace
}  // namespace rhea::hw
