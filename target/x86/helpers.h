// The C++ functions that translated x86 code calls, from helpers.def: numbers, declarations and the table for the back ends.
//
// Every function runs in the vCPU's thread with the canonical state; none lets a C++ exception out.
#pragma once
#include "rhea/target/x86/state.h"
#include "rhea/tcg/types.h"

#include <cstdint>
#include <span>

namespace rhea::target::x86 {

/// Index into helper_table(): Inst::aux of `call`.
enum class HelperId : std::uint16_t {
#define RHEA_X86_HELPER(name, flags) name,
#include "target/x86/all_helpers.def"
#undef RHEA_X86_HELPER
    kCount
};

#define RHEA_X86_HELPER(name, flags)                                                                                   \
    std::uint64_t helper_##name(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c);
#include "target/x86/all_helpers.def"
#undef RHEA_X86_HELPER

std::span<const tcg::HelperInfo> helper_table();

/// The flags alone, without a reference to the functions: what translation and tests need.
std::uint16_t helper_flags(HelperId id);

} // namespace rhea::target::x86
