// Where guest state is in generated code: displacements from the state register and the pinned registers.
//
// Computed once from a GuestDescription; immutable afterwards. docs/translator.md, "Register map of generated code".
#pragma once
#include "rhea/tcg/state.h"
#include "rhea/tcg/types.h"
#include "tcg/backend/x64/operands.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rhea::tcg::x64 {

inline constexpr Gpr kStateReg = Gpr::rbp;
/// Host registers of GuestDescription::pin_integer, in its order.
inline constexpr std::array<Gpr, 10> kPinnedGprs = {Gpr::rax, Gpr::rcx, Gpr::rdx, Gpr::rbx, Gpr::rsi,
                                                    Gpr::rdi, Gpr::r8,  Gpr::r9,  Gpr::r12, Gpr::r13};
/// The last two survive a C++ call.
inline constexpr std::array<Gpr, 4> kScratchGprs = {Gpr::r10, Gpr::r11, Gpr::r14, Gpr::r15};
inline constexpr unsigned kPinnedXmms = 12;
inline constexpr unsigned kFirstScratchXmm = 12;
inline constexpr unsigned kXmmCount = 16;
inline constexpr unsigned kGprCount = 16;

constexpr std::uint32_t bit(Gpr r) { return 1u << code(r); }
inline constexpr std::uint32_t kScratchMask =
    bit(Gpr::r10) | bit(Gpr::r11) | bit(Gpr::r14) | bit(Gpr::r15);
constexpr bool is_scratch(Gpr r) { return (kScratchMask & bit(r)) != 0; }

inline constexpr Slot kNoSlot = 0xffff;

/// VcpuCold::spill[0 .. kSpills) belongs to values; the rest carries arguments to thunks.
inline constexpr unsigned kSpills = 22;
inline constexpr unsigned kFirstGroupSpill = 22; ///< and the next three: addends of groups, shared_checks.cc
inline constexpr unsigned kGroupSpills = 4;
inline constexpr unsigned kArgSpill = 26;  ///< 26: address or first argument, 27: second
inline constexpr unsigned kDataSpill = 28; ///< 28, 29: a value going to or coming from a slow path; 30: third
inline constexpr unsigned kVectorSpills = 12; ///< the last four of VcpuCold::vector_spill hold xmm12..15 in thunks

struct SlotPlace {
    std::int32_t disp = 0; ///< from the state register
    Type type = Type::kI64;
    std::int8_t gpr = -1;  ///< pinned integer register
    std::int8_t xmm = -1;  ///< pinned vector register
    std::int8_t upper_of = -1; ///< not pinned: the 16 bytes behind the slot of this pinned vector register
    bool pinned() const { return gpr >= 0 || xmm >= 0; }
};

struct Layout {
    Layout(const GuestDescription &guest, std::uint32_t cold_offset);

    std::vector<SlotPlace> slots;
    Slot pc_page_slot = 0;                     ///< one behind the guest's: VcpuHead::pc_page as an i64 slot
    std::array<Slot, kGprCount> gpr_slot{};    ///< kNoSlot when not pinned
    std::array<Slot, kXmmCount> xmm_slot{};
    std::array<Slot, kXmmCount> upper_slot{};  ///< SlotPlace::upper_of
    std::uint32_t cold_offset = 0;
    std::int32_t x87_live = 0, x87_image = 0;  ///< displacements; only with GuestDescription::x87

    static constexpr std::int32_t head(std::size_t offset) {
        return static_cast<std::int32_t>(offset) - kStateBias;
    }
    std::int32_t cold(std::size_t offset) const { return static_cast<std::int32_t>(cold_offset + offset) - kStateBias; }
    std::int32_t spill(unsigned n) const { return cold(offsetof(VcpuCold, spill) + n * 8); }
    std::int32_t vector_spill(unsigned n) const { return cold(offsetof(VcpuCold, vector_spill) + n * 32); }
    std::int32_t vector_save(unsigned n) const { return cold(offsetof(VcpuCold, vector_save) + n * 32); }
    std::int32_t host_reg(Gpr r) const { return cold(offsetof(VcpuCold, host_regs) + code(r) * 8); }
    /// Displacement of something at an offset in the window.
    static constexpr std::int32_t window(std::uint32_t offset) {
        return static_cast<std::int32_t>(offset) - static_cast<std::int32_t>(kStateRegOffset);
    }
};

/// A memory operand off the state register.
constexpr Mem state_mem(std::int32_t disp) { return ptr(kStateReg, disp); }

} // namespace rhea::tcg::x64
