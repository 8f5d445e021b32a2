// Control and debug registers, MSRs, TSC, CPUID instruction, XCR0, flags with privilege, port
// permission.
#include <gtest/gtest.h>

#include "target/x86/msr.h"
#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using test::X86Machine;

class Control : public testing::Test {
  protected:
    X86Machine m;
    CpuState& s = m.s;
    static constexpr long kGp0 = X86Machine::exception(kVectorGP);
    long write_cr(unsigned number, std::uint64_t value) {
        m.call(helper_write_cr, number, value, 3);
        return m.pending();
    }
    long wrmsr(std::uint32_t msr, std::uint64_t value) {
        s.gpr[kRcx] = msr;
        s.gpr[kRax] = value & 0xffffffff;
        s.gpr[kRdx] = value >> 32;
        m.call(helper_wrmsr, 2);
        return m.pending();
    }
    long rdmsr(std::uint32_t msr) {
        s.gpr[kRcx] = msr;
        m.call(helper_rdmsr);
        return m.pending();
    }
    std::uint64_t result() const { return s.gpr[kRdx] << 32 | s.gpr[kRax]; }
};

TEST_F(Control, Cr0ReservedCombinations) {
    EXPECT_EQ(write_cr(0, kCr0PG), kGp0) << "PG without PE";
    EXPECT_EQ(write_cr(0, kCr0NW), kGp0) << "NW without CD";
    EXPECT_EQ(write_cr(0, 1ull << 32), kGp0);
    EXPECT_EQ(s.cr0, kCr0CD | kCr0NW | kCr0ET);
    EXPECT_EQ(write_cr(0, kCr0PE | 1u << 6), -1) << "reserved low bits are ignored";
    EXPECT_EQ(s.cr0, kCr0PE | kCr0ET);
    m.call(helper_lmsw, 0, 3);
    EXPECT_TRUE(s.cr0 & kCr0PE) << "LMSW cannot clear PE";
    m.call(helper_lmsw, kCr0TS | kCr0MP, 3);
    EXPECT_EQ(s.cr0, kCr0PE | kCr0ET | kCr0TS | kCr0MP);
    EXPECT_TRUE(m.frontend->mode() & kModeFpuTrap);
    m.call(helper_clts, 2);
    EXPECT_FALSE(m.frontend->mode() & kModeFpuTrap);
}

TEST_F(Control, LongModeActivation) {
    m.enter_protected();
    ASSERT_EQ(wrmsr(0xc0000080, kEferLME), -1);
    EXPECT_EQ(write_cr(0, kCr0PE | kCr0PG), kGp0) << "needs PAE";
    write_cr(4, kCr4PAE);
    EXPECT_EQ(write_cr(0, kCr0PE | kCr0PG), -1);
    EXPECT_TRUE(s.efer & kEferLMA);
    EXPECT_EQ(write_cr(4, 0), kGp0) << "PAE stays on";
    EXPECT_EQ(wrmsr(0xc0000080, 0), kGp0) << "LME stays while paging is on";
    EXPECT_EQ(write_cr(0, kCr0PE), -1);
    EXPECT_FALSE(s.efer & kEferLMA);
}

TEST_F(Control, Cr4BitsNeedTheirFeature) {
    X86Machine plain("qemu64");
    for (const std::uint64_t bit : {kCr4VME, kCr4SMEP, kCr4SMAP, kCr4UMIP, kCr4FSGSBASE, kCr4LA57,
                                    kCr4OSXSAVE, std::uint64_t{1} << 31, std::uint64_t{1} << 13}) {
        plain.call(helper_write_cr, 4, bit, 3);
        EXPECT_EQ(plain.pending(), kGp0) << std::hex << bit;
    }
    EXPECT_EQ(write_cr(4, kCr4SMEP | kCr4SMAP | kCr4UMIP | kCr4FSGSBASE | kCr4PGE), -1);
    EXPECT_EQ(write_cr(4, kCr4PCIDE), kGp0) << "PCIDE outside long mode";
}

