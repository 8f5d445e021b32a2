// TlbSet: what a window's tables hold after fills, flushes, switches of address space and of mode.
#include "accel/tcg/tlb.h"
#include "rhea/tcg/window_memory.h"

#include <gtest/gtest.h>

namespace rhea::accel {
namespace {

using namespace tcg;

constexpr std::uint32_t kUser = 0, kKernel = 1;

class Tlb : public ::testing::TestWithParam<unsigned> {
protected:
    Tlb()
        : memory_(std::move(*WindowMemory::create(GetParam()))),
          tlb_(memory_->window_address(0), memory_->window_count(), cold_) {}

    struct Attributes {
        bool global = false, write = true, only = true;
        std::uint64_t size = 4096;
    };
    static const std::uint8_t *host_of(std::uint64_t linear) {
        return reinterpret_cast<const std::uint8_t *>(0x700000000000 + (linear & ~0xfffull));
    }
    void fill(std::uint64_t linear, Attributes a) {
        tlb_.fill({.linear_page = linear & ~0xfffull, .host_page = host_of(linear), .page_size = a.size, .read = true,
                   .write = true, .execute = true, .global = a.global},
                  a.write, a.only);
    }
    void fill(std::uint64_t linear) { fill(linear, Attributes{}); }
    bool has(std::uint64_t linear, Access access = Access::kRead) const { return tlb_.lookup(linear, access) != nullptr; }
    /// As generated code looks: in the first line, then in those beside it.
    const void *jump(std::uint64_t pc) const {
        const auto *entries = reinterpret_cast<const JumpEntry *>(tlb_.current() + kJumpOffset);
        for (unsigned way = 0; way < kJumpWays; ++way) {
            const unsigned line = jump_cache_index(pc) ^ way;
            if (entries[line].pc == pc)
                return reinterpret_cast<const void *>(entries[line].host);
        }
        return nullptr;
    }
    bool victim(std::uint64_t linear) const {
        const auto *victims = reinterpret_cast<const VictimEntry *>(tlb_.current() + kVictimOffset);
        return victims[victim_index(linear)].read_tag == (linear & ~0xfffull);
    }
    bool many() const { return memory_->window_count() != 1; }

