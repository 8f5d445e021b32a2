// Interrupts, exceptions and IRETQ in long mode, where every page that they touch is in the kernel's window: the usual case. What
// differs (a fault on the way, task gates, other modes, segments without the accessed bit) changes nothing and is left to
// interrupt.cc and far_return.cc.
#include "target/x86/quick_helpers.h"

#include "rhea/tcg/backend.h"
#include "target/x86/cpu.h"
#include "target/x86/interrupt.h"
#include "target/x86/quick_transfer.h"
#include "target/x86/segment.h"

namespace rhea::target::x86 {
namespace {

constexpr std::uint64_t kPage = 4096, kIretFrame = 40;
constexpr unsigned kKernel = 1; ///< window mode of implicit supervisor accesses

/// The host address of `bytes` bytes within one page of a window, else null.
std::uint8_t *in_window(std::uint64_t window, std::uint64_t linear, std::uint64_t bytes, std::uint32_t tags) {
    const unsigned index = tcg::tlb_index(linear);
    if (linear - reinterpret_cast<const std::uint64_t *>(window + tags)[index] > kPage - bytes)
        return nullptr;
    return reinterpret_cast<std::uint8_t *>(linear + reinterpret_cast<const std::uint64_t *>(window + tcg::kAddendOffset)[index]);
}

/// Memory as the CPU's own accesses to descriptor tables and stacks see it.
class Supervisor {
public:
    explicit Supervisor(const CpuState &s) : window_(s.cold.mode_windows[kKernel].window),
                                             ready_(s.cold.mode_windows[kKernel].mode_word != tcg::ModeWindow::kNoMode) {}
    bool ready() const { return ready_; }
    bool read(std::uint64_t linear, std::uint64_t &value) const {
        const std::uint8_t *at = in_window(window_, linear, sizeof value, tcg::kReadTagOffset);
        if (at == nullptr)
            return false;
        value = guest_quad(at);
        return true;
    }
    std::uint64_t *writable(std::uint64_t linear, std::uint64_t bytes) const {
        return reinterpret_cast<std::uint64_t *>(in_window(window_, linear, bytes, tcg::kWriteTagOffset));
    }
    /// A present segment of the GDT that has been used before.
    bool segment(const CpuState &s, std::uint16_t selector, Descriptor &out) const {
        if (null_selector(selector) || (selector & 4) != 0 || (selector | 7u) > s.gdt.limit || !read(s.gdt.base + (selector & ~7u), out.low))
            return false;
        return out.segment() && out.present() && (out.type() & 1) != 0;
    }

private:
    std::uint64_t window_;
    bool ready_;
};

bool plain_code64(const Descriptor &cs) { return cs.code() && !cs.conforming() && cs.long_code() && !cs.db(); }

/// As install_segment().
void install(CpuState &s, Seg seg, std::uint16_t selector, const Descriptor &descriptor) {
    s.seg[seg] = {selector, descriptor.attr(), descriptor.limit()};
    s.seg_base[seg] = descriptor.base();
}

bool canonical(std::uint64_t linear) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << 16) >> 16) == linear;
}

/// Would the return to level 3 take a data segment away?
bool drops_segments(const CpuState &s) {
    for (const Seg seg : {kEs, kDs, kFs, kGs}) {
        const std::uint16_t attr = s.seg[seg].attr;
        if ((attr & kAttrPresent) != 0 && (attr & kAttrDpl) != kAttrDpl)
            return true;
    }
    return false;
}

} // namespace

