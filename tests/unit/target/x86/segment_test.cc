// Segment loads, descriptor queries, descriptor tables, limit checks, the mode word.
#include "target/x86/segment.h"

#include <gtest/gtest.h>

#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using test::X86Machine;

class Segments : public testing::Test {
  protected:
    X86Machine m;
    CpuState& s = m.s;
    std::uint32_t mode() { return m.frontend->mode(); }
};

TEST_F(Segments, ProtectedLoads) {
    struct Case {
        const char* what;
        Seg seg;
        unsigned selector;
        unsigned cpl;
        long expect;
    };
    const Case cases[] = {
        {"null DS", kDs, 0, 0, -1},
        {"null with RPL 3", kDs, 3, 0, -1},
        {"null SS", kSs, 0, 0, X86Machine::exception(kVectorGP)},
        {"DS := code that can be read", kDs, 0x08, 0, -1},
        {"DS := execute-only code", kDs, 0x58, 0, X86Machine::exception(kVectorGP, 0x58)},
        {"SS := code", kSs, 0x08, 0, X86Machine::exception(kVectorGP, 0x08)},
        {"SS := read-only data", kSs, 0x60, 0, X86Machine::exception(kVectorGP, 0x60)},
        {"DS := read-only data", kDs, 0x60, 0, -1},
        {"DS := not present", kDs, 0x68, 0, X86Machine::exception(kVectorNP, 0x68)},
        {"SS := not present", kSs, 0x68, 0, X86Machine::exception(kVectorSS, 0x68)},
        {"DS := TSS", kDs, 0x28, 0, X86Machine::exception(kVectorGP, 0x28)},
        {"beyond the table", kDs, 0x100, 0, X86Machine::exception(kVectorGP, 0x100)},
        {"DPL 0 data from level 3", kDs, 0x13, 3, X86Machine::exception(kVectorGP, 0x10)},
        {"DPL 0 data with RPL 3", kDs, 0x13, 0, X86Machine::exception(kVectorGP, 0x10)},
        {"DPL 3 data from level 0", kEs, 0x23, 0, -1},
        {"conforming code from level 3", kFs, 0x73, 3, -1},
        {"SS with wrong RPL", kSs, 0x20, 3, X86Machine::exception(kVectorGP, 0x20)},
        {"SS of level 3", kSs, 0x23, 3, -1},
    };
    for (const Case& c : cases) {
        m.enter_protected();
        m.set_descriptor(0x58, X86Machine::descriptor(0, 0xfffff, 0x99, 0xc));
        m.set_descriptor(0x60, X86Machine::descriptor(0, 0xfffff, 0x91, 0xc));
        m.set_descriptor(0x68, X86Machine::descriptor(0, 0xfffff, 0x13, 0xc));
        m.set_descriptor(0x70, X86Machine::descriptor(0, 0xfffff, 0x9e, 0xc));
        if (c.cpl == 3)
            m.enter_user();
        const SegmentCache before = s.seg[c.seg];
        s.head.pc = 0x8000;
        m.call(helper_load_seg, c.seg, c.selector, 2);
        EXPECT_EQ(m.pending(), c.expect) << c.what;
        EXPECT_EQ(s.seg[c.seg].selector, c.expect == -1 ? c.selector : before.selector) << c.what;
        EXPECT_EQ(s.head.pc, c.expect == -1 ? 0x8002u : 0x8000u) << c.what;
    }
}

TEST_F(Segments, NullStackSegmentInLongMode) {
    m.enter_long();
    m.call(helper_load_seg, kSs, 0, 2);
    EXPECT_EQ(m.pending(), -1);
    m.call(helper_load_seg, kSs, 3, 2);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP));
    m.enter_user();
    m.call(helper_load_seg, kSs, 3, 2);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP));
}

TEST_F(Segments, DescriptorFieldsAndAccessedBit) {
    m.enter_protected();
    m.set_descriptor(0x58, X86Machine::descriptor(0x12345678, 0x54321, 0x92, 0xc));
    m.call(helper_load_seg, kFs, 0x58, 3);
    EXPECT_EQ(s.seg_base[kFs], 0x12345678u);
    EXPECT_EQ(s.seg[kFs].limit, 0x54321fffu);
    EXPECT_EQ(s.seg[kFs].attr, 0xc093);
    EXPECT_EQ(m.peek<std::uint8_t>(X86Machine::kGdt + 0x5d), 0x93);
}

