// ATA commands without a bus master: identification, PIO, errors, resets.
#include <cstring>

#include "tests/unit/hw/ide/ide_rig.h"

namespace rhea::hw {
namespace {

using namespace ata;
using Kind = test::MemoryBlockNode::Kind;

constexpr std::uint64_t kSectors = 4096;

class AtaDiskTest : public ::testing::TestWithParam<bool> {
  protected:
    AtaDiskTest() : rig(GetParam()), node(rig.add_drive("d", kSectors * kSectorSize)) {
        const auto pattern = test::IdeRig::pattern(node.bytes.size(), 3);
        node.bytes = pattern;
        EXPECT_TRUE(rig.add_disk(0, "d", {{"serial", "S123"}}));
    }
    std::vector<std::uint8_t> sectors(std::uint64_t lba, std::size_t count) {
        return {node.bytes.begin() + static_cast<std::ptrdiff_t>(lba * kSectorSize),
                node.bytes.begin() + static_cast<std::ptrdiff_t>((lba + count) * kSectorSize)};
    }
    test::IdeRig rig;
    test::MemoryBlockNode& node;
};
INSTANTIATE_TEST_SUITE_P(AtOnceAndLater, AtaDiskTest, ::testing::Bool());

TEST_P(AtaDiskTest, IdentifyTellsADriverAllItNeeds) {
    const auto words = rig.identify();
    EXPECT_EQ(words[0], 0x0040);
    EXPECT_EQ(words[1], 4u) << "cylinders";
    EXPECT_EQ(words[3], 16u);
    EXPECT_EQ(words[6], 63u);
    std::string serial, model;
    for (unsigned i = 10; i < 20; ++i) {
        serial += {static_cast<char>(words[i] >> 8), static_cast<char>(words[i])};
    }
    for (unsigned i = 27; i < 47; ++i) {
        model += {static_cast<char>(words[i] >> 8), static_cast<char>(words[i])};
    }
    EXPECT_EQ(serial, "S123                ");
    EXPECT_EQ(model, "QEMU HARDDISK                           ");
    EXPECT_EQ(words[47], 0x8010);
    EXPECT_EQ(words[49] & 0x0300, 0x0300) << "LBA and DMA";
    EXPECT_EQ(words[60] | words[61] << 16, static_cast<int>(kSectors));
    EXPECT_EQ(words[63] & 7, 7);
    EXPECT_EQ(words[83] & 0x7400, 0x7400) << "LBA48, flushes";
    EXPECT_EQ(words[86] & 0x3400, 0x3400);
    EXPECT_EQ(words[85] & 0x20, 0x20) << "write cache";
    EXPECT_EQ(words[88], 0x203f);
    EXPECT_EQ(words[100], kSectors);
    EXPECT_EQ(words[169], 1) << "TRIM";
    std::uint8_t sum = 0;
    for (const std::uint16_t word : words) {
        sum = static_cast<std::uint8_t>(sum + word + (word >> 8));
    }
    EXPECT_EQ(sum, 0);
    EXPECT_EQ(words[255] & 0xff, 0xa5);
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(rig.irq.rises[14], 1);
}

TEST_P(AtaDiskTest, ReadSectorsInterruptsOncePerSector) {
    rig.command(kReadSectors, 100, 3);
    for (unsigned i = 0; i < 3; ++i) {
        EXPECT_TRUE(rig.irq.level(14));
        EXPECT_EQ(rig.in(kStatus), 0x58);
        EXPECT_FALSE(rig.irq.level(14)) << "reading the status ends the request";
        EXPECT_EQ(rig.read_data(512), sectors(100 + i, 1));
    }
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(rig.irq.rises[14], 3);
    EXPECT_EQ(rig.in(kLbaLow), 102);
    EXPECT_EQ(rig.in(kCount), 0);
}

TEST_P(AtaDiskTest, ReadMultipleInterruptsOncePerBlock) {
    rig.command(kReadMultiple, 0, 1);
    EXPECT_EQ(rig.in(kStatus), 0x51) << "before SET MULTIPLE MODE";
    EXPECT_EQ(rig.in(kError), kAbrt);
    rig.command(kSetMultiple, 0, 3);
    EXPECT_EQ(rig.in(kStatus), 0x51) << "no power of two";
    rig.command(kSetMultiple, 0, 8);
    EXPECT_EQ(rig.in(kStatus), 0x50);
    rig.irq.rises[14] = 0;
    rig.command(kReadMultiple, 10, 20);
    EXPECT_EQ(rig.in(kStatus), 0x58);
    EXPECT_EQ(rig.read_data(8 * 512), sectors(10, 8));
    EXPECT_EQ(rig.in(kStatus), 0x58);
    EXPECT_EQ(rig.read_data(8 * 512), sectors(18, 8));
    EXPECT_EQ(rig.in(kStatus), 0x58);
    EXPECT_EQ(rig.read_data(4 * 512), sectors(26, 4));
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(rig.irq.rises[14], 3);
    EXPECT_EQ(rig.identify()[59], 0x0108);
}

TEST_P(AtaDiskTest, WriteSectors) {
    const auto data = test::IdeRig::pattern(3 * 512, 99);
    rig.command(kWriteSectors, 200, 3);
    EXPECT_FALSE(rig.irq.level(14)) << "no interrupt before the first sector";
    EXPECT_EQ(rig.in(kStatus), 0x58);
    rig.write_data({data.begin(), data.begin() + 512});
    EXPECT_EQ(rig.irq.rises[14], 1);
    EXPECT_EQ(rig.in(kStatus), 0x58);
    rig.write_data({data.begin() + 512, data.begin() + 1024});
    EXPECT_EQ(rig.in(kStatus), 0x58);
    rig.write_data({data.begin() + 1024, data.end()});
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(rig.irq.rises[14], 3);
    EXPECT_EQ(sectors(200, 3), data);
}

TEST_P(AtaDiskTest, WriteMultipleExt) {
    const auto data = test::IdeRig::pattern(16 * 512, 5);
    rig.command(kSetMultiple, 0, 16);
    rig.command48(kWriteMultipleFuaExt, 300, 16);
    rig.write_data(data);
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(sectors(300, 16), data);
    EXPECT_EQ(node.log.back().flags & block::kFua, unsigned{block::kFua});
}

TEST_P(AtaDiskTest, CylindersHeadsSectors) {
    rig.out(kDevice, 0xa2);  // head 2, no LBA
    rig.out(kCount, 1);
    rig.out(kLbaLow, 5);
    rig.out(kLbaMid, 1);
    rig.out(kLbaHigh, 0);
    rig.out(kStatus, kReadSectors);
    rig.settle();
    EXPECT_EQ(rig.read_data(512), sectors((1 * 16 + 2) * 63 + 4, 1));
    EXPECT_EQ(rig.in(kLbaLow), 5);
    EXPECT_EQ(rig.in(kLbaMid), 1);
    EXPECT_EQ(rig.in(kDevice), 0xa2);
    rig.out(kLbaLow, 0);  // sectors count from one
    rig.out(kCount, 1);
    rig.out(kStatus, kReadSectors);
    rig.settle();
    EXPECT_EQ(rig.in(kStatus), 0x51);
    EXPECT_EQ(rig.in(kError), kIdnf);
    rig.out(kDevice, 0xa7);
    rig.out(kCount, 32);
    rig.out(kStatus, kInitializeParameters);
    rig.settle();
    const auto words = rig.identify();
    EXPECT_EQ(words[55], 8);
    EXPECT_EQ(words[56], 32);
    EXPECT_EQ(words[54], 4u * 16 * 63 / (8 * 32));
}

TEST_P(AtaDiskTest, AddressesBehindTheEndAreRefused) {
    for (const auto& [lba, count] : {std::pair{4096u, 1}, {4095u, 2}, {0x0fffffffu, 0}}) {
        rig.command(kReadSectors, lba, static_cast<std::uint8_t>(count));
        EXPECT_EQ(rig.in(kStatus), 0x51) << lba;
        EXPECT_EQ(rig.in(kError), kIdnf);
    }
    rig.command48(kReadSectorsExt, 0xffffffffffff, 1);
    EXPECT_EQ(rig.in(kStatus), 0x51);
    EXPECT_TRUE(node.log.empty());
    rig.command(kReadSectors, 3840, 0);  // 256 sectors: just fits
    EXPECT_EQ(rig.in(kStatus), 0x58);
}

TEST_P(AtaDiskTest, SixteenBitCountsAndHighOrderBytes) {
    rig.command48(kReadVerifyExt, 0, 0x1000);
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(node.count(Kind::kRead), 16u);
    rig.command(kReadNativeMax);
    EXPECT_EQ(rig.in(kLbaLow) | rig.in(kLbaMid) << 8, 4095);
    rig.command(kReadNativeMaxExt);
    rig.out(kLbaLow, 0x12);
    rig.out(kLbaLow, 0x34);
    rig.control(kHighOrderByte);
    EXPECT_EQ(rig.in(kLbaLow), 0x12);
    rig.control(0);
    EXPECT_EQ(rig.in(kLbaLow), 0x34);
}

TEST_P(AtaDiskTest, FlushAndWriteCache) {
    rig.command(kFlushCache);
    EXPECT_EQ(node.count(Kind::kFlush), 1u);
    rig.command48(kFlushCacheExt, 0, 0);
    EXPECT_EQ(node.count(Kind::kFlush), 2u);
    rig.out(kError, 0x82);
    rig.command(kSetFeatures);
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(rig.identify()[85] & 0x20, 0);
    EXPECT_FALSE(rig.drives["d"]->write_cache());
    rig.out(kError, 0x02);
    rig.command(kSetFeatures);
    EXPECT_TRUE(rig.drives["d"]->write_cache());
    rig.out(kError, 0x82);
    rig.command(kSetFeatures);
    rig.disks[0]->reset();
    EXPECT_TRUE(rig.drives["d"]->write_cache()) << "power on";
}

TEST_P(AtaDiskTest, TransferModes) {
    const auto set = [&](std::uint8_t mode) {
        rig.out(kError, 0x03);
        rig.command(kSetFeatures, 0, mode);
        return rig.in(kStatus);
    };
    EXPECT_EQ(set(0x22), 0x50);  // multiword DMA 2
    EXPECT_EQ(rig.identify()[63], 0x0407);
    EXPECT_EQ(rig.identify()[88], 0x003f);
    EXPECT_EQ(set(0x42), 0x50);  // Ultra DMA 2
    EXPECT_EQ(rig.identify()[88], 0x043f);
    EXPECT_EQ(rig.identify()[63], 0x0007);
    EXPECT_EQ(set(0x0c), 0x50);  // PIO 4
    EXPECT_EQ(set(0x46), 0x51);
    EXPECT_EQ(set(0x10), 0x51);
}

TEST_P(AtaDiskTest, PowerModes) {
    const auto check = [&] {
        rig.command(kCheckPowerMode);
        return rig.in(kCount);
    };
    EXPECT_EQ(check(), 0xff);
    rig.command(kStandbyImmediate);
    EXPECT_EQ(node.count(Kind::kFlush), 1u);
    EXPECT_EQ(check(), 0x00);
    rig.command(0x97);  // IDLE, its older number
    EXPECT_EQ(check(), 0x80);
    rig.command(kReadVerify, 0, 1);
    EXPECT_EQ(check(), 0xff);
    rig.command(kSleep);
    rig.in(kStatus);
    rig.irq.rises[14] = 0;
    rig.command(kReadVerify, 0, 1);
    EXPECT_EQ(rig.irq.rises[14], 0) << "asleep";
    rig.control(kSoftReset);
    rig.control(0);
    rig.command(kReadVerify, 0, 1);
    EXPECT_EQ(rig.irq.rises[14], 1);
}

TEST_P(AtaDiskTest, Smart) {
    const auto smart = [&](std::uint8_t subcommand, std::uint32_t lba = 0xc24f00, std::uint8_t count = 1) {
        rig.out(kError, subcommand);
        rig.command(kSmart, lba, count);
        return rig.in(kStatus);
    };
    EXPECT_EQ(smart(0xda), 0x50);
    EXPECT_EQ(rig.in(kLbaMid), 0x4f) << "no threshold is exceeded";
    EXPECT_EQ(rig.in(kLbaHigh), 0xc2);
    EXPECT_EQ(smart(0xda, 0), 0x51) << "without the key";
    for (const std::uint8_t page : {0xd0, 0xd1}) {
        EXPECT_EQ(smart(page), 0x58);
        std::uint8_t sum = 0;
        for (const std::uint8_t byte : rig.read_data(512)) {
            sum = static_cast<std::uint8_t>(sum + byte);
        }
        EXPECT_EQ(sum, 0);
    }
    EXPECT_EQ(smart(0xd5, 0xc24f01), 0x58) << "error log";
    rig.read_data(512);
    EXPECT_EQ(smart(0xd5, 0xc24f33), 0x51);
    EXPECT_EQ(smart(0xd9), 0x50);
    EXPECT_EQ(smart(0xda), 0x51) << "disabled";
    EXPECT_EQ(rig.identify()[85] & 1, 0);
    EXPECT_EQ(smart(0xd8), 0x50);
}

TEST_P(AtaDiskTest, UnknownCommandsAreAborted) {
    for (const std::uint8_t code : {0x00, 0x08, 0xa0, 0xa1, 0xf1, 0x87}) {
        rig.command(code);
        EXPECT_EQ(rig.in(kStatus), 0x51) << int{code};
        EXPECT_EQ(rig.in(kError), kAbrt);
    }
    rig.command(0x10);  // RECALIBRATE
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(rig.in(kError), 0);
}

TEST_P(AtaDiskTest, ErrorsAreReported) {
    node.fail_request(0, EIO);
    rig.command(kReadSectors, 7, 1);
    EXPECT_EQ(rig.in(kStatus), 0x51);
    EXPECT_EQ(rig.in(kError), kUnc);
    EXPECT_EQ(rig.in(kLbaLow), 7);
    node.fail_request(0, EIO);
    rig.command(kWriteSectors, 7, 1);
    rig.write_data(test::IdeRig::pattern(512, 1));
    EXPECT_EQ(rig.in(kStatus), 0x51);
    EXPECT_EQ(rig.in(kError), kAbrt);
    node.fail_request(0, EIO);
    rig.command(kFlushCache);
    EXPECT_EQ(rig.in(kStatus), 0x51);
}

TEST_P(AtaDiskTest, APioReadIsOneRequest) {
    node.log.clear();
    rig.command(kReadSectors, 100, 40);
    EXPECT_EQ(rig.read_data(40 * 512), sectors(100, 40));
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(node.count(test::MemoryBlockNode::Kind::kRead), 1u);
    // What was read is not kept for the next command.
    const auto data = test::IdeRig::pattern(512, 3);
    std::copy(data.begin(), data.end(), node.bytes.begin() + 101 * 512);
    rig.command(kReadSectors, 101, 2);
    EXPECT_EQ(rig.read_data(512), data);
}

TEST_P(AtaDiskTest, ABadSectorInALongPioRead) {
    node.fault = [](std::size_t, const test::MemoryBlockNode::Logged& request) {
        return request.offset <= 102 * 512 && 102 * 512 < request.offset + request.length ? EIO : 0;
    };
    rig.command(kReadSectors, 100, 8);
    for (unsigned i = 0; i < 2; ++i) {
        EXPECT_EQ(rig.in(kStatus), 0x58);
        EXPECT_EQ(rig.read_data(512), sectors(100 + i, 1));
    }
    EXPECT_EQ(rig.in(kStatus), 0x51);
    EXPECT_EQ(rig.in(kError), kUnc);
    EXPECT_EQ(rig.in(kLbaLow), 102);
    EXPECT_EQ(rig.in(kCount), 6);
}

TEST_P(AtaDiskTest, StoppedRequestsAreDoneAgain) {
    bool stopped = false;
    block::BlockBackend& drive = *rig.drives["d"];
    drive.set_error_actions(block::ErrorAction::kStop, block::ErrorAction::kStop);
    drive.on_stop = [&](const util::Error&) { stopped = true; };
    const auto data = test::IdeRig::pattern(512, 44);
    rig.command(kWriteSectors, 9, 1);
    node.fail_request(0, ENOSPC);
    rig.write_data(data);
    EXPECT_TRUE(stopped);
    EXPECT_EQ(rig.alternate() & kBsy, kBsy) << "the guest has heard nothing";
    EXPECT_EQ(rig.irq.rises[14], 0);

    // The state with its unfinished write moves to another machine.
    std::vector<std::uint8_t> saved;
    auto writer = core::make_memory_writer(saved);
    writer->section("disk", 1, [&](core::Archive& a) { rig.disks[0]->serialize(a); });
    ASSERT_TRUE(writer->ok());
    test::IdeRig other(GetParam());
    test::MemoryBlockNode& other_node = other.add_drive("d", kSectors * kSectorSize);
    ASSERT_TRUE(other.add_disk(0, "d"));
    auto reader = core::make_memory_reader(saved);
    reader->section("disk", 1, [&](core::Archive& a) { other.disks[0]->serialize(a); });
    ASSERT_TRUE(reader->ok());
    ASSERT_TRUE(other.drives["d"]->on_resume);
    other.drives["d"]->on_resume();
    other.settle();
    EXPECT_EQ(other.irq.rises[14], 1);
    EXPECT_TRUE(std::equal(data.begin(), data.end(), other_node.bytes.begin() + 9 * 512));

    ASSERT_TRUE(drive.on_resume);
    drive.on_resume();
    rig.settle();
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(sectors(9, 1), data);
}

TEST_P(AtaDiskTest, SoftResetWaitsForWhatIsUnderWay) {
    rig.out(kDevice, 0xe0);
    rig.out(kCount, 1);
    rig.out(kStatus, kReadSectors);  // not settled
    EXPECT_EQ(rig.alternate() & kBsy, kBsy);
    rig.control(kSoftReset);
    rig.control(0);
    EXPECT_EQ(rig.alternate() & kBsy, kBsy);
    rig.out(kStatus, kIdentifyDevice);  // ignored while busy
    rig.settle();
    EXPECT_EQ(rig.in(kStatus), 0x50);
    EXPECT_EQ(rig.in(kError), 0x01);
    EXPECT_EQ(rig.in(kCount), 1);
    EXPECT_EQ(rig.in(kLbaLow), 1);
    EXPECT_EQ(rig.in(kLbaMid), 0);
    EXPECT_EQ(rig.in(kLbaHigh), 0);
    EXPECT_EQ(rig.irq.rises[14], 0);
    rig.control(kSoftReset);
    EXPECT_EQ(rig.alternate(), kBsy);
}

TEST_P(AtaDiskTest, MachineResetInTheMiddle) {
    rig.out(kStatus, kWriteSectors);
    rig.out(kDevice, 0xe0);
    rig.out(kCount, 1);
    rig.out(kStatus, kReadSectors);
    rig.disks[0]->reset();
    EXPECT_EQ(rig.in(kStatus), 0x50);
    rig.command(kReadSectors, 1, 1);
    EXPECT_EQ(rig.read_data(512), sectors(1, 1));
}

TEST_P(AtaDiskTest, RegistersAreDeafWhileDataMoves) {
    rig.command(kReadSectors, 5, 1);
    rig.out(kLbaLow, 77);
    rig.out(kStatus, kIdentifyDevice);
    EXPECT_EQ(rig.read_data(512), sectors(5, 1));
    EXPECT_EQ(rig.in(kLbaLow), 5);
    EXPECT_EQ(rig.io.load(0x1f0, 2), 0u) << "no data is left";
}

TEST(IdeHardDiskTest, WhatItRefuses) {
    test::IdeRig rig;
    rig.add_drive("a", 1 << 20);
    rig.add_drive("tiny", 100);
    rig.add_drive("ro", 1 << 20).set_read_only(true);
    const auto refused = [&](unsigned channel, const std::string& id,
                             std::vector<std::pair<std::string, std::string>> properties = {}) {
        const auto made = rig.add_disk(channel, id, std::move(properties));
        return made ? std::string() : made.error().message();
    };
    EXPECT_NE(refused(0, "none").find("'none'"), std::string::npos);
    test::IdeRig second;
    second.add_drive("ro", 1 << 20).set_read_only(true);
    const auto read_only = second.add_disk(0, "ro");
    ASSERT_FALSE(read_only);
    EXPECT_NE(read_only.error().message().find("read-only"), std::string::npos);
    EXPECT_NE(refused(1, "a", {{"logical_block_size", "4096"}}).find("512"), std::string::npos);
    EXPECT_NE(refused(1, "tiny", {{"unit", "1"}}).find("less than one sector"), std::string::npos);
    EXPECT_NE(refused(1, "a", {{"unit", "1"}}).find("taken"), std::string::npos);
    EXPECT_NE(refused(0, "a", {{"unit", "2"}}).find("unit"), std::string::npos);
    EXPECT_NE(refused(0, "a", {{"serial", "123456789012345678901"}}).find("20 characters"), std::string::npos);
}

}  // namespace
}  // namespace rhea::hw
