#include "tests/unit/hw/nvme/nvme_rig.h"

namespace rhea::hw::nvme {
namespace {

using test::NvmeRig;
using Kind = test::MemoryBlockNode::Kind;

constexpr std::uint16_t kDnr = kDoNotRetry;

class NvmeTest : public ::testing::TestWithParam<bool> {
  protected:
    NvmeTest() : rig(GetParam()) {
        rig.node->bytes = NvmeRig::pattern(rig.node->bytes.size(), 1);
        rig.enable();
    }
    void with_io() { rig.make_io_queues(); }
    bool guest_has(std::uint32_t at, std::uint64_t offset, std::size_t bytes) {
        return std::memcmp(rig.ram.host() + at, &rig.node->bytes[offset], bytes) == 0;
    }
    NvmeRig rig;
};
INSTANTIATE_TEST_SUITE_P(AtOnceAndLater, NvmeTest, ::testing::Bool());

TEST_P(NvmeTest, PciFunctionAndRegisters) {
    const PciConfigSpace& config = rig.nvme->config();
    EXPECT_EQ(config.get32(0), 0x00101b36u);
    EXPECT_EQ(config.get32(8) >> 8, 0x010802u);
    EXPECT_EQ(rig.reg(0, 8) & 0xffff, 2047u);
    EXPECT_EQ(rig.reg(0) >> 16 & 1, 1u) << "contiguous queues";
    EXPECT_EQ(rig.reg(4) >> 5 & 1, 1u) << "NVM command set";
    EXPECT_EQ(rig.reg(8), 0x00010400u);
    EXPECT_EQ(rig.csts(), 1u);
    rig.set_reg(0x28, 0x7000, 8);
    EXPECT_EQ(rig.reg(0x28, 8), NvmeRig::kAdminSq) << "fixed while enabled";
    const std::uint32_t cc = rig.reg(0x14);
    rig.set_reg(0x14, cc | 0x3ff0);
    EXPECT_EQ(rig.reg(0x14), cc) << "CSS, MPS and AMS too";
    rig.set_reg(0x14, 0);
    rig.settle();
    EXPECT_EQ(rig.csts(), 0u);
}

TEST_P(NvmeTest, QueuesThatMakeNoSenseAreFatal) {
    const auto enable_with = [&](std::uint32_t sizes, std::uint64_t sq, std::uint64_t cq, std::uint32_t cc) {
        rig.set_reg(0x14, 0);
        rig.settle();
        rig.set_reg(0x24, sizes);
        rig.set_reg(0x28, sq, 8);
        rig.set_reg(0x30, cq, 8);
        rig.set_reg(0x14, cc | 1);
        return rig.csts();
    };
    EXPECT_EQ(enable_with(0, 0x1000, 0x2000, 0), kCstsFatal);
    EXPECT_EQ(enable_with(0x000f000f, 0, 0x2000, 0), kCstsFatal);
    EXPECT_EQ(enable_with(0x000f000f, 0x1000, 0x2000, 1 << 7), kCstsFatal) << "not aligned to 8 KiB";
    EXPECT_EQ(enable_with(0x000f000f, 0x1000, 0x2000, 5 << 7), kCstsFatal) << "pages too large";
    EXPECT_EQ(enable_with(0x000f000f, 0x1000, 0x2000, 0), kCstsReady);
}

TEST_P(NvmeTest, Identify) {
    EXPECT_EQ(rig.admin(NvmeRig::command(6, 0, NvmeRig::kData, 0, {1})).status, 0);
    const std::uint8_t* data = rig.ram.host() + NvmeRig::kData;
    EXPECT_EQ(data[0] | data[1] << 8, 0x1b36);
    EXPECT_EQ(std::memcmp(data + 4, "nv1                 ", 20), 0);
    EXPECT_EQ(std::memcmp(data + 24, "QEMU NVMe Ctrl  ", 16), 0);
    EXPECT_EQ(data[77], 7);
    EXPECT_EQ(data[512], 0x66);
    EXPECT_EQ(data[513], 0x44);
    EXPECT_EQ(data[516], 1);
    EXPECT_EQ(data[525] & 1, 1);
    EXPECT_EQ(rig.admin(NvmeRig::command(6, 1, NvmeRig::kData, 0, {0})).status, 0);
    std::uint64_t blocks;
    std::memcpy(&blocks, data, 8);
    EXPECT_EQ(blocks, 2048u);
    EXPECT_EQ(data[130], 9);
    EXPECT_EQ(rig.admin(NvmeRig::command(6, 0, NvmeRig::kData, 0, {2})).status, 0);
    EXPECT_EQ(data[0], 1);
    EXPECT_EQ(rig.admin(NvmeRig::command(6, 1, NvmeRig::kData, 0, {2})).status, 0);
    EXPECT_EQ(data[0], 0) << "none above 1";
    EXPECT_EQ(rig.admin(NvmeRig::command(6, 1, NvmeRig::kData, 0, {3})).status, 0);
    EXPECT_EQ(data[0], 3);
    EXPECT_EQ(data[1], 16);
    EXPECT_EQ(rig.admin(NvmeRig::command(6, 2, NvmeRig::kData, 0, {0})).status, kInvalidNamespace | kDnr);
    EXPECT_EQ(rig.admin(NvmeRig::command(6, 1, NvmeRig::kData, 0, {0x77})).status, kInvalidField | kDnr);
    EXPECT_EQ(rig.admin(NvmeRig::command(0x80, 1, 0, 0)).status, kInvalidOpcode | kDnr) << "Format NVM";
}

TEST_P(NvmeTest, Features) {
    const auto get = [&](std::uint32_t id, std::uint32_t select = 0) {
        return rig.admin(NvmeRig::command(0xa, 0, NvmeRig::kData, 0, {id | select << 8}));
    };
    const auto set = [&](std::uint32_t id, std::uint32_t value) { return rig.admin(NvmeRig::command(9, 0, NvmeRig::kData, 0, {id, value})); };
    EXPECT_EQ(set(7, 0x00030003).result, 63u << 16 | 63);
    EXPECT_EQ(set(7, 0xffff).status, kInvalidField | kDnr);
    EXPECT_EQ(get(4).result, 343u);
    EXPECT_EQ(set(4, 350).status, 0);
    EXPECT_EQ(get(4).result, 350u);
    EXPECT_EQ(get(4, 1).result, 343u) << "the default";
    EXPECT_EQ(get(4, 3).result, 4u) << "changeable";
    EXPECT_EQ(get(6).result, 1u);
    EXPECT_EQ(set(6, 0).status, 0);
    EXPECT_EQ(rig.node->count(Kind::kFlush), 1u);
    EXPECT_EQ(get(6).result, 0u);
    EXPECT_FALSE(rig.drive.write_cache());
    EXPECT_EQ(set(0x55, 0).status, kInvalidField | kDnr);
    EXPECT_EQ(rig.admin(NvmeRig::command(9, 0, 0, 0, {4 | 1u << 31, 1})).status, kFeatureNotSaveable | kDnr);
    rig.memory.store(NvmeRig::kData, 1'000'000, 8);
    EXPECT_EQ(set(0xe, 0).status, 0);
    rig.clocks.advance(5'000'000);
    EXPECT_EQ(get(0xe).status, 0);
    EXPECT_EQ(rig.memory.load(NvmeRig::kData, 4), 1'000'005u);
    with_io();
    EXPECT_EQ(set(7, 0).status, kSequenceError | kDnr);
}

TEST_P(NvmeTest, QueueCommandsAreChecked) {
    const auto cq = [&](std::uint32_t dw10, std::uint32_t dw11, std::uint64_t base = NvmeRig::kIoCq) {
        return rig.admin(NvmeRig::command(5, 0, base, 0, {dw10, dw11})).status;
    };
    const auto sq = [&](std::uint32_t dw10, std::uint32_t dw11, std::uint64_t base = NvmeRig::kIoSq) {
        return rig.admin(NvmeRig::command(1, 0, base, 0, {dw10, dw11})).status;
    };
    EXPECT_EQ(cq(7 << 16 | 0, 1), kInvalidQueueId | kDnr);
    EXPECT_EQ(cq(7 << 16 | 65, 1), kInvalidQueueId | kDnr);
    EXPECT_EQ(cq(0 << 16 | 1, 1), kInvalidQueueSize | kDnr);
    EXPECT_EQ(cq(2048u << 16 | 1, 1), kInvalidQueueSize | kDnr);
    EXPECT_EQ(cq(7 << 16 | 1, 0), kInvalidField | kDnr) << "not contiguous";
    EXPECT_EQ(cq(7 << 16 | 1, 1, 0x4010), kInvalidPrpOffset | kDnr);
    EXPECT_EQ(cq(7 << 16 | 1, 65u << 16 | 3), kInvalidInterruptVector | kDnr);
    EXPECT_EQ(sq(7 << 16 | 1, 1u << 16 | 1), kCompletionQueueInvalid | kDnr);
    EXPECT_EQ(cq(7 << 16 | 1, 3), 0);
    EXPECT_EQ(cq(7 << 16 | 1, 3), kInvalidQueueId | kDnr) << "twice";
    EXPECT_EQ(sq(7 << 16 | 1, 0u << 16 | 1), kCompletionQueueInvalid | kDnr);
    EXPECT_EQ(sq(7 << 16 | 1, 1u << 16 | 1), 0);
    EXPECT_EQ(rig.admin(NvmeRig::command(4, 0, 0, 0, {1})).status, kInvalidQueueDeletion | kDnr);
    EXPECT_EQ(rig.admin(NvmeRig::command(0, 0, 0, 0, {1})).status, 0);
    EXPECT_EQ(rig.admin(NvmeRig::command(0, 0, 0, 0, {1})).status, kInvalidQueueId | kDnr);
    EXPECT_EQ(rig.admin(NvmeRig::command(4, 0, 0, 0, {1})).status, 0);
    EXPECT_EQ(rig.admin(NvmeRig::command(4, 0, 0, 0, {0})).status, kInvalidQueueId | kDnr);
}

TEST_P(NvmeTest, ReadAndWriteByOnePage) {
    with_io();
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 100, 8)).status, 0);
    EXPECT_TRUE(guest_has(NvmeRig::kData, 100 * 512, 4096));
    const auto data = NvmeRig::pattern(1024, 55);
    std::memcpy(rig.ram.host() + NvmeRig::kData + 16, data.data(), data.size());
    EXPECT_EQ(rig.io(NvmeRig::transfer(1, 7, 2, NvmeRig::kData + 16)).status, 0);
    EXPECT_TRUE(guest_has(NvmeRig::kData + 16, 7 * 512, 1024));
    EXPECT_EQ(rig.node->log.back().flags & block::kFua, 0u);
    EXPECT_EQ(rig.io(NvmeRig::transfer(1, 7, 2, NvmeRig::kData, 0, 1u << 30)).status, 0);
    EXPECT_EQ(rig.node->log.back().flags & block::kFua, unsigned{block::kFua});
}

