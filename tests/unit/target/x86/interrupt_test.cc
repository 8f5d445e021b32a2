// Delivery of exceptions and interrupts in each mode (SDM vol. 3, chapter 6): frames, checks, error
// codes, nesting.
#include "target/x86/interrupt.h"

#include <gtest/gtest.h>

#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using test::X86Machine;
using Outcome = tcg::GuestFrontend::Outcome;

class Interrupts : public testing::Test {
  protected:
    X86Machine m;
    CpuState& s = m.s;
    Cpu& cpu() { return Cpu::of(&s); }
    Outcome external(unsigned vector) {
        return deliver_event(
            cpu(), {static_cast<std::uint8_t>(vector), EventKind::kExternal, false, 0, 0});
    }
    Outcome fault(unsigned vector, std::uint32_t error = 0) {
        raise(s, Fault{static_cast<std::uint8_t>(vector), error, 0});
        return m.frontend->deliver_exception();
    }
    template <typename T>
    T stack(unsigned slot) {
        return m.peek<T>(s.gpr[kRsp] + slot * sizeof(T));
    }
    void set_inner_stack(std::uint32_t esp, std::uint16_t ss) {
        m.poke<std::uint32_t>(X86Machine::kTss + 4, esp);
        m.poke<std::uint16_t>(X86Machine::kTss + 8, ss);
    }
};

TEST_F(Interrupts, RealModeVectorTable) {
    m.poke<std::uint32_t>(0x21 * 4, 0x1234'5678);
    s.seg[kCs].selector = 0x100;
    s.seg_base[kCs] = 0x1000;
    s.head.pc = 0x1010;
    s.gpr[kRsp] = 0xffff0100;
    write_rflags(s, kFlagIF | kFlagTF | tcg::kCF, kAllFlags);
    m.call(helper_software_interrupt, 0x21, 2, 0);
    EXPECT_EQ(m.frontend->deliver_exception(), Outcome::kRun);
    EXPECT_EQ(s.seg[kCs].selector, 0x1234);
    EXPECT_EQ(s.head.pc, 0x12340u + 0x5678);
    EXPECT_EQ(s.gpr[kRsp], 0xffff00fau) << "only SP changes";
    EXPECT_EQ(m.peek<std::uint16_t>(0xfa), 0x12);
    EXPECT_EQ(m.peek<std::uint16_t>(0xfc), 0x100);
    EXPECT_EQ(m.peek<std::uint16_t>(0xfe), 0x303);
    EXPECT_EQ(read_rflags(s), 3u) << "IF and TF cleared";
}

TEST_F(Interrupts, RealModeVectorBeyondTheLimitShutsDown) {
    s.idt.limit = 3;  // not even #DF fits
    s.gpr[kRsp] = 0x100;
    EXPECT_EQ(external(0x20), Outcome::kShutdown);
}

TEST_F(Interrupts, ProtectedSameLevelInterruptGate) {
    m.enter_protected();
    m.set_gate(0x30, X86Machine::gate(0x08, 0x00123456, 14, 0));
    write_rflags(s, kFlagIF | kFlagNT | tcg::kZF, kAllFlags);
    EXPECT_EQ(external(0x30), Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0x123456u);
    EXPECT_EQ(s.gpr[kRsp], 0x7000u - 12);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x8000u);
    EXPECT_EQ(stack<std::uint32_t>(1), 0x08u);
    EXPECT_EQ(stack<std::uint32_t>(2), kFlagIF | kFlagNT | tcg::kZF | 2u);
    EXPECT_EQ(read_rflags(s), tcg::kZF | 2u) << "IF and NT cleared";
}

TEST_F(Interrupts, TrapGateKeepsIfAndGate16PushesWords) {
    m.enter_protected();
    m.set_gate(0x30, X86Machine::gate(0x08, 0xffff4444, 7, 0));
    write_rflags(s, kFlagIF, kAllFlags);
    EXPECT_EQ(external(0x30), Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0x4444u);
    EXPECT_EQ(s.gpr[kRsp], 0x7000u - 6);
    EXPECT_TRUE(s.rflags & kFlagIF);
}

