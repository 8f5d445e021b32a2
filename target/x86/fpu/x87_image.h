// The x87 state as images in memory: FXSAVE's, FNSAVE's, FNSTENV's, and what the host's FXRSTOR takes.
//
// Plain functions over CpuState; any thread that owns it.
#pragma once
#include "rhea/target/x86/state.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace rhea::target::x86 {

inline constexpr std::uint16_t kFpuExceptions = 0x3f, kFpuTop = 0x3800, kFpuSummary = 0x8080;
inline constexpr std::uint32_t kMxcsrMask = 0xffff;

/// Has an unmasked exception happened that the next waiting instruction reports?
constexpr bool fpu_pending(const CpuState &s) { return (s.fsw & ~s.fcw & kFpuExceptions) != 0; }
/// ES and B follow from flags and masks.
constexpr void update_fpu_summary(CpuState &s) {
    s.fsw = static_cast<std::uint16_t>(fpu_pending(s) ? s.fsw | kFpuSummary : s.fsw & ~kFpuSummary);
}
/// FSW with TOP, as instructions show it.
constexpr std::uint16_t fpu_status(const CpuState &s) {
    return static_cast<std::uint16_t>((s.fsw & ~kFpuTop) | (s.fpu_top & 7) << 11);
}
/// Where the last x87 instruction that is no control instruction was, and what.
constexpr std::uint64_t fpu_ip(const CpuState &s) { return s.fip_page + (s.fpu_place >> 16); }
constexpr std::uint16_t fpu_opcode(const CpuState &s) { return s.fpu_place & 0x7ff; }
constexpr void set_fpu_place(CpuState &s, std::uint64_t ip, unsigned opcode) {
    s.fip_page = ip;
    s.fpu_place = opcode & 0x7ff;
}
void set_fpu_status(CpuState &s, std::uint16_t value); ///< TOP too; ES and B are not taken over

void init_fpu(CpuState &s); ///< FNINIT

/// The FXSAVE area (SDM volume 1, table 10-2) for both layouts of the pointers.
struct alignas(16) FxImage {
    std::uint16_t fcw, fsw;
    std::uint8_t tags, reserved;
    std::uint16_t fop;
    std::uint64_t fip, fdp; ///< without REX.W: 32 bits, then the selector
    std::uint32_t mxcsr, mxcsr_mask;
    struct Register {
        std::uint64_t mantissa;
        std::uint16_t sign_exponent, reserved[3];
    };
    std::array<Register, 8> st;
    std::array<std::array<std::uint64_t, 2>, 16> xmm;
    std::array<std::uint8_t, 96> unused;
};
static_assert(sizeof(FxImage) == 512 && offsetof(FxImage, xmm) == 160 && offsetof(FxImage, unused) == 416);

/// Control, status, tags and registers (all that the host's FXRSTOR needs), and back.
void fill_registers(const CpuState &s, FxImage &image);
void take_registers(CpuState &s, const FxImage &image);

void make_fxsave(const CpuState &s, bool wide_pointers, bool code64, FxImage &image);
/// The x87 part alone.
void take_fxsave_x87(CpuState &s, bool wide_pointers, const FxImage &image);
void take_fxsave(CpuState &s, bool wide_pointers, bool code64, const FxImage &image);

/// FNSTENV and FNSAVE (SDM volume 1, 8.1.10). The layout: 16 or 32 bits, protected mode or not.
struct EnvironmentLayout {
    bool wide = true;
    bool protected_mode = true;
    constexpr std::size_t size() const { return wide ? 28 : 14; }
};
inline constexpr std::size_t kMaxEnvironment = 28, kRegistersSize = 80;
void make_environment(const CpuState &s, EnvironmentLayout layout, std::uint8_t *out);
void take_environment_state(CpuState &s, EnvironmentLayout layout, const std::uint8_t *in); ///< without the pointers
void take_environment(CpuState &s, EnvironmentLayout layout, const std::uint8_t *in);
void make_register_dump(const CpuState &s, std::uint8_t *out); ///< ST(0) first, kRegistersSize bytes
void take_register_dump(CpuState &s, const std::uint8_t *in);

} // namespace rhea::target::x86
