// Commands of SCSI disks and CD-ROM drives, one by one, as an initiator sends them.
#include <gtest/gtest.h>

#include "hw/scsi/scsi_cdrom.h"
#include "hw/scsi/scsi_disk.h"
#include "tests/support/virtio_bench.h"

namespace rhea::hw::scsi {
namespace {

using Kind = block::testing::MemoryBlockNode::Kind;
using Bytes = std::vector<std::uint8_t>;

template <typename Unit>
class UnitTest : public ::testing::Test {
  protected:
    static constexpr std::uint64_t kSize = 1 << 20;

    void make(UnitConfig config = {}) {
        config.backend = &drive.backend;
        config.product = "QEMU HARDDISK";
        unit = std::make_unique<Unit>(std::move(config));
        ScsiResult first = run({kTestUnitReady});
        EXPECT_EQ(first.sense, sense::kPowerOn) << "told once";
    }
    ScsiResult run(const Bytes& cdb, std::size_t in_size = 0, const Bytes& out = {}) {
        ScsiCommand command;
        std::ranges::copy(cdb, command.cdb.begin());
        in.assign(in_size, 0xee);
        Bytes sent = out;
        if (!in.empty())
            command.in.append(in.data(), in.size());
        if (!sent.empty())
            command.out.append(sent.data(), sent.size());
        return drive.thread.context().run_from_other_thread(unit->execute(command));
    }
    std::uint32_t be(std::size_t at, unsigned count) { return load_be(std::span(in).subspan(at, count)); }
    static Bytes with_range(std::uint8_t opcode, std::uint32_t lba, std::uint16_t count, std::uint8_t bits = 0) {
        Bytes cdb(10);
        cdb[0] = opcode;
        cdb[1] = bits;
        store_be(&cdb[2], lba, 4);
        store_be(&cdb[7], count, 2);
        return cdb;
    }

