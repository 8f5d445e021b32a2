// String instructions: chunks, direction, overlap, address sizes, faults in the middle,
// interruption, devices.
#include <gtest/gtest.h>

#include "rhea/tcg/backend.h"
#include "target/x86/helper_args.h"
#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using test::X86Machine;

class Strings : public testing::Test {
  protected:
    X86Machine m;
    CpuState& s = m.s;
    void SetUp() override { m.enter_long(); }
    static std::uint64_t info(unsigned size, RepKind rep = RepKind::kRep, unsigned address_size = 8,
                              bool code64 = true) {
        StringInfo i;
        i.size = static_cast<std::uint8_t>(size);
        i.address_size = static_cast<std::uint8_t>(address_size);
        i.rep = rep;
        i.code64 = code64;
        return i.pack();
    }
    void set(std::uint64_t rsi, std::uint64_t rdi, std::uint64_t rcx) {
        s.gpr[kRsi] = rsi;
        s.gpr[kRdi] = rdi;
        s.gpr[kRcx] = rcx;
    }
    void fill(std::uint64_t at, unsigned n) {
        for (unsigned i = 0; i < n; ++i)
            m.poke<std::uint8_t>(at + i, static_cast<std::uint8_t>(i * 7 + 1));
    }
    /// 4 KiB pages for 2..4 MiB: identity, page `absent` not present.
    void small_pages(std::uint64_t absent) {
        for (std::uint64_t i = 0; i < 512; ++i)
            m.poke<std::uint64_t>(0x20000 + i * 8,
                                  (0x200000 + i * 4096) | (0x200000 + i * 4096 == absent ? 6 : 7));
        m.poke<std::uint64_t>(X86Machine::kPageTables + 0x2000 + 8, 0x20000 | 7);
        m.call(helper_write_cr, 3, X86Machine::kPageTables, 3);
    }
};

TEST_F(Strings, MovsAcrossPagesForEachSize) {
    for (const unsigned size : {1u, 2u, 4u, 8u}) {
        fill(0x200ff1, 0x3000);
        set(0x200ff1, 0x300ffd, 0x2000 / size);
        EXPECT_EQ(m.call(helper_rep_movs, info(size)), 0u);
        EXPECT_EQ(m.pending(), -1);
        EXPECT_EQ(s.gpr[kRcx], 0u);
        EXPECT_EQ(s.gpr[kRsi], 0x202ff1u);
        EXPECT_EQ(s.gpr[kRdi], 0x302ffdu);
        for (unsigned i = 0; i < 0x2000; ++i)
            ASSERT_EQ(m.peek<std::uint8_t>(0x300ffd + i), m.peek<std::uint8_t>(0x200ff1 + i))
                << size << " " << i;
    }
}

TEST_F(Strings, OverlapReplicatesForwardAndMovesBackward) {
    m.poke<std::uint32_t>(0x200000, 0x04030201);
    set(0x200000, 0x200001, 16);
    m.call(helper_rep_movs, info(1));
    for (unsigned i = 0; i <= 16; ++i)
        EXPECT_EQ(m.peek<std::uint8_t>(0x200000 + i), 1);
    fill(0x200000, 16);
    s.df = ~0ull;
    set(0x20000f, 0x200013, 16);  // memmove upwards
    m.call(helper_rep_movs, info(1));
    s.df = 1;
    for (unsigned i = 0; i < 16; ++i)
        EXPECT_EQ(m.peek<std::uint8_t>(0x200004 + i), static_cast<std::uint8_t>(i * 7 + 1));
    EXPECT_EQ(s.gpr[kRsi], 0x1fffffu);
    EXPECT_EQ(s.gpr[kRdi], 0x200003u);
}

TEST_F(Strings, BackwardAcrossPages) {
    fill(0x200000, 0x3000);
    s.df = ~0ull;
    set(0x202ff8, 0x302ffc, 0x500);
    m.call(helper_rep_movs, info(8));
    s.df = 1;
    EXPECT_EQ(s.gpr[kRsi], 0x202ff8u - 0x2800);
    for (unsigned i = 0; i < 0x2800; ++i)
        ASSERT_EQ(m.peek<std::uint8_t>(0x300804 + i), m.peek<std::uint8_t>(0x200800 + i)) << i;
}

