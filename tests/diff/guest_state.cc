#include "tests/diff/guest_state.h"

#include "rhea/target/x86/registers.h"
#include "rhea/tcg/backend.h"
#include "target/x86/cpu.h"
#include "target/x86/fpu/x87_image.h"
#include "tests/diff/arena.h"

#include <algorithm>
#include <cstring>
#include <sched.h>
#include <stdexcept>

namespace rhea::target::x86::diff {
namespace {

// Selectors and attributes as the host kernel has them.
constexpr std::uint16_t kCode64 = kUserCode64, kCode32 = kUserCode32, kData = kUserData, kCode16 = kUserCode16, kData16 = kUserData16;
constexpr std::uint16_t kCpuNumber = 0x78; // its limit tells the vDSO the number of the CPU
constexpr std::uint64_t kCpuNumberDescriptor = 0x0040f50000000000;
constexpr std::uint64_t kCode64Descriptor = 0x00affb000000ffff, kCode32Descriptor = 0x00cffb000000ffff,
                        kDataDescriptor = 0x00cff3000000ffff;
constexpr std::uint64_t kKernelCodeDescriptor = 0x00af9b000000ffff;

void put(std::uint8_t *at, std::uint64_t value) { std::memcpy(at, &value, sizeof value); }

std::uint64_t small_descriptor(std::uint64_t base, bool code) {
    return 0xffffull | (base & 0xffffff) << 16 | std::uint64_t{code ? 0xfbu : 0xf3u} << 40 | (base >> 24) << 56;
}

} // namespace

Ending ending_of_vector(unsigned vector) {
    switch (vector) {
    case kVectorDE: return Ending::kDivide;
    case kVectorDB: return Ending::kDebug;
    case kVectorBP: return Ending::kBreakpoint;
    case kVectorUD: return Ending::kUndefined;
    case kVectorAC: return Ending::kAlignment;
    case kVectorMF:
    case kVectorXM: return Ending::kFloat;
    default: return Ending::kMemory; // what the host shows as a segmentation violation
    }
}

CpuModel translator_model() {
    auto model = parse_cpu_model("max", CpuAvailability::translator());
    if (!model) {
        throw std::runtime_error("no CPU model 'max'");
    }
    return *model;
}

void set_float_state(CpuState &s, const FloatState &f) {
    FxImage image{};
    image.fcw = f.fcw, image.fsw = f.fsw, image.tags = f.tags;
    image.mxcsr = f.mxcsr;
    for (unsigned n = 0; n < 8; n++) {
        image.st[n] = {f.mantissa[n], f.sign_exponent[n], {}};
    }
    image.xmm = f.xmm;
    take_fxsave(s, true, true, image);
    for (unsigned n = 0; n < 16; n++) {
        s.xmm[n].lane[2] = f.ymm_high[n][0], s.xmm[n].lane[3] = f.ymm_high[n][1];
    }
}

FloatState get_float_state(const CpuState &s) {
    FxImage image;
    make_fxsave(s, true, true, image);
    FloatState f;
    f.used = true;
    f.fcw = image.fcw, f.fsw = image.fsw, f.tags = image.tags;
    f.mxcsr = image.mxcsr;
    for (unsigned n = 0; n < 8; n++) {
        f.mantissa[n] = image.st[n].mantissa;
        f.sign_exponent[n] = image.st[n].sign_exponent;
    }
    f.xmm = image.xmm;
    for (unsigned n = 0; n < 16; n++) {
        f.ymm_high[n] = {s.xmm[n].lane[2], s.xmm[n].lane[3]};
    }
    return f;
}

void write_descriptors(std::uint8_t *gdt, std::uint8_t *ldt) {
    put(gdt + (kCode32 & ~7u), kCode32Descriptor);
    put(gdt + (kData & ~7u), kDataDescriptor);
    put(gdt + (kCode64 & ~7u), kCode64Descriptor);
    put(gdt + kKernelCode, kKernelCodeDescriptor);
    put(gdt + kCpuNumber, kCpuNumberDescriptor | static_cast<unsigned>(sched_getcpu()));
    put(ldt + (kCode16 & ~7u), small_descriptor(kCodeAddress, true));
    put(ldt + (kData16 & ~7u), small_descriptor(kDataAddress, false));
}

void set_guest_state(CpuState &s, const Snapshot &before, CodeSize size, const GuestTables &tables) {
    s.cr0 = kCr0PE | kCr0ET | kCr0NE | kCr0WP | kCr0AM | kCr0PG;
    s.cr3 = tables.pml4;
    s.cr4 = kCr4PAE | kCr4OSFXSR | kCr4OSXMMEXCPT | kCr4FSGSBASE | kCr4OSXSAVE;
    s.xcr0 = 7;
    s.efer = kEferLME | kEferLMA | kEferNXE | kEferSCE;
    s.gdt = {tables.gdt, 0x7f};
    s.ldt = {0x50, 0x82, 0xfff};
    s.ldt_base = tables.ldt;
    s.tr = {0, 0x8b, 0};
    s.cpl = 3;
    s.rflags = kFlagIF | 2 | (before.align_check ? kFlagAC : 0);
    s.interrupt_shadow = s.halted = 0;
    s.head.exception_pending = 0;
    s.exception_next_length = 0;
    const std::uint16_t code_attr = size == CodeSize::k64 ? 0xa0fb : size == CodeSize::k32 ? 0xc0fb : 0x00fb;
    const std::uint16_t data_attr = size == CodeSize::k16 ? 0x00f3 : 0xc0f3;
    const std::uint32_t limit = size == CodeSize::k16 ? 0xffff : 0xffffffff;
    for (unsigned n = 0; n < kSegCount; n++) {
        const bool null = (before.selectors[n] & ~3u) == 0;
        s.seg[n] = {before.selectors[n], null ? std::uint16_t{0} : n == kCs ? code_attr : data_attr, null ? 0 : limit};
        s.seg_base[n] = size != CodeSize::k16 ? 0 : n == kCs ? kCodeAddress : kDataAddress;
    }
    if (size == CodeSize::k64) {
        s.seg_base[kFs] = before.fs_base;
        s.seg_base[kGs] = before.gs_base;
    }
    std::copy(before.gpr.begin(), before.gpr.end(), s.gpr);
    tcg::set_raw_flags(s.head, before.flags & tcg::kArithFlags);
    s.df = (before.flags & kDirectionFlag) != 0 ? ~0ull : 1;
    s.head.pc = before.rip;
    set_float_state(s, before.fp);
    update_mode(Cpu::of(&s));
}

} // namespace rhea::target::x86::diff
