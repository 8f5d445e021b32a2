// BlockCache: what a store invalidates, which pages are told to be free of code, which block a host address lies in.
#include "rhea/tcg/block_cache.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace rhea::tcg {
namespace {

/// Patches and retires nothing real; counts.
class NoGenerator final : public CodeGenerator {
public:
    void one_vcpu(bool) override {}
    void count_instructions() override {}
    std::size_t emit_thunks(CodeBuffer) override { return 0; }
    bool compile(const ir::Block &, CodeBuffer, CompiledCode &) override { return false; }
    CodeExit enter(VcpuHead *, const std::uint8_t *) override { return CodeExit::kNext; }
    void *exit_next_entry() const override { return nullptr; }
    void move_exits(const TranslationBlock &) override {}
    void patch_exit(const TranslationBlock &, ExitSlot &, const std::uint8_t *target) override { target ? ++chained : ++unchained; }
    void retire(const TranslationBlock &) override { ++retired; }
    bool restore_state(VcpuHead *, const TranslationBlock &, std::uint64_t) override { return false; }
    std::string disassemble(const TranslationBlock &) const override { return {}; }
    unsigned chained = 0, unchained = 0, retired = 0;
};

class Blocks : public ::testing::Test {
protected:
    TranslationBlock *add(std::uint64_t ram_addr, std::uint16_t bytes, std::uint32_t mode = 0, std::uint64_t second = ~0ull) {
        const ExitSlot exit;
        auto block = TranslationBlock::make({&exit, 1});
        block->ram_addr = ram_addr;
        block->ram_addr2 = second;
        block->byte_length = bytes;
        block->mode = mode;
        block->entry = host(next_host_);
        block->code_size = 200;
        next_host_ += 256;
        modes_.push_back(mode);
        return cache_.insert(std::move(block));
    }
    static const std::uint8_t *host(std::uint64_t offset) { return reinterpret_cast<const std::uint8_t *>(0x7f0000000000 + offset); }
    unsigned invalidate(std::uint64_t ram_addr, std::size_t length) {
        return cache_.invalidate(ram_addr, length, [this](std::uint64_t page) { emptied_.push_back(page); });
    }

