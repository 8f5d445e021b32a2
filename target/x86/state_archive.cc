#include "cpu.h"
#include "rhea/target/x86/state_io.h"
#include "target/x86/fpu/x87_image.h"

namespace rhea::target::x86 {
namespace {

void segment(core::Archive& a, const char* name, SegmentCache& cache, std::uint64_t& base) {
    a.section(name, 1, [&](core::Archive& s) {
        s.field("selector", cache.selector);
        s.field("attr", cache.attr);
        s.field("limit", cache.limit);
        s.field("base", base);
    });
}

void table(core::Archive& a, const char* name, DescriptorTable& t) {
    a.section(name, 1, [&](core::Archive& s) {
        s.field("base", t.base);
        s.field("limit", t.limit);
    });
}

void integer_registers(CpuState& s, core::Archive& a) {
    a.field("gpr", s.gpr);
    // Linear pc minus CS.base, so that it reads as RIP.
    const bool wide = (s.efer & kEferLMA) && (s.seg[kCs].attr & kAttrL);
    std::uint64_t rip = wide ? s.head.pc : (s.head.pc - s.seg_base[kCs]) & 0xffffffff;
    std::uint64_t rflags = read_rflags(s);
    a.field("rip", rip);
    a.field("rflags", rflags);
    if (a.restoring() && a.ok()) {
        s.head.pc = rip;  // the base is added when segments are known
        write_rflags(s, rflags, kAllFlags);
    }
}

void segments(CpuState& s, core::Archive& a) {
    static constexpr const char* kNames[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    for (unsigned i = 0; i < kSegCount; ++i)
        segment(a, kNames[i], s.seg[i], s.seg_base[i]);
    segment(a, "ldt", s.ldt, s.ldt_base);
    segment(a, "tr", s.tr, s.tr_base);
    table(a, "gdt", s.gdt);
    table(a, "idt", s.idt);
    a.field("cpl", s.cpl);
}

void control_registers(CpuState& s, core::Archive& a) {
    a.field("cr0", s.cr0);
    a.field("cr2", s.cr2);
    a.field("cr3", s.cr3);
    a.field("cr4", s.cr4);
    a.field("cr8", s.cr8);
    a.field("xcr0", s.xcr0);
    a.field("dr", s.dr);
    a.field("efer", s.efer);
}

void floating_point(CpuState& s, core::Archive& a) {
    for (unsigned i = 0; i < 16; ++i)
        a.section("xmm" + std::to_string(i), 1,
                  [&](core::Archive& x) { x.field("lane", s.xmm[i].lane); });
    for (unsigned i = 0; i < 8; ++i)
        a.section("fpr" + std::to_string(i), 1, [&](core::Archive& x) {
            x.field("mantissa", s.fpr[i].mantissa);
            x.field("sign_exponent", s.fpr[i].sign_exponent);
        });
    a.field("fcw", s.fcw);
    a.field("fsw", s.fsw);
    a.field("ftw", s.ftw);
    std::uint16_t fop = fpu_opcode(s);
    std::uint64_t fip = fpu_ip(s);
    a.field("fop", fop);
    a.field("fpu_top", s.fpu_top);
    a.field("fip", fip);
    a.field("fdp", s.fdp);
    a.field("fcs", s.fcs);
    a.field("fds", s.fds);
    a.field("mxcsr", s.head.guest_mxcsr);
    if (a.restoring()) {
        s.fpu_top &= 7;
        set_fpu_place(s, fip, fop);
    }
}

void model_specific(CpuState& s, core::Archive& a) {
    a.field("star", s.star);
    a.field("lstar", s.lstar);
    a.field("cstar", s.cstar);
    a.field("sfmask", s.sfmask);
    a.field("kernel_gs_base", s.kernel_gs_base);
    a.field("sysenter_cs", s.sysenter_cs);
    a.field("sysenter_esp", s.sysenter_esp);
    a.field("sysenter_eip", s.sysenter_eip);
    a.field("pat", s.pat);
    a.field("tsc_aux", s.tsc_aux);
    a.field("misc_enable", s.misc_enable);
    a.field("tsc_offset", s.tsc_offset);
    a.field("tsc_adjust", s.tsc_adjust);
    a.field("smbase", s.smbase);
    a.field("spec_ctrl", s.spec_ctrl);
    a.field("mtrr_def_type", s.mtrr_def_type);
    a.field("mtrr_fixed", s.mtrr_fixed);
    a.field("mtrr_base", s.mtrr_base);
    a.field("mtrr_mask", s.mtrr_mask);
    a.field("mcg_status", s.mcg_status);
    a.field("mcg_ctl", s.mcg_ctl);
    a.field("mci", s.mci);
    a.field("microcode_rev", s.microcode_rev);
}

void run_state(CpuState& s, core::Archive& a) {
    a.field("exception_pending", s.head.exception_pending);
    a.field("exception_vector", s.exception_vector);
    a.field("exception_error_code", s.exception_error_code);
    a.field("exception_has_error_code", s.exception_has_error_code);
    a.field("exception_is_software", s.exception_is_software);
    a.field("exception_next_length", s.exception_next_length);
    a.field("exception_cr2", s.exception_cr2);
    a.field("exception_dr6", s.exception_dr6);
    a.field("interrupt_shadow", s.interrupt_shadow);
    a.field("nmi_blocked", s.nmi_blocked);
    a.field("smm", s.smm);
    a.field("halted", s.halted);
    a.field("a20_masked", s.a20_masked);
    a.field("wait_for_sipi", s.wait_for_sipi);
}

}  // namespace

void serialize_state(CpuState& s, core::Archive& archive) {
    integer_registers(s, archive);
    segments(s, archive);
    control_registers(s, archive);
    floating_point(s, archive);
    model_specific(s, archive);
    run_state(s, archive);
    if (!archive.restoring())
        return;
    if (s.cpl > 3) {
        archive.fail("cpl is above 3");
        s.cpl = 0;
    }
    s.exception_vector &= 0xff;
    const bool wide = (s.efer & kEferLMA) && (s.seg[kCs].attr & kAttrL);
    if (!wide)
        s.head.pc = (s.head.pc + s.seg_base[kCs]) & 0xffffffff;
}

}  // namespace rhea::target::x86
