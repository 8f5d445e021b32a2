// The XSAVE feature set's state components: which are in use, and their places in the area (SDM volume 1, chapter 13).
//
// Plain functions over CpuState; any thread that owns it.
#pragma once
#include "rhea/target/x86/state.h"

#include <cstddef>
#include <cstdint>

namespace rhea::target::x86 {

/// State components, as bits of XCR0, RFBM and XSTATE_BV.
inline constexpr std::uint64_t kXsaveX87 = 1, kXsaveSse = 2, kXsaveAvx = 4;
inline constexpr std::size_t kXsaveHeader = 512, kXsaveAvxOffset = 576, kXsaveAvxSize = 256;
inline constexpr std::uint64_t kXsaveCompacted = 1ull << 63; ///< in XCOMP_BV

/// XINUSE: components that are not in their initial configuration (SDM volume 1, 13.6).
std::uint64_t xsave_in_use(const CpuState &s);

/// Which instruction saves: a number in the helper's argument.
enum class XsaveKind : std::uint8_t { kXsave, kXsaveopt, kXsavec };
/// Argument c of helper_xsave: kind, REX.W; of helper_xrstor: length, REX.W.
constexpr std::uint64_t xsave_argument(unsigned low, bool wide) { return low | (wide ? 0x100u : 0u); }

} // namespace rhea::target::x86