TEST_P(NvmeTest, PrpListsOfAnyShape) {
    with_io();
    // Two pages, by PRP2 itself, from the middle of the first.
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 8, NvmeRig::kData + 0x800, 0x20000)).status, 0);
    EXPECT_TRUE(guest_has(NvmeRig::kData + 0x800, 0, 2048));
    EXPECT_TRUE(guest_has(0x20000, 2048, 2048));
    // A list of pages in reverse order.
    for (unsigned i = 0; i < 7; ++i) {
        rig.memory.store(NvmeRig::kList + 8 * i, 0x40000 - 0x1000 * i, 8);
    }
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 8, 64, NvmeRig::kData, NvmeRig::kList)).status, 0);
    EXPECT_TRUE(guest_has(NvmeRig::kData, 8 * 512, 4096));
    for (unsigned i = 0; i < 7; ++i) {
        EXPECT_TRUE(guest_has(0x40000 - 0x1000 * i, 8 * 512 + 4096 * (i + 1), 4096)) << i;
    }
    // A list that starts two entries before the end of its page, and goes on in another.
    rig.memory.store(NvmeRig::kList + 0xff0, 0x50000, 8);
    rig.memory.store(NvmeRig::kList + 0xff8, 0x9000, 8);
    rig.memory.store(0x9000, 0x52000, 8);
    rig.memory.store(0x9008, 0x51000, 8);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 200, 32, NvmeRig::kData, NvmeRig::kList + 0xff0)).status, 0);
    EXPECT_TRUE(guest_has(0x50000, 200 * 512 + 4096, 4096));
    EXPECT_TRUE(guest_has(0x52000, 200 * 512 + 8192, 4096));
    EXPECT_TRUE(guest_has(0x51000, 200 * 512 + 12288, 4096));
}