TEST_F(Interrupts, InnerLevelSwitchesStacks) {
    m.enter_protected();
    m.enter_user();
    set_inner_stack(0x5000, 0x10);
    m.set_gate(kVectorGP, X86Machine::gate(0x08, 0x9000, 14, 0));
    s.head.pc = 0x8888;
    EXPECT_EQ(fault(kVectorGP, 0x44), Outcome::kRun);
    EXPECT_EQ(s.cpl, 0);
    EXPECT_EQ(s.seg[kCs].selector, 0x08);
    EXPECT_EQ(s.seg[kSs].selector, 0x10);
    EXPECT_EQ(s.gpr[kRsp], 0x5000u - 24);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x44u);
    EXPECT_EQ(stack<std::uint32_t>(1), 0x8888u);
    EXPECT_EQ(stack<std::uint32_t>(2), 0x1bu);
    EXPECT_EQ(stack<std::uint32_t>(3) & kFlagRF, kFlagRF) << "faults push RF";
    EXPECT_EQ(stack<std::uint32_t>(4), 0x6000u);
    EXPECT_EQ(stack<std::uint32_t>(5), 0x23u);
    EXPECT_EQ(m.frontend->mode() & kModeWindowMask, 1u);
}

TEST_F(Interrupts, SoftwareInterruptsCheckTheGate) {
    m.enter_protected();
    m.enter_user();
    set_inner_stack(0x5000, 0x10);
    m.set_gate(0x80, X86Machine::gate(0x08, 0x9000, 14, 3));
    m.set_gate(0x81, X86Machine::gate(0x08, 0x9000, 14, 0));
    m.set_gate(kVectorGP, X86Machine::gate(0x08, 0xa000, 14, 0));
    s.head.pc = 0x8888;
    m.call(helper_software_interrupt, 0x80, 2, 0);
    m.frontend->deliver_exception();
    EXPECT_EQ(s.head.pc, 0x9000u);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x888au) << "behind the instruction";
    EXPECT_FALSE(stack<std::uint32_t>(2) & kFlagRF);
    m.enter_user();
    s.head.pc = 0x8888;
    m.call(helper_software_interrupt, 0x81, 2, 0);
    m.frontend->deliver_exception();
    EXPECT_EQ(s.head.pc, 0xa000u);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x81u * 8 + 2) << "IDT bit, no EXT";
    EXPECT_EQ(stack<std::uint32_t>(1), 0x8888u);
}

TEST_F(Interrupts, BadGatesAndSegments) {
    struct Case {
        const char* what;
        std::uint64_t gate;
        unsigned vector;
        std::uint32_t error;
    };
    constexpr std::uint64_t kP = 1ull << 47;
    const Case cases[] = {
        {"not present", X86Machine::gate(0x08, 0x9000, 14, 0) & ~kP, kVectorNP, 0x30 * 8 + 3},
        {"a TSS is no gate", X86Machine::gate(0x08, 0x9000, 9, 0), kVectorGP, 0x30 * 8 + 3},
        {"call gate", X86Machine::gate(0x08, 0x9000, 12, 0), kVectorGP, 0x30 * 8 + 3},
        {"null selector", X86Machine::gate(0, 0x9000, 14, 0), kVectorGP, 1},
        {"data segment", X86Machine::gate(0x10, 0x9000, 14, 0), kVectorGP, 0x11},
        {"beyond the table", X86Machine::gate(0x1f8, 0x9000, 14, 0), kVectorGP, 0x1f9},
        {"outer level", X86Machine::gate(0x1b, 0x9000, 14, 0), kVectorGP, 0x19},
    };
    for (const Case& c : cases) {
        m.enter_protected();
        m.set_gate(0x30, c.gate);
        m.set_gate(kVectorNP, X86Machine::gate(0x08, 0xb000, 14, 0));
        m.set_gate(kVectorGP, X86Machine::gate(0x08, 0xa000, 14, 0));
        EXPECT_EQ(external(0x30), Outcome::kRun) << c.what;
        EXPECT_EQ(s.head.pc, c.vector == kVectorNP ? 0xb000u : 0xa000u) << c.what;
        EXPECT_EQ(stack<std::uint32_t>(0), c.error) << c.what;
    }
}