    test::MemoryDrive drive{"scsi0", kSize};
    std::unique_ptr<Unit> unit;
    Bytes in;
};

using DiskTest = UnitTest<ScsiDisk>;
using CdromTest = UnitTest<ScsiCdrom>;

TEST_F(DiskTest, Inquiry) {
    make({.removable = true});
    EXPECT_EQ(run({kInquiry, 0, 0, 0, 96, 0}, 96).transferred, 36u);
    EXPECT_EQ(in[0], 0);
    EXPECT_EQ(in[1], 0x80);
    EXPECT_EQ(std::string(in.begin() + 8, in.begin() + 36), "QEMU    QEMU HARDDISK   2.5+");
    EXPECT_EQ(in[36], 0xee);
    EXPECT_EQ(run({kInquiry, 0, 0, 0, 5, 0}, 96).transferred, 5u) << "as long as asked for";
    EXPECT_EQ(run({kInquiry, 0, 1, 0, 96, 0}, 96).sense, sense::kInvalidField);
}

TEST_F(DiskTest, VitalProductData) {
    make({.serial = "abc", .device_id = "disk-one", .wwn = 0x5000c50015ea71ac, .discard_granularity = 4096, .opt_io_size = 65536, .rotation_rate = 1});
    run({kInquiry, 1, 0, 0, 96, 0}, 96);
    EXPECT_EQ(Bytes(in.begin(), in.begin() + 10), (Bytes{0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2}));
    run({kInquiry, 1, 0x80, 0, 96, 0}, 96);
    EXPECT_EQ(Bytes(in.begin(), in.begin() + 7), (Bytes{0, 0x80, 0, 3, 'a', 'b', 'c'}));
    run({kInquiry, 1, 0x83, 0, 96, 0}, 96);
    EXPECT_EQ(be(2, 2), 24u);
    EXPECT_EQ(std::string(in.begin() + 8, in.begin() + 16), "disk-one");
    EXPECT_EQ(load_be64(std::span(in).subspan(20, 8)), 0x5000c50015ea71acu);
    run({kInquiry, 1, 0xb0, 0, 96, 0}, 96);
    EXPECT_EQ(be(12, 4), 128u) << "optimal transfer length in blocks";
    EXPECT_EQ(be(28, 4), 8u) << "unmap granularity";
    run({kInquiry, 1, 0xb1, 0, 96, 0}, 96);
    EXPECT_EQ(be(4, 2), 1u);
    run({kInquiry, 1, 0xb2, 0, 96, 0}, 96);
    EXPECT_EQ(in[5], 0xe0);
    EXPECT_EQ(run({kInquiry, 1, 0x90, 0, 96, 0}, 96).sense, sense::kInvalidField);
    make();
    EXPECT_EQ(run({kInquiry, 1, 0x80, 0, 96, 0}, 96).sense, sense::kInvalidField) << "no serial number";
}

TEST_F(DiskTest, Capacity) {
    make({.block_size = 512, .physical_block_size = 4096, .discard_granularity = 4096});
    EXPECT_EQ(run({kReadCapacity10, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 8).transferred, 8u);
    EXPECT_EQ(be(0, 4), kSize / 512 - 1);
    EXPECT_EQ(be(4, 4), 512u);
    EXPECT_EQ(run({kServiceActionIn16, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, 32).transferred, 32u);
    EXPECT_EQ(be(4, 4), kSize / 512 - 1);
    EXPECT_EQ(in[13], 3);
    EXPECT_EQ(in[14], 0x80);
    EXPECT_EQ(run({kServiceActionIn16, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, 32).sense, sense::kInvalidField);
}

TEST_F(DiskTest, ReadsAndWritesOfAllLengths) {
    make();
    const Bytes data(1024, 0x42);
    EXPECT_EQ(run(with_range(kWrite10, 4, 2), 0, data).transferred, 1024u);
    EXPECT_EQ(drive.node->bytes[4 * 512], 0x42);
    EXPECT_EQ(drive.node->bytes[6 * 512], 0);
    EXPECT_EQ(run({kRead6, 0, 0, 5, 1, 0}, 512).transferred, 512u);
    EXPECT_EQ(in[511], 0x42);
    EXPECT_EQ(run({kRead16, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0}, 1024).transferred, 1024u);
    EXPECT_EQ(in[511], 0);
    EXPECT_EQ(in[512], 0x42);
    EXPECT_EQ(run({kWrite12, 8, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0}, 0, Bytes(512, 9)).status, kGood);
    EXPECT_EQ(drive.node->log.back().flags & block::kFua, unsigned{block::kFua});
    EXPECT_EQ(run(with_range(kRead10, kSize / 512, 1), 512).sense, sense::kLbaOutOfRange);
    EXPECT_EQ(run(with_range(kRead10, 0xffffffff, 0xffff), 512).sense, sense::kLbaOutOfRange);
    EXPECT_EQ(run(with_range(kRead10, 0, 2), 512).sense, sense::kInvalidField) << "no room";
    EXPECT_EQ(run(with_range(kWrite10, 0, 2), 0, Bytes(512)).sense, sense::kInvalidField);
    EXPECT_EQ(run(with_range(kRead10, 0, 0)).status, kGood) << "nothing";
    EXPECT_EQ(run({0xff}).sense, sense::kInvalidOpcode);
}

TEST_F(DiskTest, BlocksOf4096) {
    make({.block_size = 4096, .physical_block_size = 4096});
    EXPECT_EQ(run(with_range(kWrite10, 1, 1), 0, Bytes(4096, 7)).status, kGood);
    EXPECT_EQ(drive.node->bytes[4095], 0);
    EXPECT_EQ(drive.node->bytes[4096], 7);
    EXPECT_EQ(run(with_range(kRead10, kSize / 4096, 1), 4096).sense, sense::kLbaOutOfRange);
}

TEST_F(DiskTest, VerifyComparesWhenAsked) {
    make();
    EXPECT_EQ(run(with_range(kVerify10, 0, 8)).status, kGood);
    EXPECT_EQ(run(with_range(kVerify10, 0, 1, 2), 0, Bytes(512)).status, kGood);
    EXPECT_EQ(run(with_range(kVerify10, 0, 1, 2), 0, Bytes(512, 1)).sense, sense::kMiscompare);
    EXPECT_EQ(run(with_range(kVerify10, kSize / 512, 1)).sense, sense::kLbaOutOfRange);
}

TEST_F(DiskTest, WriteSameAndUnmap) {
    drive.node->bytes.assign(kSize, 0xff);
    make({.discard_granularity = 4096});
    EXPECT_EQ(run(with_range(kWriteSame10, 8, 8, 8), 0, Bytes(512)).status, kGood);
    EXPECT_EQ(drive.node->bytes[8 * 512], 0);
    EXPECT_EQ(drive.node->bytes[16 * 512], 0xff);
    EXPECT_EQ(drive.node->log.back().kind, Kind::kWriteZeroes);
    Bytes pattern(512);
    pattern[3] = 5;
    EXPECT_EQ(run(with_range(kWriteSame10, 100, 3), 0, pattern).status, kGood);
    EXPECT_EQ(drive.node->bytes[102 * 512 + 3], 5);
    EXPECT_EQ(drive.node->bytes[103 * 512 + 3], 0xff);
    EXPECT_EQ(run({kWriteSame16, 1, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 1, 0, 0}).status, kGood) << "no data";
    EXPECT_EQ(run(with_range(kWriteSame10, 0, 0), 0, Bytes(512)).sense, sense::kInvalidField);
    Bytes list(8 + 32);
    store_be(&list[0], 38, 2);
    store_be(&list[2], 32, 2);
    store_be(&list[8], 500, 8);
    store_be(&list[16], 4, 4);
    store_be(&list[24], 600, 8);
    store_be(&list[32], 8, 4);
    const Bytes cdb{kUnmap, 0, 0, 0, 0, 0, 0, 0, 40, 0};
    EXPECT_EQ(run(cdb, 0, list).status, kGood);
    EXPECT_EQ(drive.node->count(Kind::kDiscard), 2u);
    EXPECT_EQ(drive.node->log.back().offset, 600u * 512);
    store_be(&list[24], kSize / 512, 8);
    EXPECT_EQ(run(cdb, 0, list).sense, sense::kLbaOutOfRange);
    EXPECT_EQ(drive.node->count(Kind::kDiscard), 2u) << "all or nothing";
    store_be(&list[2], 48, 2);
    EXPECT_EQ(run(cdb, 0, list).sense, sense::kParameterListLength);
}

TEST_F(DiskTest, ModePages) {
    make();
    EXPECT_EQ(run({kModeSense6, 0, 8, 0, 255, 0}, 255).transferred, 4u + 8 + 20);
    EXPECT_EQ(in[0], 31);
    EXPECT_EQ(in[12 + 2], 4) << "the write cache is on";
    EXPECT_EQ(run({kModeSense10, 8, 0x3f, 0, 0, 0, 0, 0, 255, 0}, 255).transferred, 8u + 12 + 24 + 20);
    EXPECT_EQ(run({kModeSense6, 0, 0xc8, 0, 255, 0}, 255).sense, sense::kSavingNotSupported);
    EXPECT_EQ(run({kModeSense6, 0, 0x12, 0, 255, 0}, 255).sense, sense::kInvalidField);
    run({kModeSense6, 8, 8, 0, 255, 0}, 255);
    Bytes list(in.begin(), in.begin() + 24);
    list[0] = 0;
    list[4 + 2] = 0;
    EXPECT_EQ(run({kModeSelect6, 0x10, 0, 0, 24, 0}, 0, list).status, kGood);
    EXPECT_FALSE(drive.backend.write_cache());
    EXPECT_EQ(drive.node->count(Kind::kFlush), 1u);
    list[4 + 5] = 1;
    EXPECT_EQ(run({kModeSelect6, 0x10, 0, 0, 24, 0}, 0, list).sense, sense::kInvalidParameter) << "not changeable";
    EXPECT_EQ(run({kModeSelect6, 0x10, 0, 0, 24, 0}, 0, Bytes(8)).sense, sense::kParameterListLength);
    EXPECT_EQ(run({kModeSelect6, 0x11, 0, 0, 24, 0}, 0, list).sense, sense::kInvalidField);
}

TEST_F(DiskTest, SenseIsKeptUntilItIsRead) {
    make();
    run({0xff});
    EXPECT_EQ(run({kRequestSense, 0, 0, 0, 252, 0}, 252).transferred, 18u);
    EXPECT_EQ(in[0], 0x70);
    EXPECT_EQ(in[2], 5);
    EXPECT_EQ(in[12], 0x20);
    run({kRequestSense, 0, 0, 0, 252, 0}, 252);
    EXPECT_EQ(in[2], 0);
}

TEST_F(DiskTest, ErrorsByPolicy) {
    make();
    drive.backend.set_error_actions(block::ErrorAction::kReport, block::ErrorAction::kEnospc);
    drive.node->fail_request(0, EIO);
    EXPECT_EQ(run(with_range(kRead10, 0, 1), 512).sense, sense::kIoError);
    drive.node->fail_request(0, ENOSPC);
    EXPECT_TRUE(run(with_range(kWrite10, 0, 1), 0, Bytes(512)).keep);
    drive.backend.set_error_actions(block::ErrorAction::kIgnore, block::ErrorAction::kReport);
    drive.node->fail_request(0, EIO);
    const ScsiResult ignored = run(with_range(kRead10, 0, 1), 512);
    EXPECT_EQ(ignored.status, kGood);
    EXPECT_EQ(ignored.transferred, 512u) << "an initiator asks for the rest of a read again and again";
    drive.node->fail_request(0, ENOSPC);
    EXPECT_EQ(run(with_range(kWrite10, 0, 1), 0, Bytes(512)).sense, sense::kSpaceFailed);
    drive.node->set_read_only(true);
    EXPECT_EQ(run(with_range(kWrite10, 0, 1), 0, Bytes(512)).sense, sense::kWriteProtected);
}

TEST_F(DiskTest, IgnoredWritesHaveMovedAll) {
    make();
    drive.backend.set_error_actions(block::ErrorAction::kReport, block::ErrorAction::kIgnore);
    drive.node->fail_request(0, EIO);
    EXPECT_EQ(run(with_range(kWrite10, 0, 2), 0, Bytes(1024, 1)).transferred, 1024u);
    drive.node->fail_request(0, EIO);
    EXPECT_EQ(run(with_range(kWriteSame10, 0, 4), 0, Bytes(512)).transferred, 512u);
    // What is written in pieces goes on behind the one that failed.
    drive.node->fail_request(0, EIO);
    EXPECT_EQ(run(with_range(kWriteSame10, 0, kSize / 512), 0, Bytes(512, 7)).transferred, 512u);
    EXPECT_EQ(run(with_range(kRead10, kSize / 512 - 1, 1), 512).status, kGood);
    EXPECT_EQ(in, Bytes(512, 7));
}

TEST_F(DiskTest, ReportLuns) {
    make({.luns = [] { return std::vector<std::uint16_t>{0, 3}; }});
    EXPECT_EQ(run({kReportLuns, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0}, 64).transferred, 24u);
    EXPECT_EQ(be(0, 4), 16u);
    EXPECT_EQ(be(16, 2), 3u);
    EXPECT_EQ(run({kReportLuns, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}, 64).sense, sense::kInvalidField);
}

TEST_F(DiskTest, LbaStatus) {
    make();
    const Bytes cdb{kServiceActionIn16, 0x12, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 24, 0, 0};
    EXPECT_EQ(run(cdb, 24).transferred, 24u);
    EXPECT_EQ(be(12, 4), 16u);
    EXPECT_EQ(be(16, 4), kSize / 512 - 16);
    EXPECT_EQ(in[20], 0);
}

TEST_F(CdromTest, AnEmptyDrive) {
    ASSERT_TRUE(drive.backend.set_node(nullptr));
    make();
    EXPECT_EQ(run({kTestUnitReady}).sense, sense::kNoMedium);
    EXPECT_EQ(run(with_range(kRead10, 0, 1), 2048).sense, sense::kNoMedium);
    EXPECT_EQ(run({kGetConfiguration, 0, 0, 0, 0, 0, 0, 0, 255, 0}, 255).status, kGood);
    EXPECT_EQ(be(6, 2), 0u) << "no profile";
    ASSERT_TRUE(drive.backend.set_node(drive.node));
    unit->medium_changed(true);
    EXPECT_EQ(run({kTestUnitReady}).sense, sense::kMediumChanged);
    EXPECT_EQ(run({kTestUnitReady}).status, kGood);
    run({kGetEventStatus, 1, 0, 0, 0x10, 0, 0, 0, 8, 0}, 8);
    EXPECT_EQ(in[4], 2) << "new media";
    run({kGetEventStatus, 1, 0, 0, 0x10, 0, 0, 0, 8, 0}, 8);
    EXPECT_EQ(in[4], 0);
    EXPECT_EQ(in[5], 2) << "still there";
    EXPECT_EQ(run({kGetEventStatus, 0, 0, 0, 0x10, 0, 0, 0, 8, 0}, 8).sense, sense::kInvalidField);
}

TEST_F(CdromTest, ReadsBlocksOf2048) {
    make();
    drive.node->bytes[2048 * 3] = 0x55;
    EXPECT_EQ(run(with_range(kRead10, 3, 1), 2048).transferred, 2048u);
    EXPECT_EQ(in[0], 0x55);
    run({kReadCapacity10}, 8);
    EXPECT_EQ(be(0, 4), kSize / 2048 - 1);
    EXPECT_EQ(be(4, 4), 2048u);
    EXPECT_EQ(run({kReadCd, 0, 0, 0, 0, 3, 0, 0, 1, 0x10, 0, 0}, 2048).transferred, 2048u);
    EXPECT_EQ(in[0], 0x55);
    EXPECT_EQ(run({kReadCd, 0, 0, 0, 0, 3, 0, 0, 1, 0xf8, 0, 0}, 2352).sense, sense::kIllegalMode);
    EXPECT_EQ(run(with_range(kWrite10, 0, 1), 0, Bytes(2048)).sense, sense::kInvalidOpcode);
}

TEST_F(CdromTest, TableOfContents) {
    make();
    EXPECT_EQ(run({kReadToc, 0, 0, 0, 0, 0, 0, 0, 255, 0}, 255).transferred, 20u);
    EXPECT_EQ(be(0, 2), 18u);
    EXPECT_EQ(in[6], 1);
    EXPECT_EQ(in[14], 0xaa);
    EXPECT_EQ(be(16, 4), kSize / 2048);
    run({kReadToc, 2, 0, 0, 0, 0, 0, 0, 255, 0}, 255);
    EXPECT_EQ(be(8, 4), 0x00000200u) << "two seconds of lead-in";
    EXPECT_EQ(run({kReadToc, 0, 1, 0, 0, 0, 0, 0, 255, 0}, 255).transferred, 12u);
    EXPECT_EQ(run({kReadToc, 0, 0, 0, 0, 0, 7, 0, 255, 0}, 255).sense, sense::kInvalidField);
}

TEST_F(CdromTest, TheTray) {
    make();
    run({kPreventAllow, 0, 0, 0, 1, 0});
    EXPECT_EQ(run({kStartStopUnit, 0, 0, 0, 2, 0}).sense, sense::kRemovalPrevented);
    run({kPreventAllow, 0, 0, 0, 0, 0});
    EXPECT_EQ(run({kStartStopUnit, 0, 0, 0, 2, 0}).status, kGood);
    EXPECT_EQ(run({kTestUnitReady}).sense, sense::kNoMediumTrayOpen);
    run({kMechanismStatus, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}, 8);
    EXPECT_EQ(in[1], 0x10);
    EXPECT_EQ(run({kStartStopUnit, 0, 0, 0, 3, 0}).status, kGood);
    EXPECT_EQ(run({kTestUnitReady}).status, kGood);
}

TEST_F(CdromTest, WhatTheDriveIs) {
    make({.serial = "cd1"});
    run({kInquiry, 0, 0, 0, 96, 0}, 96);
    EXPECT_EQ(in[0], 5);
    EXPECT_EQ(in[1], 0x80);
    run({kModeSense10, 0, 0x2a, 0, 0, 0, 0, 0, 255, 0}, 255);
    EXPECT_EQ(in[8], 0x2a);
    EXPECT_EQ(in[8 + 2], 0x3b);
    run({kGetConfiguration, 2, 0, 1, 0, 0, 0, 0, 255, 0}, 255);
    EXPECT_EQ(be(6, 2), 8u) << "a CD-ROM";
    EXPECT_EQ(be(0, 4), 16u) << "one feature";
    EXPECT_EQ(run({kReadDvdStructure, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0}, 255).sense, sense::kIncompatibleMedium);
    EXPECT_EQ(run({kReadDiscInfo, 0, 0, 0, 0, 0, 0, 0, 34, 0}, 34).transferred, 34u);
}

}  // namespace
}  // namespace rhea::hw::scsi