TEST_P(NvmeTest, BadPrps) {
    with_io();
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 1, NvmeRig::kData + 2)).status, kInvalidPrpOffset | kDnr);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 16, NvmeRig::kData, 0x20010)).status, kInvalidPrpOffset | kDnr);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 64, NvmeRig::kData, NvmeRig::kList + 4)).status, kInvalidPrpOffset | kDnr);
    rig.memory.store(NvmeRig::kList, 0x20008, 8);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 64, NvmeRig::kData, NvmeRig::kList)).status, kInvalidPrpOffset | kDnr);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 1, 0xf0000000)).status, kDataTransferError) << "no memory";
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 1, NvmeRig::kBar)).status, kDataTransferError) << "its own registers";
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 8, 0x7ff800, 0xf0000000)).status, kDataTransferError);
    rig.memory.store(NvmeRig::kList + 0xff8, NvmeRig::kList + 0xff8, 8);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 64, NvmeRig::kData, NvmeRig::kList + 0xff8)).status, kInvalidField | kDnr)
        << "a list that leads to itself";
    auto sgl = NvmeRig::transfer(2, 0, 1);
    sgl[1] = 0x40;
    EXPECT_EQ(rig.io(sgl).status, kInvalidField | kDnr);
    EXPECT_EQ(rig.node->log.size(), 0u);
}

