// Far jumps, calls, returns, IRET and task switches (SDM vol. 2, CALL, JMP, RET, IRET; vol. 3,
// chapters 5 and 8).
#include <gtest/gtest.h>

#include "target/x86/interrupt.h"
#include "target/x86/segment.h"
#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using test::X86Machine;

class FarTransfers : public testing::Test {
  protected:
    X86Machine m;
    CpuState& s = m.s;
    static constexpr std::uint64_t arg(unsigned length, unsigned opsize) {
        return length | opsize << 8;
    }
    template <typename T>
    T stack(unsigned slot) {
        return m.peek<T>(s.gpr[kRsp] + slot * sizeof(T));
    }
    void push32(std::initializer_list<std::uint32_t> values) {  // first is on top
        s.gpr[kRsp] -= values.size() * 4;
        unsigned i = 0;
        for (const std::uint32_t v : values)
            m.poke<std::uint32_t>(s.gpr[kRsp] + i++ * 4, v);
    }
    void push64(std::initializer_list<std::uint64_t> values) {
        s.gpr[kRsp] -= values.size() * 8;
        unsigned i = 0;
        for (const std::uint64_t v : values)
            m.poke<std::uint64_t>(s.gpr[kRsp] + i++ * 8, v);
    }
};

TEST_F(FarTransfers, RealModeCallAndReturn) {
    s.seg[kCs].selector = 0x100;
    s.seg_base[kCs] = 0x1000;
    s.head.pc = 0x1010;
    s.gpr[kRsp] = 0x200;
    m.call(helper_far_call, 0x2000, 0x34, arg(5, 2));
    EXPECT_EQ(s.head.pc, 0x20034u);
    EXPECT_EQ(m.peek<std::uint16_t>(0x1fc), 0x15);
    EXPECT_EQ(m.peek<std::uint16_t>(0x1fe), 0x100);
    m.call(helper_far_ret, 4, 2);
    EXPECT_EQ(s.head.pc, 0x1015u);
    EXPECT_EQ(s.gpr[kRsp], 0x204u);
    m.call(helper_far_jmp, 0x2000, 0x10000, arg(7, 4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP)) << "beyond the 64 KiB limit";
    EXPECT_EQ(s.head.pc, 0x1015u);
}

TEST_F(FarTransfers, DirectJumpChecks) {
    struct Case {
        const char* what;
        unsigned selector;
        long expect;
    };
    m.enter_protected();
    m.set_descriptor(0x58, X86Machine::descriptor(0, 0xfffff, 0x1b, 0xc));  // not present code
    m.set_descriptor(0x60, X86Machine::descriptor(0, 0xfffff, 0x9f, 0xc));  // conforming, level 0
    m.set_descriptor(0x68, X86Machine::descriptor(0, 0xff, 0x9b, 4));       // 256 bytes
    const Case cases[] = {
        {"null", 0, X86Machine::exception(kVectorGP)},
        {"beyond the table", 0x108, X86Machine::exception(kVectorGP, 0x108)},
        {"data", 0x10, X86Machine::exception(kVectorGP, 0x10)},
        {"level 3 code from level 0", 0x1b, X86Machine::exception(kVectorGP, 0x18)},
        {"not present", 0x58, X86Machine::exception(kVectorNP, 0x58)},
        {"offset beyond the limit", 0x68, X86Machine::exception(kVectorGP)},
        {"conforming", 0x60, -1},
        {"code", 0x08, -1},
        {"no LDT", 0x0c, X86Machine::exception(kVectorGP, 0x0c)},
    };
    for (const Case& c : cases) {
        s.head.pc = 0x8000;
        m.call(helper_far_jmp, c.selector, 0x1000, arg(7, 4));
        EXPECT_EQ(m.pending(), c.expect) << c.what;
        EXPECT_EQ(s.head.pc, c.expect == -1 ? 0x1000u : 0x8000u) << c.what;
    }
}

TEST_F(FarTransfers, ConformingCodeKeepsTheLevel) {
    m.enter_protected();
    m.set_descriptor(0x60, X86Machine::descriptor(0, 0xfffff, 0x9e, 0xc));  // not accessed
    m.enter_user();
    m.call(helper_far_jmp, 0x60, 0x1000, arg(7, 4));
    EXPECT_EQ(m.pending(), -1);
    EXPECT_EQ(s.seg[kCs].selector, 0x63);
    EXPECT_EQ(s.cpl, 3);
    EXPECT_EQ(m.peek<std::uint8_t>(X86Machine::kGdt + 0x65) & 1, 1) << "accessed bit";
}