TEST_F(Strings, FaultInTheMiddleLeavesRegistersAtTheElement) {
    small_pages(0x302000);
    fill(0x210000, 0x2000);
    set(0x210000, 0x300ff0, 0x2000);
    m.call(helper_rep_movs, info(1));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorPF, kPfWrite));
    EXPECT_EQ(s.exception_cr2, 0x302000u);
    EXPECT_EQ(s.gpr[kRdi], 0x302000u);
    EXPECT_EQ(s.gpr[kRsi], 0x211010u);
    EXPECT_EQ(s.gpr[kRcx], 0x2000u - 0x1010);
    s.gpr[kRax] = 0x11;
    set(0, 0x301ffe, 1);
    m.call(helper_rep_stos, info(4));  // one element over the edge: nothing may be written
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorPF, kPfWrite));
    EXPECT_EQ(s.exception_cr2, 0x302000u);
    EXPECT_EQ(s.gpr[kRcx], 1u);
    EXPECT_NE(m.peek<std::uint8_t>(0x301ffe), 0x11);
}

TEST_F(Strings, InterruptedBetweenChunks) {
    s.gpr[kRax] = 0x55;
    set(0, 0x200800, 0x3000);
    s.head.exit_request = 1;
    EXPECT_EQ(m.call(helper_rep_stos, info(1)), 1u);
    EXPECT_EQ(s.gpr[kRdi], 0x201000u) << "one page";
    EXPECT_EQ(s.gpr[kRcx], 0x3000u - 0x800);
    s.head.exit_request = 0;
    EXPECT_EQ(m.call(helper_rep_stos, info(1)), 0u);
    EXPECT_EQ(m.peek<std::uint8_t>(0x2037ff), 0x55);
    EXPECT_EQ(m.peek<std::uint8_t>(0x203800), 0);
}

