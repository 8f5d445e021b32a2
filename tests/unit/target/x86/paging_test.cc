// Page walks by mode (SDM vol. 3, chapter 4): translation, rights, error codes, accessed and dirty
// bits.
#include "target/x86/paging.h"

#include <gtest/gtest.h>

#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using tcg::Access;
using test::X86Machine;

class Paging : public testing::Test {
  protected:
    X86Machine m;
    tcg::Translation out;
    std::uint32_t error = 0;

    Cpu& cpu() { return Cpu::of(&m.s); }
    bool walk(std::uint64_t linear, Access access = Access::kRead, As as = As::kSupervisor) {
        error = 0xffff;
        return walk_pages(cpu(), linear, access, as, out, error);
    }
    /// Page tables by hand: root at 0x20000, next levels each 0x1000 above.
    void set_mode(std::uint64_t cr4, std::uint64_t efer) {
        m.s.cr0 = kCr0PE | kCr0PG | kCr0WP | kCr0ET;
        m.s.cr3 = 0x20000;
        m.s.cr4 = cr4;
        m.s.efer = efer;
    }
    void map4(std::uint64_t pte, std::uint64_t upper = 7) {
        set_mode(kCr4PAE | kCr4PGE, kEferLME | kEferLMA | kEferNXE);
        m.poke<std::uint64_t>(0x20000, 0x21000 | upper);
        m.poke<std::uint64_t>(0x21000, 0x22000 | upper);
        m.poke<std::uint64_t>(0x22000, 0x23000 | upper);
        m.poke<std::uint64_t>(0x23000 + 5 * 8, pte);
    }
};

TEST_F(Paging, OffTruncatesTo32BitsAndMasksA20) {
    EXPECT_TRUE(walk(0x1'0012'3456));
    EXPECT_EQ(out.physical, 0x123456u);
    EXPECT_TRUE(out.writable && out.executable);
    m.s.a20_masked = 1;
    EXPECT_TRUE(walk(0x123456));
    EXPECT_EQ(out.physical, 0x023456u);
}

TEST_F(Paging, ThirtyTwoBitSmallPage) {
    set_mode(0, 0);
    m.poke<std::uint32_t>(0x20000 + 1 * 4, 0x21000 | 7);
    m.poke<std::uint32_t>(0x21000 + 3 * 4, 0x456000 | 7);
    ASSERT_TRUE(walk(0x403abc));
    EXPECT_EQ(out.physical, 0x456abcu);
    EXPECT_FALSE(out.writable) << "not writable before the dirty bit is set";
    EXPECT_EQ(m.peek<std::uint32_t>(0x20004), 0x21027u);
    EXPECT_EQ(m.peek<std::uint32_t>(0x2100c), 0x456027u);
    ASSERT_TRUE(walk(0x403abc, Access::kWrite));
    EXPECT_TRUE(out.writable);
    EXPECT_EQ(m.peek<std::uint32_t>(0x2100c), 0x456067u);
}

