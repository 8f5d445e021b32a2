#include "control.h"

#include "helpers.h"
#include "interrupt.h"
#include "linear_memory.h"
#include "paging.h"

namespace rhea::target::x86 {
namespace {

constexpr std::uint64_t kCr0Known =
    kCr0PE | kCr0MP | kCr0EM | kCr0TS | kCr0NE | kCr0WP | kCr0AM | kCr0NW | kCr0CD | kCr0PG;
constexpr std::uint64_t kEferAutoIbrs = 1ull << 21;

std::uint64_t allowed_cr4(const CpuModel& m) {
    struct Row {
        std::uint64_t bits;
        CpuFeature feature;
    };
    static constexpr Row kRows[] = {{kCr4VME | kCr4PVI, CpuFeature::k_vme},
                                    {kCr4TSD, CpuFeature::k_tsc},
                                    {kCr4DE, CpuFeature::k_de},
                                    {kCr4PSE, CpuFeature::k_pse},
                                    {kCr4PAE, CpuFeature::k_pae},
                                    {kCr4MCE, CpuFeature::k_mce},
                                    {kCr4PGE, CpuFeature::k_pge},
                                    {kCr4OSFXSR, CpuFeature::k_fxsr},
                                    {kCr4OSXMMEXCPT, CpuFeature::k_sse},
                                    {kCr4UMIP, CpuFeature::k_umip},
                                    {kCr4FSGSBASE, CpuFeature::k_fsgsbase},
                                    {kCr4PCIDE, CpuFeature::k_pcid},
                                    {kCr4OSXSAVE, CpuFeature::k_xsave},
                                    {kCr4SMEP, CpuFeature::k_smep},
                                    {kCr4SMAP, CpuFeature::k_smap}};
    std::uint64_t allowed = kCr4PCE;
    for (const Row& row : kRows)
        if (m.has(row.feature))
            allowed |= row.bits;
    return allowed;
}

bool pae_paging(std::uint64_t cr0, std::uint64_t cr4, std::uint64_t efer) {
    return (cr0 & kCr0PG) && (cr4 & kCr4PAE) && !(efer & kEferLMA);
}

}  // namespace

void announce_address_space(Cpu& cpu, bool keep) {
    cpu.linear_cache.clear();
    const bool pcide = (cpu.s.cr4 & kCr4PCIDE) != 0;
    cpu.host.switch_address_space(cpu.s.cr3 & 0x000ffffffffff000ull,
                                  pcide ? static_cast<std::uint32_t>(cpu.s.cr3 & 0xfff) : 0,
                                  keep && pcide);
}

void write_cr0(Cpu& cpu, std::uint64_t value) {
    CpuState& s = cpu.s;
    if (value >> 32)
        throw_gp(0);
    value = (value & kCr0Known) | kCr0ET;
    const bool pg = (value & kCr0PG) != 0;
    if ((pg && !(value & kCr0PE)) || ((value & kCr0NW) && !(value & kCr0CD)))
        throw_gp(0);
    if (!pg && ((s.cr4 & kCr4PCIDE) || cpu.code64()))
        throw_gp(0);
    const bool was_pg = (s.cr0 & kCr0PG) != 0;
    std::uint64_t efer = s.efer & ~kEferLMA;
    if (pg && (efer & kEferLME)) {
        if (!was_pg && (!(s.cr4 & kCr4PAE) || (s.seg[kCs].attr & kAttrL)))
            throw_gp(0);
        efer |= kEferLMA;
    }
    if (pae_paging(value, s.cr4, efer) && ((s.cr0 ^ value) & (kCr0PG | kCr0CD | kCr0NW)) &&
        !load_pdptes(cpu, s.cr3))
        throw_gp(0);
    const std::uint64_t changed = s.cr0 ^ value;
    s.cr0 = value;
    s.efer = efer;
    if (changed & (kCr0PG | kCr0PE | kCr0WP))
        cpu.flush_tlb(false);
    if (changed & kCr0PG)
        announce_address_space(cpu, false);
    if ((changed & kCr0PE) && !(value & kCr0PE))
        s.cpl = 0;
    update_mode(cpu);
}

void write_cr3(Cpu& cpu, std::uint64_t value) {
    CpuState& s = cpu.s;
    const bool pcide = (s.cr4 & kCr4PCIDE) != 0;
    const bool keep = pcide && (value >> 63) != 0;
    if (pcide)
        value &= ~(1ull << 63);
    if (cpu.long_active() && (value & (0xfff0000000000000ull | reserved_address_bits(cpu))))
        throw_gp(0);
    if (!cpu.long_active())
        value &= 0xffffffff;
    if (pae_paging(s.cr0, s.cr4, s.efer) && !load_pdptes(cpu, value))
        throw_gp(0);
    s.cr3 = value;
    announce_address_space(cpu, keep);
}

void load_cr3(Cpu& cpu, std::uint64_t value) {
    if (pae_paging(cpu.s.cr0, cpu.s.cr4, cpu.s.efer) && !load_pdptes(cpu, value))
        throw_gp(0);
    cpu.s.cr3 = value;
    announce_address_space(cpu, false);
}

void write_cr4(Cpu& cpu, std::uint64_t value) {
    CpuState& s = cpu.s;
    if (value & ~allowed_cr4(cpu.model))
        throw_gp(0);
    if (cpu.long_active() && !(value & kCr4PAE))
        throw_gp(0);
    if ((value & kCr4PCIDE) && !(s.cr4 & kCr4PCIDE) && (!cpu.long_active() || (s.cr3 & 0xfff)))
        throw_gp(0);
    const std::uint64_t changed = s.cr4 ^ value;
    if (pae_paging(s.cr0, value, s.efer) && (changed & (kCr4PAE | kCr4PGE | kCr4PSE | kCr4SMEP)) &&
        !load_pdptes(cpu, s.cr3))
        throw_gp(0);
    s.cr4 = value;
    if (changed & (kCr4PSE | kCr4PAE | kCr4PGE | kCr4PCIDE | kCr4SMEP | kCr4SMAP))
        cpu.flush_tlb(false);
    if (changed & kCr4PCIDE)
        announce_address_space(cpu, false);
    update_mode(cpu);
}

void write_efer(Cpu& cpu, std::uint64_t value) {
    CpuState& s = cpu.s;
    const CpuModel& m = cpu.model;
    std::uint64_t allowed = kEferLMA;
    allowed |= m.has(CpuFeature::k_syscall) ? kEferSCE : 0;
    allowed |= m.has(CpuFeature::k_lm) ? kEferLME : 0;
    allowed |= m.has(CpuFeature::k_nx) ? kEferNXE : 0;
    allowed |= m.has(CpuFeature::k_fxsr_opt) ? kEferFFXSR : 0;
    allowed |= m.has(CpuFeature::k_auto_ibrs) ? kEferAutoIbrs : 0;
    if (value & ~allowed)
        throw_gp(0);
    if (((value ^ s.efer) & kEferLME) && (s.cr0 & kCr0PG))
        throw_gp(0);
    const std::uint64_t now = (value & ~kEferLMA) | (s.efer & kEferLMA);
    const std::uint64_t changed = now ^ s.efer;
    s.efer = now;
    if (changed & kEferNXE)
        cpu.flush_tlb(false);
    update_mode(cpu);
}

std::uint64_t helper_write_cr(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        switch (a) {
            case 0:
                write_cr0(cpu, b);
                break;
            case 2:
                cpu.s.cr2 = b;
                break;
            case 3:
                write_cr3(cpu, b);
                break;
            case 4:
                write_cr4(cpu, b);
                break;
            default:  // 8
                if (b > 15)
                    throw_gp(0);
                cpu.s.cr8 = b;
                if (core::LocalApicPort* apic = cpu.host.apic())
                    apic->set_cr8(static_cast<std::uint8_t>(b));
        }
        state->head.pc += c;
        return 0;
    });
}

