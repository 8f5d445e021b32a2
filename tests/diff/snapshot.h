// The state that is compared: before a case, after it natively, after it translated.
#pragma once
#include "rhea/target/x86/state.h"

#include <array>
#include <cstdint>

namespace rhea::target::x86::diff {

inline constexpr std::uint32_t kDirectionFlag = 1u << 10;
inline constexpr std::uint32_t kComparedFlags = tcg::kArithFlags | kDirectionFlag;

/// Which code segment a case runs in.
enum class CodeSize : std::uint8_t { k16, k32, k64 };

/// What ended the case.
enum class Ending : std::uint8_t { kDone, kDivide, kDebug, kBreakpoint, kUndefined, kMemory, kAlignment, kFloat, kOther };
constexpr const char *ending_name(Ending ending) {
    constexpr const char *kNames[] = {"done", "#DE", "#DB", "#BP", "#UD", "#PF/#GP/#SS", "#AC", "#MF/#XM", "other"};
    return kNames[static_cast<unsigned>(ending)];
}

/// x87, MMX, SSE and AVX registers. Only cases of such instructions have them.
struct FloatState {
    bool used = false;
    std::uint16_t fcw = 0x37f, fsw = 0; ///< with TOP
    std::uint8_t tags = 0;              ///< as FXSAVE has them: 1 is not empty
    std::uint32_t mxcsr = 0x1f80;
    std::array<std::uint64_t, 8> mantissa{}; ///< ST(0) first
    std::array<std::uint16_t, 8> sign_exponent{};
    std::array<std::array<std::uint64_t, 2>, 16> xmm{};
    std::array<std::array<std::uint64_t, 2>, 16> ymm_high{}; ///< zero where the host has no AVX
    bool operator==(const FloatState &) const = default;
};

/// A data breakpoint, in DR0. length 0: none.
struct WatchPoint {
    std::uint64_t address = 0; ///< linear, a multiple of the length
    unsigned length = 0;       ///< 1, 2, 4 or 8 bytes
    bool reads = false;        ///< not only stores
    bool operator==(const WatchPoint &) const = default;
    /// DR7 with it: L0, RW0 and LEN0.
    std::uint64_t dr7() const {
        const std::uint64_t code = length == 1 ? 0 : length == 2 ? 1 : length == 4 ? 3 : 2;
        return length == 0 ? 0 : 1 | (reads ? 3ull : 1ull) << 16 | code << 18;
    }
};

struct Snapshot {
    std::array<std::uint64_t, 16> gpr{};
    std::uint64_t rip = 0;
    std::uint64_t fs_base = 0, gs_base = 0;
    std::uint32_t flags = 0; ///< kComparedFlags
    bool align_check = false; ///< EFLAGS.AC is set (CR0.AM always is)
    std::array<std::uint16_t, kSegCount> selectors{};
    Ending ending = Ending::kDone;
    std::uint64_t fault_address = 0; ///< 0 when unknown
    FloatState fp;
    bool operator==(const Snapshot &) const = default;
};

} // namespace rhea::target::x86::diff
