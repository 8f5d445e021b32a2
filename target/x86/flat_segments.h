// The fixed flat segments that SYSCALL, SYSRET, SYSENTER and SYSEXIT load. vCPU thread only.
#pragma once
#include "rhea/target/x86/state.h"

#include <cstdint>

namespace rhea::target::x86 {

/// Present, accessed, DPL 0, with G.
inline constexpr std::uint16_t kFlatCode64 = 0xa09b, kFlatCode32 = 0xc09b, kFlatData = 0xc093;

inline void set_flat_segment(CpuState &s, Seg seg, std::uint64_t selector, std::uint16_t attr, unsigned level) {
    s.seg[seg] = {static_cast<std::uint16_t>((selector & 0xfffc) | level), static_cast<std::uint16_t>(attr | level << 5), 0xffffffff};
    s.seg_base[seg] = 0;
}

/// New code and stack segments at `level`.
inline void enter_level(CpuState &s, unsigned level, std::uint64_t cs, std::uint64_t ss, bool code64) {
    s.cpl = static_cast<std::uint8_t>(level);
    set_flat_segment(s, kCs, cs, code64 ? kFlatCode64 : kFlatCode32, level);
    set_flat_segment(s, kSs, ss, kFlatData, level);
}

} // namespace rhea::target::x86
