// Where Intel's CPUs do something else than AMD's, whose behaviour guests get (docs/x86-translation.md): on an Intel host
// those cases say nothing about the translation, so they are left out, each for its reason.
#pragma once
#include "target/x86/decode/decode.h"
#include "tests/diff/snapshot.h"

namespace rhea::target::x86::diff {

bool host_is_intel();

/// Has this encoding another meaning, or another result, on the host?
bool encoding_differs(const Insn &insn, CodeSize size);

/// Does this instruction show what differs, when it comes behind others?
bool shows_differences(const Insn &insn);

/// May the host report another fault, or leave other state at one, for this instruction?
bool faults_differ(const Insn &insn);

/// For one instruction: makes `native` the same as `translated` where only the vendors differ. True: the endings are not
/// comparable, and each is right for its vendor.
bool settle_fault(const Insn &insn, Snapshot &native, const Snapshot &translated);

} // namespace rhea::target::x86::diff