TEST_P(NvmeTest, CommandsAreChecked) {
    with_io();
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 2048, 1)).status, kLbaOutOfRange | kDnr);
    EXPECT_EQ(rig.io(NvmeRig::transfer(1, 2047, 2)).status, kLbaOutOfRange | kDnr);
    EXPECT_EQ(rig.io(NvmeRig::transfer(8, ~0ull, 1)).status, kLbaOutOfRange | kDnr);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 1025)).status, kInvalidField | kDnr) << "more than MDTS";
    EXPECT_EQ(rig.io(NvmeRig::command(2, 2, NvmeRig::kData, 0, {0, 0, 0})).status, kInvalidNamespace | kDnr);
    EXPECT_EQ(rig.io(NvmeRig::command(0x7f, 1, NvmeRig::kData, 0)).status, kInvalidOpcode | kDnr);
    auto fused = NvmeRig::transfer(2, 0, 1);
    fused[1] = 1;
    EXPECT_EQ(rig.io(fused).status, kInvalidField | kDnr);
    EXPECT_TRUE(rig.node->log.empty());
}

TEST_P(NvmeTest, FlushZeroesDeallocateCompare) {
    with_io();
    EXPECT_EQ(rig.io(NvmeRig::command(0, kAllNamespaces, 0, 0)).status, 0);
    EXPECT_EQ(rig.node->count(Kind::kFlush), 1u);
    EXPECT_EQ(rig.io(NvmeRig::transfer(8, 10, 20, 0, 0, 1u << 25)).status, 0);
    EXPECT_EQ(rig.node->log.back().kind, Kind::kWriteZeroes);
    EXPECT_EQ(rig.node->log.back().flags & block::kMayUnmap, unsigned{block::kMayUnmap});
    EXPECT_EQ(rig.node->bytes[10 * 512], 0);
    EXPECT_EQ(rig.node->bytes[30 * 512 - 1], 0);

    const auto range = [&](unsigned at, std::uint32_t blocks, std::uint64_t lba) {
        rig.memory.store(NvmeRig::kData + 16 * at + 4, blocks, 4);
        rig.memory.store(NvmeRig::kData + 16 * at + 8, lba, 8);
    };
    range(0, 8, 64);
    range(1, 16, 128);
    EXPECT_EQ(rig.io(NvmeRig::command(9, 1, NvmeRig::kData, 0, {1, 4})).status, 0);
    EXPECT_EQ(rig.node->count(Kind::kDiscard), 2u);
    EXPECT_EQ(rig.node->log.back().offset, 128u * 512);
    EXPECT_EQ(rig.node->log.back().length, 16u * 512);
    EXPECT_EQ(rig.io(NvmeRig::command(9, 1, NvmeRig::kData, 0, {1, 1})).status, 0) << "a hint about access";
    EXPECT_EQ(rig.node->count(Kind::kDiscard), 2u);
    range(1, 2, 2047);
    EXPECT_EQ(rig.io(NvmeRig::command(9, 1, NvmeRig::kData, 0, {1, 4})).status, kLbaOutOfRange | kDnr);

    std::memcpy(rig.ram.host() + NvmeRig::kData, &rig.node->bytes[300 * 512], 512);
    EXPECT_EQ(rig.io(NvmeRig::transfer(5, 300, 1)).status, 0);
    rig.ram.host()[NvmeRig::kData + 511] ^= 1;
    EXPECT_EQ(rig.io(NvmeRig::transfer(5, 300, 1)).status, kCompareFailure | kDnr);
}

