// Random programs of a few blocks: instructions with branches round them, loops, calls and jumps, whose memory operands lie in the
// arena but for one now and then that faults. What ends a program is an INT3, or the fault.
#pragma once
#include "tests/diff/encoder.h"

#include <vector>

namespace rhea::target::x86::diff {

struct Program {
    struct Place {
        std::uint16_t offset = 0;             ///< from kStart
        std::uint32_t undefined_before = 0;   ///< flags that are not the same on every CPU when the instruction begins
        Insn insn;
    };
    std::vector<std::uint8_t> bytes;
    std::vector<Place> places; ///< by offset; the last one is the INT3
    Snapshot before;
    std::vector<std::uint8_t> pointers; ///< registers by which operands are addressed
    bool floating = false;     ///< nearly all of it is x87 and MMX

    /// The instruction at the address, or null.
    const Place *at(std::uint64_t rip) const;
};

/// The rows that programs are made of, found once.
class ProgramRows {
public:
    explicit ProgramRows(FeatureSet features);
    FeatureSet features() const { return features_; }
    const std::vector<RowId> &all() const { return all_; }
    const std::vector<RowId> &floating() const { return floating_; }

private:
    FeatureSet features_;
    std::vector<RowId> all_, floating_;
};

/// `unmasked`: some x87 and SIMD exceptions come, instead of none.
Program make_program(const ProgramRows &rows, CodeSize size, bool unmasked, Random &random);

} // namespace rhea::target::x86::diff
