// Runs the same instructions through decoder, translation and an engine that executes IR.
#pragma once
#include "target/x86/decode/features.h"
#include "tests/diff/snapshot.h"
#include "tests/x86/test_cpu.h"

#include <functional>
#include <string>

namespace rhea::target::x86::diff {

class TranslatedCpu {
public:
    explicit TranslatedCpu(FeatureSet features);

    /// Runs one block of up to `count` instructions at before.rip. needs_helper() says afterwards whether it called functions that are not
    /// here; then the result means nothing.
    Snapshot run(const Snapshot &before, CodeSize size, unsigned count);
    bool needs_helper() const;
    /// The IR of the last run.
    std::string ir() const;

private:
    test::TestCpu cpu_;
    tcg::ir::Block block_;
    FeatureSet features_;
};

} // namespace rhea::target::x86::diff
