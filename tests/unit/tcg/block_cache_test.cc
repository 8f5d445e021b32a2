// The block cache: pages that are pinned, and lookups while another thread changes it.
#include "rhea/tcg/block_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace rhea::tcg {
namespace {

std::unique_ptr<TranslationBlock> block_at(std::uint64_t ram_addr, std::uint32_t mode = 0) {
    auto block = std::make_unique<TranslationBlock>();
    block->ram_addr = ram_addr;
    block->mode = mode;
    block->byte_length = 16;
    return block;
}

class BlockCacheTest : public ::testing::Test {
protected:
    BlockCache::PageEmptied note = [this](std::uint64_t page) { emptied.push_back(page); };
    BlockCache cache{nullptr};
    std::vector<std::uint64_t> emptied;
};

TEST_F(BlockCacheTest, FindsByAddressAndMode) {
    TranslationBlock *const a = cache.insert(block_at(0x1010));
    TranslationBlock *const b = cache.insert(block_at(0x1010, 1));
    EXPECT_EQ(cache.find(0x1010, 0), a);
    EXPECT_EQ(cache.find(0x1010, 1), b);
    EXPECT_EQ(cache.find(0x1010, 2), nullptr);
    EXPECT_EQ(cache.invalidate(0x101f, 1, note), 2u);
    EXPECT_EQ(cache.find(0x1010, 0), nullptr);
    EXPECT_EQ(emptied, std::vector<std::uint64_t>{0x1000});
    TranslationBlock *const again = cache.insert(block_at(0x1010));
    EXPECT_EQ(cache.find(0x1010, 0), again) << "a key that was dropped can come back";
    EXPECT_EQ(cache.garbage(), 2u);
    cache.collect_garbage();
    EXPECT_FALSE(cache.has_garbage());
    EXPECT_EQ(cache.find(0x1010, 0), again);
}

TEST_F(BlockCacheTest, APinnedPageIsNotReportedAsEmptied) {
    EXPECT_FALSE(cache.pin(0x2000)) << "nobody has settled it";
    cache.settle(0x2000);
    cache.insert(block_at(0x2000));
    EXPECT_EQ(cache.invalidate(0x2000, 4, note), 1u);
    EXPECT_TRUE(emptied.empty());
    EXPECT_TRUE(cache.pin(0x2000)) << "it stays settled";
    cache.unpin(0x2000, note);
    EXPECT_TRUE(emptied.empty());
    cache.clear(note);
    EXPECT_TRUE(emptied.empty()) << "also when everything goes";
    cache.unpin(0x2000, note);
    EXPECT_EQ(emptied, std::vector<std::uint64_t>{0x2000});
    EXPECT_FALSE(cache.pin(0x2000)) << "the next one has to settle it again";
    cache.unpin(0x2000, note);
}

TEST_F(BlockCacheTest, GrowsAndIsCleared) {
    constexpr std::uint64_t kBlocks = 20000;
    for (std::uint64_t i = 0; i < kBlocks; ++i)
        cache.insert(block_at(0x100000 + i * 64));
    EXPECT_EQ(cache.size(), kBlocks);
    cache.collect_garbage(); // former tables
    for (std::uint64_t i = 0; i < kBlocks; ++i)
        ASSERT_NE(cache.find(0x100000 + i * 64, 0), nullptr) << i;
    cache.clear(note);
    EXPECT_EQ(emptied.size(), kBlocks / 64 + 1);
    EXPECT_EQ(cache.size(), 0u);
    EXPECT_EQ(cache.find(0x100000, 0), nullptr);
}

/// What readers find is the block asked for, whole, whatever is inserted, dropped and moved to larger tables meanwhile.
TEST_F(BlockCacheTest, LookupsWhileAnotherThreadChangesIt) {
    constexpr std::uint64_t kBlocks = 6000;
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> found{0};
    std::vector<std::thread> readers;
    for (unsigned reader = 0; reader < 2; ++reader) {
        readers.emplace_back([&, reader] {
            for (std::uint64_t i = reader; !stop; ++i) {
                const std::uint64_t address = 0x1000 + i % kBlocks * 64;
                if (const TranslationBlock *block = cache.find(address, i & 1)) {
                    ASSERT_EQ(block->ram_addr, address);
                    ASSERT_EQ(block->mode, i & 1);
                    ++found;
                }
            }
        });
    }
    cache.insert(block_at(0x1000));
    while (found == 0)
        std::this_thread::yield();
    for (unsigned round = 0; round < 3; ++round) {
        for (std::uint64_t i = 0; i < kBlocks; ++i) {
            cache.insert(block_at(0x1000 + i * 64, i & 1));
            if (i % 3 == 0)
                cache.invalidate(0x1000 + i / 2 * 64, 1, note);
        }
    }
    stop = true;
    for (std::thread &reader : readers)
        reader.join();
    EXPECT_GT(cache.garbage(), 0u);
}

} // namespace
} // namespace rhea::tcg