TEST_F(Control, Pcid) {
    m.enter_long();
    EXPECT_EQ(write_cr(3, X86Machine::kPageTables | 0x18), -1);
    EXPECT_EQ(write_cr(4, kCr4PAE | kCr4PCIDE), kGp0) << "CR3 bits 11:0 must be 0";
    write_cr(3, X86Machine::kPageTables);
    EXPECT_EQ(write_cr(4, kCr4PAE | kCr4PCIDE), -1);
    EXPECT_EQ(write_cr(3, X86Machine::kPageTables | 5), -1);
    EXPECT_EQ(m.space_pcid, 5u);
    EXPECT_FALSE(m.space_kept);
    EXPECT_EQ(write_cr(3, X86Machine::kPageTables | 6 | 1ull << 63), -1);
    EXPECT_EQ(m.space_pcid, 6u);
    EXPECT_TRUE(m.space_kept);
    EXPECT_EQ(s.cr3, X86Machine::kPageTables | 6) << "bit 63 is not stored";
    EXPECT_EQ(write_cr(3, 1ull << 52), kGp0);
    EXPECT_EQ(write_cr(3, 1ull << 45), kGp0) << "beyond the physical address width";
    EXPECT_EQ(write_cr(0, kCr0PE), kGp0) << "paging stays on with PCIDE";
}

TEST_F(Control, Invpcid) {
    m.enter_long();
    const auto invpcid = [&](std::uint64_t type, std::uint64_t pcid, std::uint64_t linear) {
        m.poke<std::uint64_t>(0x6000, pcid);
        m.poke<std::uint64_t>(0x6008, linear);
        m.call(helper_invpcid, type, 0x6000, 5);
        return m.pending();
    };
    EXPECT_EQ(invpcid(0, 1, 0x1000), kGp0) << "PCID without CR4.PCIDE";
    EXPECT_EQ(invpcid(4, 0, 0), kGp0);
    write_cr(4, kCr4PAE | kCr4PCIDE);
    EXPECT_EQ(invpcid(0, 7, 0x1234), -1);
    EXPECT_EQ(m.pcid_page, (std::pair<std::uint32_t, std::uint64_t>{7, 0x1000}));
    EXPECT_EQ(invpcid(0, 7, 0x8000'0000'0000), kGp0);
    EXPECT_EQ(invpcid(1, 0x1000, 0), kGp0) << "reserved bits of the descriptor";
    EXPECT_EQ(invpcid(1, 9, 0), -1);
    EXPECT_EQ(m.pcid_flush.tag, 9u);
    EXPECT_FALSE(m.pcid_flush.all);
    EXPECT_EQ(invpcid(2, 0, 0), -1);
    EXPECT_TRUE(m.pcid_flush.all && !m.pcid_flush.keep_global);
    EXPECT_EQ(invpcid(3, 0, 0), -1);
    EXPECT_TRUE(m.pcid_flush.all && m.pcid_flush.keep_global);
}

TEST_F(Control, TlbFlushes) {
    m.enter_long();
    unsigned before = m.flushes;
    write_cr(4, s.cr4 | kCr4PGE);
    EXPECT_EQ(m.flushes, before + 1);
    before = m.flushes;
    write_cr(0, s.cr0 | kCr0TS);
    EXPECT_EQ(m.flushes, before) << "TS means nothing to the TLB";
    m.call(helper_invlpg, 0x12345, 3);
    EXPECT_EQ(m.flushed_page, 0x12000u);
}

TEST_F(Control, Cr8IsTheTaskPriority) {
    m.enter_long();
    EXPECT_EQ(write_cr(8, 9), -1);
    EXPECT_EQ(m.apic_port.tpr, 9);
    EXPECT_EQ(m.call(helper_read_cr8), 9u);
    EXPECT_EQ(write_cr(8, 16), kGp0);
}

TEST_F(Control, DebugRegisterRules) {
    m.call(helper_write_dr, 6, 0, 3);
    EXPECT_EQ(m.call(helper_read_dr, 6), kDr6Fixed);
    EXPECT_EQ(m.call(helper_read_dr, 4), kDr6Fixed) << "alias";
    write_cr(4, kCr4DE);
    m.call(helper_read_dr, 4);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorUD));
    m.call(helper_write_dr, 7, 1ull << 32, 3);
    EXPECT_EQ(m.pending(), kGp0);
    m.call(helper_write_dr, 7, kDr7GD, 3);
    m.call(helper_read_dr, 0);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorDB));
    EXPECT_EQ(s.exception_dr6, kDr6BD);
}

