// Changes of privilege and of EFLAGS.AC between 64-bit modes whose windows are at hand.
#include "target/x86/quick_helpers.h"

#include "target/x86/cpu.h"
#include "target/x86/flat_segments.h"

namespace rhea::target::x86 {
namespace {

constexpr bool canonical(std::uint64_t linear) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << 16) >> 16) == linear;
}

/// What SYSCALL and SYSRET write: put back where the new mode's window is not at hand.
class Transfer {
public:
    explicit Transfer(CpuState &s)
        : s_(s), head_(s.head), rcx_(s.gpr[kRcx]), r11_(s.gpr[kR11]), df_(s.df), rflags_(s.rflags), cs_(s.seg[kCs]), ss_(s.seg[kSs]),
          cs_base_(s.seg_base[kCs]), ss_base_(s.seg_base[kSs]), cpl_(s.cpl) {}

    tcg::QuickResult finish() const {
        if (quick_update_mode(s_))
            return quick_done();
        s_.head.pc = head_.pc;
        s_.head.cc_op = head_.cc_op;
        s_.head.cc_dst = head_.cc_dst;
        s_.gpr[kRcx] = rcx_;
        s_.gpr[kR11] = r11_;
        s_.df = df_;
        s_.rflags = rflags_;
        s_.seg[kCs] = cs_;
        s_.seg[kSs] = ss_;
        s_.seg_base[kCs] = cs_base_;
        s_.seg_base[kSs] = ss_base_;
        s_.cpl = cpl_;
        return kNotQuick;
    }

private:
    struct Head {
        explicit Head(const tcg::VcpuHead &h) : pc(h.pc), cc_dst(h.cc_dst), cc_op(h.cc_op) {}
        std::uint64_t pc, cc_dst;
        std::uint32_t cc_op;
    };
    CpuState &s_;
    Head head_;
    std::uint64_t rcx_, r11_, df_, rflags_;
    SegmentCache cs_, ss_;
    std::uint64_t cs_base_, ss_base_;
    std::uint8_t cpl_;
};

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

tcg::QuickResult quick_finish_single(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    if (b != 0 || a == ~0ull || !quick_update_mode(*state))
        return kNotQuick;
    state->head.pc = a;
    return quick_done();
}

} // namespace rhea::target::x86
