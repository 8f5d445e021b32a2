#include "stack.h"

namespace rhea::target::x86 {

InnerStack load_inner_stack(Cpu& cpu, unsigned dpl, std::uint32_t ext) {
    const CpuState& s = cpu.s;
    InnerStack stack;
    const bool tss32 = (s.tr.attr & 8) != 0;
    const std::uint32_t at = tss32 ? 4 + dpl * 8 : 2 + dpl * 4;
    if (at + (tss32 ? 5u : 3u) > s.tr.limit)
        throw_fault(kVectorTS, (s.tr.selector & ~3u) | ext);
    stack.sp = read_linear(cpu, s.tr_base + at, tss32 ? 4 : 2, As::kSupervisor);
    stack.selector = static_cast<std::uint16_t>(
        read_linear(cpu, s.tr_base + at + (tss32 ? 4 : 2), 2, As::kSupervisor));
    if (null_selector(stack.selector))
        throw_fault(kVectorTS, ext);
    const std::uint32_t error = (stack.selector & ~3u) | ext;
    if (!fetch_descriptor(cpu, stack.selector, stack.descriptor) || rpl(stack.selector) != dpl ||
        stack.descriptor.dpl() != dpl || !stack.descriptor.writable())
        throw_fault(kVectorTS, error);
    if (!stack.descriptor.present())
        throw_fault(kVectorSS, error);
    return stack;
}

std::uint64_t load_inner_rsp(Cpu& cpu, unsigned dpl, unsigned ist, std::uint32_t ext) {
    const CpuState& s = cpu.s;
    const std::uint32_t at = ist != 0 ? 36 + (ist - 1) * 8 : 4 + dpl * 8;
    if (at + 7 > s.tr.limit)
        throw_fault(kVectorTS, (s.tr.selector & ~3u) | ext);
    return read_linear(cpu, s.tr_base + at, 8, As::kSupervisor);
}

void install_inner_null_ss(Cpu& cpu, unsigned dpl) {
    install_null(cpu, kSs, static_cast<std::uint16_t>(dpl));
    cpu.s.seg[kSs].attr = static_cast<std::uint16_t>(dpl << 5);
}

}  // namespace rhea::target::x86
