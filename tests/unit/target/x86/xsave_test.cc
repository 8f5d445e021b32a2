// XSAVE, XSAVEOPT, XSAVEC, XRSTOR and XGETBV: components, forms, headers, faults (SDM volume 1, chapter 13).
#include <gtest/gtest.h>

#include "target/x86/fpu/x87_image.h"
#include "target/x86/fpu/xsave.h"
#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using test::X86Machine;

class Xsave : public testing::Test {
  protected:
    static constexpr std::uint64_t kArea = 0x8000;
    static constexpr long kGp0 = X86Machine::exception(kVectorGP);

    void SetUp() override {
        m.enter_long();
        s.cr4 |= kCr4OSXSAVE | kCr4OSFXSR;
        s.xcr0 = 7;
        init_fpu(s);
        s.head.guest_mxcsr = 0x1f80;
        update_mode(Cpu::of(&s));
        for (unsigned n = 0; n < 16; ++n)
            for (unsigned lane = 0; lane < 4; ++lane)
                s.xmm[n].lane[lane] = value(n, lane);
    }
    static std::uint64_t value(unsigned n, unsigned lane) { return 0x1000 * (n + 1) + lane; }
    long save(XsaveKind kind, std::uint64_t mask = 7, std::uint64_t at = kArea) {
        m.call(helper_xsave, at, mask, xsave_argument(static_cast<unsigned>(kind), true));
        return m.pending();
    }
    long restore(std::uint64_t mask = 7, std::uint64_t at = kArea) {
        m.call(helper_xrstor, at, mask, xsave_argument(4, true));
        return m.pending();
    }
    std::uint64_t header(unsigned word) const { return m.peek<std::uint64_t>(kArea + 512 + 8 * word); }
    void set_header(unsigned word, std::uint64_t v) { m.poke(kArea + 512 + 8 * word, v); }
    void fill_area() {
        for (std::uint64_t at = 0; at < 1024; at += 8)
            m.poke<std::uint64_t>(kArea + at, at < 512 || at >= 576 ? 0xeeeeeeeeeeeeeeee : 0);
    }
    void clear_registers() {
        for (VectorRegister& r : s.xmm)
            r = {};
    }

    X86Machine m;
    CpuState& s = m.s;
};

TEST_F(Xsave, RoundTripOfEverything) {
    s.fpr[3] = {1ull << 63, 0x3fff};
    s.head.guest_mxcsr = 0x3f80;
    ASSERT_EQ(save(XsaveKind::kXsave), -1);
    EXPECT_EQ(header(0), 7u);
    EXPECT_EQ(header(1), 0u);
    EXPECT_EQ(m.peek<std::uint64_t>(kArea + kXsaveAvxOffset + 16 * 5), value(5, 2));
    clear_registers();
    s.fpr[3] = {};
    s.head.guest_mxcsr = 0x1f80;
    ASSERT_EQ(restore(), -1);
    for (unsigned n = 0; n < 16; ++n)
        for (unsigned lane = 0; lane < 4; ++lane)
            EXPECT_EQ(s.xmm[n].lane[lane], value(n, lane));
    EXPECT_EQ(s.fpr[3].mantissa, 1ull << 63);
    EXPECT_EQ(s.head.guest_mxcsr, 0x3f80u);
}

TEST_F(Xsave, MaskLimitsWhatIsTouched) {
    fill_area();
    set_header(0, 3);
    ASSERT_EQ(save(XsaveKind::kXsave, kXsaveAvx), -1);
    EXPECT_EQ(header(0), 7u) << "other components' bits stay";
    EXPECT_EQ(m.peek<std::uint64_t>(kArea + 160), 0xeeeeeeeeeeeeeeee) << "XMM0 is not written";
    EXPECT_EQ(m.peek<std::uint32_t>(kArea + 24), 0x1f80u) << "MXCSR belongs to AVX too";
    s.xcr0 = 3;
    ASSERT_EQ(save(XsaveKind::kXsave), -1);
    s.xmm[1].lane[2] = 99;
    ASSERT_EQ(restore(), kGp0) << "XSTATE_BV has a component that XCR0 lacks";
    set_header(0, 3);
    ASSERT_EQ(restore(), -1);
    EXPECT_EQ(s.xmm[1].lane[2], 99u);
}

