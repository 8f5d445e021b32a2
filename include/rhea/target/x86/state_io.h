// x86 state for snapshots and people, in a form that does not depend on the accelerator.
//
// Only while the vCPU is stopped.
#pragma once
#include <string>

#include "rhea/core/archive.h"
#include "rhea/target/x86/state.h"

namespace rhea::target::x86 {

/// Saves or restores all architectural state. RFLAGS and the instruction pointer are stored as
/// such, not as the translator keeps them. The caller makes caches that follow from the state (mode
/// word, TLB, PDPTEs) anew after restoring.
void serialize_state(CpuState& s, core::Archive& archive);

/// As `info registers` prints it.
std::string describe_state(const CpuState& s);

}  // namespace rhea::target::x86