TEST_F(FarTransfers, CallGateToInnerLevelCopiesParameters) {
    m.enter_protected();
    m.set_descriptor(0x58, X86Machine::gate(0x08, 0x9000, 12, 3, 2));
    m.poke<std::uint32_t>(X86Machine::kTss + 4, 0x5000);
    m.poke<std::uint16_t>(X86Machine::kTss + 8, 0x10);
    m.enter_user();
    push32({0x11111111, 0x22222222});
    const std::uint64_t user_esp = s.gpr[kRsp];
    s.head.pc = 0x8000;
    m.call(helper_far_call, 0x5b, 0xdead, arg(7, 4));
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(s.cpl, 0);
    EXPECT_EQ(s.head.pc, 0x9000u);
    EXPECT_EQ(s.gpr[kRsp], 0x5000u - 24);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x8007u);
    EXPECT_EQ(stack<std::uint32_t>(1), 0x1bu);
    EXPECT_EQ(stack<std::uint32_t>(2), 0x11111111u);
    EXPECT_EQ(stack<std::uint32_t>(3), 0x22222222u);
    EXPECT_EQ(stack<std::uint32_t>(4), user_esp);
    EXPECT_EQ(stack<std::uint32_t>(5), 0x23u);
    m.call(helper_load_seg, kDs, 0x10, 2);  // RETF must take this away
    m.call(helper_far_ret, 8, 4);
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(s.cpl, 3);
    EXPECT_EQ(s.head.pc, 0x8007u);
    EXPECT_EQ(s.gpr[kRsp], user_esp + 8) << "both stacks release the parameters";
    EXPECT_EQ(s.seg[kDs].selector, 0);
    EXPECT_EQ(s.seg[kEs].selector, 0x23) << "what level 3 may use stays";
}

TEST_F(FarTransfers, CallGateChecks) {
    m.enter_protected();
    m.set_descriptor(0x58, X86Machine::gate(0x08, 0x9000, 12, 0));  // not for level 3
    m.set_descriptor(0x60, X86Machine::gate(0x08, 0x9000, 12, 3) & ~(1ull << 47));
    m.set_descriptor(0x68, X86Machine::gate(0x10, 0x9000, 12, 3));  // leads to data
    m.set_descriptor(0x70, X86Machine::gate(0x08, 0x9000, 12, 3));
    m.enter_user();
    m.call(helper_far_call, 0x58, 0, arg(7, 4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP, 0x58));
    m.call(helper_far_call, 0x60, 0, arg(7, 4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorNP, 0x60));
    m.call(helper_far_call, 0x68, 0, arg(7, 4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP, 0x10));
    m.call(helper_far_jmp, 0x70, 0, arg(7, 4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP, 0x08)) << "JMP cannot change the level";
}

TEST_F(FarTransfers, LongModeCallGate) {
    m.enter_long();
    m.poke<std::uint64_t>(X86Machine::kGdt + 0x60, X86Machine::gate(0x08, 0x00009000, 12, 3));
    m.poke<std::uint64_t>(X86Machine::kGdt + 0x68, std::uint64_t{0x7f});
    m.poke<std::uint64_t>(X86Machine::kTss + 4, 0x5000);
    m.enter_user();
    s.head.pc = 0x8000;
    m.call(helper_far_call, 0x60, 0, arg(3, 8));
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(s.head.pc, 0x7f'0000'9000u);
    EXPECT_EQ(s.cpl, 0);
    EXPECT_EQ(s.seg[kSs].selector, 0);
    EXPECT_EQ(stack<std::uint64_t>(0), 0x8003u);
    EXPECT_EQ(stack<std::uint64_t>(1), 0x33u);
    EXPECT_EQ(stack<std::uint64_t>(2), 0x6000u);
    EXPECT_EQ(stack<std::uint64_t>(3), 0x23u);
    m.set_descriptor(0x58, X86Machine::descriptor(0x3000, 0x67, 0x89, 0));
    m.call(helper_far_jmp, 0x58, 0, arg(3, 8));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP, 0x58))
        << "no task switches in long mode";
}

