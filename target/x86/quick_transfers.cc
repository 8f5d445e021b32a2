// Changes of privilege and of EFLAGS.AC between 64-bit modes whose windows are at hand.
#include "target/x86/quick_helpers.h"

#include "target/x86/cpu.h"
#include "target/x86/flat_segments.h"
#include "target/x86/quick_transfer.h"

namespace rhea::target::x86 {
namespace {

constexpr bool canonical(std::uint64_t linear) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << 16) >> 16) == linear;
}

} // namespace

bool quick_update_mode(CpuState &s) {
    const std::uint32_t mode = compute_mode(s);
    if (mode == s.cold.mode_word)
        return true;
    const tcg::ModeWindow &there = s.cold.mode_windows[mode & kModeWindowMask];
    if (there.mode_word != mode)
        return false;
    s.cold.mode_word = mode;
    s.cold.window = there.window;
    return true;
}

tcg::QuickResult quick_syscall(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    CpuState &s = *state;
    if ((s.efer & (kEferSCE | kEferLMA)) != (kEferSCE | kEferLMA) || !(s.cold.mode_word & kModeCode64))
        return kNotQuick;
    const Transfer transfer(s);
    const std::uint64_t cs = (s.star >> 32) & 0xffff;
    s.gpr[kRcx] = s.head.pc + a;
    s.gpr[kR11] = read_rflags(s) & ~std::uint64_t{kFlagRF};
    write_rflags(s, 0, s.sfmask | kFlagRF);
    enter_level(s, 0, cs, cs + 8, true);
    s.head.pc = s.lstar;
    return transfer.finish();
}

tcg::QuickResult quick_sysret(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    CpuState &s = *state;
    if ((s.efer & (kEferSCE | kEferLMA)) != (kEferSCE | kEferLMA) || s.cpl != 0 || a != 8 || !canonical(s.gpr[kRcx]))
        return kNotQuick;
    const Transfer transfer(s);
    const std::uint64_t cs = (s.star >> 48) & 0xffff;
    write_rflags(s, s.gpr[kR11], kAllFlags & ~std::uint64_t{kFlagVM | kFlagRF});
    s.rflags &= ~std::uint64_t{kFlagRF};
    enter_level(s, 3, cs + 16, cs + 8, true);
    s.head.pc = s.gpr[kRcx];
    return transfer.finish();
}

namespace {

/// Where instructions are not single, only STAC and CLAC get here with another mode than before.
bool toggles_ac(const CpuState &s) { return (s.cold.mode_word & (kModeTf | kModeShadow | kModeBreakpoints | kModeCpl3)) == 0; }

bool quick_update_ac(CpuState &s) {
    const std::uint32_t window = (s.rflags & kFlagAC) != 0 && (s.cr4 & kCr4SMAP) != 0 ? 2 : 1;
    const std::uint32_t mode = (s.cold.mode_word & ~kModeWindowMask) | window;
    const tcg::ModeWindow &there = s.cold.mode_windows[window];
    if (there.mode_word != mode)
        return mode == s.cold.mode_word;
    s.cold.mode_word = mode;
    s.cold.window = there.window;
    return true;
}

} // namespace

tcg::QuickResult quick_finish_single(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    if (b != 0 || a == ~0ull || !(toggles_ac(*state) ? quick_update_ac(*state) : quick_update_mode(*state)))
        return kNotQuick;
    state->head.pc = a;
    return quick_done();
}

} // namespace rhea::target::x86
