#include "rhea/tcg/window_memory.h"

#include <gtest/gtest.h>

#include <cstring>

namespace rhea::tcg {
namespace {

std::unique_ptr<WindowMemory> make(unsigned windows) {
    auto memory = WindowMemory::create(windows);
    if (!memory) {
        ADD_FAILURE() << memory.error().message();
        return nullptr;
    }
    return std::move(*memory);
}

std::uint64_t& word(const WindowMemory& memory, unsigned window, std::uint32_t offset) {
    return *memory.array(window, offset);
}

TEST(WindowMemory, StatePagesAreSharedTheRestIsNot) {
    auto memory = make(kWindows);
    ASSERT_TRUE(memory);
    ASSERT_EQ(memory->window_count(), kWindows);
    for (unsigned w = 0; w < kWindows; ++w) {
        EXPECT_EQ(memory->window_address(w) % kWindowSize, 0u);
        // The BEXTR control word of the TLB check: start 12, length kTlbBits.
        EXPECT_EQ(memory->state_register(w) & 0xffff, 12u | kTlbBits << 8);
        EXPECT_EQ(word(*memory, w, kReadTagOffset), 0u);
        word(*memory, w, kReadTagOffset) = w + 1;
        word(*memory, w, kWindowSize - 8) = w + 100;
        word(*memory, w, kStateOffset + 8 * w) = w + 1000;
        word(*memory, w, kStatePagesSize - 8 - 8 * w) = w + 2000;
    }
    for (unsigned w = 0; w < kWindows; ++w) {
        EXPECT_EQ(word(*memory, w, kReadTagOffset), w + 1);
        EXPECT_EQ(word(*memory, w, kWindowSize - 8), w + 100);
        for (unsigned other = 0; other < kWindows; ++other) {
            EXPECT_EQ(word(*memory, other, kStateOffset + 8 * w), w + 1000);
            EXPECT_EQ(word(*memory, other, kStatePagesSize - 8 - 8 * w), w + 2000);
        }
    }
    EXPECT_EQ(static_cast<std::uint64_t*>(memory->state()), &word(*memory, 0, kStateOffset));
}

TEST(WindowMemory, OneWindowIsEnough) {
    auto memory = make(1);
    ASSERT_TRUE(memory);
    EXPECT_EQ(memory->window_count(), 1u);
    EXPECT_EQ(memory->window_address(0) % kWindowSize, 0u);
    std::memset(memory->state(), 0x55, WindowMemory::kMaxStateSize);
    EXPECT_EQ(word(*memory, 0, kReadTagOffset), 0u);
}

void expect_nothing_matches(const WindowMemory& memory, unsigned window) {
    for (std::uint32_t offset : {kReadTagOffset, kWriteTagOffset, kExecTagOffset}) {
        const std::uint64_t* tags = memory.array(window, offset);
        for (unsigned i = 0; i < kTlbEntries; ++i) {
            ASSERT_EQ(tags[i], invalid_tag(i));
            // An access matches when address - tag < 4096; its slot is the address's.
            for (std::uint64_t within : {0u, 2048u, 4095u}) {
                ASSERT_NE(tlb_index(tags[i] + within), i);
            }
        }
    }
    const auto* victims =
        reinterpret_cast<const VictimEntry*>(memory.array(window, kVictimOffset));
    for (unsigned i = 0; i < kVictims; ++i) {
        ASSERT_NE(victim_index(victims[i].read_tag), i);
        ASSERT_NE(victim_index(victims[i].write_tag + 4095), i);
    }
    const auto* code_pages =
        reinterpret_cast<const CodePageLine*>(memory.array(window, kCodePageOffset));
    for (unsigned i = 0; i < kCodePageLines; ++i) {
        ASSERT_NE(code_page_index(code_pages[i].tag), i);
    }
    for (unsigned i = 0; i < kJumpCacheEntries; ++i) {
        const std::uint64_t pc = memory.array(window, kJumpOffset)[2 * i];
        ASSERT_EQ(pc, invalid_pc(i));
        // A pc is looked for in its line and in those beside it.
        ASSERT_NE(jump_cache_index(pc) / kJumpWays, i / kJumpWays);
    }
}

TEST(WindowMemory, NoAddressMatchesAnInitialisedWindow) {
    auto memory = make(kWindows);
    init_tables(memory->window_address(5));
    expect_nothing_matches(*memory, 5);
    EXPECT_EQ(word(*memory, 4, kReadTagOffset), 0u);
}

TEST(WindowMemory, ClearingForgetsOneWindowAndKeepsTheState) {
    auto memory = make(kWindows);
    init_tables(memory->window_address(3));
    init_tables(memory->window_address(4));
    word(*memory, 3, kStateOffset) = 77;
    word(*memory, 3, kReadTagOffset + 80) = word(*memory, 4, kReadTagOffset + 80) = 0xa000;
    word(*memory, 3, kJumpOffset + 32) = 4;
    clear_tables(memory->window_address(3));
    expect_nothing_matches(*memory, 3);
    EXPECT_EQ(word(*memory, 4, kReadTagOffset + 80), 0xa000u);
    EXPECT_EQ(word(*memory, 0, kStateOffset), 77u);
}

}  // namespace
}  // namespace rhea::tcg
