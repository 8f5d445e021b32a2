#include "hw/nvram/fw_cfg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

using Bytes = FwCfg::Bytes;

class FwCfgTest : public ::testing::Test {
  protected:
    FwCfgTest() {
        memory.root->add(0, *ram);
        fw_cfg.map(*io.root);
    }

    Bytes read(unsigned key, unsigned length) {
        io.store(0x510, key, 2);
        Bytes bytes;
        for (unsigned i = 0; i < length; ++i) {
            bytes.push_back(static_cast<std::uint8_t>(io.load(0x511)));
        }
        return bytes;
    }
    /// Runs a DMA access whose control structure is at 0x1000; gives the control field afterwards.
    std::uint32_t dma(std::uint32_t control, std::uint32_t length, std::uint64_t address) {
        put(0x1000, control, 4);
        put(0x1004, length, 4);
        put(0x1008, address, 8);
        io.store(0x514, 0, 4);
        io.store(0x518, __builtin_bswap32(0x1000), 4);
        return __builtin_bswap32(static_cast<std::uint32_t>(memory.load(0x1000, 4)));
    }
    void put(core::hwaddr at, std::uint64_t value, unsigned size) {
        for (unsigned i = 0; i < size; ++i) {
            memory.store(at + i, value >> (size - 1 - i) * 8 & 0xff);
        }
    }
    std::string text(core::hwaddr at, std::size_t length) {
        std::string bytes(length, '\0');
        memory.space.read(at, bytes.data(), length);
        return bytes;
    }

    static constexpr std::uint32_t kRead = 2, kSkip = 4, kSelect = 8, kWrite = 16;
    test::FakeSpace memory{"memory", 1ull << 40}, io{"io", 0x10000};
    core::RamBlock block{"ram", 0, 0x10000};
    std::unique_ptr<core::MemoryRegion> ram = core::MemoryRegion::ram("ram", block);
    FwCfg fw_cfg{memory.space};
};

TEST_F(FwCfgTest, SignatureIdAndDmaSignature) {
    EXPECT_EQ(read(0, 4), (Bytes{'Q', 'E', 'M', 'U'}));
    EXPECT_EQ(read(1, 4), (Bytes{3, 0, 0, 0}));
    EXPECT_EQ(io.load(0x514, 4), 0x554d4551u);  // "QEMU"
    EXPECT_EQ(io.load(0x518, 4), 0x47464320u);  // " CFG"
}

TEST_F(FwCfgTest, ReadsEndInZeros) {
    fw_cfg.set_u16(fw_cfg_key::kCpuCount, 0x0102);
    EXPECT_EQ(read(5, 4), (Bytes{2, 1, 0, 0}));
    EXPECT_EQ(read(0x123, 2), (Bytes{0, 0})) << "no such item";
    EXPECT_EQ(read(0x4005, 2), (Bytes{2, 1})) << "the old write channel is the same item";
    io.store(0x510, 5, 1);  // not a selector access
    EXPECT_EQ(io.load(0x511), 0u);
}

TEST_F(FwCfgTest, DirectoryIsSortedByName) {
    ASSERT_TRUE(fw_cfg.add_file("etc/e820", Bytes(20)));
    ASSERT_TRUE(fw_cfg.add_file("bootorder", Bytes{'x'}));
    ASSERT_TRUE(fw_cfg.add_file("etc/acpi/tables", [] { return Bytes(0x1234); }));
    const Bytes directory = read(0x19, 4 + 3 * 64);
    EXPECT_EQ(directory[3], 3);
    const auto name = [&](unsigned i) {
        return std::string(reinterpret_cast<const char*>(&directory[4 + i * 64 + 8]));
    };
    EXPECT_EQ(name(0), "bootorder");
    EXPECT_EQ(name(1), "etc/acpi/tables");
    EXPECT_EQ(name(2), "etc/e820");
    EXPECT_EQ(Bytes(directory.begin() + 4, directory.begin() + 12),
              (Bytes{0, 0, 0, 1, 0, 0x21, 0, 0}));
    EXPECT_EQ(Bytes(directory.begin() + 68, directory.begin() + 76),
              (Bytes{0, 0, 0x12, 0x34, 0, 0x22, 0, 0}));
    EXPECT_EQ(fw_cfg.file_key("etc/e820"), 0x20);
}