TEST_F(FarTransfers, IretFlagsDependOnTheLevel) {
    m.enter_protected();
    push32({0x1234, 0x08, 0xffffffff & ~(kFlagVM | kFlagNT)});
    m.call(helper_iret, 4);
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(read_rflags(s), (kAllFlags & ~(kFlagVM | kFlagNT)) | 2);
    write_rflags(s, 0, kAllFlags);
    m.enter_user();
    push32({0x1234, 0x1b, 0xffffffff & ~(kFlagVM | kFlagNT)});
    m.call(helper_iret, 4);
    ASSERT_EQ(m.pending(), -1);
    EXPECT_FALSE(s.rflags & (kFlagIF | kFlagIOPL | kFlagVIF | kFlagVIP)) << "level 3, IOPL 0";
    EXPECT_TRUE(s.rflags & kFlagAC);
}

TEST_F(FarTransfers, IretToOuterLevelChecksTheStack) {
    struct Case {
        std::uint32_t cs, ss;
        long expect;
    };
    const Case cases[] = {
        {0x1b, 0x23, -1},
        {0x1b, 0x10, X86Machine::exception(kVectorGP, 0x10)},
        {0x1b, 0x00, X86Machine::exception(kVectorGP)},
        {0x1b, 0x1b, X86Machine::exception(kVectorGP, 0x18)},
        {0x0b, 0x23, X86Machine::exception(kVectorGP, 0x08)},
        {0x00, 0x23, X86Machine::exception(kVectorGP)},
        {0x13, 0x23, X86Machine::exception(kVectorGP, 0x10)},
    };
    for (const Case& c : cases) {
        m.enter_protected();
        push32({0x1234, c.cs, 0x202, 0x6000, c.ss});
        const std::uint64_t esp = s.gpr[kRsp];
        m.call(helper_iret, 4);
        EXPECT_EQ(m.pending(), c.expect) << c.cs << " " << c.ss;
        EXPECT_EQ(s.gpr[kRsp], c.expect == -1 ? 0x6000u : esp);
        EXPECT_EQ(s.cpl, c.expect == -1 ? 3 : 0);
    }
}

TEST_F(FarTransfers, IretqAlwaysPopsTheStack) {
    m.enter_long();
    s.nmi_blocked = 1;
    push64({0x1234, 0x08, 0x202, 0x5550, 0x10});
    m.call(helper_iret, 8);
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(s.gpr[kRsp], 0x5550u);
    EXPECT_EQ(s.nmi_blocked, 0);
    push64({0x1234, 0x08, 0x202, 0x5550, 0});
    m.call(helper_iret, 8);
    EXPECT_EQ(m.pending(), -1) << "a null SS is fine for 64-bit code inside level 3";
    push64({0x1234, 0x33, 0x202, 0x5550, 3});
    m.call(helper_iret, 8);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP));
    push64({0x8000'0000'0000, 0x33, 0x202, 0x5550, 0x23});
    m.call(helper_iret, 8);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP)) << "RIP not canonical";
    push64({0x1'2345'6789, 0x1b, 0x202, 0x1'0000'5550, 0x23});
    m.call(helper_iret, 8);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP))
        << "beyond the limit of a 32-bit segment";
    s.rflags |= kFlagNT;
    m.call(helper_iret, 8);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP)) << "NT in long mode";
}

TEST_F(FarTransfers, IretqToCompatibilityMode) {
    m.enter_long();
    push64({0x1234, 0x1b, 0x202, 0xffff'0000'5550, 0x23});
    m.call(helper_iret, 8);
    ASSERT_EQ(m.pending(), -1);
    EXPECT_FALSE(m.frontend->mode() & kModeCode64);
    EXPECT_TRUE(m.frontend->mode() & kModeCode32);
    EXPECT_EQ(s.gpr[kRsp], 0x5550u);
    EXPECT_EQ(s.cpl, 3);
}

class Tasks : public FarTransfers {
  protected:
    static constexpr std::uint64_t kTss2 = 0x4000;
    void SetUp() override {
        m.enter_protected();
        m.set_descriptor(0x58, X86Machine::descriptor(kTss2, 0x67, 0x89, 0));  // 32-bit TSS
        m.set_descriptor(0x60, X86Machine::gate(0x58, 0, 5, 3));               // task gate
        m.poke<std::uint32_t>(kTss2 + 0x20, 0x9000);
        m.poke<std::uint32_t>(kTss2 + 0x24, 0x202 | tcg::kCF);
        m.poke<std::uint32_t>(kTss2 + 0x28, 0xaaaa0000);
        m.poke<std::uint32_t>(kTss2 + 0x38, 0x5000);
        for (unsigned i = 0; i < 6; ++i)
            m.poke<std::uint32_t>(kTss2 + 0x48 + i * 4, i == kCs ? 0x08 : 0x10);
        m.poke<std::uint32_t>(kTss2 + 0x60, 0);
        s.gpr[kRax] = 0x1234;
        s.head.pc = 0x8000;
    }
    unsigned tss_type(unsigned selector) {
        return m.peek<std::uint8_t>(X86Machine::kGdt + selector + 5) & 15;
    }
};