TEST_P(NvmeTest, ManyCommandsGoRoundTheRings) {
    with_io();
    for (unsigned i = 0; i < 40; ++i) {
        const auto answer = rig.io(NvmeRig::transfer(2, i, 1, NvmeRig::kData + 512 * (i % 8)));
        ASSERT_EQ(answer.status, 0) << i;
        ASSERT_EQ(answer.sq_head, (i + 1) % NvmeRig::kIoEntries);
        ASSERT_TRUE(guest_has(NvmeRig::kData + 512 * (i % 8), i * 512, 512));
    }
    for (unsigned i = 0; i < 7; ++i) {
        rig.submit_io(NvmeRig::transfer(2, i, 1, NvmeRig::kData + 512 * i));
    }
    unsigned ended = 0;
    while (rig.poll_io().status == 0) {
        ++ended;
    }
    EXPECT_EQ(ended, 7u);
}

TEST_P(NvmeTest, AFullCompletionQueueWaits) {
    // A completion queue of two entries holds one.
    EXPECT_EQ(rig.admin(NvmeRig::command(5, 0, NvmeRig::kIoCq, 0, {1u << 16 | 1, 3})).status, 0);
    EXPECT_EQ(rig.admin(NvmeRig::command(1, 0, NvmeRig::kIoSq, 0, {(NvmeRig::kIoEntries - 1) << 16 | 1, 1u << 16 | 1})).status, 0);
    for (unsigned i = 0; i < 3; ++i) {
        rig.submit_io(NvmeRig::transfer(2, i, 1));
    }
    rig.settle();
    EXPECT_EQ(rig.memory.load(NvmeRig::kIoCq + 14, 2), 1u);
    EXPECT_EQ(rig.memory.load(NvmeRig::kIoCq + 16 + 14, 2), 0u) << "no room";
    rig.set_reg(0x100c, 1);
    EXPECT_EQ(rig.memory.load(NvmeRig::kIoCq + 16 + 14, 2), 1u);
    rig.set_reg(0x100c, 0);
    EXPECT_EQ(rig.memory.load(NvmeRig::kIoCq + 14, 2), 0u) << "the third, with the other phase";
    EXPECT_EQ(rig.memory.load(NvmeRig::kIoCq + 12, 2), 102u);
}

TEST_P(NvmeTest, InterruptPin) {
    const unsigned pirq = PciBus::pirq_of(4, 1);
    with_io();
    EXPECT_FALSE(rig.irq.level(static_cast<int>(pirq)));
    rig.submit_io(NvmeRig::transfer(2, 0, 1));
    rig.settle();
    EXPECT_TRUE(rig.irq.level(static_cast<int>(pirq)));
    rig.set_reg(0x0c, 1);
    EXPECT_FALSE(rig.irq.level(static_cast<int>(pirq)));
    EXPECT_EQ(rig.reg(0x10), 1u);
    rig.set_reg(0x10, 1);
    EXPECT_TRUE(rig.irq.level(static_cast<int>(pirq)));
    rig.poll_io();
    EXPECT_FALSE(rig.irq.level(static_cast<int>(pirq)));
}

TEST_P(NvmeTest, MessageSignalledInterrupts) {
    const unsigned cap = rig.nvme->config().get8(0x34);
    EXPECT_EQ(rig.nvme->config().get16(cap + 2) & 0x7ff, 64) << "65 vectors";
    for (unsigned vector = 0; vector < 2; ++vector) {
        rig.memory.store(NvmeRig::kBar + 0x2000 + 16 * vector, 0xfee00000, 4);
        rig.memory.store(NvmeRig::kBar + 0x2000 + 16 * vector + 8, 0x40 + vector, 4);
        rig.memory.store(NvmeRig::kBar + 0x2000 + 16 * vector + 12, 0, 4);
    }
    rig.nvme->config().write(cap + 2, 0x8000, 2);
    rig.make_io_queues(1);
    rig.messages.sent.clear();
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 1)).status, 0);
    EXPECT_EQ(rig.messages.sent, std::vector<std::uint32_t>{0x41});
}

