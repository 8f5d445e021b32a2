#include "task.h"

#include "control.h"
#include "linear_memory.h"

namespace rhea::target::x86 {
namespace {

/// Offsets of the fields that a switch saves and loads. Registers follow each other in encoding
/// order (EAX ECX EDX EBX ESP EBP ESI EDI), segment selectors in Seg order.
struct Layout {
    unsigned word;  ///< bytes of a register
    unsigned segment_step;
    unsigned cr3, ip, flags, registers, segments, segment_count, ldt, trap, minimum_limit;
};
constexpr Layout kLayout16 = {2, 2, 0, 0x0e, 0x10, 0x12, 0x22, 4, 0x2a, 0, 0x2b};
constexpr Layout kLayout32 = {4, 4, 0x1c, 0x20, 0x24, 0x28, 0x48, 6, 0x60, 0x64, 0x67};

/// All that the new TSS says, read before anything changes.
struct NewTask {
    std::uint64_t cr3 = 0, ip = 0, flags = 0;
    std::uint64_t registers[8] = {};
    std::uint16_t segments[kSegCount] = {};
    std::uint16_t ldt = 0;
    bool trap = false;
};

NewTask read_task(Cpu& cpu, std::uint64_t base, const Layout& l) {
    NewTask t;
    const auto read = [&](unsigned offset, unsigned size) {
        return read_linear(cpu, base + offset, size, As::kSupervisor);
    };
    if (l.cr3 != 0)
        t.cr3 = read(l.cr3, 4);
    t.ip = read(l.ip, l.word);
    t.flags = read(l.flags, l.word);
    for (unsigned i = 0; i < 8; ++i)
        t.registers[i] = read(l.registers + i * l.word, l.word);
    for (unsigned i = 0; i < l.segment_count; ++i)
        t.segments[i] = static_cast<std::uint16_t>(read(l.segments + i * l.segment_step, 2));
    t.ldt = static_cast<std::uint16_t>(read(l.ldt, 2));
    t.trap = l.trap != 0 && (read(l.trap, 1) & 1) != 0;
    return t;
}

void save_task(Cpu& cpu, std::uint64_t base, const Layout& l, std::uint64_t ip,
               std::uint64_t flags) {
    const CpuState& s = cpu.s;
    const auto write = [&](unsigned offset, std::uint64_t value, unsigned size) {
        write_linear(cpu, base + offset, value, size, As::kSupervisor);
    };
    write(l.ip, ip, l.word);
    write(l.flags, flags, l.word);
    for (unsigned i = 0; i < 8; ++i)
        write(l.registers + i * l.word, s.gpr[i], l.word);
    for (unsigned i = 0; i < l.segment_count; ++i)
        write(l.segments + i * l.segment_step, s.seg[i].selector, 2);
}

void load_task_ldt(Cpu& cpu, std::uint16_t selector) {
    CpuState& s = cpu.s;
    s.ldt = {selector, 0, 0};
    s.ldt_base = 0;
    if (null_selector(selector))
        return;
    const std::uint32_t error = selector & ~3u;
    Descriptor d;
    if ((selector & 4) != 0 || !fetch_descriptor(cpu, selector, d) || d.segment() ||
        d.type() != kTypeLdt || !d.present())
        throw_fault(kVectorTS, error);
    s.ldt = {selector, d.attr(), d.limit()};
    s.ldt_base = d.base();
}

void load_task_code(Cpu& cpu, std::uint16_t selector) {
    const std::uint32_t error = selector & ~3u;
    Descriptor d;
    if (!fetch_descriptor(cpu, selector, d) || !d.code() ||
        (d.conforming() ? d.dpl() > rpl(selector) : d.dpl() != rpl(selector)))
        throw_fault(kVectorTS, error);
    if (!d.present())
        throw_fault(kVectorNP, error);
    mark_accessed(cpu, selector, d);
    install_segment(cpu, kCs, selector, d);
}

void load_task_stack(Cpu& cpu, std::uint16_t selector) {
    const std::uint32_t error = selector & ~3u;
    Descriptor d;
    if (!fetch_descriptor(cpu, selector, d) || !d.writable() || d.dpl() != cpu.s.cpl ||
        rpl(selector) != cpu.s.cpl)
        throw_fault(kVectorTS, error);
    if (!d.present())
        throw_fault(kVectorSS, error);
    mark_accessed(cpu, selector, d);
    install_segment(cpu, kSs, selector, d);
}

void load_task_data(Cpu& cpu, Seg seg, std::uint16_t selector) {
    if (null_selector(selector))
        return;
    const std::uint32_t error = selector & ~3u;
    Descriptor d;
    if (!fetch_descriptor(cpu, selector, d) || !d.readable() ||
        (!d.conforming() && (rpl(selector) > d.dpl() || cpu.s.cpl > d.dpl())))
        throw_fault(kVectorTS, error);
    if (!d.present())
        throw_fault(kVectorNP, error);
    mark_accessed(cpu, selector, d);
    install_segment(cpu, seg, selector, d);
}

/// From here on faults belong to the new task.
void load_task(Cpu& cpu, const NewTask& t, bool tss32) {
    CpuState& s = cpu.s;
    for (unsigned i = 0; i < 8; ++i)
        s.gpr[i] = tss32 ? t.registers[i] : 0xffff0000 | t.registers[i];
    write_rflags(s, t.flags, tss32 ? kAllFlags : kAllFlags & 0xffff);
    if (!tss32)
        s.rflags &= ~std::uint64_t{kFlagVM | kFlagRF};
    for (unsigned i = 0; i < kSegCount; ++i)
        install_null(cpu, static_cast<Seg>(i), t.segments[i]);
    s.ldt = {t.ldt, 0, 0};
    s.head.pc = t.ip & 0xffffffff;  // bases are 0 as long as descriptors are not loaded
    if (tss32 && (s.cr0 & kCr0PG))
        load_cr3(cpu, t.cr3);
    if (s.rflags & kFlagVM) {
        load_task_ldt(cpu, t.ldt);
        s.cpl = 3;
        for (unsigned i = 0; i < kSegCount; ++i)
            install_real(cpu, static_cast<Seg>(i), t.segments[i]);
    } else {
        s.cpl = static_cast<std::uint8_t>(rpl(t.segments[kCs]));
        load_task_ldt(cpu, t.ldt);
        load_task_code(cpu, t.segments[kCs]);
        s.head.pc = (s.seg_base[kCs] + t.ip) & 0xffffffff;
        load_task_stack(cpu, t.segments[kSs]);
        for (const Seg seg : {kEs, kDs, kFs, kGs})
            load_task_data(cpu, seg, t.segments[seg]);
    }
    s.head.pc = (s.seg_base[kCs] + t.ip) & 0xffffffff;
    if (t.ip > s.seg[kCs].limit)
        throw_gp(0);
}

}  // namespace

void switch_task(Cpu& cpu, std::uint16_t selector, const Descriptor& tss, TaskSwitch why,
                 std::uint64_t next_ip) {
    CpuState& s = cpu.s;
    const std::uint32_t error = selector & ~3u;
    if (!tss.present())
        throw_fault(kVectorNP, error);
    const bool new32 = (tss.type() & 8) != 0;
    const Layout& new_layout = new32 ? kLayout32 : kLayout16;
    if (tss.limit() < new_layout.minimum_limit)
        throw_fault(kVectorTS, error);
    const bool nested = why == TaskSwitch::kCall || why == TaskSwitch::kInterrupt;
    const std::uint64_t new_base = tss.base();
    NewTask task = read_task(cpu, new_base, new_layout);
    const Layout& old_layout = (s.tr.attr & 8) != 0 ? kLayout32 : kLayout16;
    const std::uint16_t old_selector = s.tr.selector;
    check_writable_linear(cpu, s.tr_base, old_layout.minimum_limit + 1, As::kSupervisor);
    if (nested)
        check_writable_linear(cpu, new_base, 2, As::kSupervisor);

    const NoteHits noting(cpu.watch);  // from here on nothing can be started again
    std::uint64_t old_flags = read_rflags(s);
    if (why == TaskSwitch::kReturn)
        old_flags &= ~std::uint64_t{kFlagNT};
    save_task(cpu, s.tr_base, old_layout, next_ip, old_flags);
    if (!nested)
        mark_busy(cpu, old_selector, false);
    if (nested) {
        write_linear(cpu, new_base, old_selector, 2, As::kSupervisor);
        task.flags |= kFlagNT;
    }
    if (why != TaskSwitch::kReturn)
        mark_busy(cpu, selector, true);
    s.tr = {selector, static_cast<std::uint16_t>(tss.attr() | 2), tss.limit()};
    s.tr_base = new_base;
    s.cr0 |= kCr0TS;
    s.dr[7] &= ~std::uint64_t{0x155};  // local breakpoint enables (SDM vol. 3, 18.2.4)
    cpu.task_switched = true;
    cpu.task_trap = task.trap;
    load_task(cpu, task, new32);
}

void return_from_task(Cpu& cpu, std::uint64_t next_ip) {
    const auto link =
        static_cast<std::uint16_t>(read_linear(cpu, cpu.s.tr_base, 2, As::kSupervisor));
    const std::uint32_t error = link & ~3u;
    Descriptor tss;
    if ((link & 4) != 0 || !fetch_descriptor(cpu, link, tss) || tss.segment() ||
        (tss.type() != kTypeTss16Busy && tss.type() != kTypeTss32Busy))
        throw_fault(kVectorTS, error);
    switch_task(cpu, link, tss, TaskSwitch::kReturn, next_ip);
}

}  // namespace rhea::target::x86
