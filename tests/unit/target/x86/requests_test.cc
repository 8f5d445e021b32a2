// Requests at instruction boundaries, SMM, reset, boot and snapshot of the CPU.
#include <gtest/gtest.h>

#include "rhea/target/x86/state_io.h"
#include "target/x86/fault.h"
#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using test::X86Machine;
using Outcome = tcg::GuestFrontend::Outcome;

class Requests : public testing::Test {
  protected:
    X86Machine m;
    CpuState& s = m.s;
    void SetUp() override {
        m.enter_protected();
        for (unsigned v = 0; v < 256; ++v)
            m.set_gate(v, X86Machine::gate(0x08, 0x9000 + v * 16, 14, 0));
    }
};

TEST_F(Requests, MaskableInterrupt) {
    m.request_bits = core::kRequestIntr;
    m.apic_port.vector = 0x40;
    EXPECT_EQ(m.frontend->check_requests(), Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0x8000u) << "IF is clear";
    s.rflags |= kFlagIF;
    s.interrupt_shadow = 1;
    m.frontend->check_requests();
    EXPECT_EQ(s.head.pc, 0x8000u) << "in the shadow of STI";
    m.call(helper_begin_single, 1);
    m.frontend->check_requests();
    EXPECT_EQ(s.head.pc, 0x9400u);
    s.rflags |= kFlagIF;
    m.apic_port.vector = -1;  // gone in the meantime
    m.frontend->check_requests();
    EXPECT_EQ(s.head.pc, 0x9400u);
}

TEST_F(Requests, HaltUntilAnInterrupt) {
    s.rflags |= kFlagIF;
    m.call(helper_hlt, 1);
    EXPECT_EQ(s.head.pc, 0x8001u);
    EXPECT_EQ(s.head.exit_request, 1u) << "the run loop must look";
    EXPECT_EQ(m.frontend->check_requests(), Outcome::kHalt);
    EXPECT_FALSE(m.frontend->has_work());
    m.request_bits = core::kRequestIntr;
    m.apic_port.vector = 0x40;
    EXPECT_TRUE(m.frontend->has_work());
    EXPECT_EQ(m.frontend->check_requests(), Outcome::kRun);
    EXPECT_EQ(m.peek<std::uint32_t>(s.gpr[kRsp]), 0x8001u);
    EXPECT_EQ(s.halted, 0);
}

TEST_F(Requests, NmiBlocksUntilIret) {
    m.request_bits = core::kRequestNmi;
    EXPECT_EQ(m.frontend->check_requests(), Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0x9020u);
    EXPECT_EQ(m.request_bits, 0u);
    m.request_bits = core::kRequestNmi;
    m.frontend->check_requests();
    EXPECT_EQ(s.head.pc, 0x9020u) << "blocked";
    m.call(helper_iret, 4);
    EXPECT_EQ(s.head.pc, 0x8000u);
    m.frontend->check_requests();
    EXPECT_EQ(s.head.pc, 0x9020u);
}

TEST_F(Requests, InitAndStartupIpi) {
    X86Machine ap("max", 1);
    EXPECT_EQ(ap.s.wait_for_sipi, 1) << "application processors wait";
    EXPECT_EQ(ap.frontend->check_requests(), Outcome::kHalt);
    ap.request_bits = core::kRequestSipi;
    EXPECT_TRUE(ap.frontend->has_work());
    EXPECT_EQ(ap.frontend->check_requests(), Outcome::kRun);
    EXPECT_EQ(ap.s.head.pc, 0x9a000u);
    EXPECT_EQ(ap.s.seg[kCs].selector, 0x9a00);
    ap.s.kernel_gs_base = 5;
    ap.request_bits = core::kRequestInit | core::kRequestSipi;
    EXPECT_EQ(ap.frontend->check_requests(), Outcome::kRun);
    EXPECT_EQ(ap.apic_port.inits, 1);
    EXPECT_EQ(ap.s.head.pc, 0x9a000u);
    EXPECT_EQ(ap.s.kernel_gs_base, 5u) << "INIT leaves MSRs alone";
    m.request_bits = core::kRequestInit;
    EXPECT_EQ(m.frontend->check_requests(), Outcome::kRun);
    EXPECT_EQ(s.head.pc, 0xfffffff0u) << "the boot processor starts over";
}

