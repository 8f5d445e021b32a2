// What quick transfers between levels share. vCPU thread only.
#pragma once
#include "target/x86/cpu.h"
#include "target/x86/quick_helpers.h"

namespace rhea::target::x86 {

/// What a transfer writes: put back where the new mode's window is not at hand.
class Transfer {
public:
    explicit Transfer(CpuState &s)
        : s_(s), head_(s.head), rcx_(s.gpr[kRcx]), rsp_(s.gpr[kRsp]), r11_(s.gpr[kR11]), df_(s.df), rflags_(s.rflags), cs_(s.seg[kCs]), ss_(s.seg[kSs]),
          cs_base_(s.seg_base[kCs]), ss_base_(s.seg_base[kSs]), cpl_(s.cpl) {}

    tcg::QuickResult finish() const {
        if (quick_update_mode(s_))
            return quick_done();
        s_.head.pc = head_.pc;
        s_.head.cc_op = head_.cc_op;
        s_.head.cc_dst = head_.cc_dst;
        s_.gpr[kRcx] = rcx_;
        s_.gpr[kRsp] = rsp_;
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
    std::uint64_t rcx_, rsp_, r11_, df_, rflags_;
    SegmentCache cs_, ss_;
    std::uint64_t cs_base_, ss_base_;
    std::uint8_t cpl_;
};

} // namespace rhea::target::x86
