#include "target/x86/slots.h"

#include "rhea/target/x86/state.h"

#include <array>
#include <cstddef>

namespace rhea::target::x86 {
namespace {

using tcg::SlotInfo;
using tcg::Type;

constexpr std::array<SlotInfo, kSlotCount> make_table() {
    constexpr std::string_view kGpr[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    constexpr std::string_view kBase[] = {"es_base", "cs_base", "ss_base", "ds_base", "fs_base", "gs_base"};
    constexpr std::string_view kSelector[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    constexpr std::string_view kXmm[] = {"xmm0", "xmm1", "xmm2",  "xmm3",  "xmm4",  "xmm5",  "xmm6",  "xmm7",
                                         "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"};
    constexpr std::string_view kFpr[] = {"fpr0", "fpr1", "fpr2", "fpr3", "fpr4", "fpr5", "fpr6", "fpr7"};
    constexpr std::string_view kFprHigh[] = {"fpr0_high", "fpr1_high", "fpr2_high", "fpr3_high",
                                             "fpr4_high", "fpr5_high", "fpr6_high", "fpr7_high"};
    constexpr std::string_view kYmmHigh[] = {
        "ymm0_high", "ymm1_high", "ymm2_high",  "ymm3_high",  "ymm4_high",  "ymm5_high",  "ymm6_high",  "ymm7_high",
        "ymm8_high", "ymm9_high", "ymm10_high", "ymm11_high", "ymm12_high", "ymm13_high", "ymm14_high", "ymm15_high"};
    std::array<SlotInfo, kSlotCount> table{};
    const auto put = [&table](unsigned slot, std::string_view name, std::size_t offset, Type type) {
        table[slot] = {name, static_cast<std::uint32_t>(offset), type};
    };
    for (unsigned n = 0; n < 16; n++) {
        put(kSlotGpr + n, kGpr[n], offsetof(CpuState, gpr) + 8 * n, Type::kI64);
        put(kSlotXmm + n, kXmm[n], offsetof(CpuState, xmm) + sizeof(VectorRegister) * n, Type::kV128);
        put(kSlotYmmHigh + n, kYmmHigh[n], offsetof(CpuState, xmm) + sizeof(VectorRegister) * n + 16, Type::kV128);
    }
    for (unsigned n = 0; n < kSegCount; n++) {
        put(kSlotSegBase + n, kBase[n], offsetof(CpuState, seg_base) + 8 * n, Type::kI64);
        put(kSlotSelector + n, kSelector[n],
            offsetof(CpuState, seg) + sizeof(SegmentCache) * n + offsetof(SegmentCache, selector), Type::kI16);
    }
    for (unsigned n = 0; n < 8; n++) {
        put(kSlotFpr + n, kFpr[n], offsetof(CpuState, fpr) + sizeof(X87Register) * n, Type::kI64);
        put(kSlotFprHigh + n, kFprHigh[n],
            offsetof(CpuState, fpr) + sizeof(X87Register) * n + offsetof(X87Register, sign_exponent), Type::kI16);
    }
    put(kSlotDf, "df", offsetof(CpuState, df), Type::kI64);
    put(kSlotRflags, "rflags", offsetof(CpuState, rflags), Type::kI64);
    put(kSlotMxcsr, "mxcsr", offsetof(CpuState, head) + offsetof(tcg::VcpuHead, guest_mxcsr), Type::kI32);
    put(kSlotFpuTop, "fpu_top", offsetof(CpuState, fpu_top), Type::kI32);
    put(kSlotFtw, "ftw", offsetof(CpuState, ftw), Type::kI16);
    put(kSlotFsw, "fsw", offsetof(CpuState, fsw), Type::kI16);
    put(kSlotFcw, "fcw", offsetof(CpuState, fcw), Type::kI16);
    put(kSlotFipPage, "fip_page", offsetof(CpuState, fip_page), Type::kI64);
    put(kSlotFdp, "fdp", offsetof(CpuState, fdp), Type::kI64);
    put(kSlotFpuPlace, "fpu_place", offsetof(CpuState, fpu_place), Type::kI32);
    put(kSlotFcs, "fcs", offsetof(CpuState, fcs), Type::kI16);
    put(kSlotFds, "fds", offsetof(CpuState, fds), Type::kI16);
    put(kSlotCr0, "cr0", offsetof(CpuState, cr0), Type::kI64);
    put(kSlotCr2, "cr2", offsetof(CpuState, cr2), Type::kI64);
    put(kSlotCr3, "cr3", offsetof(CpuState, cr3), Type::kI64);
    put(kSlotCr4, "cr4", offsetof(CpuState, cr4), Type::kI64);
    put(kSlotKernelGsBase, "kernel_gs_base", offsetof(CpuState, kernel_gs_base), Type::kI64);
    put(kSlotTscAux, "tsc_aux", offsetof(CpuState, tsc_aux), Type::kI64);
    return table;
}
constexpr std::array<SlotInfo, kSlotCount> kTable = make_table();

constexpr bool complete() {
    for (const SlotInfo &slot : kTable) {
        if (slot.name.empty()) {
            return false;
        }
    }
    return true;
}
static_assert(complete(), "every SlotId needs its row");

constexpr tcg::Slot kIntegers[] = {kRax, kRcx, kRdx, kRbx, kRsi, kRdi, kR8,  kR9,
                                   kRsp, kRbp, kR10, kR11, kR12, kR13, kR14, kR15};
constexpr std::array<tcg::Slot, 16> make_vectors() {
    std::array<tcg::Slot, 16> slots{};
    for (unsigned n = 0; n < 16; n++) {
        slots[n] = static_cast<tcg::Slot>(kSlotXmm + n);
    }
    return slots;
}
constexpr std::array<tcg::Slot, 16> kVectors = make_vectors();

} // namespace

std::span<const tcg::SlotInfo> slot_table() { return kTable; }
std::span<const tcg::Slot> pinned_integers() { return kIntegers; }
std::span<const tcg::Slot> pinned_vectors() { return kVectors; }

} // namespace rhea::target::x86
