// Random sequences of instructions: what one instruction leaves, the next one uses. Here registers, flags and exits
// across instructions are tested, which single instructions cannot.
#pragma once
#include "tests/diff/encoder.h"

#include <vector>

namespace rhea::target::x86::diff {

struct Sequence {
    std::vector<Insn> insns;
    std::vector<std::uint8_t> bytes;
    std::uint32_t undefined_flags = 0; ///< when all of it ran
    bool floating = false;             ///< nearly all of it is x87 and MMX, and some operand may fault
};

/// Not rows that leave the sequence, need the system, or have results that more than flags make undefined. `unmasking`: those that
/// unmask x87 exceptions too.
bool suits_sequences(const Row &row, bool unmasking);

/// `count` instructions (or fewer) for kStart. Branches go to the next instruction. Memory operands lie round RSP and RBP or are
/// absolute. No instruction looks at flags that one before left undefined.
Sequence encode_sequence(unsigned count, CodeSize size, FeatureSet features, Random &random);

Snapshot random_sequence_state(CodeSize size, Random &random);

} // namespace rhea::target::x86::diff
