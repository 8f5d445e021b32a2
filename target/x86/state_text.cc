// `info registers`, line for line as tools that read it expect.
#include <fmt/format.h>

#include "cpu.h"
#include "rhea/target/x86/state_io.h"

namespace rhea::target::x86 {
namespace {

constexpr const char* kRegNames[] = {"RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP"};
constexpr Reg kRegOrder[] = {kRax, kRbx, kRcx, kRdx, kRsi, kRdi, kRbp, kRsp};

bool wide_state(const CpuState& s) {
    return (s.efer & kEferLMA) != 0;
}
bool code64(const CpuState& s) {
    return wide_state(s) && (s.seg[kCs].attr & kAttrL);
}

std::string flag_letters(std::uint64_t f) {
    const auto letter = [f](std::uint64_t bit, char c) { return f & bit ? c : '-'; };
    return {letter(kFlagDF, 'D'),  letter(tcg::kOF, 'O'), letter(tcg::kSF, 'S'),
            letter(tcg::kZF, 'Z'), letter(tcg::kAF, 'A'), letter(tcg::kPF, 'P'),
            letter(tcg::kCF, 'C')};
}

std::string general_registers(const CpuState& s) {
    std::string out;
    const std::uint64_t rflags = read_rflags(s);
    const std::uint64_t rip = code64(s) ? s.head.pc : (s.head.pc - s.seg_base[kCs]) & 0xffffffff;
    if (code64(s)) {
        for (unsigned i = 0; i < 8; ++i)
            out += fmt::format("{}={:016x}{}", kRegNames[i], s.gpr[kRegOrder[i]],
                               i % 4 == 3 ? '\n' : ' ');
        for (unsigned i = 8; i < 16; ++i)
            out += fmt::format("R{:<2}={:016x}{}", i, s.gpr[i], i % 4 == 3 ? '\n' : ' ');
        out += fmt::format("RIP={:016x} RFL={:08x}", rip, rflags);
    } else {
        for (unsigned i = 0; i < 8; ++i)
            out += fmt::format("E{}={:08x}{}", kRegNames[i] + 1, s.gpr[kRegOrder[i]] & 0xffffffff,
                               i % 4 == 3 ? '\n' : ' ');
        out += fmt::format("EIP={:08x} EFL={:08x}", rip, rflags);
    }
    return out + fmt::format(" [{}] CPL={} II={} A20={} SMM={} HLT={}\n", flag_letters(rflags),
                             s.cpl, s.interrupt_shadow != 0 ? 1 : 0, s.a20_masked ? 0 : 1, s.smm,
                             s.halted);
}

std::string segment_type(const CpuState& s, std::uint16_t attr) {
    if (!(attr & kAttrPresent))
        return "";
    std::string out = fmt::format(" DPL={} ", (attr & kAttrDpl) >> 5);
    if (attr & kAttrS) {
        if (attr & kAttrCode)
            out +=
                fmt::format("{} [{}{}",
                            attr & kAttrL    ? "CS64"
                            : attr & kAttrDB ? "CS32"
                                             : "CS16",
                            attr & kAttrConforming ? 'C' : '-', attr & kAttrReadable ? 'R' : '-');
        else
            out +=
                fmt::format("{} [{}{}", (attr & kAttrDB) || wide_state(s) ? "DS  " : "DS16",
                            attr & kAttrExpandDown ? 'E' : '-', attr & kAttrWritable ? 'W' : '-');
        return out + (attr & kAttrAccessed ? "A]" : "-]");
    }
    static constexpr const char* kNames32[] = {
        "Reserved",   "TSS16-avl",  "LDT",       "TSS16-busy", "CallGate16", "TaskGate",
        "IntGate16",  "TrapGate16", "Reserved",  "TSS32-avl",  "Reserved",   "TSS32-busy",
        "CallGate32", "Reserved",   "IntGate32", "TrapGate32"};
    static constexpr const char* kNames64[] = {
        "<hiword>",   "Reserved", "LDT",       "Reserved",  "Reserved", "Reserved",
        "Reserved",   "Reserved", "Reserved",  "TSS64-avl", "Reserved", "TSS64-busy",
        "CallGate64", "Reserved", "IntGate64", "TrapGate64"};
    return out + (wide_state(s) ? kNames64 : kNames32)[attr & 15];
}

std::string segment_line(const CpuState& s, const char* name, const SegmentCache& seg,
                         std::uint64_t base) {
    // The descriptor's second word without its base, limit bits 19:16 included.
    const std::uint32_t limit = seg.attr & kAttrG ? seg.limit >> 12 : seg.limit;
    const std::uint32_t flags = static_cast<std::uint32_t>(seg.attr) << 8 | (limit & 0xf0000);
    if (code64(s))
        return fmt::format("{:<3}={:04x} {:016x} {:08x} {:08x}{}\n", name, seg.selector, base,
                           seg.limit, flags, segment_type(s, seg.attr));
    return fmt::format("{:<3}={:04x} {:08x} {:08x} {:08x}{}\n", name, seg.selector,
                       base & 0xffffffff, seg.limit, flags, segment_type(s, seg.attr));
}

std::string system_registers(const CpuState& s) {
    std::string out;
    static constexpr const char* kNames[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
    for (unsigned i = 0; i < kSegCount; ++i)
        out += segment_line(s, kNames[i], s.seg[i], s.seg_base[i]);
    out += segment_line(s, "LDT", s.ldt, s.ldt_base) + segment_line(s, "TR", s.tr, s.tr_base);
    if (code64(s)) {
        out += fmt::format("GDT=     {:016x} {:08x}\nIDT=     {:016x} {:08x}\n", s.gdt.base,
                           s.gdt.limit, s.idt.base, s.idt.limit);
        out += fmt::format("CR0={:08x} CR2={:016x} CR3={:016x} CR4={:08x}\n", s.cr0, s.cr2, s.cr3,
                           s.cr4);
        for (unsigned i = 0; i < 4; ++i)
            out += fmt::format("DR{}={:016x} ", i, s.dr[i]);
        out += fmt::format("\nDR6={:016x} DR7={:016x}\n", s.dr[6], s.dr[7]);
    } else {
        out += fmt::format("GDT=     {:08x} {:08x}\nIDT=     {:08x} {:08x}\n", s.gdt.base,
                           s.gdt.limit, s.idt.base, s.idt.limit);
        out += fmt::format("CR0={:08x} CR2={:08x} CR3={:08x} CR4={:08x}\n", s.cr0, s.cr2, s.cr3,
                           s.cr4);
        for (unsigned i = 0; i < 4; ++i)
            out += fmt::format("DR{}={:08x} ", i, s.dr[i]);
        out += fmt::format("\nDR6={:08x} DR7={:08x}\n", s.dr[6], s.dr[7]);
    }
    return out + fmt::format("EFER={:016x}\n", s.efer);
}

std::string floating_point(const CpuState& s) {
    const unsigned fsw = (s.fsw & ~0x3800u) | (s.fpu_top & 7) << 11;
    std::string out = fmt::format("FCW={:04x} FSW={:04x} [ST={}] FTW={:02x} MXCSR={:08x}\n", s.fcw,
                                  fsw, s.fpu_top & 7, ~s.ftw & 0xff, s.head.guest_mxcsr);
    for (unsigned i = 0; i < 8; ++i)
        out += fmt::format("FPR{}={:016x} {:04x}{}", i, s.fpr[i].mantissa, s.fpr[i].sign_exponent,
                           i & 1 ? '\n' : ' ');
    const unsigned count = code64(s) ? 16 : 8;
    for (unsigned i = 0; i < count; ++i)
        out += fmt::format("XMM{:02}={:016x} {:016x}{}", i, s.xmm[i].lane[1], s.xmm[i].lane[0],
                           i & 1 ? '\n' : ' ');
    return out;
}

}  // namespace

std::string describe_state(const CpuState& s) {
    return general_registers(s) + system_registers(s) + floating_point(s);
}

}  // namespace rhea::target::x86
