#include "segment.h"

#include "linear_memory.h"

namespace rhea::target::x86 {
namespace {

/// Rules for SS (SDM vol. 2, MOV: "IF SS is loaded").
void load_stack_segment(Cpu& cpu, std::uint16_t selector) {
    if (null_selector(selector)) {
        if (!cpu.code64() || cpu.s.cpl == 3 || rpl(selector) != cpu.s.cpl)
            throw_gp(0);
        install_null(cpu, kSs, selector);
        cpu.s.seg[kSs].attr = static_cast<std::uint16_t>(cpu.s.cpl << 5);
        return;
    }
    const std::uint32_t error = selector & ~3u;
    Descriptor d;
    if (!fetch_descriptor(cpu, selector, d))
        throw_gp(error);
    if (rpl(selector) != cpu.s.cpl || !d.writable() || d.dpl() != cpu.s.cpl)
        throw_gp(error);
    if (!d.present())
        throw_fault(kVectorSS, error);
    mark_accessed(cpu, selector, d);
    install_segment(cpu, kSs, selector, d);
}

void load_data_segment(Cpu& cpu, Seg seg, std::uint16_t selector) {
    if (null_selector(selector)) {
        install_null(cpu, seg, selector);
        return;
    }
    const std::uint32_t error = selector & ~3u;
    Descriptor d;
    if (!fetch_descriptor(cpu, selector, d) || !d.readable())
        throw_gp(error);
    if (!d.conforming() && (rpl(selector) > d.dpl() || cpu.s.cpl > d.dpl()))
        throw_gp(error);
    if (!d.present())
        throw_fault(kVectorNP, error);
    mark_accessed(cpu, selector, d);
    install_segment(cpu, seg, selector, d);
}

}  // namespace

bool descriptor_address(const Cpu& cpu, std::uint16_t selector, unsigned bytes,
                        std::uint64_t& address) {
    const CpuState& s = cpu.s;
    const bool local = (selector & 4) != 0;
    if (local && !(s.ldt.attr & kAttrPresent))
        return false;
    const std::uint32_t limit = local ? s.ldt.limit : s.gdt.limit;
    const std::uint32_t offset = selector & ~7u;
    if (offset + bytes - 1 > limit)
        return false;
    address = (local ? s.ldt_base : s.gdt.base) + offset;
    return true;
}

bool fetch_descriptor(Cpu& cpu, std::uint16_t selector, Descriptor& out) {
    std::uint64_t address;
    if (null_selector(selector) || !descriptor_address(cpu, selector, 8, address))
        return false;
    out.low = read_linear(cpu, address, 8, As::kSupervisor);
    out.high = 0;
    return true;
}

bool fetch_system_descriptor(Cpu& cpu, std::uint16_t selector, Descriptor& out) {
    if (!fetch_descriptor(cpu, selector, out))
        return false;
    if (!cpu.long_active() || out.segment())
        return true;
    std::uint64_t address;
    if (!descriptor_address(cpu, selector, 16, address))
        return false;
    out.high = read_linear(cpu, address + 8, 8, As::kSupervisor);
    return true;
}

void mark_accessed(Cpu& cpu, std::uint16_t selector, Descriptor& descriptor) {
    std::uint64_t address;
    if ((descriptor.type() & 1) != 0 || !descriptor_address(cpu, selector, 8, address))
        return;
    descriptor.low |= 1ull << 40;
    write_linear(cpu, address + 5, (descriptor.low >> 40) & 0xff, 1, As::kSupervisor);
}

void mark_busy(Cpu& cpu, std::uint16_t selector, bool busy) {
    std::uint64_t address;
    if (!descriptor_address(cpu, selector, 8, address))
        return;
    const std::uint64_t access = read_linear(cpu, address + 5, 1, As::kSupervisor);
    write_linear(cpu, address + 5, busy ? access | 2 : access & ~2ull, 1, As::kSupervisor);
}

void install_segment(Cpu& cpu, Seg seg, std::uint16_t selector, const Descriptor& descriptor) {
    cpu.s.seg[seg] = {selector, descriptor.attr(), descriptor.limit()};
    cpu.s.seg_base[seg] = descriptor.base();
}

void install_null(Cpu& cpu, Seg seg, std::uint16_t selector) {
    cpu.s.seg[seg] = {selector, 0, 0};
    cpu.s.seg_base[seg] = 0;
}

void install_real(Cpu& cpu, Seg seg, std::uint16_t selector) {
    SegmentCache& cache = cpu.s.seg[seg];
    cache.selector = selector;
    cpu.s.seg_base[seg] = static_cast<std::uint64_t>(selector) << 4;
    if (cpu.vm86()) {
        cache.limit = 0xffff;
        cache.attr = 0xf3;
    } else {  // limit, G and B stay what protected mode left ("unreal mode")
        cache.attr =
            static_cast<std::uint16_t>((cache.attr & (kAttrDB | kAttrG | kAttrAvl)) | 0x93);
    }
}

void load_segment(Cpu& cpu, Seg seg, std::uint16_t selector) {
    if (!cpu.protected_mode() || cpu.vm86())
        install_real(cpu, seg, selector);
    else if (seg == kSs)
        load_stack_segment(cpu, selector);
    else
        load_data_segment(cpu, seg, selector);
}

bool segment_allows(const SegmentCache& seg, std::uint32_t offset, unsigned size, bool write,
                    bool protect) {
    if (protect) {
        if (!(seg.attr & kAttrPresent))
            return false;
        const bool code = (seg.attr & kAttrCode) != 0;
        if (write ? code || !(seg.attr & kAttrWritable) : code && !(seg.attr & kAttrReadable))
            return false;
    }
    const std::uint64_t last = std::uint64_t{offset} + size - 1;
    if ((seg.attr & (kAttrCode | kAttrExpandDown)) == kAttrExpandDown) {
        const std::uint64_t top = seg.attr & kAttrDB ? 0xffffffff : 0xffff;
        return offset > seg.limit && last <= top;
    }
    return last <= seg.limit;
}

}  // namespace rhea::target::x86