TEST_F(FwCfgTest, NamesAreChecked) {
    EXPECT_FALSE(fw_cfg.add_file("", Bytes{}));
    EXPECT_TRUE(fw_cfg.add_file(std::string(55, 'a'), Bytes{}));
    EXPECT_FALSE(fw_cfg.add_file(std::string(56, 'b'), Bytes{}));
    const auto twice = fw_cfg.add_file(std::string(55, 'a'), Bytes{});
    ASSERT_FALSE(twice);
    EXPECT_THAT(twice.error().message(), ::testing::HasSubstr("already"));
    EXPECT_EQ(fw_cfg.file("none"), nullptr);
}

TEST_F(FwCfgTest, GeneratedFilesAreMadeOnSelection) {
    int made = 0;
    ASSERT_TRUE(
        fw_cfg.add_file("etc/counter", [&] { return Bytes{static_cast<std::uint8_t>(++made)}; }));
    EXPECT_EQ(made, 0);
    EXPECT_EQ(read(0x20, 1), Bytes{1});
    EXPECT_EQ(read(0x20, 1), Bytes{2});
}

TEST_F(FwCfgTest, DmaSelectReadAndSkip) {
    ASSERT_TRUE(fw_cfg.add_file("a", Bytes{'h', 'e', 'l', 'l', 'o'}));
    memory.store(0x2005, 0xffff, 2);
    EXPECT_EQ(dma(0x20u << 16 | kSelect | kRead, 7, 0x2000), 0u);
    EXPECT_EQ(text(0x2000, 7), std::string("hello\0\0", 7));
    EXPECT_EQ(dma(0x20u << 16 | kSelect | kSkip, 2, 0), 0u);
    EXPECT_EQ(dma(kRead, 3, 0x3000), 0u);
    EXPECT_EQ(text(0x3000, 3), "llo");
    EXPECT_EQ(dma(0x20u << 16 | kSelect, 0, 0), 0u);
    EXPECT_EQ(io.load(0x511), std::uint64_t{'h'}) << "both ways share one position";
}

TEST_F(FwCfgTest, DmaWrite) {
    std::vector<std::pair<std::size_t, std::size_t>> writes;
    ASSERT_TRUE(fw_cfg.add_writable_file(
        "etc/address", Bytes(8),
        [&](const Bytes&, std::size_t at, std::size_t n) { writes.emplace_back(at, n); }));
    ASSERT_TRUE(fw_cfg.add_file("fixed", Bytes(8)));
    memory.store(0x2000, 0x0807060504030201, 8);
    EXPECT_EQ(dma(0x20u << 16 | kSelect | kSkip, 2, 0), 0u);
    EXPECT_EQ(dma(kWrite, 3, 0x2000), 0u);
    EXPECT_EQ(*fw_cfg.file("etc/address"), (Bytes{0, 0, 1, 2, 3, 0, 0, 0}));
    EXPECT_EQ(writes, (std::vector<std::pair<std::size_t, std::size_t>>{{2, 3}}));
    EXPECT_EQ(dma(kWrite, 4, 0x2000), 1u) << "does not fit";
    EXPECT_EQ(dma(kWrite, 0xffffffff, 0x2000), 1u);
    EXPECT_EQ(dma(0x21u << 16 | kSelect | kWrite, 1, 0x2000), 1u) << "read-only";
    EXPECT_EQ(dma(0x99u << 16 | kSelect | kWrite, 1, 0x2000), 1u) << "no such item";
    EXPECT_EQ(writes.size(), 1u);
}

TEST_F(FwCfgTest, DmaErrors) {
    ASSERT_TRUE(fw_cfg.add_file("a", Bytes(100)));
    EXPECT_EQ(dma(0x20u << 16 | kSelect | kRead, 100, 0x800000000), 1u) << "no memory there";
    EXPECT_EQ(dma(0x20u << 16 | kSelect | kRead, 100, 0xffffffffffffffd0), 1u) << "goes round";
    EXPECT_EQ(dma(kRead, 0xffffffff, 0x2000), 1u) << "zeros until memory ends";
    io.store(0x514, 0xffffffff, 4);
    io.store(0x518, 0xffffffff, 4);  // a control structure that is not in memory
    EXPECT_EQ(read(0, 1), Bytes{'Q'});
}

TEST_F(FwCfgTest, DmaAddressHighIsUsedOnce) {
    block.host()[0x1000] = 0x77;
    io.store(0x514, __builtin_bswap32(1), 4);
    io.store(0x518, __builtin_bswap32(0x1000), 4);
    EXPECT_EQ(block.host()[0x1000], 0x77) << "the access was above 4 GiB";
    EXPECT_EQ(dma(1u << 16 | kSelect | kRead, 1, 0x2000), 0u);
    EXPECT_EQ(memory.load(0x2000), 3u);
}

}  // namespace
}  // namespace rhea::hw