TEST_F(Interrupts, BadInnerStacks) {
    struct Case {
        std::uint16_t ss;
        unsigned vector;
        std::uint32_t error;
    };
    const Case cases[] = {{0, kVectorTS, 1},
                          {0x23, kVectorTS, 0x21},
                          {0x08, kVectorTS, 0x09},
                          {0x58, kVectorSS, 0x59}};
    for (const Case& c : cases) {
        m.enter_protected();
        m.set_descriptor(0x58, X86Machine::descriptor(0, 0xfffff, 0x13, 0xc));  // not present
        m.set_descriptor(0x60, X86Machine::descriptor(0, 0xfffff, 0x9f,
                                                      0xc));  // conforming: handlers run at level 3
        m.enter_user();
        set_inner_stack(0x5000, c.ss);
        m.set_gate(0x30, X86Machine::gate(0x08, 0x9000, 14, 0));
        m.set_gate(c.vector, X86Machine::gate(0x60, 0xa000, 14, 0));
        EXPECT_EQ(external(0x30), Outcome::kRun);
        EXPECT_EQ(s.head.pc, 0xa000u) << c.ss;
        EXPECT_EQ(s.cpl, 3);
        EXPECT_EQ(stack<std::uint32_t>(0), c.error) << c.ss;
    }
}

TEST_F(Interrupts, DoubleAndTripleFault) {
    m.enter_protected();
    s.idt.limit = 8 * 8 + 7;  // vectors 0 to 8: #GP has no gate
    m.set_gate(kVectorDF, X86Machine::gate(0x08, 0xd000, 14, 0));
    EXPECT_EQ(fault(kVectorGP, 0x10), Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0xd000u);
    EXPECT_EQ(stack<std::uint32_t>(0), 0u);
    m.enter_protected();
    s.idt.limit = 0;
    EXPECT_EQ(fault(kVectorGP, 0x10), Outcome::kShutdown);
}

TEST_F(Interrupts, FaultCombinationTable) {
    const auto combine = [](unsigned first, unsigned second) {
        return combine_faults(
            {static_cast<std::uint8_t>(first), EventKind::kException, false, 0, 0}, second);
    };
    EXPECT_EQ(combine(kVectorUD, kVectorGP), kVectorGP);
    EXPECT_EQ(combine(kVectorGP, kVectorGP), kVectorDF);
    EXPECT_EQ(combine(kVectorGP, kVectorPF), kVectorPF);
    EXPECT_EQ(combine(kVectorPF, kVectorGP), kVectorDF);
    EXPECT_EQ(combine(kVectorPF, kVectorPF), kVectorDF);
    EXPECT_EQ(combine(kVectorDE, kVectorNP), kVectorDF);
    EXPECT_EQ(combine(kVectorDF, kVectorPF), -1);
    EXPECT_EQ(combine_faults({kVectorGP, EventKind::kExternal, false, 0, 0}, kVectorGP), kVectorGP);
}