TEST_P(NvmeTest, BadDoorbellsAreEvents) {
    rig.submit_admin(NvmeRig::command(0xc, 0, 0, 0));
    EXPECT_EQ(rig.poll_admin().status, 0xffff) << "it waits";
    rig.set_reg(0x1000 + 8 * 9, 1);  // no such queue
    auto event = rig.poll_admin();
    EXPECT_EQ(event.status, 0);
    EXPECT_EQ(event.result, 0x010000u);
    rig.submit_admin(NvmeRig::command(0xc, 0, 0, 0));
    rig.set_reg(0x1000, 999);  // a tail outside
    EXPECT_EQ(rig.poll_admin().status, 0xffff) << "until the log was read";
    rig.submit_admin(NvmeRig::command(2, 0, NvmeRig::kData, 0, {1 | 15u << 16}));
    event = rig.poll_admin();
    const auto other = rig.poll_admin();
    EXPECT_EQ(event.result | other.result, 0x010100u);
    for (unsigned i = 0; i < 4; ++i) {
        rig.submit_admin(NvmeRig::command(0xc, 0, 0, 0));
    }
    EXPECT_EQ(rig.admin(NvmeRig::command(0xc, 0, 0, 0)).status, kAsyncEventLimit | kDnr);
    rig.set_reg(0x1004, 15);  // a head behind the tail
    EXPECT_EQ(rig.csts(), kCstsReady);
}

TEST_P(NvmeTest, LogPages) {
    const auto log = [&](std::uint32_t id, std::uint32_t dwords, std::uint32_t offset = 0) {
        return rig.admin(NvmeRig::command(2, kAllNamespaces, NvmeRig::kData, 0, {id | (dwords - 1) << 16, 0, offset, 0})).status;
    };
    for (const std::uint32_t id : {1u, 2u, 3u, 4u, 5u}) {
        EXPECT_EQ(log(id, 16), 0) << id;
    }
    EXPECT_EQ(log(5, 1024), 0);
    EXPECT_EQ(rig.ram.host()[NvmeRig::kData + 4 * 6] & 1, 1) << "Identify";
    EXPECT_EQ(rig.ram.host()[NvmeRig::kData + 4 * 0x80] & 1, 0);
    EXPECT_EQ(rig.ram.host()[NvmeRig::kData + 4 * (256 + 1)], 3) << "Write";
    EXPECT_EQ(log(0x42, 16), kInvalidLogPage | kDnr);
    EXPECT_EQ(log(2, 16, 512), kInvalidField | kDnr);
    EXPECT_EQ(log(2, 0x400, 508), 0) << "as much as there is";
}

TEST_P(NvmeTest, ErrorsAreReported) {
    with_io();
    rig.node->fail_request(0, EIO);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 1)).status, kUnrecoveredRead);
    rig.node->fail_request(0, EIO);
    EXPECT_EQ(rig.io(NvmeRig::transfer(1, 0, 1)).status, kWriteFault);
    rig.drive.set_error_actions(block::ErrorAction::kReport, block::ErrorAction::kReport);
    rig.node->fail_request(0, ENOSPC);
    EXPECT_EQ(rig.io(NvmeRig::transfer(1, 0, 1)).status, kCapacityExceeded);
}

TEST_P(NvmeTest, StoppedRequestsAreDoneAgain) {
    with_io();
    rig.drive.set_error_actions(block::ErrorAction::kStop, block::ErrorAction::kStop);
    const auto data = NvmeRig::pattern(512, 9);
    std::memcpy(rig.ram.host() + NvmeRig::kData, data.data(), data.size());
    rig.node->fail_request(0, EIO);
    rig.submit_io(NvmeRig::transfer(1, 3, 1));
    EXPECT_EQ(rig.poll_io().status, 0xffff);

    std::vector<std::uint8_t> saved;
    auto writer = core::make_memory_writer(saved);
    writer->section("nvme", 1, [&](core::Archive& a) { rig.nvme->serialize(a); });
    ASSERT_TRUE(writer->ok());
    NvmeRig other(GetParam());
    std::memcpy(other.ram.host(), rig.ram.host(), 1 << 20);
    auto reader = core::make_memory_reader(saved);
    reader->section("nvme", 1, [&](core::Archive& a) { other.nvme->serialize(a); });
    ASSERT_TRUE(reader->ok()) << reader->status().error().message();
    other.drive.on_resume();
    other.settle();
    EXPECT_EQ(std::memcmp(&other.node->bytes[3 * 512], data.data(), 512), 0);
    EXPECT_EQ(other.memory.load(NvmeRig::kIoCq + 12, 4), 0x00010000u | 100);

    rig.drive.on_resume();
    EXPECT_EQ(rig.poll_io().status, 0);
    EXPECT_EQ(std::memcmp(&rig.node->bytes[3 * 512], data.data(), 512), 0);
}