TEST_F(Paging, ThirtyTwoBitLargePageWithPse36) {
    set_mode(kCr4PSE, 0);
    m.poke<std::uint32_t>(0x20000 + 2 * 4, 0x00c00000 | 0x3 << 13 | 0x87);  // address bits 33:32
    ASSERT_TRUE(walk(0x812345));
    EXPECT_EQ(out.physical, 0x3'00c12345u);
    EXPECT_EQ(out.page_size, 4u << 20);
    m.poke<std::uint32_t>(0x20000 + 2 * 4, 0x00c00000 | 1 << 21 | 0x87);
    EXPECT_FALSE(walk(0x812345));
    EXPECT_EQ(error, kPfPresent | kPfReserved);
    m.s.cr4 = 0;  // PS is ignored without PSE: the entry names a page table
    EXPECT_FALSE(walk(0x812345));
    EXPECT_EQ(error, 0u);
}

TEST_F(Paging, PaeUsesLoadedPdptes) {
    set_mode(kCr4PAE, kEferNXE);
    m.s.cr3 = 0x20020;
    m.poke<std::uint64_t>(0x20020 + 8, 0x21000 | 1);
    m.poke<std::uint64_t>(0x21000, 0x22000 | 7);
    m.poke<std::uint64_t>(0x22000 + 8, 0x777000 | 7 | 1ull << 63);
    ASSERT_TRUE(load_pdptes(cpu(), m.s.cr3));
    m.poke<std::uint64_t>(0x20020 + 8, 0);  // what memory says now does not matter
    ASSERT_TRUE(walk(0x40001010));
    EXPECT_EQ(out.physical, 0x777010u);
    EXPECT_FALSE(out.executable);
    EXPECT_FALSE(walk(0x40001010, Access::kExecute));
    EXPECT_EQ(error, kPfPresent | kPfFetch);
    EXPECT_FALSE(walk(0x1000));
    EXPECT_EQ(error, 0u) << "PDPTE 0 is not present";
    m.poke<std::uint64_t>(0x22000 + 8, 0x777000 | 7 | 1ull << 55);
    EXPECT_FALSE(walk(0x40001010)) << "bits 62:52 are reserved in PAE paging";
    EXPECT_EQ(error, kPfPresent | kPfReserved);
}

TEST_F(Paging, PaeReservedPdpteBitsAreRefused) {
    m.poke<std::uint64_t>(0x20000, 0x21000 | 1 | 1 << 1);
    EXPECT_FALSE(load_pdptes(cpu(), 0x20000));
    m.poke<std::uint64_t>(0x20000, 1ull << 50 | 1);
    EXPECT_FALSE(load_pdptes(cpu(), 0x20000));
    m.poke<std::uint64_t>(0x20000, 0);
    EXPECT_TRUE(load_pdptes(cpu(), 0x20000));
}

TEST_F(Paging, FourLevelRights) {
    struct Case {
        std::uint64_t pte, upper;
        Access access;
        As as;
        std::uint64_t cr4, cr0_clear;
        bool ok;
        std::uint32_t error;
    };
    constexpr std::uint64_t kNx = 1ull << 63;
    const Case cases[] = {
        {0x456000 | 7, 7, Access::kWrite, As::kUser, 0, 0, true, 0},
        {0x456000 | 5, 7, Access::kWrite, As::kUser, 0, 0, false, kPfPresent | kPfWrite | kPfUser},
        {0x456000 | 7, 5, Access::kWrite, As::kUser, 0, 0, false, kPfPresent | kPfWrite | kPfUser},
        {0x456000 | 3, 7, Access::kRead, As::kUser, 0, 0, false, kPfPresent | kPfUser},
        {0x456000 | 7, 3, Access::kRead, As::kUser, 0, 0, false, kPfPresent | kPfUser},
        {0x456000 | 1, 7, Access::kWrite, As::kSupervisor, 0, 0, false, kPfPresent | kPfWrite},
        {0x456000 | 1, 7, Access::kWrite, As::kSupervisor, 0, kCr0WP, true, 0},
        {0x456000 | 1, 7, Access::kWrite, As::kUser, 0, kCr0WP, false,
         kPfPresent | kPfWrite | kPfUser},
        {0x456000 | 7 | kNx, 7, Access::kExecute, As::kUser, 0, 0, false,
         kPfPresent | kPfUser | kPfFetch},
        {0x456000 | 7, 7 | kNx, Access::kExecute, As::kUser, 0, 0, false,
         kPfPresent | kPfUser | kPfFetch},
        {0x456000 | 7 | kNx, 7, Access::kRead, As::kUser, 0, 0, true, 0},
        {0x456000 | 7, 7, Access::kExecute, As::kSupervisor, 0, 0, true, 0},
        {0x456000 | 7, 7, Access::kExecute, As::kSupervisor, kCr4SMEP, 0, false,
         kPfPresent | kPfFetch},
        {0x456000 | 3, 7, Access::kExecute, As::kSupervisor, kCr4SMEP, 0, true, 0},
        {0x456000 | 7, 7, Access::kRead, As::kSupervisor, kCr4SMAP, 0, false, kPfPresent},
        {0x456000 | 7, 7, Access::kWrite, As::kSupervisor, kCr4SMAP, 0, false,
         kPfPresent | kPfWrite},
        {0x456000 | 7, 7, Access::kRead, As::kSupervisorAc, kCr4SMAP, 0, true, 0},
        {0x456000 | 7, 3, Access::kRead, As::kSupervisor, kCr4SMAP, 0, true, 0},
        {0x456000 | 6, 7, Access::kWrite, As::kUser, 0, 0, false, kPfWrite | kPfUser},
        {1ull << 45 | 7, 7, Access::kRead, As::kUser, 0, 0, false,
         kPfPresent | kPfUser | kPfReserved},
        {0x456000 | 7 | 1ull << 58, 7, Access::kRead, As::kUser, 0, 0, true, 0},  // ignored bits
    };
    for (const Case& c : cases) {
        map4(c.pte, c.upper);
        m.s.cr4 |= c.cr4;
        m.s.cr0 &= ~c.cr0_clear;
        const bool ok = walk(0x5123, c.access, c.as);
        EXPECT_EQ(ok, c.ok) << "pte " << std::hex << c.pte << " upper " << c.upper;
        if (ok)
            EXPECT_EQ(out.physical, 0x456123u);
        else
            EXPECT_EQ(error, c.error) << "pte " << std::hex << c.pte << " upper " << c.upper;
    }
}

TEST_F(Paging, NxIsReservedWithoutNxe) {
    map4(0x456000 | 7 | 1ull << 63);
    m.s.efer &= ~kEferNXE;
    EXPECT_FALSE(walk(0x5000));
    EXPECT_EQ(error, kPfPresent | kPfReserved);
}

TEST_F(Paging, AFaultSetsNoBits) {
    map4(0x456000 | 5);
    EXPECT_FALSE(walk(0x5000, Access::kWrite, As::kUser));
    EXPECT_EQ(m.peek<std::uint64_t>(0x20000), 0x21007u);
    EXPECT_EQ(m.peek<std::uint64_t>(0x23028), 0x456005u);
}

TEST_F(Paging, LargePagesAndGlobal) {
    set_mode(kCr4PAE | kCr4PGE, kEferLME | kEferLMA);
    m.poke<std::uint64_t>(0x20000, 0x21000 | 7);
    m.poke<std::uint64_t>(0x21000 + 8, 0x40000000 | 0x187);  // 1 GiB, global
    ASSERT_TRUE(walk(0x40123456));
    EXPECT_EQ(out.physical, 0x40123456u);
    EXPECT_EQ(out.page_size, 1u << 30);
    EXPECT_TRUE(out.global);
    m.s.cr4 &= ~kCr4PGE;
    ASSERT_TRUE(walk(0x40123456));
    EXPECT_FALSE(out.global);
    m.poke<std::uint64_t>(0x21000 + 8, 0x40200000 | 0x87);  // bit 21 must be 0 in a 1 GiB page
    EXPECT_FALSE(walk(0x40123456));
    EXPECT_EQ(error, kPfPresent | kPfReserved);
    m.poke<std::uint64_t>(0x21000, 0x22000 | 7);
    m.poke<std::uint64_t>(0x22000 + 8, 0x800000 | 0x1087);  // 2 MiB with the PAT bit
    ASSERT_TRUE(walk(0x2abcde));
    EXPECT_EQ(out.physical, 0x8abcdeu);
    m.poke<std::uint64_t>(0x20000, 0x21000 | 0x87);  // PS in a PML4 entry
    EXPECT_FALSE(walk(0x2abcde));
    EXPECT_EQ(error, kPfPresent | kPfReserved);
}

TEST_F(Paging, OneGibPagesNeedTheFeature) {
    X86Machine small("max,-pdpe1gb");
    small.s.cr0 = kCr0PE | kCr0PG;
    small.s.cr3 = 0x20000;
    small.s.cr4 = kCr4PAE;
    small.s.efer = kEferLME | kEferLMA;
    small.poke<std::uint64_t>(0x20000, 0x21000 | 7);
    small.poke<std::uint64_t>(0x21000, 0x87);
    EXPECT_FALSE(walk_pages(Cpu::of(&small.s), 0x1000, Access::kRead, As::kSupervisor, out, error));
    EXPECT_EQ(error, kPfPresent | kPfReserved);
}

TEST_F(Paging, TablesNowhereFaultInsteadOfCrashing) {
    set_mode(kCr4PAE, kEferLME | kEferLMA);
    m.s.cr3 = 0xff'ffff'f000;  // no memory: reads as all ones
    EXPECT_FALSE(walk(0x1000));
    EXPECT_EQ(error, kPfPresent | kPfReserved);
    m.s.cr3 = 0x20000;
    m.poke<std::uint64_t>(0x20000, 0xf0000000 | 7);
    EXPECT_FALSE(walk(0x1000));
}

TEST_F(Paging, ATableThatMapsItselfTerminates) {
    set_mode(kCr4PAE, kEferLME | kEferLMA);
    m.poke<std::uint64_t>(0x20000, 0x20000 | 7);
    ASSERT_TRUE(walk(0x10, Access::kWrite));
    EXPECT_EQ(out.physical, 0x20010u);
    EXPECT_EQ(m.peek<std::uint64_t>(0x20000), 0x20067u);
}

TEST_F(Paging, CanonicalOnlyMattersInLongMode) {
    EXPECT_TRUE(m.frontend->canonical(0x8000'0000'0000));
    m.enter_long();
    EXPECT_FALSE(m.frontend->canonical(0x8000'0000'0000));
    EXPECT_TRUE(m.frontend->canonical(0xffff'8000'0000'0000));
    EXPECT_EQ(m.frontend->wrap(0x1'0000'0000), 0x1'0000'0000u);
}

TEST_F(Paging, WalkRaisesPageFaultsForTheRunLoop) {
    map4(0);
    EXPECT_FALSE(m.frontend->walk(0x5008, Access::kWrite, 0, false, out));
    EXPECT_EQ(m.pending(), -1);
    EXPECT_FALSE(m.frontend->walk(0x5008, Access::kWrite, 0, true, out));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorPF, kPfWrite | kPfUser));
    EXPECT_EQ(m.s.exception_cr2, 0x5008u);
}

}  // namespace
}  // namespace rhea::target::x86
