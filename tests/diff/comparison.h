// What of a result is defined, and where two results differ.
#pragma once
#include "target/x86/decode/decode.h"
#include "tests/diff/snapshot.h"

#include <span>
#include <string>

namespace rhea::target::x86::diff {

/// Flags to compare when `insn` led from `before` to `after`.
std::uint32_t defined_flags(const Insn &insn, const Snapshot &before, const Snapshot &after);
/// False where the manual leaves more than flags undefined.
bool result_defined(const Insn &insn, const Snapshot &before);

struct SideNames {
    const char *first = "native", *second = "translated";
};
/// Empty when equal.
std::string difference(const Snapshot &native, const Snapshot &translated, std::uint32_t flags,
                       std::span<const std::uint8_t> native_data, std::span<const std::uint8_t> translated_data,
                       const SideNames &names = {});

std::string describe(const Snapshot &snapshot);

} // namespace rhea::target::x86::diff
