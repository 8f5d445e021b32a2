#include "tests/support/x86_machine.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace rhea::test {

using namespace target::x86;

namespace {

CpuModel model_or_fail(std::string_view text) {
    auto model = parse_cpu_model(text, CpuAvailability::translator());
    if (!model)
        ADD_FAILURE() << model.error().message();
    return model ? *model : CpuModel{};
}

void* allocate_window() {
    void* window = std::aligned_alloc(tcg::kWindowSize, tcg::kWindowSize);
    std::memset(window, 0, tcg::kWindowSize);
    return window;
}

}  // namespace

X86Machine::X86Machine(std::string_view model, unsigned index)
    : ram_("ram", 0, kRamSize),
      root_(core::MemoryRegion::container("memory", 1ull << 48)),
      ram_region_(core::MemoryRegion::ram("ram", ram_)),
      io_root_(core::MemoryRegion::io("ports", 0x10000, ports)),
      memory_("memory", *root_),
      io_("io", *io_root_),
      index_(index),
      window_(allocate_window()),
      s(*reinterpret_cast<CpuState*>(static_cast<char*>(window_.get()) + tcg::kStateOffset)) {
    root_->add(0, *ram_region_);
    new (&s) CpuState{};
    frontend = make_frontend(model_or_fail(model), index);
    frontend->attach(&s.head, *this);
    frontend->reset();
}

void X86Machine::enter_protected() {
    frontend->reset();
    poke<std::uint64_t>(kGdt, 0);
    set_descriptor(0x08, descriptor(0, 0xfffff, 0x9b, 0xc));
    set_descriptor(0x10, descriptor(0, 0xfffff, 0x93, 0xc));
    set_descriptor(0x18, descriptor(0, 0xfffff, 0xfb, 0xc));
    set_descriptor(0x20, descriptor(0, 0xfffff, 0xf3, 0xc));
    set_descriptor(0x28, descriptor(kTss, 0x67, 0x89, 0));
    set_descriptor(0x30, descriptor(0, 0xffff, 0x9b, 0));
    set_descriptor(0x38, descriptor(0, 0xffff, 0x93, 0));
    s.gdt = {kGdt, 0xff};
    s.idt = {kIdt, 0x7ff};
    call(helper_write_cr, 0, kCr0PE | kCr0ET, 3);
    s.head.pc = 0x8000;
    call(helper_far_jmp, 0x08, 0x8000, 7 | 4 << 8);
    for (const Seg seg : {kEs, kSs, kDs, kFs, kGs})
        call(helper_load_seg, seg, 0x10, 2);
    call(helper_ltr, 0x28);
    s.gpr[kRsp] = 0x7000;
    s.head.pc = 0x8000;
}

void X86Machine::enter_long() {
    enter_protected();
    // PML4 -> PDPT -> PD of 2 MiB pages over the first GiB, all levels user and writable.
    poke<std::uint64_t>(kPageTables, (kPageTables + 0x1000) | 7);
    poke<std::uint64_t>(kPageTables + 0x1000, (kPageTables + 0x2000) | 7);
    for (std::uint64_t i = 0; i < 512; ++i)
        poke<std::uint64_t>(kPageTables + 0x2000 + i * 8, i << 21 | 0x87);
    set_descriptor(0x08, descriptor(0, 0xfffff, 0x9b, 0xa));
    set_descriptor(0x30, descriptor(0, 0xfffff, 0xfb, 0xa));
    set_descriptor(0x28, descriptor(kTss, 0x67, 0x89, 0));
    poke<std::uint64_t>(kGdt + 0x48,
                        descriptor(kTss, 0x67, 0x89, 0));  // 48: 16-byte TSS descriptor
    poke<std::uint64_t>(kGdt + 0x50, 0);
    s.idt = {kIdt, 0xfff};
    call(helper_write_cr, 4, kCr4PAE, 3);
    call(helper_write_cr, 3, kPageTables, 3);
    s.gpr[kRcx] = 0xc0000080;
    s.gpr[kRax] = kEferLME | kEferSCE | kEferNXE;
    s.gpr[kRdx] = 0;
    call(helper_wrmsr, 2);
    call(helper_write_cr, 0, kCr0PE | kCr0ET | kCr0PG | kCr0WP, 3);
    call(helper_far_jmp, 0x08, 0x8000, 7 | 4 << 8);
    call(helper_ltr, 0x48);
    s.gpr[kRsp] = 0x7000;
    s.head.pc = 0x8000;
}

void X86Machine::enter_user() {
    const bool wide = (frontend->mode() & kModeCode64) != 0;
    s.seg[kCs].selector = wide ? 0x33 : 0x1b;
    s.seg[kCs].attr = wide ? 0xa0fb : 0xc0fb;
    s.seg[kSs].selector = 0x23;
    s.seg[kSs].attr = 0xc0f3;
    s.cpl = 3;
    for (const Seg seg : {kEs, kDs, kFs, kGs})
        call(helper_load_seg, seg, 0x23, 0);
    s.gpr[kRsp] = 0x6000;
}

}  // namespace rhea::test