TEST_F(Control, MsrTable) {
    struct Case {
        std::uint32_t msr;
        std::uint64_t write;
        long expect;
        std::uint64_t read;
    };
    const Case cases[] = {
        {0x174, 0x1234, -1, 0x1234},
        {0x175, 0x8000'0000'0000, kGp0, 0},
        {0x277, 0x0007010600070106, -1, 0x0007010600070106},
        {0x277, 0x02, kGp0, 0x0007010600070106},
        {0x2ff, 0xc06, -1, 0xc06},
        {0x2ff, 0x100, kGp0, 0xc06},
        {0x200, 0xe0000006, -1, 0xe0000006},
        {0x201, 0xff'e000'0800, -1, 0xff'e000'0800},
        {0x201, 0x1ff'e000'0800, kGp0, 0xff'e000'0800},
        {0x26f, 0x0606060606060606, -1, 0x0606060606060606},
        {0x26f, 0x02, kGp0, 0x0606060606060606},
        {0xfe, 0, kGp0, 0x508},
        {0x400, ~0ull, -1, ~0ull},
        {0x401, 1, kGp0, 0},
        {0x410, ~0x400ull, -1, ~0x400ull},
        {0xc0000081, 0x0023'0010'0000'0000, -1, 0x0023'0010'0000'0000},
        {0xc0000082, 0x8000'0000'0000, kGp0, 0},
        {0xc0000100, 0x7fff'0000'0000, -1, 0x7fff'0000'0000},
        {0xc0000102, 0xffff'8000'0000'0000, -1, 0xffff'8000'0000'0000},
        {0xc0000103, 0x1'0000'0000, kGp0, 0},
        {0xc0000103, 7, -1, 7},
        {0x1b, 0xfee00900, -1, 0xfee00900},
        {0x6e0, 12345, -1, 12345},
        {0xc0000080, 1ull << 14, kGp0, 0},
        {0xc0000080, kEferNXE | kEferSCE, -1, kEferNXE | kEferSCE},
        {0x8b, 5, -1, 0x01000065},
    };
    for (const Case& c : cases) {
        EXPECT_EQ(wrmsr(c.msr, c.write), c.expect) << std::hex << c.msr;
        EXPECT_EQ(rdmsr(c.msr), -1) << std::hex << c.msr;
        EXPECT_EQ(result(), c.read) << std::hex << c.msr;
    }
}

TEST_F(Control, UnknownMsrsFault) {
    for (const std::uint32_t msr : {0x4b564d00u, 0xc0002000u, 0x3u, 0x801u}) {
        EXPECT_EQ(rdmsr(msr), kGp0) << std::hex << msr;
        EXPECT_EQ(wrmsr(msr, 0), kGp0) << std::hex << msr;
    }
    EXPECT_EQ(rdmsr(0x802), -1) << "x2APIC goes to the local APIC";
    X86Machine plain("qemu64");
    plain.s.gpr[kRcx] = 0x10a;
    plain.call(helper_rdmsr);
    EXPECT_EQ(plain.pending(), kGp0) << "no ARCH_CAPABILITIES, no register";
}

