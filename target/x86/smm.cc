#include "smm.h"

#include "control.h"
#include "fault.h"
#include "helpers.h"
#include "linear_memory.h"
#include "paging.h"
#include "rhea/util/log.h"
#include "segment.h"

namespace rhea::target::x86 {
namespace {

constexpr std::uint32_t kRevision64 = 0x00020064, kRevision32 = 0x00020000;  // SMBASE relocation

bool wide(const Cpu& cpu) {
    return cpu.model.has(CpuFeature::k_lm);
}

struct SaveArea {
    Cpu& cpu;
    std::uint64_t base;
    void put(unsigned offset, std::uint64_t value, unsigned size) const {
        write_physical(cpu, cpu.a20((base + 0x8000 + offset) & 0xffffffff), value, size);
    }
    std::uint64_t get(unsigned offset, unsigned size) const {
        return read_physical(cpu, cpu.a20((base + 0x8000 + offset) & 0xffffffff), size);
    }
};

/// attr as the 64-bit save area has it: descriptor bits 55:52 and 47:40 packed into 12 bits.
std::uint16_t pack_attr(std::uint16_t attr) {
    return static_cast<std::uint16_t>((attr & 0xff) | (attr >> 4 & 0xf00));
}
std::uint16_t unpack_attr(std::uint64_t packed) {
    return static_cast<std::uint16_t>((packed & 0xff) | (packed & 0xf00) << 4);
}

void save64(const SaveArea& area, const CpuState& s, std::uint64_t rip) {
    for (unsigned i = 0; i < kSegCount; ++i) {
        const unsigned at = 0x7e00 + i * 16;
        area.put(at, s.seg[i].selector, 2);
        area.put(at + 2, pack_attr(s.seg[i].attr), 2);
        area.put(at + 4, s.seg[i].limit, 4);
        area.put(at + 8, s.seg_base[i], 8);
    }
    area.put(0x7e64, s.gdt.limit, 4);
    area.put(0x7e68, s.gdt.base, 8);
    area.put(0x7e70, s.ldt.selector, 2);
    area.put(0x7e72, pack_attr(s.ldt.attr), 2);
    area.put(0x7e74, s.ldt.limit, 4);
    area.put(0x7e78, s.ldt_base, 8);
    area.put(0x7e84, s.idt.limit, 4);
    area.put(0x7e88, s.idt.base, 8);
    area.put(0x7e90, s.tr.selector, 2);
    area.put(0x7e92, pack_attr(s.tr.attr), 2);
    area.put(0x7e94, s.tr.limit, 4);
    area.put(0x7e98, s.tr_base, 8);
    area.put(0x7ec9, s.halted, 1);
    area.put(0x7ed0, s.efer, 8);
    area.put(0x7efc, kRevision64, 4);
    area.put(0x7f00, s.smbase, 4);
    area.put(0x7f48, s.cr4, 8);
    area.put(0x7f50, s.cr3, 8);
    area.put(0x7f58, s.cr0, 8);
    area.put(0x7f60, s.dr[7], 8);
    area.put(0x7f68, s.dr[6], 8);
    area.put(0x7f70, read_rflags(s), 8);
    area.put(0x7f78, rip, 8);
    for (unsigned i = 0; i < 16; ++i)  // RAX at 7ff8, R15 at 7f80
        area.put(0x7ff8 - i * 8, s.gpr[i], 8);
}

void save32(const SaveArea& area, const CpuState& s, std::uint64_t eip) {
    area.put(0x7ffc, s.cr0, 4);
    area.put(0x7ff8, s.cr3, 4);
    area.put(0x7ff4, read_rflags(s), 4);
    area.put(0x7ff0, eip, 4);
    static constexpr Reg kOrder[] = {kRdi, kRsi, kRbp, kRsp, kRbx, kRdx, kRcx, kRax};
    for (unsigned i = 0; i < 8; ++i)
        area.put(0x7fec - i * 4, s.gpr[kOrder[i]], 4);
    area.put(0x7fcc, s.dr[6], 4);
    area.put(0x7fc8, s.dr[7], 4);
    area.put(0x7fc4, s.tr.selector, 4);
    area.put(0x7fc0, s.ldt.selector, 4);
    static constexpr Seg kSegOrder[] = {kGs, kFs, kDs, kSs, kCs, kEs};
    for (unsigned i = 0; i < 6; ++i)
        area.put(0x7fbc - i * 4, s.seg[kSegOrder[i]].selector, 4);
    // Hidden parts: implementation specific, read back by RSM only.
    for (unsigned i = 0; i < kSegCount; ++i) {
        area.put(0x7f00 + i * 12, s.seg_base[i], 4);
        area.put(0x7f04 + i * 12, s.seg[i].limit, 4);
        area.put(0x7f08 + i * 12, s.seg[i].attr, 4);
    }
    area.put(0x7f48, s.tr_base, 4);
    area.put(0x7f4c, s.tr.limit, 4);
    area.put(0x7f50, s.tr.attr, 4);
    area.put(0x7f54, s.ldt_base, 4);
    area.put(0x7f58, s.ldt.limit, 4);
    area.put(0x7f5c, s.ldt.attr, 4);
    area.put(0x7f60, s.gdt.base, 4);
    area.put(0x7f64, s.gdt.limit, 4);
    area.put(0x7f68, s.idt.base, 4);
    area.put(0x7f6c, s.idt.limit, 4);
    area.put(0x7f70, s.cr4, 4);
    area.put(0x7f74, s.halted, 4);
    area.put(0x7efc, kRevision32, 4);
    area.put(0x7ef8, s.smbase, 4);
}

/// What RSM found; applied only when it is consistent.
struct Loaded {
    std::uint64_t cr0, cr3, cr4, efer, rflags, rip, smbase;
};

SegmentCache cache(std::uint64_t selector, std::uint16_t attr, std::uint64_t limit) {
    return {static_cast<std::uint16_t>(selector), attr, static_cast<std::uint32_t>(limit)};
}

Loaded load64(const SaveArea& area, CpuState& s) {
    for (unsigned i = 0; i < kSegCount; ++i) {
        const unsigned at = 0x7e00 + i * 16;
        s.seg[i] = cache(area.get(at, 2), unpack_attr(area.get(at + 2, 2)), area.get(at + 4, 4));
        s.seg_base[i] = area.get(at + 8, 8);
    }
    s.gdt = {area.get(0x7e68, 8), static_cast<std::uint32_t>(area.get(0x7e64, 4))};
    s.ldt = cache(area.get(0x7e70, 2), unpack_attr(area.get(0x7e72, 2)), area.get(0x7e74, 4));
    s.ldt_base = area.get(0x7e78, 8);
    s.idt = {area.get(0x7e88, 8), static_cast<std::uint32_t>(area.get(0x7e84, 4))};
    s.tr = cache(area.get(0x7e90, 2), unpack_attr(area.get(0x7e92, 2)), area.get(0x7e94, 4));
    s.tr_base = area.get(0x7e98, 8);
    s.halted = area.get(0x7ec9, 1) & 1;
    s.dr[7] = (area.get(0x7f60, 8) & 0xffff23ff) | kDr7Fixed;
    s.dr[6] = (area.get(0x7f68, 8) & 0xe00f) | kDr6Fixed;
    for (unsigned i = 0; i < 16; ++i)
        s.gpr[i] = area.get(0x7ff8 - i * 8, 8);
    return {area.get(0x7f58, 8), area.get(0x7f50, 8), area.get(0x7f48, 8), area.get(0x7ed0, 8),
            area.get(0x7f70, 8), area.get(0x7f78, 8), area.get(0x7f00, 4)};
}

Loaded load32(const SaveArea& area, CpuState& s) {
    static constexpr Reg kOrder[] = {kRdi, kRsi, kRbp, kRsp, kRbx, kRdx, kRcx, kRax};
    for (unsigned i = 0; i < 8; ++i)
        s.gpr[kOrder[i]] = area.get(0x7fec - i * 4, 4);
    s.dr[6] = (area.get(0x7fcc, 4) & 0xe00f) | kDr6Fixed;
    s.dr[7] = (area.get(0x7fc8, 4) & 0xffff23ff) | kDr7Fixed;
    static constexpr Seg kSegOrder[] = {kGs, kFs, kDs, kSs, kCs, kEs};
    for (unsigned i = 0; i < 6; ++i)
        s.seg[kSegOrder[i]].selector = static_cast<std::uint16_t>(area.get(0x7fbc - i * 4, 4));
    for (unsigned i = 0; i < kSegCount; ++i) {
        s.seg_base[i] = area.get(0x7f00 + i * 12, 4);
        s.seg[i].limit = static_cast<std::uint32_t>(area.get(0x7f04 + i * 12, 4));
        s.seg[i].attr = static_cast<std::uint16_t>(area.get(0x7f08 + i * 12, 4) & 0xf0ff);
    }
    s.tr = cache(area.get(0x7fc4, 4), static_cast<std::uint16_t>(area.get(0x7f50, 4) & 0xf0ff),
                 area.get(0x7f4c, 4));
    s.tr_base = area.get(0x7f48, 4);
    s.ldt = cache(area.get(0x7fc0, 4), static_cast<std::uint16_t>(area.get(0x7f5c, 4) & 0xf0ff),
                  area.get(0x7f58, 4));
    s.ldt_base = area.get(0x7f54, 4);
    s.gdt = {area.get(0x7f60, 4), static_cast<std::uint32_t>(area.get(0x7f64, 4))};
    s.idt = {area.get(0x7f68, 4), static_cast<std::uint32_t>(area.get(0x7f6c, 4))};
    s.halted = area.get(0x7f74, 4) & 1;
    return {area.get(0x7ffc, 4), area.get(0x7ff8, 4), area.get(0x7f70, 4), 0,
            area.get(0x7ff4, 4), area.get(0x7ff0, 4), area.get(0x7ef8, 4)};
}

/// A state that no processor can be in shuts the CPU down (SDM vol. 3, 32.4.1).
bool consistent(const Cpu& cpu, const Loaded& l) {
    if ((l.cr0 & kCr0PG) && !(l.cr0 & kCr0PE))
        return false;
    if ((l.cr0 & kCr0NW) && !(l.cr0 & kCr0CD))
        return false;
    if ((l.efer & kEferLME) && (l.cr0 & kCr0PG) && !(l.cr4 & kCr4PAE))
        return false;
    return (l.cr3 & (cpu.model.has(CpuFeature::k_lm) ? reserved_address_bits(cpu) : 0)) == 0;
}

}  // namespace

void enter_smm(Cpu& cpu) {
    CpuState& s = cpu.s;
    util::log_write(util::kLogInt, "cpu {}: SMM entry at {:#x}, SMBASE {:#x}\n", cpu.index,
                    s.head.pc, s.smbase);
    const SaveArea area{cpu, s.smbase};
    if (wide(cpu))
        save64(area, s, cpu.eip());
    else
        save32(area, s, cpu.eip());
    s.smm = 1;
    s.halted = 0;
    s.nmi_blocked |= 2;  // blocked throughout; bit 0 is what RSM leaves
    s.cr0 &= ~std::uint64_t{kCr0PE | kCr0EM | kCr0TS | kCr0PG};
    s.cr4 = 0;
    s.efer = 0;
    s.dr[7] = kDr7Fixed;
    s.cpl = 0;
    write_rflags(s, 2, kAllFlags);
    for (unsigned i = 0; i < kSegCount; ++i) {
        s.seg[i] = {0, 0x8093, 0xffffffff};
        s.seg_base[i] = 0;
    }
    s.seg[kCs].selector = static_cast<std::uint16_t>(s.smbase >> 4);
    s.seg_base[kCs] = s.smbase;
    s.head.pc = (s.smbase + 0x8000) & 0xffffffff;
    cpu.flush_tlb(false);
    announce_address_space(cpu, false);
    update_mode(cpu);
}

std::uint64_t helper_rsm(CpuState* state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return guarded(state, [&](Cpu& cpu) -> std::uint64_t {
        CpuState& s = cpu.s;
        if (!s.smm)
            throw_ud();
        const SaveArea area{cpu, s.smbase};
        const Loaded l = wide(cpu) ? load64(area, s) : load32(area, s);
        if (!consistent(cpu, l)) {
            util::log_write(util::kLogGuestErrors, "cpu {}: RSM of an impossible state: shutdown\n",
                            cpu.index);
            cpu.shutdown = true;
            s.halted = 1;
            __atomic_store_n(&s.head.exit_request, 1u, __ATOMIC_RELEASE);
            return 0;
        }
        s.smm = 0;
        s.nmi_blocked &= 1;
        s.smbase = l.smbase;
        s.cr0 = (l.cr0 & 0xe005003f) | kCr0ET;
        s.cr3 = l.cr3;
        s.cr4 = l.cr4 & 0x00ffffff;
        s.efer =
            (l.efer & ~kEferLMA) |
            ((l.efer & kEferLME) && (l.cr0 & kCr0PG) ? std::uint64_t{kEferLMA} : std::uint64_t{0});
        write_rflags(s, l.rflags, kAllFlags);
        s.cpl = static_cast<std::uint8_t>(s.rflags & kFlagVM  ? 3
                                          : !(s.cr0 & kCr0PE) ? 0
                                                              : (s.seg[kSs].attr & kAttrDpl) >> 5);
        cpu.flush_tlb(false);
        if ((s.cr0 & kCr0PG) && (s.cr4 & kCr4PAE) && !(s.efer & kEferLMA))
            load_pdptes(cpu, s.cr3);
        announce_address_space(cpu, false);
        update_mode(cpu);
        cpu.set_eip(l.rip);
        if (s.halted)
            __atomic_store_n(&s.head.exit_request, 1u, __ATOMIC_RELEASE);
        return 0;
    });
}

}  // namespace rhea::target::x86