TEST_F(Segments, LocalDescriptorTable) {
    m.enter_protected();
    m.set_descriptor(0x58, X86Machine::descriptor(0x4000, 0x0f, 0x82, 0));
    m.poke<std::uint64_t>(0x4008, X86Machine::descriptor(0x100, 0xffff, 0x93, 0));
    m.call(helper_lldt, 0x58);
    EXPECT_EQ(m.pending(), -1);
    EXPECT_EQ(m.call(helper_sldt), 0x58u);
    m.call(helper_load_seg, kEs, 0x0c, 2);
    EXPECT_EQ(m.pending(), -1);
    EXPECT_EQ(s.seg_base[kEs], 0x100u);
    m.call(helper_load_seg, kEs, 0x14, 2);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP, 0x14)) << "beyond its limit";
    m.call(helper_lldt, 0x10);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP, 0x10));
    m.call(helper_lldt, 0x5c);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP, 0x5c)) << "must be in the GDT";
    m.call(helper_ltr, 0x28);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP, 0x28)) << "busy";
    m.call(helper_ltr, 0);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP));
}

TEST_F(Segments, Queries) {
    m.enter_protected();
    m.set_descriptor(0x58, X86Machine::descriptor(0, 0xfffff, 0x99, 0xc));  // execute-only
    m.set_descriptor(0x60, X86Machine::gate(0x08, 0x9000, 12, 0));          // call gate
    m.set_descriptor(0x70, X86Machine::gate(0x08, 0x9000, 14, 0));          // interrupt gate
    constexpr std::uint64_t kValid = 1ull << 63;
    EXPECT_EQ(m.call(helper_lar, 0x08), kValid | 0x00cf9b00);
    EXPECT_EQ(m.call(helper_lsl, 0x08), kValid | 0xffffffff);
    EXPECT_EQ(m.call(helper_lsl, 0x28), kValid | 0x67);
    EXPECT_EQ(m.call(helper_lar, 0x60) >> 63, 1u);
    EXPECT_EQ(m.call(helper_lsl, 0x60), 0u) << "a gate has no limit";
    EXPECT_EQ(m.call(helper_lar, 0x70), 0u) << "nor can interrupt gates be seen";
    EXPECT_EQ(m.call(helper_lar, 0), 0u);
    EXPECT_EQ(m.call(helper_lar, 0x13), 0u) << "RPL above DPL";
    EXPECT_EQ(m.call(helper_verr, 0x08), 1u);
    EXPECT_EQ(m.call(helper_verr, 0x58), 0u);
    EXPECT_EQ(m.call(helper_verw, 0x08), 0u);
    EXPECT_EQ(m.call(helper_verw, 0x10), 1u);
    EXPECT_EQ(m.call(helper_verr, 0x28), 0u);
    m.enter_user();
    EXPECT_EQ(m.call(helper_verr, 0x10), 0u);
    EXPECT_EQ(m.call(helper_verw, 0x23), 1u);
    m.enter_long();
    EXPECT_EQ(m.call(helper_lar, 0x60), kValid | 0x8c00) << "64-bit call gate";
}

TEST_F(Segments, LimitAndTypeChecks) {
    m.enter_protected();
    m.set_descriptor(0x58, X86Machine::descriptor(0, 0xfff, 0x93, 4));  // expand-up, 4 KiB
    m.set_descriptor(0x60, X86Machine::descriptor(0, 0xfff, 0x97, 4));  // expand-down, 32-bit
    m.set_descriptor(0x68, X86Machine::descriptor(0, 0xfff, 0x97, 0));  // expand-down, 16-bit
    m.set_descriptor(0x70, X86Machine::descriptor(0, 0xfffff, 0x91, 0xc));
    const auto allowed = [&](unsigned selector, std::uint64_t offset, unsigned size,
                             bool write = false) {
        m.call(helper_load_seg, kEs, selector, 2);
        m.call(helper_seg_check, kEs, offset, size | (write ? 0x100 : 0));
        return m.pending() == -1;
    };
    EXPECT_TRUE(allowed(0x58, 0xffc, 4));
    EXPECT_FALSE(allowed(0x58, 0xffd, 4));
    EXPECT_FALSE(allowed(0x60, 0xfff, 1));
    EXPECT_TRUE(allowed(0x60, 0x1000, 4));
    EXPECT_TRUE(allowed(0x60, 0xfffffffc, 4));
    EXPECT_FALSE(allowed(0x60, 0xfffffffd, 4));
    EXPECT_FALSE(allowed(0x68, 0xfffd, 4));
    EXPECT_TRUE(allowed(0x70, 0, 4));
    EXPECT_FALSE(allowed(0x70, 0, 4, true));
    EXPECT_FALSE(allowed(0x08, 0, 4, true));
    EXPECT_FALSE(allowed(0, 0, 1));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP));
    s.seg[kSs].limit = 0xff;
    m.call(helper_seg_check, kSs, 0x100, 1);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorSS));
}