TEST_F(Control, TimeStampCounter) {
    m.frontend->reset();  // at 1000 ns
    m.now = 5000;
    m.call(helper_rdtsc);
    EXPECT_EQ(result(), 4000u) << "a tick a nanosecond since reset";
    EXPECT_EQ(m.frontend->tsc_port()->tsc_now(), 4000u);
    EXPECT_EQ(m.frontend->tsc_port()->tsc_hz(), 1'000'000'000u);
    wrmsr(0x10, 100'000);
    rdmsr(0x3b);
    EXPECT_EQ(result(), 96'000u) << "TSC_ADJUST follows";
    wrmsr(0x3b, 0);
    m.call(helper_rdtsc);
    EXPECT_EQ(result(), 4000u);
    s.tsc_aux = 3;
    m.call(helper_rdtscp);
    EXPECT_EQ(s.gpr[kRcx], 3u);
    m.enter_protected();
    m.enter_user();
    m.call(helper_rdtsc);
    EXPECT_EQ(m.pending(), -1);
    s.cr4 |= kCr4TSD;
    m.call(helper_rdtsc);
    EXPECT_EQ(m.pending(), kGp0);
    m.call(helper_rdpmc);
    EXPECT_EQ(m.pending(), kGp0);
}

TEST_F(Control, PopfByLevel) {
    m.enter_protected();
    m.call(helper_popf, 0xffffffff, 4, 1);
    EXPECT_EQ(read_rflags(s), (kAllFlags & ~(kFlagVM | kFlagRF | kFlagVIF | kFlagVIP)) | 2u);
    m.call(helper_popf, 0, 2, 1);
    EXPECT_EQ(read_rflags(s), kFlagAC | kFlagID | 2u) << "a 16-bit POPF leaves the upper half";
    m.enter_protected();
    m.enter_user();
    m.call(helper_popf, kFlagIF | kFlagIOPL | tcg::kZF, 4, 1);
    EXPECT_EQ(read_rflags(s), tcg::kZF | 2u);
    write_rflags(s, kFlagVM, kFlagVM | kFlagIOPL);
    m.call(helper_popf, 0, 2, 1);
    EXPECT_EQ(m.pending(), kGp0) << "VM86 with IOPL 0";
    m.call(helper_pushf_value, 2);
    EXPECT_EQ(m.pending(), kGp0);
}

TEST_F(Control, PortPermission) {
    m.enter_protected();
    EXPECT_EQ(m.call(helper_in, 0x60, 1), 0x40u);
    m.enter_user();
    m.poke<std::uint16_t>(X86Machine::kTss + 0x66, 0x68);
    m.call(helper_in, 0x60, 1);
    EXPECT_EQ(m.pending(), kGp0) << "the TSS ends before any bitmap";
    s.tr.limit = 0x68 + 0x20;
    for (unsigned i = 0; i <= 0x20; ++i)
        m.poke<std::uint8_t>(X86Machine::kTss + 0x68 + i, 0xff);
    m.poke<std::uint8_t>(X86Machine::kTss + 0x68 + 0x60 / 8, 0xfc);  // ports 60 and 61
    m.call(helper_out, 0x60, 0xabcd, 2);
    EXPECT_EQ(m.pending(), -1);
    ASSERT_EQ(m.ports.writes.size(), 1u);
    EXPECT_EQ(m.ports.writes[0].value, 0xabcdu);
    m.call(helper_in, 0x61, 2);
    EXPECT_EQ(m.pending(), kGp0) << "port 62 is denied";
    m.call(helper_in, 0x1000, 1);
    EXPECT_EQ(m.pending(), kGp0) << "beyond the TSS limit";
}

TEST_F(Control, XsaveNeedsTheFeature) {
    m.call(helper_xgetbv);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorUD)) << "CR4.OSXSAVE cannot be set";
    m.call(helper_xsetbv, 3);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorUD));
}

TEST_F(Control, CompareAndExchange) {
    m.enter_long();
    m.poke<std::uint64_t>(0x6000, 0x1111222233334444);
    m.poke<std::uint64_t>(0x6008, 0x5555);
    s.gpr[kRax] = 0x33334444;
    s.gpr[kRdx] = 0x11112222;
    s.gpr[kRbx] = 0xbbbbbbbb;
    s.gpr[kRcx] = 0xcccccccc;
    write_rflags(s, tcg::kCF, kAllFlags);
    m.call(helper_cmpxchg8b, 0x6000, 1);
    EXPECT_EQ(m.peek<std::uint64_t>(0x6000), 0xccccccccbbbbbbbbu);
    EXPECT_EQ(read_rflags(s), tcg::kZF | tcg::kCF | 2u);
    m.call(helper_cmpxchg8b, 0x6000, 1);
    EXPECT_EQ(read_rflags(s), tcg::kCF | 2u);
    EXPECT_EQ(s.gpr[kRax], 0xbbbbbbbbu);
    EXPECT_EQ(s.gpr[kRdx], 0xccccccccu);
    m.call(helper_cmpxchg16b, 0x6008, 1);
    EXPECT_EQ(m.pending(), kGp0) << "alignment";
    s.gpr[kRax] = 0xccccccccbbbbbbbb;
    s.gpr[kRdx] = 0x5555;
    m.call(helper_cmpxchg16b, 0x6000, 1);
    EXPECT_EQ(m.peek<std::uint64_t>(0x6000), 0xbbbbbbbbu);
    EXPECT_EQ(m.peek<std::uint64_t>(0x6008), 0xccccccccu);
    m.poke<std::uint64_t>(0x5ffc, 7);  // across a page boundary
    s.gpr[kRax] = 7;
    s.gpr[kRdx] = m.peek<std::uint32_t>(0x6000);
    m.call(helper_cmpxchg8b, 0x5ffc, 0);
    EXPECT_EQ(m.peek<std::uint64_t>(0x5ffc), 0xccccccccbbbbbbbbu);
    m.call(helper_cmpxchg8b, 0x40000000, 0);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorPF, kPfWrite));
}

}  // namespace
}  // namespace rhea::target::x86