TEST_F(Interrupts, FromVm86) {
    m.enter_protected();
    set_inner_stack(0x5000, 0x10);
    m.set_gate(0x30, X86Machine::gate(0x08, 0x9000, 14, 0));
    // IRETD to VM86, then an interrupt back.
    s.gpr[kRsp] = 0x6000;
    const std::uint32_t frame[] = {
        0x0123, 0x1000, 0x20202 | 3 << 12, 0xfff0, 0x2000, 0x3000, 0x4000, 0x5000, 0x6001};
    for (unsigned i = 0; i < 9; ++i)
        m.poke<std::uint32_t>(0x6000 + i * 4, frame[i]);
    m.call(helper_iret, 4);
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(s.cpl, 3);
    EXPECT_EQ(s.head.pc, 0x10123u);
    EXPECT_EQ(s.seg_base[kSs], 0x20000u);
    EXPECT_EQ(s.seg[kGs].selector, 0x6001);
    EXPECT_TRUE(m.frontend->mode() & kModeVm86);
    EXPECT_EQ(external(0x30), Outcome::kRun);
    EXPECT_EQ(s.gpr[kRsp], 0x5000u - 36);
    for (unsigned i = 0; i < 9; ++i)
        EXPECT_EQ(stack<std::uint32_t>(i), frame[i]) << i;
    EXPECT_EQ(s.seg[kDs].selector, 0) << "data segments are nulled";
    EXPECT_FALSE(s.rflags & kFlagVM);
    EXPECT_EQ(s.head.pc, 0x9000u);
}

TEST_F(Interrupts, Vm86NeedsALevelZeroHandlerAndIopl) {
    m.enter_protected();
    set_inner_stack(0x5000, 0x10);
    m.set_descriptor(0x60, X86Machine::descriptor(0, 0xfffff, 0x9f, 0xc));  // conforming
    m.set_gate(0x30, X86Machine::gate(0x60, 0x9000, 14, 3));
    m.set_gate(kVectorGP, X86Machine::gate(0x08, 0xa000, 14, 0));
    write_rflags(s, kFlagVM, kFlagVM | kFlagIOPL);
    s.cpl = 3;
    EXPECT_EQ(external(0x30), Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0xa000u);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x61u);
    write_rflags(s, kFlagVM, kFlagVM | kFlagIOPL);
    s.cpl = 3;
    m.call(helper_software_interrupt, 0x30, 2, 0);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorGP)) << "INT n with IOPL below 3";
    m.call(helper_software_interrupt, 3, 1, 1);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorBP)) << "INT3 goes through the gate";
}

