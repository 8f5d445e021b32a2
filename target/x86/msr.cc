#include "msr.h"

#include "control.h"
#include "fault.h"
#include "helpers.h"
#include "paging.h"
#include "rhea/util/log.h"

namespace rhea::target::x86 {
namespace {

constexpr unsigned kMcBanks = 10, kVariableMtrrs = 8;
constexpr std::uint64_t kMcgCap = kMcBanks | 1u << 8 /* MCG_CTL_P */ | 1u << 24 /* MCG_SER_P */;

using Read = bool (*)(Cpu&, std::uint32_t index, std::uint64_t&);
using Write = bool (*)(Cpu&, std::uint32_t index, std::uint64_t);
using Field = std::uint64_t CpuState::*;

/// `first`..`last`; `read` and `write` get the offset from `first`. Null: not readable or writable
/// (#GP). A row that names a `field` needs no functions: reads give it, writes set the bits of
/// `mask` and refuse others.
struct MsrRow {
    std::uint32_t first, last;
    const char* name;
    Read read;
    Write write;
    Field field = nullptr;
    std::uint64_t mask = 0;
    int feature = -1;  ///< CpuFeature that must be there
};

template <std::uint64_t Value>
bool read_constant(Cpu&, std::uint32_t, std::uint64_t& value) {
    value = Value;
    return true;
}
bool ignore_write(Cpu&, std::uint32_t, std::uint64_t) {
    return true;
}

template <Field F>
bool write_canonical(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    if (!is_canonical48(value))
        return false;
    cpu.s.*F = value;
    return true;
}

// ---- time stamp counter
bool read_tsc(Cpu& cpu, std::uint32_t, std::uint64_t& value) {
    value = cpu.tsc();
    return true;
}
/// A write moves IA32_TSC_ADJUST by the same amount, and the other way round (SDM vol. 3, 18.17.3).
bool write_tsc(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    const std::uint64_t delta = value - cpu.tsc();
    cpu.s.tsc_offset += delta;
    cpu.s.tsc_adjust += delta;
    return true;
}
bool write_tsc_adjust(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    cpu.s.tsc_offset += value - cpu.s.tsc_adjust;
    cpu.s.tsc_adjust = value;
    return true;
}
bool read_tsc_deadline(Cpu& cpu, std::uint32_t, std::uint64_t& value) {
    value = cpu.host.apic() != nullptr ? cpu.host.apic()->tsc_deadline() : 0;
    return true;
}
bool write_tsc_deadline(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    if (cpu.host.apic() != nullptr)
        cpu.host.apic()->set_tsc_deadline(value);
    return true;
}

// ---- local APIC
bool read_apic_base(Cpu& cpu, std::uint32_t, std::uint64_t& value) {
    value = cpu.host.apic() != nullptr ? cpu.host.apic()->apic_base() : 0xfee00000;
    return true;
}
bool write_apic_base(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    if (value & reserved_address_bits(cpu))
        return false;
    return cpu.host.apic() != nullptr && cpu.host.apic()->set_apic_base(value);
}
bool read_x2apic(Cpu& cpu, std::uint32_t index, std::uint64_t& value) {
    return cpu.host.apic() != nullptr && cpu.host.apic()->x2apic_read(0x800 + index, value);
}
bool write_x2apic(Cpu& cpu, std::uint32_t index, std::uint64_t value) {
    return cpu.host.apic() != nullptr && cpu.host.apic()->x2apic_write(0x800 + index, value);
}

// ---- memory types
bool memory_type(std::uint64_t type) {
    return type == 0 || type == 1 || (type >= 4 && type <= 6);
}
bool write_pat(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    for (unsigned i = 0; i < 8; ++i) {
        const std::uint64_t type = (value >> (i * 8)) & 0xff;
        if (!memory_type(type) && type != 7)
            return false;
    }
    cpu.s.pat = value;
    return true;
}
bool read_mtrr_variable(Cpu& cpu, std::uint32_t index, std::uint64_t& value) {
    value = index & 1 ? cpu.s.mtrr_mask[index / 2] : cpu.s.mtrr_base[index / 2];
    return true;
}
bool write_mtrr_variable(Cpu& cpu, std::uint32_t index, std::uint64_t value) {
    const bool mask = (index & 1) != 0;
    const std::uint64_t reserved =
        0xfff0000000000000ull | reserved_address_bits(cpu) | (mask ? 0x7ff : 0xf00);
    if ((value & reserved) || (!mask && !memory_type(value & 0xff)))
        return false;
    std::uint64_t& reg = mask ? cpu.s.mtrr_mask[index / 2] : cpu.s.mtrr_base[index / 2];
    reg = value;
    return true;
}
template <unsigned Base>
bool read_mtrr_fixed(Cpu& cpu, std::uint32_t index, std::uint64_t& value) {
    value = cpu.s.mtrr_fixed[Base + index];
    return true;
}
template <unsigned Base>
bool write_mtrr_fixed(Cpu& cpu, std::uint32_t index, std::uint64_t value) {
    for (unsigned i = 0; i < 8; ++i)
        if (!memory_type((value >> (i * 8)) & 0xff & ~0x18u))  // AMD keeps RdMem/WrMem in bits 4:3
            return false;
    cpu.s.mtrr_fixed[Base + index] = value;
    return true;
}
bool write_mtrr_default(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    if ((value & ~0xcffull) || !memory_type(value & 0xff))
        return false;
    cpu.s.mtrr_def_type = value;
    return true;
}

// ---- machine check
bool read_mci(Cpu& cpu, std::uint32_t index, std::uint64_t& value) {
    value = cpu.s.mci[index];
    return true;
}
bool write_mci(Cpu& cpu, std::uint32_t index, std::uint64_t value) {
    // Intel's CTL takes all ones or zero, AMD's any mask; the rest is only cleared (SDM vol. 3,
    // 16.3.2; APM vol. 2, 9.3.2).
    const bool ctl = index % 4 == 0;
    if (ctl ? value != 0 && value != ~0ull && !cpu.model.amd() : value != 0)
        return false;
    cpu.s.mci[index] = value;
    return true;
}
bool write_mcg_ctl(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    if (value != 0 && value != ~0ull)
        return false;
    cpu.s.mcg_ctl = value;
    return true;
}

// ---- the rest
bool write_efer_msr(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    write_efer(cpu, value);
    return true;
}
template <Seg S>
bool read_base(Cpu& cpu, std::uint32_t, std::uint64_t& value) {
    value = cpu.s.seg_base[S];
    return true;
}
template <Seg S>
bool write_base(Cpu& cpu, std::uint32_t, std::uint64_t value) {
    if (!is_canonical48(value))
        return false;
    cpu.s.seg_base[S] = value;
    return true;
}
/// IBPB: translated branches are not predicted from the guest's own history, so there is nothing to
/// flush.
bool write_pred_cmd(Cpu&, std::uint32_t, std::uint64_t value) {
    return (value & ~1ull) == 0;
}
bool read_arch_capabilities(Cpu& cpu, std::uint32_t, std::uint64_t& value) {
    value = cpu.model.word(CpuidWord::kArchCap);
    return true;
}

constexpr int need(CpuFeature feature) {
    return static_cast<int>(feature);
}
constexpr std::uint64_t kAny = ~0ull;
using S = CpuState;
using F = CpuFeature;

constexpr MsrRow kRows[] = {
    {0x000, 0x001, "P5_MC", read_constant<0>, ignore_write},
    {0x010, 0x010, "IA32_TSC", read_tsc, write_tsc},
    {0x017, 0x017, "IA32_PLATFORM_ID", read_constant<0>, nullptr},
    {0x01b, 0x01b, "IA32_APIC_BASE", read_apic_base, write_apic_base},
    {0x02a, 0x02a, "EBL_CR_POWERON", read_constant<0>, ignore_write},
    {0x03b, 0x03b, "IA32_TSC_ADJUST", nullptr, write_tsc_adjust, &S::tsc_adjust, kAny,
     need(F::k_tsc_adjust)},
    {0x048, 0x048, "IA32_SPEC_CTRL", nullptr, nullptr, &S::spec_ctrl, 7, need(F::k_spec_ctrl)},
    {0x049, 0x049, "IA32_PRED_CMD", nullptr, write_pred_cmd, nullptr, 0, need(F::k_spec_ctrl)},
    {0x079, 0x079, "IA32_BIOS_UPDT_TRIG", nullptr, ignore_write},
    {0x08b, 0x08b, "IA32_BIOS_SIGN_ID", nullptr, ignore_write, &S::microcode_rev},
    {0x0fe, 0x0fe, "IA32_MTRRCAP", read_constant<0x508>, nullptr, nullptr, 0, need(F::k_mtrr)},
    {0x10a, 0x10a, "IA32_ARCH_CAPABILITIES", read_arch_capabilities, nullptr, nullptr, 0,
     need(F::k_arch_capabilities)},
    {0x174, 0x174, "IA32_SYSENTER_CS", nullptr, nullptr, &S::sysenter_cs, kAny, need(F::k_sep)},
    {0x175, 0x175, "IA32_SYSENTER_ESP", nullptr, write_canonical<&S::sysenter_esp>,
     &S::sysenter_esp, kAny, need(F::k_sep)},
    {0x176, 0x176, "IA32_SYSENTER_EIP", nullptr, write_canonical<&S::sysenter_eip>,
     &S::sysenter_eip, kAny, need(F::k_sep)},
    {0x179, 0x179, "IA32_MCG_CAP", read_constant<kMcgCap>, nullptr, nullptr, 0, need(F::k_mca)},
    {0x17a, 0x17a, "IA32_MCG_STATUS", nullptr, nullptr, &S::mcg_status, 7, need(F::k_mca)},
    {0x17b, 0x17b, "IA32_MCG_CTL", nullptr, write_mcg_ctl, &S::mcg_ctl, kAny, need(F::k_mca)},
    {0x1a0, 0x1a0, "IA32_MISC_ENABLE", nullptr, nullptr, &S::misc_enable, kAny},
    {0x1d9, 0x1d9, "IA32_DEBUGCTL", read_constant<0>, ignore_write},
    {0x1db, 0x1de, "LAST_BRANCH", read_constant<0>, ignore_write},
    {0x200, 0x200 + 2 * kVariableMtrrs - 1, "IA32_MTRR_PHYS", read_mtrr_variable,
     write_mtrr_variable, nullptr, 0, need(F::k_mtrr)},
    {0x250, 0x250, "IA32_MTRR_FIX64K", read_mtrr_fixed<0>, write_mtrr_fixed<0>, nullptr, 0,
     need(F::k_mtrr)},
    {0x258, 0x259, "IA32_MTRR_FIX16K", read_mtrr_fixed<1>, write_mtrr_fixed<1>, nullptr, 0,
     need(F::k_mtrr)},
    {0x268, 0x26f, "IA32_MTRR_FIX4K", read_mtrr_fixed<3>, write_mtrr_fixed<3>, nullptr, 0,
     need(F::k_mtrr)},
    {0x277, 0x277, "IA32_PAT", nullptr, write_pat, &S::pat, kAny, need(F::k_pat)},
    {0x2ff, 0x2ff, "IA32_MTRR_DEF_TYPE", nullptr, write_mtrr_default, &S::mtrr_def_type, kAny,
     need(F::k_mtrr)},
    {0x400, 0x400 + 4 * kMcBanks - 1, "IA32_MCi", read_mci, write_mci, nullptr, 0, need(F::k_mca)},
    {0x6e0, 0x6e0, "IA32_TSC_DEADLINE", read_tsc_deadline, write_tsc_deadline, nullptr, 0,
     need(F::k_tsc_deadline)},
    {0x800, 0x8ff, "x2APIC", read_x2apic, write_x2apic, nullptr, 0, need(F::k_x2apic)},
    {0xc0000080, 0xc0000080, "EFER", nullptr, write_efer_msr, &S::efer},
    {0xc0000081, 0xc0000081, "STAR", nullptr, nullptr, &S::star, kAny, need(F::k_syscall)},
    {0xc0000082, 0xc0000082, "LSTAR", nullptr, write_canonical<&S::lstar>, &S::lstar, kAny,
     need(F::k_lm)},
    {0xc0000083, 0xc0000083, "CSTAR", nullptr, write_canonical<&S::cstar>, &S::cstar, kAny,
     need(F::k_lm)},
    {0xc0000084, 0xc0000084, "SFMASK", nullptr, nullptr, &S::sfmask, kAny, need(F::k_lm)},
    {0xc0000100, 0xc0000100, "FS_BASE", read_base<kFs>, write_base<kFs>, nullptr, 0, need(F::k_lm)},
    {0xc0000101, 0xc0000101, "GS_BASE", read_base<kGs>, write_base<kGs>, nullptr, 0, need(F::k_lm)},
    {0xc0000102, 0xc0000102, "KERNEL_GS_BASE", nullptr, write_canonical<&S::kernel_gs_base>,
     &S::kernel_gs_base, kAny, need(F::k_lm)},
    {0xc0000103, 0xc0000103, "TSC_AUX", nullptr, nullptr, &S::tsc_aux, 0xffffffff,
     need(F::k_rdtscp)},
};

/// Configuration registers of AMD processors that operating systems look at without asking CPUID:
/// nothing is configured.
constexpr MsrRow kAmdRows[] = {
    {0xc0010010, 0xc0010010, "SYSCFG", read_constant<0>, ignore_write},
    {0xc0010015, 0xc0010015, "HWCR", read_constant<1u << 24>, ignore_write},  // TscFreqSel
    {0xc0010016, 0xc001001a, "IORR, TOP_MEM", read_constant<0>, ignore_write},
    {0xc001001d, 0xc001001d, "TOP_MEM2", read_constant<0>, ignore_write},
    {0xc001001f, 0xc0010020, "NB_CFG, PATCH_LOADER", read_constant<0>, ignore_write},
    {0xc0010055, 0xc0010055, "INT_PENDING", read_constant<0>, ignore_write},
    {0xc0010058, 0xc0010058, "MMIO_CFG_BASE", read_constant<0>, ignore_write},
    {0xc0010112, 0xc0010113, "SMM_ADDR, SMM_MASK", read_constant<0>, ignore_write},
    {0xc0011020, 0xc001102f, "LS_CFG to DE_CFG", read_constant<2>,
     ignore_write},  // DE_CFG: LFENCE serialises
};

const MsrRow* find_row(const Cpu& cpu, std::uint32_t msr) {
    for (const MsrRow& row : kRows)
        if (msr >= row.first && msr <= row.last)
            return row.feature < 0 || cpu.model.has(static_cast<CpuFeature>(row.feature)) ||
                           (row.field == &S::spec_ctrl && cpu.model.has(F::k_ibrs))
                       ? &row
                       : nullptr;
    if (cpu.model.amd())
        for (const MsrRow& row : kAmdRows)
            if (msr >= row.first && msr <= row.last)
                return &row;
    return nullptr;
}

}  // namespace

bool read_msr(Cpu& cpu, std::uint32_t msr, std::uint64_t& value) {
    const MsrRow* row = find_row(cpu, msr);
    if (row == nullptr)
        return false;
    if (row->read != nullptr)
        return row->read(cpu, msr - row->first, value);
    if (row->field == nullptr)
        return false;
    value = cpu.s.*row->field;
    return true;
}

bool write_msr(Cpu& cpu, std::uint32_t msr, std::uint64_t value) {
    const MsrRow* row = find_row(cpu, msr);
    if (row == nullptr)
        return false;
    if (row->write != nullptr)
        return row->write(cpu, msr - row->first, value);
    if (row->field == nullptr || (value & ~row->mask))
        return false;
    cpu.s.*row->field = value;
    return true;
}

void reset_msrs(CpuState& s, const CpuModel& model) {
    s.pat = 0x0007040600070406ull;
    s.misc_enable = 1;  // fast strings
    s.microcode_rev = model.amd() ? 0x01000065 : 0x100000000ull;
    s.mcg_ctl = ~0ull;
    for (unsigned bank = 0; bank < kMcBanks; ++bank)
        s.mci[bank * 4] = ~0ull;
}

std::uint64_t helper_rdmsr(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const auto msr = static_cast<std::uint32_t>(state->gpr[kRcx]);
        std::uint64_t value = 0;
        if (!read_msr(cpu, msr, value)) {
            util::log_write(util::kLogGuestErrors,
                            "cpu {}: RDMSR of {:#x} at {:#x}: no such register\n", cpu.index, msr,
                            state->head.pc);
            throw_gp(0);
        }
        state->gpr[kRax] = value & 0xffffffff;
        state->gpr[kRdx] = value >> 32;
        return 0;
    });
}

std::uint64_t helper_wrmsr(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const auto msr = static_cast<std::uint32_t>(state->gpr[kRcx]);
        const std::uint64_t value = (state->gpr[kRax] & 0xffffffff) | state->gpr[kRdx] << 32;
        if (!write_msr(cpu, msr, value)) {
            util::log_write(util::kLogGuestErrors,
                            "cpu {}: WRMSR of {:#x} to {:#x} at {:#x} refused\n", cpu.index, value,
                            msr, state->head.pc);
            throw_gp(0);
        }
        state->head.pc += a;
        return 0;
    });
}

}  // namespace rhea::target::x86
