#include "reset.h"

#include <cstddef>
#include <cstring>

#include "control.h"
#include "msr.h"
#include "segment.h"

namespace rhea::target::x86 {
namespace {

/// What reset and INIT have in common: integer registers, segments, control and debug registers.
void common_state(Cpu& cpu, std::uint64_t cr0) {
    CpuState& s = cpu.s;
    for (std::uint64_t& reg : s.gpr)
        reg = 0;
    s.gpr[kRdx] = cpu.model.signature();
    s.head.exception_pending = 0;
    s.rflags = 0;  // write_rflags() sets bit 1
    write_rflags(s, 2, kAllFlags);
    for (unsigned i = 0; i < kSegCount; ++i) {
        s.seg[i] = {0, 0x0093, 0xffff};
        s.seg_base[i] = 0;
    }
    s.seg[kCs] = {0xf000, 0x009b, 0xffff};
    s.seg_base[kCs] = 0xffff0000;
    s.ldt = {0, 0x0082, 0xffff};
    s.tr = {0, 0x008b, 0xffff};
    s.ldt_base = s.tr_base = 0;
    s.gdt = s.idt = {0, 0xffff};
    s.cr0 = cr0;
    s.cr2 = s.cr3 = s.cr4 = s.cr8 = 0;
    s.efer = 0;
    for (std::uint64_t& dr : s.dr)
        dr = 0;
    s.dr[6] = kDr6Fixed;
    s.dr[7] = kDr7Fixed;
    s.interrupt_shadow = s.nmi_blocked = s.smm = s.halted = s.cpl = 0;
    s.wait_for_sipi = cpu.index != 0;
    s.head.pc = 0xfffffff0;
    cpu.shutdown = cpu.task_trap = cpu.task_switched = false;
    cpu.pdpte = {};
    cpu.flush_tlb(false);
    announce_address_space(cpu, false);
}

void reset_fpu(CpuState& s) {
    std::memset(s.xmm, 0, sizeof s.xmm);
    std::memset(s.fpr, 0, sizeof s.fpr);
    s.fcw = 0x0040;
    s.fsw = 0;
    s.ftw = 0;  // all tags "zero", not empty: FNINIT comes first in any program
    s.fcs = s.fds = 0;
    s.fpu_top = 0;
    s.fip_page = s.fdp = 0;
    s.fpu_place = 0;
    s.head.guest_mxcsr = 0x1f80;
    s.xcr0 = 1;
}

}  // namespace

void reset_state(Cpu& cpu) {
    CpuState& s = cpu.s;
    reset_fpu(s);
    s.star = s.lstar = s.cstar = s.sfmask = s.kernel_gs_base = 0;
    s.sysenter_cs = s.sysenter_esp = s.sysenter_eip = 0;
    s.tsc_aux = s.tsc_adjust = s.spec_ctrl = 0;
    s.tsc_offset = 0 - static_cast<std::uint64_t>(cpu.host.guest_ns());
    s.mtrr_def_type = s.mcg_status = 0;
    std::memset(s.mtrr_fixed, 0, sizeof s.mtrr_fixed);
    std::memset(s.mtrr_base, 0, sizeof s.mtrr_base);
    std::memset(s.mtrr_mask, 0, sizeof s.mtrr_mask);
    std::memset(s.mci, 0, sizeof s.mci);
    reset_msrs(s, cpu.model);
    s.smbase = 0x30000;
    s.a20_masked = 0;
    common_state(cpu, kCr0CD | kCr0NW | kCr0ET);
    update_mode(cpu);
}

void init_state(Cpu& cpu) {
    common_state(cpu, (cpu.s.cr0 & (kCr0CD | kCr0NW)) | kCr0ET);
    update_mode(cpu);
}

void boot_state(Cpu& cpu, const core::X86BootState& boot) {
    CpuState& s = cpu.s;
    const bool wide = boot.mode == core::X86BootState::Mode::kLong64;
    s.wait_for_sipi = s.halted = 0;
    s.cr0 = kCr0PE | kCr0ET | (wide ? kCr0PG | kCr0NE | kCr0WP | kCr0MP : 0);
    s.cr4 = wide ? kCr4PAE : 0;
    s.cr3 = boot.cr3;
    s.efer = wide ? kEferLME | kEferLMA : 0;
    s.cpl = 0;
    write_rflags(s, 2, kAllFlags);
    for (unsigned i = 0; i < kSegCount; ++i) {
        s.seg[i] = {boot.data_selector, 0xc093, 0xffffffff};
        s.seg_base[i] = 0;
    }
    s.seg[kCs] = {boot.cs_selector, static_cast<std::uint16_t>(wide ? 0xa09b : 0xc09b), 0xffffffff};
    s.tr = {boot.tss_selector, 0x008b, 0x67};
    s.tr_base = 0;
    s.ldt = {0, 0x0082, 0xffff};
    s.gdt = {boot.gdt_base, boot.gdt_limit};
    s.idt = {0, 0};
    for (std::uint64_t& reg : s.gpr)
        reg = 0;
    s.gpr[kRsp] = boot.rsp;
    s.gpr[kRbx] = boot.rbx;
    s.gpr[kRsi] = boot.rsi;
    s.head.pc = boot.rip;
    cpu.flush_tlb(false);
    announce_address_space(cpu, false);
    update_mode(cpu);
}

}  // namespace rhea::target::x86