TEST_F(Interrupts, LongModeFrameIsAlignedAndHasSs) {
    m.enter_long();
    m.set_gate64(kVectorPF, 0x08, 0x0000'7fff'0000'1000, 14, 0, 0);
    s.gpr[kRsp] = 0x7009;
    s.head.pc = 0x8123;
    raise(s, Fault{kVectorPF, 2, 0xdead000});
    EXPECT_EQ(m.frontend->deliver_exception(), Outcome::kRun);
    EXPECT_EQ(s.cr2, 0xdead000u);
    EXPECT_EQ(s.head.pc, 0x0000'7fff'0000'1000u);
    EXPECT_EQ(s.gpr[kRsp], 0x7000u - 48);
    EXPECT_EQ(stack<std::uint64_t>(0), 2u);
    EXPECT_EQ(stack<std::uint64_t>(1), 0x8123u);
    EXPECT_EQ(stack<std::uint64_t>(2), 0x08u);
    EXPECT_EQ(stack<std::uint64_t>(4), 0x7009u);
    EXPECT_EQ(stack<std::uint64_t>(5), 0x10u);
    EXPECT_EQ(s.seg[kSs].selector, 0x10) << "SS stays without a level change";
}

TEST_F(Interrupts, LongModeInnerLevelAndIst) {
    m.enter_long();
    m.poke<std::uint64_t>(X86Machine::kTss + 4, 0x5000);       // RSP0
    m.poke<std::uint64_t>(X86Machine::kTss + 36 + 8, 0x4000);  // IST2
    m.set_gate64(0x30, 0x08, 0x9000, 14, 0, 0);
    m.set_gate64(0x31, 0x08, 0x9100, 14, 0, 2);
    m.enter_user();
    s.head.pc = 0x8888;
    EXPECT_EQ(external(0x30), Outcome::kRun);
    EXPECT_EQ(s.gpr[kRsp], 0x5000u - 40);
    EXPECT_EQ(s.seg[kSs].selector, 0) << "null with the new level";
    EXPECT_EQ(s.cpl, 0);
    EXPECT_EQ(stack<std::uint64_t>(3), 0x6000u);
    EXPECT_EQ(stack<std::uint64_t>(4), 0x23u);
    EXPECT_EQ(external(0x31), Outcome::kRun);
    EXPECT_EQ(s.gpr[kRsp], 0x4000u - 40) << "IST switches at the same level too";
    EXPECT_EQ(s.head.pc, 0x9100u);
}

TEST_F(Interrupts, LongModeRefusesCompatibilityHandlers) {
    m.enter_long();
    m.set_descriptor(0x40, X86Machine::descriptor(0, 0xfffff, 0x9b, 0xc));  // 32-bit code
    m.set_gate64(0x30, 0x40, 0x9000, 14, 0, 0);
    m.set_gate64(kVectorGP, 0x08, 0xa000, 14, 0, 0);
    EXPECT_EQ(external(0x30), Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0xa000u);
    EXPECT_EQ(stack<std::uint64_t>(0), 0x41u);
    m.set_gate64(0x31, 0x08, 0x9000, 6, 0, 0);  // 16-bit gate
    EXPECT_EQ(external(0x31), Outcome::kRun);
    EXPECT_EQ(stack<std::uint64_t>(0), 0x31u * 8 + 3);
}

TEST_F(Interrupts, PageFaultOnTheHandlerStackIsADoubleFault) {
    m.enter_long();
    m.set_gate64(kVectorPF, 0x08, 0x9000, 14, 0, 0);
    m.set_gate64(kVectorDF, 0x08, 0xd000, 14, 0, 1);
    m.poke<std::uint64_t>(X86Machine::kTss + 36, 0x5000);                // IST1
    m.poke<std::uint64_t>(X86Machine::kPageTables + 0x2000 + 7 * 8, 0);  // 14..16 MiB not present
    s.gpr[kRsp] = 0xf00000;
    raise(s, Fault{kVectorPF, 0, 0x1234});
    EXPECT_EQ(m.frontend->deliver_exception(), Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0xd000u);
    EXPECT_EQ(s.cr2, 0xf00000u - 8);
}

TEST_F(Interrupts, DebugExceptions) {
    m.enter_protected();
    m.set_gate(kVectorDB, X86Machine::gate(0x08, 0x9000, 14, 0));
    write_rflags(s, kFlagTF, kFlagTF);
    update_mode(cpu());
    EXPECT_TRUE(m.frontend->mode() & kModeTf);
    m.call(helper_finish_single, 0x8003, 1);
    EXPECT_EQ(s.head.pc, 0x8003u);
    EXPECT_EQ(m.frontend->deliver_exception(), Outcome::kRun);
    EXPECT_TRUE(s.dr[6] & kDr6BS);
    EXPECT_EQ(stack<std::uint32_t>(0), 0x8003u);
    EXPECT_FALSE(stack<std::uint32_t>(2) & kFlagRF);
    EXPECT_FALSE(m.frontend->mode() & kModeTf);

    m.call(helper_write_dr, 0, 0x8500, 3);
    m.call(helper_write_dr, 7, 1, 3);
    EXPECT_TRUE(m.frontend->mode() & kModeBreakpoints);
    s.head.pc = 0x8500;
    m.call(helper_begin_single, 2);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorDB));
    EXPECT_EQ(s.exception_dr6, 1u);
    s.rflags |= kFlagRF;
    m.call(helper_begin_single, 2);
    EXPECT_EQ(m.pending(), -1) << "RF holds it off once";
    EXPECT_FALSE(s.rflags & kFlagRF);
}

}  // namespace
}  // namespace rhea::target::x86
