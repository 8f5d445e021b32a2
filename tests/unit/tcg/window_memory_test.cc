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

TEST(WindowMemory, NoAddressMatchesAnInitialisedWindow) {
    auto memory = make(kWindows);
    memory->init_window(5);
    for (std::uint32_t offset : {kReadTagOffset, kWriteTagOffset, kExecTagOffset}) {
        const std::uint64_t* tags = memory->array(5, offset);
        for (unsigned i = 0; i < kTlbEntries; ++i) {
            // An access matches when address - tag < 4096; its slot is the address's.
            for (std::uint64_t within : {0u, 2048u, 4095u}) {
                EXPECT_NE(tlb_index(tags[i] + within), i);
            }
        }
    }
    for (unsigned i = 0; i < kJumpCacheEntries; ++i) {
        ASSERT_EQ(memory->array(5, kJumpOffset)[2 * i], kInvalidPc);
    }
    EXPECT_EQ(word(*memory, 4, kReadTagOffset), 0u);
}

TEST(WindowMemory, DiscardForgetsOneWindowAndKeepsTheState) {
    auto memory = make(kWindows);
    memory->init_window(3);
    memory->init_window(4);
    word(*memory, 3, kStateOffset) = 77;
    memory->discard(3);
    EXPECT_EQ(word(*memory, 3, kReadTagOffset), 0u);
    EXPECT_EQ(word(*memory, 4, kReadTagOffset), invalid_tag(0));
    EXPECT_EQ(word(*memory, 0, kStateOffset), 77u);
}

}  // namespace
}  // namespace rhea::tcg