TEST_F(Strings, ThirtyTwoBitAddressesWrapAndZeroExtend) {
    set(0xffffffff'00200000, 0xffffffff'00300000, 0xffffffff'00000004);
    fill(0x200000, 16);
    m.call(helper_rep_movs, info(4, RepKind::kRep, 4));
    EXPECT_EQ(s.gpr[kRsi], 0x200010u);
    EXPECT_EQ(s.gpr[kRcx], 0u);
    set(0xffffffff'00200000, 0xffffffff'00300000, 0xffffffff'00000000);
    m.call(helper_rep_movs, info(4, RepKind::kRep, 4));
    EXPECT_EQ(s.gpr[kRsi], 0xffffffff'00200000u) << "no element, no write";
}

TEST_F(Strings, SixteenBitAddressesWrapInTheSegment) {
    X86Machine real;
    real.s.gpr[kRax] = 0x77;
    real.s.gpr[kRdi] = 0xabc0fff8;
    real.s.gpr[kRcx] = 0x10010;
    real.s.seg_base[kEs] = 0x20000;
    StringInfo i;
    i.size = 1;
    i.address_size = 2;
    i.rep = RepKind::kRep;
    real.call(helper_rep_stos, i.pack());
    EXPECT_EQ(real.s.gpr[kRdi], 0xabc00008u);
    EXPECT_EQ(real.s.gpr[kRcx], 0x10000u);
    EXPECT_EQ(real.peek<std::uint8_t>(0x2ffff), 0x77);
    EXPECT_EQ(real.peek<std::uint8_t>(0x20007), 0x77);
    EXPECT_EQ(real.peek<std::uint8_t>(0x30000), 0);
}

TEST_F(Strings, SegmentLimitsStopTheElement) {
    m.enter_protected();
    m.set_descriptor(0x58, X86Machine::descriptor(0x300000, 0x9, 0x93, 4));
    m.call(helper_load_seg, kEs, 0x58, 2);
    s.gpr[kRax] = 0x99;
    set(0, 0, 100);
    m.call(helper_rep_stos, info(4, RepKind::kRep, 4, false));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP));
    EXPECT_EQ(s.gpr[kRdi], 8u);
    EXPECT_EQ(s.gpr[kRcx], 98u);
    EXPECT_EQ(m.peek<std::uint32_t>(0x300004), 0x99u);
}

TEST_F(Strings, TheSourceIsReadBeforeTheDestinationsAlignmentMatters) {
    small_pages(0x210000);
    s.cold.mode_word |= kModeAlignCheck;
    set(0x200000, 0x300001, 2);
    m.call(helper_rep_movs, info(4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorAC));
    set(0x210000, 0x300001, 2);
    m.call(helper_rep_movs, info(4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorPF));
    set(0x20fffe, 0x300001, 2); // its own alignment, before its second page
    m.call(helper_rep_movs, info(4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorAC));
    set(0x210000, 0x300001, 2); // CMPS checks both first
    m.call(helper_rep_cmps, info(4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorAC));
}

TEST_F(Strings, LodsKeepsTheLastElement) {
    fill(0x200000, 0x2100);
    s.gpr[kRax] = ~0ull;
    set(0x200000, 0, 0x2000);
    m.call(helper_rep_lods, info(1));
    EXPECT_EQ(s.gpr[kRax], ~0xffull | m.peek<std::uint8_t>(0x201fff));
    s.gpr[kRax] = ~0ull;
    set(0x200000, 0, 2);
    m.call(helper_rep_lods, info(4));
    EXPECT_EQ(s.gpr[kRax], m.peek<std::uint32_t>(0x200004))
        << "a 32-bit load clears the upper half";
}

TEST_F(Strings, ScasFindsAndSetsFlags) {
    fill(0x200000, 0x2000);
    m.poke<std::uint8_t>(0x201234, 0);
    for (unsigned i = 0; i < 0x1234; ++i)
        if (m.peek<std::uint8_t>(0x200000 + i) == 0)
            m.poke<std::uint8_t>(0x200000 + i, 9);
    s.gpr[kRax] = 0;
    set(0, 0x200000, ~0ull);
    m.call(helper_rep_scas, info(1, RepKind::kRepne));
    EXPECT_EQ(s.gpr[kRdi], 0x201235u);
    EXPECT_EQ(s.gpr[kRcx], ~0ull - 0x1235);
    EXPECT_EQ(tcg::compute_flags(s.head), tcg::kZF | tcg::kPF);
    set(0, 0x200000, 4);
    s.gpr[kRax] = 0xffff'ffff'0000'0805;  // only AX counts
    m.poke<std::uint64_t>(0x200000, 0x0805'0805'0805'0805);
    m.call(helper_rep_scas, info(2, RepKind::kRep));
    EXPECT_EQ(s.gpr[kRcx], 0u);
    EXPECT_TRUE(tcg::compute_flags(s.head) & tcg::kZF);
}

TEST_F(Strings, CmpsStopsAtTheDifference) {
    for (const unsigned size : {1u, 2u, 4u, 8u}) {
        fill(0x200003, 0x2100);
        fill(0x300ff9, 0x2100);
        m.poke<std::uint8_t>(0x300ff9 + 0x1808, 0xff);
        set(0x200003, 0x300ff9, 0x2000 / size);
        m.call(helper_rep_cmps, info(size));
        EXPECT_EQ(s.gpr[kRsi], 0x200003u + 0x1808 / size * size + size) << size;
        EXPECT_FALSE(tcg::compute_flags(s.head) & tcg::kZF);
        EXPECT_TRUE(tcg::compute_flags(s.head) & tcg::kCF);
    }
    tcg::set_raw_flags(s.head, tcg::kCF | tcg::kOF);
    set(0x200003, 0x300ff9, 0);
    m.call(helper_rep_cmps, info(1));
    EXPECT_EQ(tcg::compute_flags(s.head), tcg::kCF | tcg::kOF) << "nothing compared, flags stay";
    s.df = ~0ull;
    fill(0x200000, 64);
    fill(0x300000, 64);
    m.poke<std::uint8_t>(0x300008, 0xff);
    set(0x200038, 0x300038, 8);
    m.call(helper_rep_cmps, info(8));
    EXPECT_EQ(s.gpr[kRcx], 1u);
}

TEST_F(Strings, PortStrings) {
    s.gpr[kRdx] = 0x1f0;
    set(0, 0x200fff, 3);
    m.call(helper_ins, info(2));  // the first one crosses a page
    EXPECT_EQ(m.peek<std::uint16_t>(0x200fff), 0x40);
    EXPECT_EQ(m.peek<std::uint16_t>(0x201003), 0x42);
    EXPECT_EQ(s.gpr[kRcx], 0u);
    // Many, over the end of a page: in runs, each element once and in order.
    set(0, 0x201f00, 300);
    m.call(helper_ins, info(2));
    for (unsigned i = 0; i < 300; ++i)
        ASSERT_EQ(m.peek<std::uint16_t>(0x201f00 + 2 * i), 0x43 + i) << i;
    EXPECT_EQ(s.gpr[kRcx], 0u);
    EXPECT_EQ(s.gpr[kRdi], 0x201f00u + 600);
    m.ports.next = 0x43;
    m.poke<std::uint16_t>(0x200000, 0x1234);
    set(0x200000, 0, 7);
    m.call(helper_outs, info(2, RepKind::kNone));
    ASSERT_EQ(m.ports.writes.size(), 1u);
    EXPECT_EQ(m.ports.writes[0].value, 0x1234u);
    EXPECT_EQ(s.gpr[kRcx], 7u) << "without REP the count is not looked at";
    small_pages(0x300000);
    set(0, 0x300000, 1);
    m.call(helper_ins, info(1));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorPF, kPfWrite));
    EXPECT_EQ(m.ports.next, 0x43u) << "the port is not read when the store faults";
}