TEST_P(NvmeTest, DisablingWaitsForWhatIsUnderWay) {
    with_io();
    rig.submit_io(NvmeRig::transfer(2, 0, 1));
    rig.set_reg(0x14, 0);
    EXPECT_EQ(rig.csts() & kCstsReady, kCstsReady);
    rig.settle();
    EXPECT_EQ(rig.csts(), 0u);
    EXPECT_EQ(rig.memory.load(NvmeRig::kIoCq + 12, 4), 0u) << "no completion";
    rig.enable();
    rig.make_io_queues();
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 1)).status, 0);
    rig.submit_io(NvmeRig::transfer(2, 0, 1));
    rig.nvme->reset();
    rig.place();
    EXPECT_EQ(rig.csts(), 0u);
    rig.enable();
    rig.make_io_queues();
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 0, 1)).status, 0);
}

TEST_P(NvmeTest, DeletingAQueueWaitsForItsCommands) {
    with_io();
    rig.submit_io(NvmeRig::transfer(2, 0, 1));
    rig.submit_admin(NvmeRig::command(0, 0, 0, 0, {1}));
    EXPECT_EQ(rig.poll_admin().status, 0);
    EXPECT_EQ(rig.poll_io().status, 0) << "it was done first";
    EXPECT_EQ(rig.admin(NvmeRig::command(4, 0, 0, 0, {1})).status, 0);
    EXPECT_TRUE(rig.irq.rises.size() > 0);
}

TEST_P(NvmeTest, ShutdownWritesTheCacheOut) {
    rig.set_reg(0x14, rig.reg(0x14) | 1u << 14);
    EXPECT_EQ(rig.csts() & kCstsShutdownMask, kCstsShutdownOccurring);
    rig.settle();
    EXPECT_EQ(rig.csts() & kCstsShutdownMask, kCstsShutdownComplete);
    EXPECT_EQ(rig.node->count(Kind::kFlush), 1u);
}

TEST_P(NvmeTest, NoBusMasterNoQueues) {
    rig.nvme->config().write(4, 2, 2);
    rig.submit_admin(NvmeRig::command(6, 0, NvmeRig::kData, 0, {1}));
    EXPECT_EQ(rig.csts() & kCstsFatal, kCstsFatal);
}

TEST(NvmePropertiesTest, LargerBlocks) {
    NvmeRig rig(false, {{"logical_block_size", "4096"}, {"physical_block_size", "4096"}, {"mdts", "0"}, {"max_ioqpairs", "2"}});
    rig.enable();
    rig.make_io_queues();
    EXPECT_EQ(rig.admin(NvmeRig::command(6, 1, NvmeRig::kData, 0, {0})).status, 0);
    EXPECT_EQ(rig.memory.load(NvmeRig::kData, 8), 256u);
    EXPECT_EQ(rig.ram.host()[NvmeRig::kData + 130], 12);
    rig.node->bytes = NvmeRig::pattern(rig.node->bytes.size(), 2);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 255, 1)).status, 0);
    EXPECT_EQ(std::memcmp(rig.ram.host() + NvmeRig::kData, &rig.node->bytes[255 * 4096], 4096), 0);
    EXPECT_EQ(rig.io(NvmeRig::transfer(2, 256, 1)).status, kLbaOutOfRange | kDnr);
    EXPECT_EQ(rig.nvme->boot_entries()[0].path, "/pci@i0cf8/nvme@4/namespace@1,0");
}

TEST(NvmePropertiesTest, WhatItRefuses) {
    NvmeRig rig;
    NvmeController other(rig.config, rig.clocks);
    ASSERT_TRUE(other.properties().set("drive", "d"));
    const auto done = other.realize();
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().message().find("serial="), std::string::npos);
}

}  // namespace
}  // namespace rhea::hw::nvme