TEST_F(Xsave, InitialComponents) {
    clear_registers();
    s.xmm[2].lane[1] = 5;
    fill_area();
    ASSERT_EQ(save(XsaveKind::kXsaveopt), -1);
    EXPECT_EQ(header(0), kXsaveSse);
    EXPECT_EQ(m.peek<std::uint64_t>(kArea + kXsaveAvxOffset), 0xeeeeeeeeeeeeeeee);
    EXPECT_EQ(m.peek<std::uint64_t>(kArea + 160 + 2 * 16 + 8), 5u);
    s.xmm[9].lane[3] = 1;
    s.fcw = 0x27f;
    ASSERT_EQ(restore(), -1);
    EXPECT_EQ(s.xmm[9].lane[3], 0u) << "XSTATE_BV clear: initial configuration";
    EXPECT_EQ(s.fcw, 0x37f);
    s.gpr[kRcx] = 1;
    EXPECT_EQ(m.call(helper_xgetbv), kXsaveSse);
    s.gpr[kRcx] = 0;
    EXPECT_EQ(m.call(helper_xgetbv), 7u);
    s.gpr[kRcx] = 2;
    m.call(helper_xgetbv);
    EXPECT_EQ(m.pending(), kGp0);
}

TEST_F(Xsave, CompactedForm) {
    fill_area();
    s.head.guest_mxcsr = 0x3f80;
    ASSERT_EQ(save(XsaveKind::kXsavec, 6), -1);
    EXPECT_EQ(header(0), 6u);
    EXPECT_EQ(header(1), kXsaveCompacted | 6);
    EXPECT_EQ(m.peek<std::uint64_t>(kArea), 0xeeeeeeeeeeeeeeee) << "no x87";
    clear_registers();
    s.head.guest_mxcsr = 0x1f80;
    ASSERT_EQ(restore(), -1);
    EXPECT_EQ(s.xmm[15].lane[3], value(15, 3));
    EXPECT_EQ(s.head.guest_mxcsr, 0x3f80u);
    set_header(0, 4);
    ASSERT_EQ(restore(), -1);
    EXPECT_EQ(s.xmm[15].lane[0], 0u);
    EXPECT_EQ(s.head.guest_mxcsr, 0x1f80u) << "initialised with SSE";
}

TEST_F(Xsave, Faults) {
    EXPECT_EQ(save(XsaveKind::kXsave, 7, kArea + 16), kGp0) << "64-byte alignment";
    EXPECT_EQ(restore(7, kArea + 32), kGp0);
    ASSERT_EQ(save(XsaveKind::kXsave), -1);
    set_header(1, 1);
    EXPECT_EQ(restore(), kGp0) << "XCOMP_BV in the standard form";
    set_header(1, 0);
    set_header(2, 1);
    EXPECT_EQ(restore(), kGp0);
    set_header(2, 0);
    m.poke<std::uint32_t>(kArea + 24, 0x10000);
    EXPECT_EQ(restore(), kGp0) << "reserved MXCSR bit";
    EXPECT_EQ(restore(kXsaveX87), -1) << "MXCSR is not looked at";
    set_header(0, 7);
    set_header(1, kXsaveCompacted | 3);
    EXPECT_EQ(restore(), kGp0) << "XSTATE_BV beyond XCOMP_BV";
    set_header(0, 3);
    set_header(3, 1);
    EXPECT_EQ(restore(), kGp0) << "reserved bytes";
    s.cr4 &= ~kCr4OSXSAVE;
    EXPECT_EQ(save(XsaveKind::kXsave), X86Machine::exception(kVectorUD));
}

TEST_F(Xsave, Xsetbv) {
    const auto set = [&](std::uint64_t v, std::uint64_t index = 0) {
        s.gpr[kRax] = v, s.gpr[kRdx] = v >> 32, s.gpr[kRcx] = index;
        m.call(helper_xsetbv, 3);
        return m.pending();
    };
    s.cpl = 0;
    EXPECT_EQ(set(2), kGp0) << "x87 is always on";
    EXPECT_EQ(set(5), kGp0) << "AVX without SSE";
    EXPECT_EQ(set(1ull << 40 | 1), kGp0);
    EXPECT_EQ(set(3, 1), kGp0);
    EXPECT_EQ(set(3), -1);
    EXPECT_FALSE(m.frontend->mode() & kModeAvx);
    EXPECT_TRUE(m.frontend->mode() & kModeXsave);
}

}  // namespace
}  // namespace rhea::target::x86