bool quick_event(CpuState &s, const Event &e) {
    const Supervisor memory(s);
    if ((s.efer & kEferLMA) == 0 || e.kind == EventKind::kSoftware || !memory.ready())
        return false;
    Descriptor gate, cs;
    const std::uint64_t at = s.idt.base + e.vector * 16u;
    if (e.vector * 16u + 15 > s.idt.limit || !memory.read(at, gate.low) || !memory.read(at + 8, gate.high))
        return false;
    const unsigned type = gate.type();
    const std::uint16_t selector = gate.gate_selector();
    if (gate.segment() || (type != kTypeIntGate32 && type != kTypeTrapGate32) || !gate.present() || !memory.segment(s, selector, cs) ||
        !plain_code64(cs) || cs.dpl() != 0 || !canonical(gate.gate_offset64()))
        return false;
    const unsigned ist = (gate.low >> 32) & 7;
    std::uint64_t rsp = s.gpr[kRsp];
    if (s.cpl != 0 || ist != 0) {
        const std::uint32_t offset = ist != 0 ? 36 + (ist - 1) * 8 : 4;
        if (offset + 7 > s.tr.limit || !memory.read(s.tr_base + offset, rsp))
            return false;
    }
    const std::uint64_t bytes = kIretFrame + (e.has_error ? 8 : 0);
    const std::uint64_t top = (rsp & ~15ull) - bytes;
    std::uint64_t *to = memory.writable(top, bytes);
    if (to == nullptr)
        return false;

    // The new mode, to know whether its window is at hand; then what it was is pushed.
    const std::uint64_t flags = pushed_flags(read_rflags(s), e);
    const std::uint64_t ip = ((s.cold.mode_word & kModeCode64) != 0 ? s.head.pc : (s.head.pc - s.seg_base[kCs]) & 0xffffffff) + e.next_length;
    const std::uint16_t old_cs = s.seg[kCs].selector, old_ss = s.seg[kSs].selector;
    const Transfer transfer(s);
    s.rflags &= ~(kFlagTF | kFlagVM | kFlagRF | kFlagNT | (type == kTypeIntGate32 ? kFlagIF : 0));
    if (s.cpl != 0) {
        s.seg[kSs] = {};
        s.seg_base[kSs] = 0;
    }
    s.cpl = 0;
    install(s, kCs, selector & ~3u, cs);
    if (transfer.finish().done == 0)
        return false;
    if (e.has_error)
        *to++ = e.error;
    to[0] = ip;
    to[1] = old_cs;
    to[2] = flags;
    to[3] = s.gpr[kRsp];
    to[4] = old_ss;
    s.gpr[kRsp] = top;
    s.head.pc = gate.gate_offset64();
    return true;
}

tcg::QuickResult quick_iret(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    CpuState &s = *state;
    const Supervisor memory(s);
    constexpr std::uint32_t kWanted = kModeCode64 | kKernel;
    if (a != 8 || (s.cold.mode_word & (kModeCode64 | kModeWindowMask)) != kWanted || s.cpl != 0 || (s.rflags & kFlagNT) != 0)
        return kNotQuick;
    const std::uint64_t rsp = s.gpr[kRsp];
    const std::uint8_t *const from = in_window(s.cold.window, rsp, kIretFrame, tcg::kReadTagOffset);
    if (from == nullptr || s.cold.window != s.cold.mode_windows[kKernel].window)
        return kNotQuick;
    const std::uint64_t ip = guest_quad(from, 0), flags = guest_quad(from, 2), sp = guest_quad(from, 3);
    const auto cs_selector = static_cast<std::uint16_t>(guest_quad(from, 1)), ss_selector = static_cast<std::uint16_t>(guest_quad(from, 4));
    const unsigned level = rpl(cs_selector);
    Descriptor cs, ss;
    if (!memory.ready() || !memory.segment(s, cs_selector, cs) || !plain_code64(cs) || cs.dpl() != level || !canonical(ip) ||
        rpl(ss_selector) != level)
        return kNotQuick;
    const bool null_ss = null_selector(ss_selector);
    if (null_ss ? level == 3 : !memory.segment(s, ss_selector, ss) || !ss.writable() || ss.dpl() != level)
        return kNotQuick;
    if (level != 0 && drops_segments(s))
        return kNotQuick;

    const Transfer transfer(s);
    s.cpl = static_cast<std::uint8_t>(level);
    install(s, kCs, cs_selector, cs);
    install(s, kSs, ss_selector, ss);
    if (null_ss)
        s.seg[kSs].attr = static_cast<std::uint16_t>(level << 5);
    s.gpr[kRsp] = sp;
    constexpr std::uint64_t kMask = kFlagTF | kFlagNT | kFlagRF | kFlagAC | kFlagID | kFlagIF | kFlagIOPL | kFlagVIF | kFlagVIP;
    s.rflags = (s.rflags & ~kMask) | (flags & kMask) | 2;
    s.df = (flags & kFlagDF) != 0 ? ~0ull : 1;
    tcg::set_raw_flags(s.head, static_cast<std::uint32_t>(flags));
    s.head.pc = ip;
    const tcg::QuickResult result = transfer.finish();
    if (result.done != 0)
        s.nmi_blocked &= 2; // only RSM lifts SMM's
    return result;
}

} // namespace rhea::target::x86
