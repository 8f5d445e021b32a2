// SYSCALL, SYSRET, SYSENTER, SYSEXIT: fixed flat segments, no memory touched.
#include "fault.h"
#include "flat_segments.h"
#include "helpers.h"
#include "paging.h"

namespace rhea::target::x86 {
std::uint64_t helper_syscall(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        CpuState& s = cpu.s;
        if (!(s.efer & kEferSCE))
            throw_ud();
        const std::uint64_t next = cpu.eip() + a;
        const std::uint64_t cs = (s.star >> 32) & 0xffff;
        if (cpu.long_active()) {
            const bool from64 = cpu.code64();
            s.gpr[kRcx] = from64 ? next : next & 0xffffffff;
            s.gpr[kR11] = read_rflags(s) & ~std::uint64_t{kFlagRF};
            write_rflags(s, 0, s.sfmask | kFlagRF);
            enter_level(s, 0, cs, cs + 8, true);
            s.head.pc = from64 ? s.lstar : s.cstar;
        } else {
            s.gpr[kRcx] = next & 0xffffffff;
            write_rflags(s, 0, kFlagVM | kFlagIF | kFlagRF);
            enter_level(s, 0, cs, cs + 8, false);
            s.head.pc = s.star & 0xffffffff;
        }
        update_mode(cpu);
        return 0;
    });
}

std::uint64_t helper_sysret(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        CpuState& s = cpu.s;
        if (!(s.efer & kEferSCE))
            throw_ud();
        if (s.cpl != 0 || !cpu.protected_mode())
            throw_gp(0);
        const std::uint64_t cs = (s.star >> 48) & 0xffff;
        const bool to64 = a == 8;
        if (to64 && !is_canonical48(s.gpr[kRcx]))
            throw_gp(0);
        if (cpu.long_active())
            write_rflags(
                s, s.gpr[kR11],
                kAllFlags & ~std::uint64_t{kFlagVM});  // RF is cleared (APM vol. 3, SYSRET)
        else
            write_rflags(s, kFlagIF, kFlagIF);
        s.rflags &= ~std::uint64_t{kFlagRF};
        enter_level(s, 3, to64 ? cs + 16 : cs, cs + 8, to64);
        s.head.pc = to64 ? s.gpr[kRcx] : s.gpr[kRcx] & 0xffffffff;
        update_mode(cpu);
        return 0;
    });
}

std::uint64_t helper_sysenter(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        CpuState& s = cpu.s;
        if (cpu.long_active() && cpu.model.amd())
            throw_ud();  // AMD has no SYSENTER in long mode (APM vol. 3, SYSENTER)
        if (!cpu.protected_mode() || (s.sysenter_cs & 0xfffc) == 0)
            throw_gp(0);
        s.rflags &= ~std::uint64_t{kFlagVM | kFlagIF |
                                   kFlagRF};  // arithmetic flags may not be in the state here
        enter_level(s, 0, s.sysenter_cs, s.sysenter_cs + 8, cpu.long_active());
        s.gpr[kRsp] = cpu.long_active() ? s.sysenter_esp : s.sysenter_esp & 0xffffffff;
        s.head.pc = cpu.long_active() ? s.sysenter_eip : s.sysenter_eip & 0xffffffff;
        update_mode(cpu);
        return 0;
    });
}

std::uint64_t helper_sysexit(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        CpuState& s = cpu.s;
        if (cpu.long_active() && cpu.model.amd())
            throw_ud();
        if (!cpu.protected_mode() || (s.sysenter_cs & 0xfffc) == 0 || s.cpl != 0)
            throw_gp(0);
        const bool to64 = a == 8;
        if (to64 && (!is_canonical48(s.gpr[kRcx]) || !is_canonical48(s.gpr[kRdx])))
            throw_gp(0);
        const std::uint64_t cs = s.sysenter_cs + (to64 ? 32 : 16);
        enter_level(s, 3, cs, cs + 8, to64);
        s.gpr[kRsp] = to64 ? s.gpr[kRcx] : s.gpr[kRcx] & 0xffffffff;
        s.head.pc = to64 ? s.gpr[kRdx] : s.gpr[kRdx] & 0xffffffff;
        update_mode(cpu);
        return 0;
    });
}

}  // namespace rhea::target::x86
