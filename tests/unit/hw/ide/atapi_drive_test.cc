// An ATAPI CD-ROM drive as a driver sees it: packets, data by PIO and DMA, what ends a command, media that come and go.
#include "hw/scsi/scsi_command.h"
#include "tests/unit/hw/ide/ide_rig.h"

namespace rhea::hw {
namespace {

using namespace ata;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kBlocks = 512, kBlock = 2048;
constexpr std::uint8_t kDone = kReasonCommand | kReasonToHost;

class AtapiTest : public ::testing::TestWithParam<bool> {
  protected:
    AtapiTest() : rig(GetParam()) {}
    /// A drive, master of channel 0, whose power-on attention has been told.
    test::MemoryBlockNode& make(std::vector<std::pair<std::string, std::string>> properties = {}) {
        test::MemoryBlockNode& node = rig.add_drive("cd", kBlocks * kBlock);
        node.bytes = test::IdeRig::pattern(node.bytes.size(), 3);
        EXPECT_TRUE(rig.add_device<IdeCdrom>(0, "cd", std::move(properties)));
        packet({scsi::kTestUnitReady});
        EXPECT_EQ(rig.in(kError), 0x60) << "unit attention";
        return node;
    }
    /// Sends a packet; afterwards the drive waits with data, or has ended the command.
    void packet(Bytes cdb, std::uint8_t features = 0, std::uint16_t limit = 0xfffe) {
        rig.out(kDevice, 0xa0);
        rig.out(kError, features);
        rig.out(kLbaMid, static_cast<std::uint8_t>(limit));
        rig.out(kLbaHigh, static_cast<std::uint8_t>(limit >> 8));
        rig.out(kStatus, kPacket);
        ASSERT_EQ(rig.alternate() & (kBsy | kDrq | kErr), kDrq);
        ASSERT_EQ(rig.in(kCount), kReasonCommand);
        ASSERT_FALSE(rig.irq.level(14)) << "a packet is not announced";
        cdb.resize(AtapiDrive::kPacketSize);
        rig.write_data(cdb);
    }
    std::uint32_t byte_count() { return rig.in(kLbaMid) | rig.in(kLbaHigh) << 8; }
    /// All data that the drive has; `chunks` says how many pieces they came in.
    Bytes reply(unsigned* chunks = nullptr) {
        Bytes data;
        unsigned count = 0;
        while ((rig.alternate() & (kBsy | kDrq)) == kDrq) {
            EXPECT_EQ(rig.in(kCount), kReasonToHost);
            EXPECT_TRUE(rig.irq.level(14));
            rig.in(kStatus);
            EXPECT_FALSE(rig.irq.level(14));
            const std::uint32_t bytes = byte_count();
            Bytes chunk = rig.read_data(bytes);
            chunk.resize(bytes);
            data.insert(data.end(), chunk.begin(), chunk.end());
            ++count;
        }
        if (chunks) {
            *chunks = count;
        }
        return data;
    }
    void expect_end(std::uint8_t error = 0) {
        EXPECT_TRUE(rig.irq.level(14));
        EXPECT_EQ(rig.in(kStatus), error ? kDrdy | kDsc | kErr : kDrdy | kDsc);
        EXPECT_EQ(rig.in(kError), error);
        EXPECT_EQ(rig.in(kCount), kDone);
        EXPECT_FALSE(rig.irq.level(14));
    }
    scsi::Sense sense() {
        packet({scsi::kRequestSense, 0, 0, 0, 18});
        const Bytes bytes = reply();
        expect_end();
        return {bytes[2], bytes[12], bytes[13]};
    }
    static Bytes read10(std::uint32_t lba, std::uint16_t count) {
        Bytes cdb(10);
        cdb[0] = scsi::kRead10;
        scsi::store_be(&cdb[2], lba, 4);
        scsi::store_be(&cdb[7], count, 2);
        return cdb;
    }
    Bytes medium(std::uint64_t block, std::uint64_t count) const {
        const Bytes& all = rig.nodes.at("cd")->bytes;
        return {all.begin() + static_cast<std::ptrdiff_t>(block * kBlock), all.begin() + static_cast<std::ptrdiff_t>((block + count) * kBlock)};
    }
    test::IdeRig rig;
};
INSTANTIATE_TEST_SUITE_P(AtOnceAndLater, AtapiTest, ::testing::Bool());

TEST_P(AtapiTest, SignatureTellsWhatItIs) {
    make();
    rig.control(kSoftReset);
    rig.control(0);
    rig.settle();
    EXPECT_EQ(rig.in(kStatus), 0) << "DRDY comes with the first command";
    EXPECT_EQ(rig.in(kError), 0x01);
    EXPECT_EQ(rig.in(kCount), 1);
    EXPECT_EQ(rig.in(kLbaLow), 1);
    EXPECT_EQ(rig.in(kLbaMid), 0x14);
    EXPECT_EQ(rig.in(kLbaHigh), 0xeb);
    for (const std::uint8_t command : {kIdentifyDevice, kReadSectors}) {
        rig.command(command);
        EXPECT_EQ(rig.in(kStatus), kDrdy | kDsc | kErr);
        EXPECT_EQ(rig.in(kError), kAbrt);
        EXPECT_EQ(byte_count(), 0xeb14u);
    }
}

TEST_P(AtapiTest, IdentifyPacketDevice) {
    make({{"serial", "CD-7"}});
    rig.command(kIdentifyPacketDevice);
    EXPECT_TRUE(rig.irq.level(14));
    EXPECT_EQ(rig.in(kStatus), kDrdy | kDsc | kDrq);
    const Bytes bytes = rig.read_data(512);
    const auto word = [&bytes](unsigned number) { return static_cast<unsigned>(bytes[number * 2] | bytes[number * 2 + 1] << 8); };
    EXPECT_EQ(word(0), 0x85c0u) << "packets of 12 bytes, a removable CD-ROM";
    EXPECT_EQ(word(10), 0x4344u) << "CD";
    EXPECT_EQ(word(27), 0x5145u) << "QE";
    EXPECT_TRUE(word(49) & 0x100) << "DMA";
    EXPECT_EQ(word(88) & 0xff, 0x3fu) << "Ultra DMA";
    EXPECT_TRUE(word(82) & 0x10) << "PACKET";
    EXPECT_EQ(rig.in(kStatus), kDrdy | kDsc);
    rig.out(kError, 3);
    rig.command(kSetFeatures, 0, 0x42);
    EXPECT_EQ(rig.in(kStatus), kDrdy | kDsc);
    rig.command(kSetFeatures, 0, 0x4f);
    EXPECT_EQ(rig.in(kError), kAbrt);
}

TEST_P(AtapiTest, InquiryHasTheLengthThatTheDriveSays) {
    make();
    packet({scsi::kInquiry, 0, 0, 0, 96});
    EXPECT_EQ(byte_count(), 36u);
    const Bytes bytes = reply();
    ASSERT_EQ(bytes.size(), 36u);
    EXPECT_EQ(bytes[0], 5);
    EXPECT_EQ(bytes[1], 0x80);
    EXPECT_EQ(std::string(bytes.begin() + 8, bytes.begin() + 36), "QEMU    QEMU DVD-ROM    2.5+");
    expect_end();
    packet({scsi::kInquiry, 0, 0, 0, 5});
    EXPECT_EQ(reply().size(), 5u) << "an odd length";
    expect_end();
}

TEST_P(AtapiTest, ReadsByPioInPiecesOfTheHostsLength) {
    make();
    packet(read10(7, 3), 0, 2048);
    unsigned chunks = 0;
    EXPECT_EQ(reply(&chunks), medium(7, 3));
    EXPECT_EQ(chunks, 3u);
    expect_end();
    packet(read10(0, 400));
    EXPECT_EQ(reply(&chunks), medium(0, 400)) << "longer than the drive reads at a time";
    EXPECT_EQ(chunks, 19u) << "31 blocks at most, in pieces of 64: three each for 384 blocks, one for the last 16";
    expect_end();
    packet(read10(1, 1), 0, 1001);
    EXPECT_EQ(reply(&chunks), medium(1, 1)) << "an odd length is made even while more is to come";
    EXPECT_EQ(chunks, 3u);
    expect_end();
    packet({scsi::kRead12, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0});
    EXPECT_EQ(reply(), medium(256, 2));
    expect_end();
    packet({scsi::kReadCd, 0, 0, 0, 0, 9, 0, 0, 2, 0x10, 0, 0});
    EXPECT_EQ(reply(), medium(9, 2));
    expect_end();
    packet(read10(1, 0));
    expect_end();
}

TEST_P(AtapiTest, ErrorsAreSenseKeys) {
    make();
    packet(read10(kBlocks, 1));
    expect_end(0x50);
    EXPECT_EQ(sense(), scsi::sense::kLbaOutOfRange);
    EXPECT_EQ(sense(), scsi::sense::kNone) << "told once";
    packet(read10(kBlocks - 1, 2));
    expect_end(0x50);
    packet({0xff});
    expect_end(0x50);
    EXPECT_EQ(sense(), scsi::sense::kInvalidOpcode);
    packet(Bytes(AtapiDrive::kPacketSize, 0x9f)); // of the group whose commands have 16 bytes
    expect_end(0x50);
    EXPECT_EQ(sense(), scsi::sense::kInvalidOpcode);
    packet(read10(0, 1), 0, 0);
    EXPECT_EQ(rig.in(kError), kAbrt) << "no byte may be moved";
    packet({scsi::kTestUnitReady}, 0, 0);
    expect_end();
    rig.out(kError, kPacketOverlap);
    rig.out(kStatus, kPacket);
    EXPECT_EQ(rig.in(kError), kAbrt);
    rig.command(0xc4);
    EXPECT_EQ(rig.in(kError), kAbrt) << "no command of a packet device";
}

TEST_P(AtapiTest, DataToTheDrive) {
    make();
    Bytes list(16);
    list[8] = 0x01; // error recovery: as it is
    list[9] = 6;
    list[11] = 5;
    packet({scsi::kModeSelect10, 0x10, 0, 0, 0, 0, 0, 0, 16}, 0, 8);
    for (std::size_t at = 0; at < 16; at += 8) {
        ASSERT_EQ(rig.alternate() & (kBsy | kDrq), kDrq);
        EXPECT_EQ(rig.in(kCount), 0) << "data, from the host";
        EXPECT_EQ(byte_count(), 8u);
        rig.write_data({list.begin() + static_cast<std::ptrdiff_t>(at), list.begin() + static_cast<std::ptrdiff_t>(at + 8)});
    }
    expect_end();
    list[11] = 6;
    packet({scsi::kModeSelect10, 0x10, 0, 0, 0, 0, 0, 0, 16});
    rig.write_data(list);
    expect_end(0x50);
    EXPECT_EQ(sense(), scsi::sense::kInvalidParameter);
}

TEST_P(AtapiTest, ReadsByDma) {
    make();
    rig.prd(0x1000, 0x20000, 0x10000, false);
    rig.prd(0x1008, 0x40000, 0x10000, false);
    rig.prd(0x1010, 0x60000, 0x10000, false);
    rig.prd(0x1018, 0x80000, 100 * kBlock - 0x30000, true);
    packet(read10(20, 100), kPacketDma, 0);
    EXPECT_EQ(rig.alternate() & (kBsy | kDrq), kDrq) << "waits for the bus master";
    EXPECT_FALSE(rig.irq.level(14));
    rig.start_dma(0x1000, true);
    expect_end();
    EXPECT_EQ(rig.dma_status() & 7, 4) << "not active, interrupt";
    const Bytes want = medium(20, 100);
    EXPECT_EQ(std::memcmp(rig.ram_block.host() + 0x20000, want.data(), 0x10000), 0);
    EXPECT_EQ(std::memcmp(rig.ram_block.host() + 0x40000, want.data() + 0x10000, 0x10000), 0);
    EXPECT_EQ(std::memcmp(rig.ram_block.host() + 0x60000, want.data() + 0x20000, 0x10000), 0);
    EXPECT_EQ(std::memcmp(rig.ram_block.host() + 0x80000, want.data() + 0x30000, want.size() - 0x30000), 0);

    // The bus master first; less data than the table has room for; an error without data.
    rig.prd(0x1000, 0x20000, 96, true);
    rig.start_dma(0x1000, true);
    packet({scsi::kInquiry, 0, 0, 0, 96}, kPacketDma);
    expect_end();
    EXPECT_EQ(rig.ram_block.host()[0x20000], 5);
    EXPECT_EQ(rig.dma_status() & 7, 5) << "the table goes on: still active";
    rig.start_dma(0x1000, true);
    packet(read10(kBlocks, 1), kPacketDma);
    expect_end(0x50);
    EXPECT_EQ(rig.dma_status() & 1, 0);

    // Memory that is not there; a table that is too short.
    rig.prd(0x1000, 0xf0000000, 2048, true);
    rig.start_dma(0x1000, true);
    packet(read10(0, 1), kPacketDma);
    EXPECT_EQ(rig.in(kError), kAbrt);
    EXPECT_EQ(rig.dma_status() & 3, 2);
    rig.prd(0x1000, 0x20000, 512, true);
    packet(read10(0, 1), kPacketDma);
    rig.start_dma(0x1000, true);
    EXPECT_EQ(rig.dma_status() & 1, 0);
    EXPECT_EQ(rig.in(kStatus) & (kBsy | kDrq), 0);
}

TEST_P(AtapiTest, DataToTheDriveByDma) {
    make();
    Bytes list(16);
    list[8] = 0x01;
    list[9] = 6;
    list[11] = 5;
    std::memcpy(rig.ram_block.host() + 0x20000, list.data(), list.size());
    rig.prd(0x1000, 0x20000, 16, true);
    packet({scsi::kModeSelect10, 0x10, 0, 0, 0, 0, 0, 0, 16}, kPacketDma);
    EXPECT_FALSE(rig.irq.level(14));
    rig.start_dma(0x1000, false);
    expect_end();
    EXPECT_EQ(rig.dma_status() & 1, 0);
}

TEST_P(AtapiTest, DeviceResetInTheMiddle) {
    make();
    packet(read10(0, 2));
    EXPECT_EQ(rig.alternate() & kDrq, kDrq);
    rig.out(kStatus, kDeviceReset);
    rig.settle();
    EXPECT_EQ(rig.in(kStatus), 0);
    EXPECT_EQ(byte_count(), 0xeb14u);
    EXPECT_FALSE(rig.irq.level(14));
    packet({scsi::kTestUnitReady});
    expect_end();
    rig.out(kStatus, kSleep);
    rig.in(kStatus);
    rig.out(kStatus, kPacket);
    EXPECT_EQ(rig.alternate() & kDrq, 0) << "asleep";
    rig.out(kStatus, kDeviceReset);
    packet({scsi::kTestUnitReady});
    expect_end();
}

TEST_P(AtapiTest, AnEmptyDriveAndItsMedia) {
    make();
    block::BlockBackend& drive = *rig.drives.at("cd");
    const auto node = drive.node();
    EXPECT_TRUE(drive.removable);
    packet({scsi::kPreventAllow, 0, 0, 0, 1});
    expect_end();
    EXPECT_TRUE(drive.tray_locked);
    packet({scsi::kStartStopUnit, 0, 0, 0, 2});
    expect_end(0x50);
    EXPECT_EQ(sense(), scsi::sense::kRemovalPrevented);
    ASSERT_TRUE(drive.on_eject_request);
    drive.on_eject_request();
    packet({scsi::kGetEventStatus, 1, 0, 0, 0x10, 0, 0, 0, 8});
    EXPECT_EQ(reply()[4], 2) << "the first poll finds a medium";
    expect_end();
    packet({scsi::kGetEventStatus, 1, 0, 0, 0x10, 0, 0, 0, 8});
    EXPECT_EQ(reply()[4], 1) << "the host asks for it";
    expect_end();
    packet({scsi::kPreventAllow});
    packet({scsi::kStartStopUnit, 0, 0, 0, 2});
    EXPECT_TRUE(drive.tray_open);
    ASSERT_TRUE(drive.exchange_node(nullptr, false));
    drive.on_medium_change(false);
    packet({scsi::kTestUnitReady});
    expect_end(0x20);
    EXPECT_EQ(sense(), scsi::sense::kNoMediumTrayOpen);
    packet(read10(0, 1));
    expect_end(0x20);
    packet({scsi::kStartStopUnit, 0, 0, 0, 3});
    packet({scsi::kTestUnitReady});
    expect_end(0x20);
    EXPECT_EQ(sense(), scsi::sense::kNoMedium);
    ASSERT_TRUE(drive.set_node(node));
    drive.on_medium_change(true);
    EXPECT_FALSE(drive.tray_open);
    packet({scsi::kTestUnitReady});
    expect_end(0x60);
    EXPECT_EQ(sense(), scsi::sense::kMediumChanged);
    packet({scsi::kGetEventStatus, 1, 0, 0, 0x10, 0, 0, 0, 8});
    EXPECT_EQ(reply()[4], 2) << "new media";
    packet(read10(5, 1));
    EXPECT_EQ(reply(), medium(5, 1));
    expect_end();
    ASSERT_TRUE(drive.exchange_node(nullptr, false));
}

TEST_P(AtapiTest, ReadErrorsByPolicy) {
    test::MemoryBlockNode& node = make();
    bool broken = true;
    node.fault = [&broken](std::size_t, const auto&) { return broken ? EIO : 0; };
    packet(read10(0, 1));
    expect_end(0xb0);
    block::BlockBackend& drive = *rig.drives.at("cd");
    drive.set_error_actions(block::ErrorAction::kStop, block::ErrorAction::kReport);
    packet(read10(3, 100));
    EXPECT_EQ(rig.alternate() & kBsy, kBsy) << "kept until the machine goes on";
    std::vector<std::uint8_t> state;
    const auto writer = core::make_memory_writer(state);
    rig.disks[0]->serialize(*writer);
    ASSERT_TRUE(writer->ok());

    // It goes on here, and where the state is restored.
    test::IdeRig other(GetParam());
    other.add_drive("cd", kBlocks * kBlock).bytes = node.bytes;
    ASSERT_TRUE(other.add_device<IdeCdrom>(0, "cd"));
    const auto reader = core::make_memory_reader(state);
    other.disks[0]->serialize(*reader);
    ASSERT_TRUE(reader->ok()) << reader->status().error().message();
    broken = false;
    for (test::IdeRig* each : {&rig, &other}) {
        each->drives.at("cd")->on_resume();
        each->settle();
        EXPECT_EQ(each->alternate() & (kBsy | kDrq), kDrq);
        EXPECT_EQ(each->in(kCount), kReasonToHost);
    }
    EXPECT_EQ(reply(), medium(3, 100));
    expect_end();
}

TEST_P(AtapiTest, StateInTheMiddleOfATransfer) {
    make();
    packet(read10(10, 90), 0, 4096);
    const Bytes first = rig.read_data(4096);
    std::vector<std::uint8_t> state, controller;
    const auto writer = core::make_memory_writer(state), channel = core::make_memory_writer(controller);
    rig.disks[0]->serialize(*writer);
    rig.controller->serialize(*channel);
    test::IdeRig other(GetParam());
    other.add_drive("cd", kBlocks * kBlock).bytes = rig.nodes.at("cd")->bytes;
    ASSERT_TRUE(other.add_device<IdeCdrom>(0, "cd"));
    other.disks[0]->serialize(*core::make_memory_reader(state));
    other.controller->serialize(*core::make_memory_reader(controller));
    Bytes data = first;
    while (other.alternate() & kDrq) {
        const Bytes more = other.read_data(4096);
        data.insert(data.end(), more.begin(), more.end());
        ASSERT_LE(data.size(), 90 * kBlock + 4096);
    }
    data.resize(90 * kBlock);
    EXPECT_EQ(data, medium(10, 90));
    EXPECT_EQ(other.in(kCount), kDone);
}

TEST(IdeCdromTest, MayBeEmptyAndSaysWhatItRefuses) {
    test::IdeRig rig;
    rig.drives["tray"] = std::make_unique<block::BlockBackend>("tray", rig.context);
    ASSERT_TRUE(rig.add_device<IdeCdrom>(1, "tray"));
    EXPECT_EQ(rig.disks[0]->boot_entries()[0].path, "/pci@i0cf8/ide@1,1/drive@1/disk@0");
    rig.drives["two"] = std::make_unique<block::BlockBackend>("two", rig.context);
    const auto refused = rig.add_device<IdeCdrom>(1, "two", {{"logical_block_size", "4096"}});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message().find("2048"), std::string::npos);
    rig.disks.pop_back();
}

}  // namespace
}  // namespace rhea::hw