    NoGenerator generator_;
    BlockCache cache_{&generator_};
    std::vector<std::uint64_t> emptied_;
    std::uint64_t next_host_ = 0x1000;
    std::vector<std::uint32_t> modes_; ///< of all that were added
};

TEST_F(Blocks, AFieldThatTheBlockReadsIsNoPartOfIt) {
    const ExitSlot exit;
    constexpr ir::CodeField kFields[] = {{0x104, 4}, {0x108, 1}};
    constexpr std::uint8_t kTable[] = {7, 8, 9};
    auto block = TranslationBlock::make({&exit, 1}, kTable, kFields);
    EXPECT_TRUE(std::equal(block->side_table.begin(), block->side_table.end(), std::begin(kTable), std::end(kTable)));
    block->ram_addr = 0x5100;
    block->byte_length = 9;
    EXPECT_FALSE(BlockCache::overlaps(*block, 0x5104, 4));
    EXPECT_FALSE(BlockCache::overlaps(*block, 0x5105, 1)) << "a part of it";
    EXPECT_FALSE(BlockCache::overlaps(*block, 0x5108, 8)) << "what is behind the block is none of its";
    EXPECT_TRUE(BlockCache::overlaps(*block, 0x5103, 4));
    EXPECT_TRUE(BlockCache::overlaps(*block, 0x5104, 5)) << "two fields: whoever stores so means something else";
    EXPECT_TRUE(BlockCache::overlaps(*block, 0x5000, 0x1000));
    const TranslationBlock *const there = cache_.insert(std::move(block));
    EXPECT_EQ(invalidate(0x5104, 4), 0u);
    EXPECT_TRUE(there->valid);
    EXPECT_TRUE(cache_.touches_code(0x5104, 4)) << "the store still has to ask";
    EXPECT_EQ(invalidate(0x5102, 4), 1u);
}

TEST_F(Blocks, ModesThatOneKeyStandsForStayApart) {
    // All sums of these have the same bits in a bucket's key.
    constexpr std::uint32_t kAlike[] = {0x20200, 0x40400, 0x80800, 0x101000, 0x202000, 0x404000, 0x808000, 0x1010001, 0x2000202};
    std::vector<TranslationBlock *> blocks;
    for (std::uint32_t sum = 0; sum < 1u << std::size(kAlike); ++sum) {
        std::uint32_t mode = 0;
        for (unsigned bit = 0; bit < std::size(kAlike); ++bit)
            mode ^= (sum >> bit & 1) != 0 ? kAlike[bit] : 0;
        blocks.push_back(add(0x5000, 20, mode));
    }
    const auto check = [&](unsigned dropped) {
        for (std::size_t n = 0; n < blocks.size(); ++n)
            ASSERT_EQ(cache_.find(0x5000, modes_[n]), n % 3 < dropped ? nullptr : blocks[n]) << n;
    };
    check(0);
    for (unsigned third = 0; third < 2; ++third) {
        for (std::size_t n = third; n < blocks.size(); n += 3)
            ASSERT_EQ(cache_.drop_code(blocks[n]->entry, 1, [](std::uint64_t) {}), 1u);
        check(third + 1);
        cache_.collect_garbage();
        check(third + 1);
    }
    for (std::size_t n = 0; n < blocks.size(); ++n) {
        if (n % 3 < 2)
            blocks[n] = add(0x5000, 20, modes_[n]);
    }
    check(0);
}

TEST_F(Blocks, AStoreTakesThoseWhoseBytesItTouches) {
    add(0x5000, 20);
    add(0x5010, 16); // overlaps the first
    add(0x5000, 20, 1);
    add(0x5200, 300); // reaches over several granules
    add(0x6000, 8);
    EXPECT_EQ(cache_.granules(0x5123), 1ull | 0x1full << 8);
    EXPECT_TRUE(cache_.touches_code(0x503f, 1)); // the granule, though no byte of a block
    EXPECT_EQ(invalidate(0x5030, 8), 0u);
    EXPECT_EQ(invalidate(0x5012, 1), 3u);
    EXPECT_EQ(cache_.granules(0x5000), 0x1full << 8);
    EXPECT_EQ(invalidate(0x5310, 4), 1u); // begins four granules before
    EXPECT_EQ(emptied_, std::vector<std::uint64_t>{0x5000});
    EXPECT_EQ(cache_.find(0x5200, 0), nullptr);
    EXPECT_NE(cache_.find(0x6000, 0), nullptr);
    EXPECT_EQ(cache_.size(), 1u);
    EXPECT_EQ(generator_.retired, 4u);
}

TEST_F(Blocks, OneThatCrossesGoesWithEitherPage) {
    add(0x5ffc, 8, 0, 0x9000);
    EXPECT_EQ(cache_.granules(0x5000), 1ull << 63);
    EXPECT_EQ(cache_.granules(0x9000), 1u);
    EXPECT_EQ(invalidate(0x9004, 4), 0u);
    EXPECT_EQ(invalidate(0x9003, 1), 1u);
    std::sort(emptied_.begin(), emptied_.end());
    EXPECT_EQ(emptied_, (std::vector<std::uint64_t>{0x5000, 0x9000}));
    add(0x5ffc, 8, 0, 0x9000);
    EXPECT_EQ(invalidate(0x5fff, 1), 1u);
    add(0x5ffc, 8, 0, 0x9000);
    EXPECT_EQ(invalidate(0x5000, 0x5000), 1u); // both pages at once
    EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(Blocks, HostAddressesLeadToTheirBlockAlsoWhenItWasJustDropped) {
    TranslationBlock *first = add(0x5000, 20);
    next_host_ = 0x80000; // another part of the code memory
    TranslationBlock *second = add(0x5100, 20);
    next_host_ = 0x8000; // lower again, as where old code made room
    TranslationBlock *third = add(0x5200, 20);
    const auto find = [this](std::uint64_t offset) { return cache_.find_by_host_pc(reinterpret_cast<std::uint64_t>(host(offset))); };
    EXPECT_EQ(find(0x1000 + 100), first);
    EXPECT_EQ(find(0x80000 + 200), second);
    EXPECT_EQ(find(0x8000 + 1), third);
    EXPECT_EQ(find(0x1000 + 201), nullptr);
    EXPECT_EQ(find(0x7fff), nullptr);
    invalidate(0x5100, 1);
    EXPECT_TRUE(cache_.has_garbage());
    EXPECT_EQ(find(0x80000 + 10), second);
    cache_.collect_garbage();
    EXPECT_EQ(find(0x80000 + 10), nullptr);
}

TEST_F(Blocks, ChainsAreUndoneFromBothEnds) {
    TranslationBlock *from = add(0x5000, 20), *to = add(0x5100, 20);
    cache_.chain(from->exits[0], *to);
    EXPECT_EQ(generator_.chained, 1u);
    invalidate(0x5100, 1);
    EXPECT_EQ(generator_.unchained, 1u);
    EXPECT_EQ(from->exits[0].target, nullptr);
    to = add(0x5100, 20);
    cache_.chain(from->exits[0], *to);
    invalidate(0x5000, 1);
    EXPECT_EQ(to->incoming, nullptr);
    EXPECT_EQ(invalidate(0x5100, 1), 1u);
}

TEST_F(Blocks, OldCodeGoesByWhereItLies) {
    TranslationBlock *old = add(0x5000, 20);
    add(0x6000, 20);
    next_host_ = 0x100000;
    TranslationBlock *young = add(0x5100, 20);
    cache_.chain(young->exits[0], *old);
    EXPECT_EQ(cache_.drop_code(host(0), 0x100000, [this](std::uint64_t page) { emptied_.push_back(page); }), 2u);
    EXPECT_EQ(emptied_, std::vector<std::uint64_t>{0x6000}); // 0x5000 has a young one
    EXPECT_EQ(young->exits[0].target, nullptr);
    EXPECT_EQ(cache_.find(0x5000, 0), nullptr);
    EXPECT_EQ(cache_.find(0x5100, 0), young);
    EXPECT_EQ(cache_.drop_code(host(0), 0x100000, [](std::uint64_t) {}), 0u);
}

TEST_F(Blocks, ClearTellsOfEveryPage) {
    for (std::uint64_t page = 0; page < 5000; ++page)
        add(page * 0x1000, 20);
    EXPECT_EQ(cache_.size(), 5000u);
    cache_.clear([this](std::uint64_t page) { emptied_.push_back(page); });
    EXPECT_EQ(emptied_.size(), 5000u);
    EXPECT_EQ(cache_.size(), 0u);
    EXPECT_EQ(cache_.granules(0x3000), 0u);
    add(0x3000, 20);
    EXPECT_EQ(invalidate(0x3000, 1), 1u);
}

} // namespace
} // namespace rhea::tcg
