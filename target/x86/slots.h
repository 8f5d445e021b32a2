// CpuState as the translator sees it: the table of named slots and which of them deserve host registers.
#pragma once
#include "rhea/tcg/types.h"

#include <cstdint>
#include <span>

namespace rhea::target::x86 {

/// By SlotId.
std::span<const tcg::SlotInfo> slot_table();
/// RAX RCX RDX RBX RSI RDI R8 R9 RSP RBP, then the rest.
std::span<const tcg::Slot> pinned_integers();
std::span<const tcg::Slot> pinned_vectors();

} // namespace rhea::target::x86