TEST_F(Segments, TableRegisters) {
    m.call(helper_lgdt, 0x1ffff, 0x123456);
    EXPECT_EQ(m.call(helper_sgdt_limit), 0xffffu);
    EXPECT_EQ(m.call(helper_sgdt_base), 0x123456u);
    m.enter_long();
    m.call(helper_lidt, 0xfff, 0x8000'0000'0000);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP));
    m.call(helper_lidt, 0xfff, 0xffff'8000'0000'0000);
    EXPECT_EQ(m.call(helper_sidt_base), 0xffff'8000'0000'0000u);
}

TEST_F(Segments, FsAndGsBase) {
    m.enter_long();
    m.call(helper_rdfsgsbase, kFs);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorUD)) << "CR4.FSGSBASE clear";
    m.call(helper_write_cr, 4, s.cr4 | kCr4FSGSBASE, 3);
    m.call(helper_wrfsgsbase, kGs, 0x7fff'1234'5678);
    EXPECT_EQ(m.call(helper_rdfsgsbase, kGs), 0x7fff'1234'5678u);
    m.call(helper_wrfsgsbase, kGs, 0x8000'0000'0000);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP));
}

TEST_F(Segments, EnterCopiesTheDisplay) {
    m.enter_protected();
    s.gpr[kRbp] = 0x6800;
    m.poke<std::uint32_t>(0x6800 - 4, 0xaaaa);
    m.poke<std::uint32_t>(0x6800 - 8, 0xbbbb);
    m.call(helper_enter, 0x20, 3, 4);
    EXPECT_EQ(m.peek<std::uint32_t>(0x7000 - 4), 0x6800u);
    EXPECT_EQ(m.peek<std::uint32_t>(0x7000 - 8), 0xaaaau);
    EXPECT_EQ(m.peek<std::uint32_t>(0x7000 - 12), 0xbbbbu);
    EXPECT_EQ(m.peek<std::uint32_t>(0x7000 - 16), 0x7000u - 4);
    EXPECT_EQ(s.gpr[kRbp], 0x7000u - 4);
    EXPECT_EQ(s.gpr[kRsp], 0x7000u - 16 - 0x20);
}

TEST_F(Segments, ModeWord) {
    EXPECT_EQ(mode(), 1u | kModeIopl | kModeSimdOff | kModeX87Unmasked) << "reset: real mode";
    m.enter_protected();
    EXPECT_EQ(mode(), 1u | kModeProtected | kModeCode32 | kModeStack32 | kModeCsBaseZero |
                          kModeDataFlat | kModeIopl | kModeSimdOff | kModeX87Unmasked);
    m.call(helper_load_seg, kFs, 0, 2);
    EXPECT_FALSE(mode() & kModeSegChecks) << "a null FS costs nothing";
    m.set_descriptor(0x58, X86Machine::descriptor(0x1000, 0xfff, 0x93, 4));
    const unsigned changes = m.mode_changes;
    m.call(helper_load_seg, kDs, 0x58, 2);
    EXPECT_TRUE(mode() & kModeSegChecks);
    EXPECT_FALSE(mode() & kModeDataFlat);
    EXPECT_EQ(m.mode_changes, changes + 1);
    m.enter_long();
    EXPECT_EQ(mode(), 1u | kModeProtected | kModeLongActive | kModeCode64 | kModeCsBaseZero |
                          kModeDataFlat | kModeIopl | kModeSimdOff | kModeX87Unmasked);
    m.call(helper_write_cr, 4, s.cr4 | kCr4SMAP | kCr4OSFXSR | kCr4UMIP, 3);
    m.call(helper_popf, kFlagAC, 8, 1);
    EXPECT_EQ(mode() & kModeWindowMask, 2u) << "AC under SMAP";
    EXPECT_FALSE(mode() & kModeSimdOff);
    EXPECT_TRUE(mode() & kModeUmip);
    m.enter_user();
    m.call(helper_popf, 0, 8, 1);
    EXPECT_EQ(mode() & (kModeWindowMask | kModeCpl3 | kModeIopl), std::uint32_t{kModeCpl3});
}

}  // namespace
}  // namespace rhea::target::x86