    std::unique_ptr<WindowMemory> memory_;
    VcpuCold cold_;
    TlbSet tlb_;
    int code_[3] = {};
};

TEST_P(Tlb, PageZeroIsAPageLikeOthers) {
    EXPECT_FALSE(has(0) || has(8, Access::kWrite) || has(0, Access::kExecute));
    EXPECT_EQ(jump(0), nullptr);
    EXPECT_FALSE(victim(0));
    fill(0);
    EXPECT_TRUE(has(0x123, Access::kWrite));
    tlb_.jump_cache_insert(0, &code_[0], false);
    EXPECT_EQ(jump(0), &code_[0]);
    tlb_.flush_page(0);
    EXPECT_FALSE(has(0));
    EXPECT_EQ(jump(0), nullptr);
}

TEST_P(Tlb, GlobalEntriesSurviveASwitchOthersDoNot) {
    tlb_.select(kKernel);
    fill(0xffff888000001000, {.global = true});
    fill(0x5000);
    fill(0x5000 + (std::uint64_t{kTlbEntries} << 12)); // displaces it
    EXPECT_TRUE(victim(0x5000));
    tlb_.jump_cache_insert(0xffff888000001010, &code_[0], false);
    tlb_.jump_cache_insert(0x5010 + (std::uint64_t{kTlbEntries} << 12), &code_[1], false);
    tlb_.switch_context(0, false);
    EXPECT_TRUE(has(0xffff888000001000));
    EXPECT_EQ(jump(0xffff888000001010), &code_[0]);
    EXPECT_FALSE(has(0x5000 + (std::uint64_t{kTlbEntries} << 12)));
    EXPECT_FALSE(victim(0x5000));
    EXPECT_EQ(jump(0x5010 + (std::uint64_t{kTlbEntries} << 12)), nullptr);
    tlb_.flush_all(false);
    EXPECT_FALSE(has(0xffff888000001000));
    EXPECT_EQ(jump(0xffff888000001010), nullptr);
}

TEST_P(Tlb, TheKernelsGlobalPagesAreKnownInAllContexts) {
    tlb_.select(kKernel);
    fill(0xffff888000001000, {.global = true});
    fill(0x5000);
    tlb_.switch_context(7, true);
    EXPECT_EQ(has(0xffff888000001000), many());
    EXPECT_FALSE(has(0x5000)); // another address space's
    tlb_.switch_context(0, true);
    EXPECT_FALSE(has(0x5000)); // dropped, since there is one window for both
    EXPECT_EQ(has(0xffff888000001000), many());
}

TEST_P(Tlb, AKernelWithoutGlobalPagesGetsAWindowForEachContext) {
    if (!many())
        GTEST_SKIP() << "there is one window";
    tlb_.select(kKernel);
    bool kept = false;
    for (unsigned turn = 0; turn < 400 && !kept; ++turn) {
        tlb_.switch_context(turn % 2, true);
        kept = has(0x100000);
        for (std::uint64_t page = 0; page < 32; ++page)
            fill(0x100000 + page * 4096);
    }
    EXPECT_TRUE(kept);
}

TEST_P(Tlb, UserEntriesStayWithTheirContext) {
    tlb_.select(kUser);
    fill(0x5000);
    tlb_.switch_context(7, true);
    EXPECT_FALSE(has(0x5000));
    tlb_.switch_context(0, true);
    EXPECT_EQ(has(0x5000), many());
    fill(0x5000);
    tlb_.flush_context(0, true);
    EXPECT_FALSE(has(0x5000));
}

TEST_P(Tlb, JumpsOfAnotherModeWordAreNotFound) {
    constexpr std::uint32_t kCompat = kUser | 1u << 8;
    tlb_.select(kUser);
    fill(0x5000);
    tlb_.jump_cache_insert(0x5010, &code_[0], false);
    tlb_.select(kKernel); // in between, as a change of code size goes through the kernel
    tlb_.select(kCompat);
    EXPECT_EQ(jump(0x5010), nullptr);
    tlb_.jump_cache_insert(0x5010, &code_[1], false);
    tlb_.select(kKernel);
    tlb_.select(kUser);
    EXPECT_EQ(jump(0x5010), nullptr);
}

TEST_P(Tlb, QuickHelpersAreToldOnlyOfWindowsThatFit) {
    constexpr std::uint32_t kWithAc = 2;
    const auto known = [this](std::uint32_t mode) { return cold_.mode_windows[mode & 3].mode_word == mode; };
    tlb_.select(kKernel);
    EXPECT_EQ(known(kKernel), many());
    EXPECT_FALSE(known(kWithAc)); // never used so far
    tlb_.select(kWithAc);
    EXPECT_EQ(cold_.mode_word, kWithAc);
    EXPECT_EQ(known(kKernel) && known(kWithAc), many());
    if (!many())
        return;
    // As a quick helper switches.
    fill(0x5000);
    cold_.window = cold_.mode_windows[kKernel].window;
    cold_.mode_word = kKernel;
    EXPECT_FALSE(has(0x5000));
    fill(0x6000);
    tlb_.select(kWithAc);
    EXPECT_TRUE(has(0x5000));
    EXPECT_FALSE(has(0x6000));
    tlb_.switch_context(7, true);
    EXPECT_TRUE(known(kWithAc) && known(kKernel)); // the kernel's is the same for all
    EXPECT_NE(cold_.mode_windows[kUser].window, 0u);
    EXPECT_FALSE(known(kUser));
    tlb_.select(kKernel | 1u << 8);
    EXPECT_FALSE(known(kKernel));
}

TEST_P(Tlb, TwoPcsOfALineLiveSideBySide) {
    const std::uint64_t one = 0x5010, other = one + (1ull << (2 * kJumpCacheBits + 1));
    ASSERT_EQ(jump_cache_index(one), jump_cache_index(other));
    tlb_.jump_cache_insert(one, &code_[0], false);
    tlb_.jump_cache_insert(other, &code_[1], false);
    EXPECT_EQ(jump(one), &code_[0]);
    EXPECT_EQ(jump(other), &code_[1]);
    tlb_.jump_cache_insert(one, &code_[2], false); // its code was made anew
    EXPECT_EQ(jump(one), &code_[2]);
    EXPECT_EQ(jump(other), &code_[1]);
    tlb_.flush_page(one);
    EXPECT_EQ(jump(one), nullptr);
    EXPECT_EQ(jump(other), &code_[1]);
}

TEST_P(Tlb, OnlyTheFifthPcOfALineDisplacesOneForGood) {
    const auto pc = [](unsigned n) { return 0x5010 + (std::uint64_t{n} << (2 * kJumpCacheBits + 1)); };
    for (unsigned n = 0; n < kJumpWays; ++n) {
        tlb_.jump_cache_insert(pc(n), &code_[n % 3], n % 2 != 0);
        for (unsigned known = 0; known <= n; ++known)
            EXPECT_EQ(jump(pc(known)), &code_[known % 3]) << known << " of " << n;
    }
    tlb_.jump_cache_insert(pc(1), &code_[0], false); // it moves to the front, and has one line only
    EXPECT_EQ(jump(pc(1)), &code_[0]);
    tlb_.flush_page(pc(1));
    EXPECT_EQ(jump(pc(1)), nullptr);
    tlb_.jump_cache_insert(pc(1), &code_[1], false);
    tlb_.jump_cache_insert(pc(4), &code_[2], false);
    EXPECT_EQ(jump(pc(4)), &code_[2]);
    EXPECT_EQ(jump(pc(1)), &code_[1]);
    unsigned left = 0;
    for (unsigned n = 0; n <= kJumpWays; ++n)
        left += jump(pc(n)) != nullptr;
    EXPECT_EQ(left, kJumpWays);
    tlb_.flush_jump_caches();
    for (unsigned n = 0; n <= kJumpWays; ++n)
        EXPECT_EQ(jump(pc(n)), nullptr);
}

TEST_P(Tlb, APageDropsTheJumpsIntoItAndThoseThatReachIntoIt) {
    tlb_.jump_cache_insert(0x4ffc, &code_[0], true);
    tlb_.jump_cache_insert(0x4f00, &code_[1], false);
    tlb_.jump_cache_insert(0x6000, &code_[2], false);
    tlb_.jump_cache_insert(0x5ffe, &code_[1], false);
    tlb_.flush_page(0x5000);
    EXPECT_EQ(jump(0x4ffc), nullptr);
    EXPECT_EQ(jump(0x4f00), &code_[1]);
    EXPECT_EQ(jump(0x6000), &code_[2]);
    EXPECT_EQ(jump(0x5ffe), nullptr);
}

TEST_P(Tlb, InvlpgInALargePageDropsAllOfIt) {
    fill(0x40000000, {.size = 0x200000});
    fill(0x40105000, {.size = 0x200000});
    fill(0x5000);
    tlb_.flush_page(0x5000);
    EXPECT_FALSE(has(0x5000));
    EXPECT_TRUE(has(0x40105000));
    tlb_.flush_page(0x401ff000);
    EXPECT_FALSE(has(0x40000000) || has(0x40105000));
}

TEST_P(Tlb, InvlpgIsOfTheCurrentContextAndOfGlobalPages) {
    constexpr std::uint32_t kWithAc = 2;
    tlb_.select(kWithAc);
    fill(0x5000);
    fill(0xffff888000001000, {.global = true});
    tlb_.switch_context(7, true);
    tlb_.flush_page(0x5000);
    tlb_.flush_page(0xffff888000001000);
    tlb_.switch_context(0, true);
    EXPECT_EQ(has(0x5000), many()); // another address space's page
    EXPECT_FALSE(has(0xffff888000001000));
    fill(0x5000);
    tlb_.switch_context(7, true);
    tlb_.flush_context_page(0, 0x5000);
    tlb_.switch_context(0, true);
    EXPECT_FALSE(has(0x5000));
}

TEST_P(Tlb, PagesWithCodeAreForgottenWhenTheirCodeChanges) {
    const auto line = [this](std::uint64_t linear) {
        return reinterpret_cast<const CodePageLine *>(tlb_.current() + kCodePageOffset)[code_page_index(linear)];
    };
    tlb_.note_code_page(0x5000, host_of(0x9000), 5, 0);
    EXPECT_EQ(line(0x5000).tag, 0x5000u);
    EXPECT_EQ(line(0x5000).granules, 5u);
    EXPECT_EQ(line(0x5000).tag + line(0x5000).addend, reinterpret_cast<std::uint64_t>(host_of(0x9000)));
    constexpr unsigned kStores = CodePageLine::kStores;
    const auto knows = [&](std::uint32_t key) {
        const CodePageLine now = line(0x5000);
        return std::count(now.stores, now.stores + kStores, key) == 1;
    };
    for (unsigned n = 0; n <= kStores; ++n)
        tlb_.note_code_page(0x5000, host_of(0x9000), 5, CodePageLine::store_key(n, 4));
    EXPECT_FALSE(knows(CodePageLine::store_key(0, 4))) << "one more than there is room for";
    EXPECT_TRUE(knows(CodePageLine::store_key(1, 4)) && knows(CodePageLine::store_key(kStores, 4)));
    tlb_.drop_code_page(host_of(0xa000));
    EXPECT_EQ(line(0x5000).tag, 0x5000u);
    tlb_.drop_code_page(host_of(0x9000));
    EXPECT_NE(line(0x5000).tag, 0x5000u);
    tlb_.note_code_page(0x5000, host_of(0x9000), 5, 0);
    EXPECT_FALSE(knows(CodePageLine::store_key(1, 4)));
    tlb_.flush_page(0x5000);
    EXPECT_NE(line(0x5000).tag, 0x5000u);
    tlb_.note_code_page(0x5000, host_of(0x9000), 5, 0);
    tlb_.flush_all(true);
    EXPECT_NE(line(0x5000).tag, 0x5000u);
}

TEST_P(Tlb, RevokedWritesAreFoundWhereverTheyAre) {
    tlb_.select(kUser);
    for (unsigned place = 0; place < 5; ++place) { // more than WritePlaces has room for
        PageEntry entry{.linear_page = 0x5000 + place * 0x3000, .host_page = host_of(0x9000), .read = true, .write = true};
        tlb_.fill(entry, true, place == 0);
    }
    fill(0x5000 + (std::uint64_t{kTlbEntries} << 12)); // the first is a victim now
    tlb_.select(kKernel);
    tlb_.fill({.linear_page = 0x7000, .host_page = host_of(0x9000), .read = true, .write = true}, true, false);
    tlb_.revoke_write(host_of(0x9000));
    EXPECT_FALSE(has(0x7000, Access::kWrite));
    EXPECT_TRUE(has(0x7000));
    if (!many())
        return;
    tlb_.select(kUser);
    for (unsigned place = 1; place < 5; ++place)
        EXPECT_FALSE(has(0x5000 + place * 0x3000, Access::kWrite)) << place;
    const auto *victims = reinterpret_cast<const VictimEntry *>(tlb_.current() + kVictimOffset);
    EXPECT_NE(victims[victim_index(0x5000)].write_tag, 0x5000u);
    EXPECT_TRUE(victim(0x5000));
    EXPECT_TRUE(has(0x5000 + (std::uint64_t{kTlbEntries} << 12), Access::kWrite));
}

TEST_P(Tlb, RevokedWritesAreFoundInTheLinesThatAreNamed) {
    tlb_.select(kUser);
    const std::uint64_t pages[] = {0x5000, 0x5000 + 64 * 0x1000, 0x5000 + (std::uint64_t{kTlbEntries} << 12)};
    for (const std::uint64_t page : pages) // the first is a victim in the end
        tlb_.fill({.linear_page = page, .host_page = host_of(0x9000), .read = true, .write = true}, true, page == 0x5000);
    fill(0x11000, Attributes{}); // another page's line
    tlb_.fill({.linear_page = 0x6000, .host_page = host_of(0x9000 + (1024u << 12)), .read = true, .write = true}, true, true); // has the place's room
    tlb_.revoke_write(host_of(0x9000), MarkedLines::of(5));
    for (const std::uint64_t page : {pages[1], pages[2]}) {
        EXPECT_FALSE(has(page, Access::kWrite));
        EXPECT_TRUE(has(page));
    }
    const auto *victims = reinterpret_cast<const VictimEntry *>(tlb_.current() + kVictimOffset);
    EXPECT_NE(victims[victim_index(0x5000)].write_tag, 0x5000u);
    EXPECT_TRUE(has(0x11000, Access::kWrite));
    EXPECT_TRUE(has(0x6000, Access::kWrite));
}

INSTANTIATE_TEST_SUITE_P(Windows, Tlb, ::testing::Values(kWindows, 1u),
                         [](const auto &info) { return info.param == 1 ? "One" : "Many"; });

} // namespace
} // namespace rhea::accel