TEST_F(Tasks, JumpSavesAndLoadsState) {
    m.call(helper_far_jmp, 0x58, 0, arg(7, 4));
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(s.head.pc, 0x9000u);
    EXPECT_EQ(s.gpr[kRax], 0xaaaa0000u);
    EXPECT_EQ(s.gpr[kRsp], 0x5000u);
    EXPECT_EQ(read_rflags(s), 0x203u);
    EXPECT_EQ(s.tr.selector, 0x58);
    EXPECT_TRUE(s.cr0 & kCr0TS);
    EXPECT_EQ(tss_type(0x58), kTypeTss32Busy);
    EXPECT_EQ(tss_type(0x28), kTypeTss32) << "JMP frees the old task";
    EXPECT_EQ(m.peek<std::uint32_t>(X86Machine::kTss + 0x20), 0x8007u);
    EXPECT_EQ(m.peek<std::uint32_t>(X86Machine::kTss + 0x28), 0x1234u);
    EXPECT_EQ(m.peek<std::uint16_t>(X86Machine::kTss + 0x4c), 0x08);
}

TEST_F(Tasks, CallNestsAndIretReturns) {
    m.call(helper_far_call, 0x60, 0, arg(7, 4));  // through the gate
    ASSERT_EQ(m.pending(), -1);
    EXPECT_TRUE(s.rflags & kFlagNT);
    EXPECT_EQ(m.peek<std::uint16_t>(kTss2), 0x28) << "back link";
    EXPECT_EQ(tss_type(0x28), kTypeTss32Busy);
    s.head.pc = 0x9050;
    m.call(helper_iret, 4);
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(s.head.pc, 0x8007u);
    EXPECT_EQ(s.gpr[kRax], 0x1234u);
    EXPECT_EQ(s.tr.selector, 0x28);
    EXPECT_FALSE(s.rflags & kFlagNT);
    EXPECT_EQ(tss_type(0x58), kTypeTss32);
    EXPECT_FALSE(m.peek<std::uint32_t>(kTss2 + 0x24) & kFlagNT)
        << "the task that returned has NT cleared";
}

TEST_F(Tasks, BusyNotPresentAndShortTssAreRefused) {
    m.set_descriptor(0x58, X86Machine::descriptor(kTss2, 0x67, 0x8b, 0));
    m.call(helper_far_jmp, 0x58, 0, arg(7, 4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP, 0x58));
    m.set_descriptor(0x58, X86Machine::descriptor(kTss2, 0x67, 0x09, 0));
    m.call(helper_far_jmp, 0x58, 0, arg(7, 4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorNP, 0x58));
    m.set_descriptor(0x58, X86Machine::descriptor(kTss2, 0x66, 0x89, 0));
    m.call(helper_far_jmp, 0x58, 0, arg(7, 4));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorTS, 0x58));
    EXPECT_EQ(s.tr.selector, 0x28);
    EXPECT_EQ(s.gpr[kRax], 0x1234u);
}

TEST_F(Tasks, FaultsAfterTheSwitchBelongToTheNewTask) {
    m.poke<std::uint32_t>(kTss2 + 0x48 + kDs * 4, 0x08 | 0x100);  // beyond the table
    m.set_gate(kVectorTS, X86Machine::gate(0x08, 0xa000, 14, 0));
    m.call(helper_far_jmp, 0x58, 0, arg(7, 4));
    EXPECT_EQ(m.pending(), -1) << "delivered at once";
    EXPECT_EQ(s.head.pc, 0xa000u);
    EXPECT_EQ(s.tr.selector, 0x58);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x108u);
    EXPECT_EQ(stack<std::uint32_t>(1), 0x9000u) << "the new task's EIP";
}

TEST_F(Tasks, TrapBitRaisesDebug) {
    m.poke<std::uint16_t>(kTss2 + 0x64, 1);
    m.set_gate(kVectorDB, X86Machine::gate(0x08, 0xa000, 14, 0));
    m.call(helper_far_jmp, 0x58, 0, arg(7, 4));
    EXPECT_EQ(s.head.pc, 0xa000u);
    EXPECT_TRUE(s.dr[6] & kDr6BT);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x9000u);
}

