// Quick helpers (tcg::HelperInfo::quick): what a helper does nearly always, without a vector register, a lock or a walk.
//
// They are compiled with general registers only and call only what is (mode.cc, tcg/flags.cc, each other). What they
// cannot do they leave to the helper itself. vCPU thread only.
#pragma once
#include "rhea/target/x86/registers.h"
#include "rhea/target/x86/state.h"
#include "target/x86/helpers.h"

#include <cstdint>
#include <span>

namespace rhea::target::x86 {

struct Event;

struct QuickHelper {
    HelperId id;
    tcg::QuickResult (*function)(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c);
};
std::span<const QuickHelper> quick_helpers();

inline constexpr tcg::QuickResult kNotQuick{};
constexpr tcg::QuickResult quick_done(std::uint64_t value = 0) { return {value, 1}; }

/// Eight bytes of guest memory at any address. Accessed once: other CPUs may do so, too.
struct [[gnu::packed]] GuestQuad {
    std::uint64_t value;
};
inline std::uint64_t guest_quad(const std::uint8_t *at, unsigned n = 0) { return reinterpret_cast<const volatile GuestQuad *>(at)[n].value; }

/// The host address of a byte when the present window has its page, else null.
inline std::uint8_t *quick_lookup(const CpuState &s, std::uint64_t linear, bool write) {
    const std::uint64_t window = s.cold.window;
    const unsigned index = tcg::tlb_index(linear);
    const auto *tags = reinterpret_cast<const std::uint64_t *>(window + (write ? tcg::kWriteTagOffset : tcg::kReadTagOffset));
    if (tags[index] != (linear & ~std::uint64_t{0xfff}))
        return nullptr;
    return reinterpret_cast<std::uint8_t *>(linear + reinterpret_cast<const std::uint64_t *>(window + tcg::kAddendOffset)[index]);
}

/// As update_mode() where the window of the new mode is at hand; false: nothing changed, it is not.
bool quick_update_mode(CpuState &s);

// quick_events.cc
/// Delivers the event in long mode; false: nothing has changed.
bool quick_event(CpuState &s, const Event &e);
tcg::QuickResult quick_iret(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c);

// quick_transfers.cc
tcg::QuickResult quick_syscall(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c);
tcg::QuickResult quick_sysret(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c);
tcg::QuickResult quick_finish_single(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c);

} // namespace rhea::target::x86