TEST_F(Strings, MemoryThatIsNotThere) {
    set(0x200000, 0x1800000, 2);  // above RAM
    m.call(helper_rep_movs, info(8));
    EXPECT_EQ(m.pending(), -1);
    EXPECT_EQ(s.gpr[kRcx], 0u);
    set(0x1800000, 0x200000, 2);
    m.call(helper_rep_movs, info(8));
    EXPECT_EQ(m.peek<std::uint64_t>(0x200008), ~0ull);
}

TEST_F(Strings, SingleStepStopsAfterOneElement) {
    StringInfo i = StringInfo::unpack(info(2));
    i.one = true;
    fill(0x200000, 16);
    set(0x200000, 0x300000, 2);
    EXPECT_NE(m.call(helper_rep_movs, i.pack()), 0u);
    EXPECT_EQ(s.gpr[kRcx], 1u);
    EXPECT_EQ(s.gpr[kRsi], 0x200002u);
    EXPECT_EQ(m.call(helper_rep_movs, i.pack()), 0u);
    EXPECT_EQ(s.gpr[kRcx], 0u);
    // A comparison that its condition ends is not to be continued.
    i.rep = RepKind::kRepne;
    set(0x200000, 0x300000, 5);
    EXPECT_EQ(m.call(helper_rep_cmps, i.pack()), 0u);
    EXPECT_EQ(s.gpr[kRcx], 4u);
}

TEST_F(Strings, CheckedRunStopsAtThePageEnd) {
    // Segments that need checks go element by element; one that reaches into an absent page faults before it.
    small_pages(0x201000);
    m.enter_user();
    s.seg[kDs].limit = 0x7fffffff;
    s.seg[kDs].attr &= static_cast<std::uint16_t>(~kAttrG);
    s.seg[kCs].attr = 0xc0fb; // compatibility mode
    update_mode(Cpu::of(&s));
    ASSERT_NE(Cpu::of(&s).mode & kModeSegChecks, 0u);
    set(0x200ffd, 0x203000, 4);
    m.call(helper_rep_movs, info(2, RepKind::kRep, 4, false));
    EXPECT_NE(m.pending(), -1);
    EXPECT_EQ(s.gpr[kRcx], 3u);
    EXPECT_EQ(s.gpr[kRsi], 0x200fffu);
}

}  // namespace
}  // namespace rhea::target::x86