TEST_F(Tasks, InterruptThroughTaskGatePushesTheErrorCode) {
    m.set_gate(kVectorGP, X86Machine::gate(0x58, 0, 5, 0));
    raise(s, Fault{kVectorGP, 0x77, 0});
    EXPECT_EQ(m.frontend->deliver_exception(), tcg::GuestFrontend::Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0x9000u);
    EXPECT_EQ(s.gpr[kRsp], 0x5000u - 4);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x77u);
    EXPECT_EQ(m.peek<std::uint32_t>(X86Machine::kTss + 0x20), 0x8000u)
        << "a fault goes on at the instruction";
}

TEST_F(Tasks, SixteenBitTss) {
    m.set_descriptor(0x58, X86Machine::descriptor(kTss2, 0x2b, 0x81, 0));
    m.poke<std::uint16_t>(kTss2 + 0x0e, 0x9000);
    m.poke<std::uint16_t>(kTss2 + 0x10, 0x202);
    m.poke<std::uint16_t>(kTss2 + 0x12, 0xbeef);
    m.poke<std::uint16_t>(kTss2 + 0x1a, 0x5000);
    for (unsigned i = 0; i < 4; ++i)
        m.poke<std::uint16_t>(kTss2 + 0x22 + i * 2, i == kCs ? 0x08 : 0x10);
    m.poke<std::uint16_t>(kTss2 + 0x2a, 0);
    m.call(helper_far_jmp, 0x58, 0, arg(7, 4));
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(s.head.pc, 0x9000u);
    EXPECT_EQ(s.gpr[kRax] & 0xffff, 0xbeefu);
    EXPECT_EQ(s.seg[kFs].selector, 0);
    EXPECT_EQ(tss_type(0x58), kTypeTss16Busy);
}

TEST_F(FarTransfers, SyscallAndSysret) {
    m.enter_long();
    m.enter_user();
    s.star = 0x0023'0008ull << 32;
    s.lstar = 0x9000;
    s.sfmask = kFlagIF | kFlagDF;
    write_rflags(s, kFlagIF | kFlagDF | tcg::kCF, kAllFlags);
    s.head.pc = 0x8000;
    m.call(helper_syscall, 2);
    EXPECT_EQ(s.head.pc, 0x9000u);
    EXPECT_EQ(s.gpr[kRcx], 0x8002u);
    EXPECT_EQ(s.gpr[kR11], kFlagIF | kFlagDF | tcg::kCF | 2u);
    EXPECT_EQ(read_rflags(s), tcg::kCF | 2u);
    EXPECT_EQ(s.seg[kCs].selector, 0x08);
    EXPECT_EQ(s.seg[kSs].selector, 0x10);
    EXPECT_EQ(m.frontend->mode() & (kModeCpl3 | kModeCode64), std::uint32_t{kModeCode64});
    m.call(helper_sysret, 8);
    EXPECT_EQ(s.head.pc, 0x8002u);
    EXPECT_EQ(s.seg[kCs].selector, 0x33);
    EXPECT_EQ(s.seg[kSs].selector, 0x2b);
    EXPECT_EQ(s.cpl, 3);
    EXPECT_EQ(read_rflags(s), kFlagIF | kFlagDF | tcg::kCF | 2u);
    m.call(helper_sysret, 8);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP)) << "level 3";
    s.efer &= ~kEferSCE;
    m.call(helper_syscall, 2);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorUD));
}

TEST_F(FarTransfers, SysenterAndSysexit) {
    m.enter_protected();
    m.enter_user();
    m.call(helper_sysenter);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP)) << "SYSENTER_CS is null";
    s.sysenter_cs = 0x08;
    s.sysenter_esp = 0x5000;
    s.sysenter_eip = 0x9000;
    m.call(helper_sysenter);
    EXPECT_EQ(s.cpl, 0);
    EXPECT_EQ(s.head.pc, 0x9000u);
    EXPECT_EQ(s.gpr[kRsp], 0x5000u);
    EXPECT_EQ(s.seg[kSs].selector, 0x10);
    s.gpr[kRdx] = 0x8800;
    s.gpr[kRcx] = 0x6600;
    m.call(helper_sysexit, 4);
    EXPECT_EQ(s.cpl, 3);
    EXPECT_EQ(s.seg[kCs].selector, 0x1b);
    EXPECT_EQ(s.seg[kSs].selector, 0x23);
    EXPECT_EQ(s.head.pc, 0x8800u);
    EXPECT_EQ(s.gpr[kRsp], 0x6600u);
}

}  // namespace
}  // namespace rhea::target::x86
