#include "rhea/core/memory.h"

#include <gtest/gtest.h>

namespace rhea::core {
namespace {

class Recorder final : public IoHandler {
public:
    std::uint64_t io_read(hwaddr offset, unsigned size) override { return 0x1000 + offset * 16 + size; }
    void io_write(hwaddr offset, std::uint64_t value, unsigned size) override { writes.push_back({offset, value, size}); }
    struct Write {
        hwaddr offset;
        std::uint64_t value;
        unsigned size;
        bool operator==(const Write &) const = default;
    };
    std::vector<Write> writes;
};

struct MemoryTest : testing::Test {
    RamBlock block{"ram", 0, 0x10000};
    std::unique_ptr<MemoryRegion> root = MemoryRegion::container("root", 0);
    std::unique_ptr<MemoryRegion> ram = MemoryRegion::ram("ram", block);
    Recorder device;
    std::unique_ptr<MemoryRegion> io = MemoryRegion::io("io", 0x10, device);
    AddressSpace space{"memory", *root};
};

TEST_F(MemoryTest, AHigherPriorityHidesAndSplits) {
    root->add(0, *ram);
    root->add(0x100, *io, 1);
    const auto &ranges = space.view().ranges;
    ASSERT_EQ(ranges.size(), 3u);
    EXPECT_EQ(ranges[0].size, 0x100u);
    EXPECT_EQ(ranges[1].region, io.get());
    EXPECT_EQ(ranges[2].start, 0x110u);
    EXPECT_EQ(ranges[2].host, block.host() + 0x110);
    io->set_enabled(false);
    EXPECT_EQ(space.view().ranges.size(), 1u);
}

TEST_F(MemoryTest, AccessesCrossRegionsAndUnassignedReadsAreOnes) {
    root->add(0, *ram);
    std::uint64_t value = 0;
    space.store(0xfffc, 0x11223344, 4);
    EXPECT_EQ(space.read(0xfffc, &value, 8), MemTxResult::kDecodeError);
    EXPECT_EQ(value, 0xffffffff11223344ull);
}

TEST_F(MemoryTest, WideAccessesAreSplitForTheHandler) {
    root->add(0, *io);
    space.store(0, 0x1122334455667788ull, 8);
    EXPECT_EQ(device.writes, (std::vector<Recorder::Write>{{0, 0x55667788, 4}, {4, 0x11223344, 4}}));
}

TEST_F(MemoryTest, AnAliasShowsAPartAndMayBeReadOnly) {
    root->add(0, *ram);
    auto window = MemoryRegion::alias("window", *ram, 0x8000, 0x1000);
    window->set_readonly(true);
    root->add(0x100000, *window);
    block.host()[0x8004] = 0x5a;
    EXPECT_EQ(space.load(0x100004, 1), 0x5au);
    space.store(0x100004, 0x77, 1);
    EXPECT_EQ(block.host()[0x8004], 0x5a);
    window->set_alias_offset(0x9000);
    EXPECT_EQ(space.load(0x100004, 1), 0u);
}

TEST_F(MemoryTest, StoresToCodePagesAreReported) {
    struct Watcher : CodeWatcher {
        void code_written(RamBlock &, ram_addr_t offset, std::size_t length) override { seen.emplace_back(offset, length); }
        std::vector<std::pair<ram_addr_t, std::size_t>> seen;
    } watcher;
    root->add(0, *ram);
    block.set_code_watcher(&watcher);
    block.page_flags(0x1000) |= RamBlock::kPageHasCode;
    const std::vector<std::uint8_t> data(0x100, 1);
    space.write(0xf80, data.data(), data.size());
    ASSERT_EQ(watcher.seen.size(), 1u);
    EXPECT_EQ(watcher.seen[0], std::make_pair(ram_addr_t{0x1000}, std::size_t{0x80}));
}

TEST_F(MemoryTest, AZeroSizedRootSpansAllAddresses) {
    root->add(0xfffffffffffffff0ull, *io);
    EXPECT_EQ(space.load(0xfffffffffffffff8ull, 1), (0x1000u + 8 * 16 + 1) & 0xff);
}

} // namespace
} // namespace rhea::core