TEST_F(Requests, A20) {
    m.request_bits = core::kRequestA20;
    m.frontend->check_requests();
    EXPECT_EQ(s.a20_masked, 1);
    const unsigned flushes = m.flushes;
    m.frontend->check_requests();
    EXPECT_EQ(m.flushes, flushes);
    m.request_bits = 0;
    m.frontend->check_requests();
    EXPECT_EQ(s.a20_masked, 0);
    EXPECT_EQ(m.flushes, flushes + 1);
}

TEST_F(Requests, TripleFaultIsAShutdown) {
    s.idt.limit = 0;
    raise(s, Fault{kVectorGP, 0, 0});
    EXPECT_EQ(m.frontend->deliver_exception(), Outcome::kShutdown);
}

TEST_F(Requests, SystemManagementMode) {
    m.enter_long();
    m.enter_user();
    s.gpr[kR9] = 0x99;
    s.head.pc = 0x8123;
    s.rflags |= kFlagIF;
    s.efer |= kEferSCE;
    const CpuState before = s;
    m.request_bits = core::kRequestSmi;
    EXPECT_EQ(m.frontend->check_requests(), Outcome::kRun);
    EXPECT_EQ(s.smm, 1);
    EXPECT_EQ(s.head.pc, 0x38000u);
    EXPECT_EQ(s.seg[kCs].selector, 0x3000);
    EXPECT_EQ(s.cr0 & (kCr0PE | kCr0PG), 0u);
    EXPECT_TRUE(m.frontend->mode() & kModeSmm);
    EXPECT_EQ(m.peek<std::uint32_t>(0x3fefc), 0x20064u) << "revision";
    EXPECT_EQ(m.peek<std::uint64_t>(0x3ff78), 0x8123u) << "RIP";
    EXPECT_EQ(m.peek<std::uint64_t>(0x3ffb0), 0x99u) << "R9";
    m.request_bits = core::kRequestNmi | core::kRequestSmi;
    m.frontend->check_requests();
    EXPECT_EQ(s.head.pc, 0x38000u) << "NMI and SMI wait";
    m.poke<std::uint32_t>(0x3ff00, 0xa0000);  // SMBASE
    m.request_bits = 0;
    m.call(helper_rsm);
    ASSERT_EQ(m.pending(), -1);
    EXPECT_EQ(s.smbase, 0xa0000u);
    EXPECT_EQ(s.head.pc, 0x8123u);
    EXPECT_EQ(s.cpl, 3);
    EXPECT_EQ(s.cr0, before.cr0);
    EXPECT_EQ(s.cr4, before.cr4);
    EXPECT_EQ(s.efer, before.efer);
    EXPECT_EQ(s.cr3, before.cr3);
    EXPECT_EQ(read_rflags(s), read_rflags(before));
    EXPECT_EQ(std::memcmp(s.gpr, before.gpr, sizeof s.gpr), 0);
    EXPECT_EQ(std::memcmp(s.seg, before.seg, sizeof s.seg), 0);
    m.call(helper_rsm);
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorUD)) << "RSM outside SMM";
}

TEST_F(Requests, SystemManagementModeWithoutLongMode) {
    X86Machine old("qemu32");
    old.enter_protected();
    old.s.gpr[kRbx] = 0xbb;
    old.request_bits = core::kRequestSmi;
    old.frontend->check_requests();
    EXPECT_EQ(old.peek<std::uint32_t>(0x3fff0), 0x8000u) << "EIP";
    EXPECT_EQ(old.peek<std::uint32_t>(0x3fffc), std::uint32_t{kCr0PE | kCr0ET}) << "CR0";
    EXPECT_EQ(old.peek<std::uint32_t>(0x3ffdc), 0xbbu) << "EBX";
    old.poke<std::uint32_t>(0x3fffc, kCr0PG);  // impossible: PG without PE
    old.call(helper_rsm);
    EXPECT_EQ(old.frontend->check_requests(), Outcome::kShutdown);
}

