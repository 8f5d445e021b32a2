#include "cpu.h"
#include "rhea/tcg/backend.h"

namespace rhea::target::x86 {
namespace {

constexpr std::uint32_t kLimit4G = 0xffffffff;

/// A segment that needs no check on any access: present, writable, expand-up, 4 GiB data.
bool plain_data(const SegmentCache& seg) {
    constexpr std::uint16_t kMask =
        kAttrPresent | kAttrS | kAttrCode | kAttrExpandDown | kAttrWritable;
    return (seg.attr & kMask) == (kAttrPresent | kAttrS | kAttrWritable) && seg.limit == kLimit4G;
}

/// Outside protected mode a 64 KiB limit counts as no check: 16-bit addresses cannot pass it.
bool plain_real(const SegmentCache& seg) {
    return (seg.limit == 0xffff || seg.limit == kLimit4G) &&
           (seg.attr & (kAttrCode | kAttrExpandDown)) != kAttrExpandDown;
}

/// FS and GS are mostly null where they are not used: those have mode bits of their own.
bool need_segment_checks(const CpuState& s, bool real) {
    if (real) {
        for (unsigned i : {kEs, kSs, kDs, kFs, kGs})
            if (!plain_real(s.seg[i]))
                return true;
        return false;
    }
    for (unsigned i : {kEs, kSs, kDs})
        if (!plain_data(s.seg[i]))
            return true;
    for (unsigned i : {kFs, kGs})
        if ((s.seg[i].selector & ~3u) != 0 && !plain_data(s.seg[i]))
            return true;
    return false;
}

std::uint32_t segment_mode(const CpuState& s, bool real) {
    std::uint32_t mode = 0;
    const SegmentCache& cs = s.seg[kCs];
    const bool code32 = (cs.attr & kAttrDB) != 0;
    if (code32)
        mode |= kModeCode32;
    if (s.seg[kSs].attr & kAttrDB)
        mode |= kModeStack32;
    if (!real && s.seg_base[kCs] == 0)
        mode |= kModeCsBaseZero;
    if (!real && s.seg_base[kDs] == 0 && s.seg_base[kEs] == 0 && s.seg_base[kSs] == 0)
        mode |= kModeDataFlat;
    if (!real && (s.seg[kFs].selector & ~3u) == 0)
        mode |= kModeFsNull;
    if (!real && (s.seg[kGs].selector & ~3u) == 0)
        mode |= kModeGsNull;
    if (need_segment_checks(s, real))
        mode |= kModeSegChecks;
    if (code32 ? cs.limit != kLimit4G : cs.limit < 0xffff)
        mode |= kModeCsLimit;
    return mode;
}

}  // namespace

std::uint32_t compute_mode(const CpuState& s) {
    const bool pe = (s.cr0 & kCr0PE) != 0;
    const bool vm = (s.rflags & kFlagVM) != 0;
    const bool real = !pe || vm;
    std::uint32_t mode = 0;
    if (s.cpl == 3)
        mode |= (s.rflags & kFlagAC) != 0 && (s.cr0 & kCr0AM) != 0 ? kModeCpl3 | kModeAlignCheck : kModeCpl3;
    else
        mode |= (s.rflags & kFlagAC) != 0 && (s.cr4 & kCr4SMAP) != 0 ? 2 : 1;
    if (pe && !vm)
        mode |= kModeProtected;
    if (vm)
        mode |= kModeVm86;
    if (s.efer & kEferLMA)
        mode |= kModeLongActive;
    if ((s.efer & kEferLMA) && (s.seg[kCs].attr & kAttrL))
        mode |= kModeCode64 | kModeCsBaseZero | kModeDataFlat;
    else
        mode |= segment_mode(s, real);
    if (s.rflags & kFlagTF)
        mode |= kModeTf;
    if (s.cr0 & (kCr0EM | kCr0TS))
        mode |= kModeFpuTrap;
    if (s.cr0 & kCr0TS)
        mode |= kModeTaskSwitched;
    if (s.cr4 & kCr4OSXSAVE)
        mode |= (s.xcr0 & 6) == 6 ? kModeXsave | kModeAvx : kModeXsave;
    if ((s.cr0 & kCr0EM) || !(s.cr4 & kCr4OSFXSR))
        mode |= kModeSimdOff;
    if ((s.head.guest_mxcsr & 0x1f80) != 0x1f80)
        mode |= kModeFpUnmasked;
    if ((s.fcw & 0x3f) != 0x3f)
        mode |= kModeX87Unmasked;
    if (s.interrupt_shadow)
        mode |= kModeShadow;
    if (s.cpl <= ((s.rflags >> 12) & 3))
        mode |= kModeIopl;
    if (s.smm)
        mode |= kModeSmm;
    for (unsigned i = 0; i < 4 && (s.dr[7] & 0xff) != 0; ++i)
        if (((s.dr[7] >> (i * 2)) & 3) != 0 && ((s.dr[7] >> (16 + i * 4)) & 3) == 0)
            mode |= kModeBreakpoints;
    if (s.cr4 & kCr4UMIP)
        mode |= kModeUmip;
    return mode;
}

void update_mode(Cpu& cpu) {
    if ((cpu.s.dr[7] & 0xff) != 0 || cpu.watch.data_count + cpu.watch.port_count != 0)
        update_watch(cpu);
    const std::uint32_t mode = compute_mode(cpu.s);
    if (mode == cpu.mode)
        return;
    cpu.mode = mode;
    cpu.host.mode_changed();
}

std::uint64_t read_rflags(const CpuState& s) {
    return (s.rflags & ~std::uint64_t{tcg::kArithFlags | kFlagDF}) | 2 |
           tcg::compute_flags(s.head) | (static_cast<std::int64_t>(s.df) < 0 ? kFlagDF : 0);
}

void write_rflags(CpuState& s, std::uint64_t value, std::uint64_t mask) {
    const std::uint64_t now = (read_rflags(s) & ~mask) | (value & mask);
    tcg::set_raw_flags(s.head, static_cast<std::uint32_t>(now));
    s.df = (now & kFlagDF) ? ~0ull : 1;
    s.rflags = (now & kAllFlags & ~std::uint64_t{tcg::kArithFlags | kFlagDF}) | 2;
}

const core::FlatRange* Cpu::find_other_range(const core::FlatView& view, core::hwaddr physical) const {
    const core::FlatRange* range = view.find(physical);
    if (range != nullptr)
        range_hint = static_cast<std::size_t>(range - view.ranges.data());
    return range;
}

void Cpu::flush_tlb(bool keep_global) {
    linear_cache.clear();
    host.flush_tlb(keep_global);
}

void Cpu::flush_tlb_page(std::uint64_t linear) {
    linear_cache.clear();
    host.flush_tlb_page(linear);
}

}  // namespace rhea::target::x86
