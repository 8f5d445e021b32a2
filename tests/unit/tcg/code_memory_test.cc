#include "rhea/tcg/code_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <set>

namespace rhea::tcg {
namespace {

constexpr std::size_t kSlab = CodeMemory::kSlabSize;

std::unique_ptr<CodeMemory> make(std::size_t size, CodeMemory::Mode mode) {
    auto memory = CodeMemory::create(size, mode);
    if (!memory) {
        ADD_FAILURE() << memory.error().message();
        return nullptr;
    }
    return std::move(*memory);
}

/// Takes one block and returns its executable address; null when there was no room.
const std::uint8_t* take(CodeMemory& memory, std::size_t bytes) {
    const CodeBuffer buffer = memory.allocate(bytes);
    if (buffer.capacity == 0) {
        return nullptr;
    }
    EXPECT_GE(buffer.capacity, bytes);
    memory.commit(buffer, bytes);
    return buffer.exec;
}

/// Resident pages of a range.
std::size_t resident_pages(const std::uint8_t* start, std::size_t size) {
    std::vector<unsigned char> pages(size / 4096);
    EXPECT_EQ(::mincore(const_cast<std::uint8_t*>(start), size, pages.data()), 0);
    std::size_t count = 0;
    for (unsigned char page : pages) {
        count += page & 1;
    }
    return count;
}

class CodeMemoryModes : public testing::TestWithParam<CodeMemory::Mode> {};

TEST_P(CodeMemoryModes, RunsWhatWasWritten) {
    auto memory = make(4 * kSlab, GetParam());
    ASSERT_TRUE(memory);
    EXPECT_EQ(memory->two_mappings(), memory->alias_distance() != 0);
    for (std::uint8_t value : {7, 42}) {
        const CodeBuffer buffer = memory->allocate(64);
        const std::uint8_t code[] = {0xb8, value, 0, 0, 0, 0xc3};  // mov eax, value; ret
        std::memcpy(buffer.write, code, sizeof(code));
        memory->commit(buffer, sizeof(code));
        EXPECT_EQ(memory->writable(buffer.exec), buffer.write);
        EXPECT_EQ(reinterpret_cast<int (*)()>(buffer.exec)(), value);
        // A patch through the alias is seen by the next call.
        memory->writable(buffer.exec)[1] = 99;
        EXPECT_EQ(reinterpret_cast<int (*)()>(buffer.exec)(), 99);
    }
}

TEST_P(CodeMemoryModes, NothingIsResidentUntilUsedAndAfterRelease) {
    auto memory = make(64 * kSlab, GetParam());
    ASSERT_TRUE(memory);
    const std::uint8_t* start = memory->slab_exec(0);
    EXPECT_EQ(resident_pages(start, memory->size()), 0u);
    const CodeBuffer buffer = memory->allocate(kSlab);
    std::memset(buffer.write, 0xcc, 3 * 4096);
    memory->commit(buffer, 3 * 4096);
    EXPECT_EQ(resident_pages(start, memory->size()), 3u);
    memory->reset();
    EXPECT_EQ(resident_pages(start, memory->size()), 0u);
    EXPECT_EQ(memory->live_bytes(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Both, CodeMemoryModes,
                         testing::Values(CodeMemory::Mode::kPreferTwoMappings,
                                         CodeMemory::Mode::kOneMapping));

TEST(CodeMemory, SizesAreRoundedAndBounded) {
    auto memory = make(1, CodeMemory::Mode::kOneMapping);
    ASSERT_TRUE(memory);
    EXPECT_EQ(memory->size(), 2 * kSlab);
    memory = make(5 * kSlab + 1, CodeMemory::Mode::kOneMapping);
    EXPECT_EQ(memory->size(), 6 * kSlab);
    EXPECT_EQ(memory->allocate(kSlab + 1).capacity, 0u);
    EXPECT_EQ(memory->allocate(0).capacity, 0u);
    EXPECT_TRUE(memory->contains(memory->slab_exec(5) + kSlab - 1));
    EXPECT_FALSE(memory->contains(memory->slab_exec(5) + kSlab));
    EXPECT_FALSE(memory->contains(memory->slab_exec(0) - 1));
}

TEST(CodeMemory, BlocksFollowEachOtherAndDoNotOverlap) {
    auto memory = make(2 * kSlab, CodeMemory::Mode::kOneMapping);
    const std::uint8_t* first = take(*memory, 100);
    const std::uint8_t* second = take(*memory, 1);
    EXPECT_EQ(second - first, 112);
    // What was allocated but not committed is handed out again.
    const std::uint8_t* third = memory->allocate(5000).exec;
    EXPECT_EQ(memory->allocate(10).exec, third);
    EXPECT_EQ(third - second, 16);
}

TEST(CodeMemory, FillsAllSlabsThenRefuses) {
    auto memory = make(3 * kSlab, CodeMemory::Mode::kOneMapping);
    std::set<const std::uint8_t*> blocks;
    while (const std::uint8_t* block = take(*memory, kSlab / 4)) {
        EXPECT_TRUE(blocks.insert(block).second);
        ASSERT_LE(blocks.size(), 12u);
    }
    EXPECT_EQ(blocks.size(), 12u);
    EXPECT_EQ(memory->free_slabs(), 0u);
    EXPECT_EQ(memory->live_bytes(), 3 * kSlab);
}

TEST(CodeMemory, TheOldestSlabIsEvictedAndUsedAgain) {
    auto memory = make(3 * kSlab, CodeMemory::Mode::kPreferTwoMappings);
    EXPECT_EQ(memory->oldest_slab(), -1);
    for (int i = 0; i < 3; ++i) {
        ASSERT_NE(take(*memory, kSlab), nullptr);
    }
    EXPECT_EQ(take(*memory, 16), nullptr);
    EXPECT_EQ(memory->oldest_slab(), 0);
    memory->release_slab(0);
    EXPECT_EQ(memory->oldest_slab(), 1);
    EXPECT_EQ(take(*memory, 16), memory->slab_exec(0));
    EXPECT_EQ(memory->oldest_slab(), 1);
}

TEST(CodeMemory, ThePinnedSlabNeverIsTheOldest) {
    auto memory = make(3 * kSlab, CodeMemory::Mode::kOneMapping);
    ASSERT_NE(take(*memory, kSlab), nullptr);
    memory->pin_current();
    EXPECT_EQ(memory->oldest_slab(), -1);
    ASSERT_NE(take(*memory, kSlab), nullptr);
    EXPECT_EQ(memory->oldest_slab(), -1); // the other one is current
    ASSERT_NE(take(*memory, kSlab), nullptr);
    EXPECT_EQ(memory->oldest_slab(), 1);
    memory->release_slab(1);
    EXPECT_NE(take(*memory, kSlab), nullptr);
    EXPECT_EQ(memory->oldest_slab(), 2);
    memory->reset();
    EXPECT_EQ(memory->free_slabs(), 3u);
    ASSERT_NE(take(*memory, kSlab), nullptr);
    ASSERT_NE(take(*memory, 1), nullptr);
    EXPECT_EQ(memory->oldest_slab(), 0);
}

TEST(CodeMemory, ASlabWhoseBlocksAllDiedIsFree) {
    auto memory = make(2 * kSlab, CodeMemory::Mode::kOneMapping);
    const std::uint8_t* a = take(*memory, kSlab / 2);
    const std::uint8_t* b = take(*memory, kSlab / 2);
    const std::uint8_t* c = take(*memory, kSlab);
    ASSERT_NE(c, nullptr);
    memory->free(a, kSlab / 2);
    EXPECT_EQ(memory->free_slabs(), 0u);
    memory->free(b, kSlab / 2);
    EXPECT_EQ(memory->free_slabs(), 1u);
    EXPECT_EQ(take(*memory, 10), a);
    // The current slab becomes free when the next one is asked for.
    memory->free(a, 10);
    EXPECT_EQ(take(*memory, kSlab), a);
    EXPECT_EQ(take(*memory, 1), nullptr);
}

}  // namespace
}  // namespace rhea::tcg