TEST_F(Requests, ResetState) {
    m.frontend->reset();
    EXPECT_EQ(s.head.pc, 0xfffffff0u);
    EXPECT_EQ(s.seg[kCs].selector, 0xf000);
    EXPECT_EQ(s.seg_base[kCs], 0xffff0000u);
    EXPECT_EQ(s.gpr[kRdx], 0x00060fb1u);
    EXPECT_EQ(s.cr0, 0x60000010u);
    EXPECT_EQ(read_rflags(s), 2u);
    EXPECT_EQ(s.dr[6], 0xffff0ff0u);
    EXPECT_EQ(s.dr[7], 0x400u);
    EXPECT_EQ(s.idt.limit, 0xffffu);
    EXPECT_EQ(s.pat, 0x0007040600070406u);
    EXPECT_EQ(s.head.guest_mxcsr, 0x1f80u);
    EXPECT_EQ(s.fcw, 0x40);
}

TEST_F(Requests, KernelBootStates) {
    core::X86BootState boot;
    boot.rip = 0x100000;
    boot.rbx = 0x6000;
    m.frontend->set_boot_state(boot);
    EXPECT_TRUE(m.frontend->mode() & kModeCode32);
    EXPECT_EQ(s.head.pc, 0x100000u);
    EXPECT_EQ(s.gpr[kRbx], 0x6000u);
    boot.mode = core::X86BootState::Mode::kLong64;
    boot.cr3 = 0x9000;
    m.frontend->set_boot_state(boot);
    EXPECT_TRUE(m.frontend->mode() & kModeCode64);
    EXPECT_EQ(m.space_root, 0x9000u);
}

TEST_F(Requests, SnapshotRoundTrip) {
    m.enter_long();
    m.enter_user();
    s.gpr[kR13] = 0x1313;
    s.head.pc = 0x8642;
    write_rflags(s, tcg::kCF | kFlagDF | kFlagIF, kAllFlags);
    s.xmm[15].lane[1] = 0xabcdef;
    s.fpr[3] = {0x8000000000000000, 0x3fff};
    s.head.guest_mxcsr = 0x1fa0;
    s.nmi_blocked = 1;
    std::vector<std::uint8_t> bytes;
    const auto writer = core::make_memory_writer(bytes);
    m.frontend->serialize(*writer);
    ASSERT_TRUE(writer->ok());
    X86Machine other;
    const auto reader = core::make_memory_reader(bytes);
    other.frontend->serialize(*reader);
    ASSERT_TRUE(reader->ok()) << reader->status().error().message();
    EXPECT_EQ(other.frontend->describe_registers(), m.frontend->describe_registers());
    EXPECT_EQ(other.frontend->mode(), m.frontend->mode());
    EXPECT_EQ(other.s.head.pc, 0x8642u);
    EXPECT_EQ(read_rflags(other.s), tcg::kCF | kFlagDF | kFlagIF | 2u);
    EXPECT_EQ(other.s.nmi_blocked, 1);
    EXPECT_EQ(other.space_root, X86Machine::kPageTables);
}

TEST_F(Requests, RegisterListing) {
    m.frontend->reset();
    const std::string real = m.frontend->describe_registers();
    EXPECT_NE(real.find("EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"),
              std::string::npos)
        << real;
    EXPECT_NE(real.find("CS =f000 ffff0000 0000ffff 00009b00 DPL=0 CS16 [-RA]\n"),
              std::string::npos)
        << real;
    m.enter_long();
    const std::string wide = m.frontend->describe_registers();
    EXPECT_NE(wide.find("RIP=0000000000008000 RFL=00000002"), std::string::npos) << wide;
    EXPECT_NE(wide.find("CS =0008 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\n"),
              std::string::npos)
        << wide;
    EXPECT_NE(wide.find("CR0=80010011 CR2=0000000000000000 CR3=0000000000010000 CR4=00000020\n"),
              std::string::npos)
        << wide;
    EXPECT_NE(wide.find("EFER=0000000000000d01\n"), std::string::npos) << wide;
}

}  // namespace
}  // namespace rhea::target::x86
