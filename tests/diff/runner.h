// One case a call: a random encoding of a row in a random state, run natively and translated, and compared.
#pragma once
#include "target/x86/decode/row.h"
#include "tests/diff/arena.h"
#include "tests/diff/guest_cpu.h"
#include "tests/diff/native_cpu.h"
#include "tests/diff/random.h"


#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace rhea::target::x86::diff {

enum class Verdict : std::uint8_t {
    kSame,
    kDifferent,
    kUnsteady, ///< the host did something else when the same case ran again: it says nothing of the translation
    kNotEncoded
};

class Runner {
public:
    Runner(FeatureSet features, EngineKind engine) : features_(features), translated_(arena_, features, engine) {}

    /// Empty, or why nothing can be run natively.
    const std::string &why_not() const { return native_.why_not(); }
    bool has(CodeSize size) const { return native_.has(size); }
    /// A case that differs is run again before it is called so.
    Verdict run(RowId row, CodeSize size, std::uint64_t seed);
    /// A sequence of up to `count` instructions as one case.
    Verdict run_sequence(unsigned count, CodeSize size, std::uint64_t seed);
    /// Of the last case that differed: code, states, differences, IR.
    const std::string &report() const { return report_; }

private:
    Verdict run_row(RowId row, CodeSize size, std::uint64_t seed);
    Verdict run_instructions(unsigned count, CodeSize size, std::uint64_t seed);
    Verdict settle(Verdict first, const std::function<Verdict()> &again);
    void fill_data(Random &random, bool floats);
    void save_code();
    void restore_data();
    void make_report(std::size_t length, CodeSize size, const Snapshot &before, const Snapshot &native,
                     const Snapshot &translated, const std::string &differences);

    FeatureSet features_;
    Arena arena_; // before native_: its process shares it
    NativeCpu native_;
    GuestCpu translated_;
    std::array<std::uint8_t, kWritableSize> initial_{}, native_data_{};
    std::array<std::uint8_t, kCodeSize> code_{}; ///< the page of the code as it is before a run
    Snapshot native_end_, translated_end_; ///< of the last case
    std::string report_;
};

} // namespace rhea::target::x86::diff