std::uint64_t helper_read_cr8(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    core::LocalApicPort* apic = Cpu::of(state).host.apic();
    return apic != nullptr ? apic->cr8() : state->cr8;
}

std::uint64_t helper_lmsw(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        // LMSW can set PE, but not clear it.
        write_cr0(cpu, (cpu.s.cr0 & ~std::uint64_t{kCr0MP | kCr0EM | kCr0TS}) | (a & 15));
        state->head.pc += b;
        return 0;
    });
}

std::uint64_t helper_clts(CpuState* state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    state->cr0 &= ~kCr0TS;
    state->head.pc += a;
    update_mode(Cpu::of(state));
    return 0;
}

std::uint64_t helper_invlpg(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    Cpu& cpu = Cpu::of(state);
    state->head.pc += b;
    if (is_canonical(cpu, a))
        cpu.flush_tlb_page(a & core::kPageMask);
    return 0;
}

std::uint64_t helper_invpcid(CpuState* state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        const std::uint64_t pcid = read_linear(cpu, b, 8, cpu.as_current());
        const std::uint64_t linear = read_linear(cpu, b + 8, 8, cpu.as_current());
        const bool pcide = (cpu.s.cr4 & kCr4PCIDE) != 0;
        if (a > 3 || (a < 2 && ((pcid & ~0xfffull) || (pcid != 0 && !pcide))) ||
            (a == 0 && !is_canonical(cpu, linear)))
            throw_gp(0);
        cpu.linear_cache.clear();
        const auto tag = static_cast<std::uint32_t>(pcid);
        if (a == 0)
            cpu.host.flush_pcid_page(tag, linear & core::kPageMask);
        else
            cpu.host.flush_pcid(tag, a >= 2, a != 2);
        state->head.pc += c;
        return 0;
    });
}

}  // namespace rhea::target::x86
