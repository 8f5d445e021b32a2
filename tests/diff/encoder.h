// Random encodings of a decoder row, and registers that make its memory operands land in the arena.
#pragma once
#include "target/x86/decode/decode.h"
#include "tests/diff/random.h"
#include "tests/diff/snapshot.h"

#include <array>
#include <cstdint>
#include <optional>

namespace rhea::target::x86::diff {

DecodeMode decode_mode(CodeSize size, FeatureSet features);

struct Encoded {
    std::array<std::uint8_t, 16> bytes{};
    Insn insn;
};

/// For the address `at`. nullopt: the row does not exist in this code size (or chance did not hit it).
std::optional<Encoded> encode_row(RowId row, CodeSize size, FeatureSet features, Random &random, std::uint64_t at);

/// A pair of singles or a double at which arithmetic changes its mind, or anything.
std::uint64_t interesting_float(Random &random);
/// Random x87, MMX and SSE state.
void random_float_state(FloatState &state, Random &random);

/// Has the case EFLAGS.AC? Now and then; not on Intel's CPUs, which check other operands.
bool checks_alignment(std::uint64_t seed);

/// Random registers and flags for the instruction, which will lie at kStart.
Snapshot random_state(Encoded &encoded, CodeSize size, Random &random);

} // namespace rhea::target::x86::diff
