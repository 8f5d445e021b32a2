// Random blocks, by the interpreter and as native code: the same registers, flags, pc and memory, however they end.
#include <gtest/gtest.h>

#include "../random_block.h"
#include "jit.h"
#include "rhea/tcg/passes.h"

namespace rhea::tcg::test {
namespace {

/// Runs the block both ways from the same state; empty when nothing differs.
std::string compare(Jit& jit, const ir::Block& block, std::uint64_t seed) {
    static Machine by_interpreter, by_jit;
    by_interpreter.randomize(seed);
    by_jit.randomize(seed);
    TranslationBlock* native = jit.compile(block);
    if (!native)
        return "does not compile";
    const CodeExit expected = by_interpreter.run(block);
    CodeExit got = jit.run(by_jit, *native);
    if (got == CodeExit::kChain)
        got = CodeExit::kNext;
    if (got != expected)
        return "exit code " + std::to_string(static_cast<int>(got)) + " instead of " +
               std::to_string(static_cast<int>(expected));
    std::string difference = by_interpreter.difference(by_jit);
    return difference;
}

struct Pins {
    unsigned integers, vectors;
};

class JitRandom : public testing::TestWithParam<Pins> {};

void run_seeds(Pins pins, std::uint64_t first, unsigned count, unsigned insns, bool optimize,
               Constants constants) {
    Jit jit(pins.integers, pins.vectors);
    const GuestDescription guest = guest_with_pins(pins.integers, pins.vectors);
    unsigned failures = 0;
    for (std::uint64_t seed = first; seed < first + count && failures < 3; ++seed) {
        ir::Block block;
        RandomBlock(block, seed, constants).build(insns);
        jit.generator().one_vcpu(seed % 2 != 0);
        if (optimize)
            passes::run(block, guest);
        for (std::uint64_t state = 0; state < 2; ++state) {
            jit.reset();
            const std::string difference = compare(jit, block, seed * 16 + state);
            if (difference.empty())
                continue;
            ++failures;
            ADD_FAILURE() << "seed " << seed << " state " << state << " insns " << insns << ": "
                          << difference << "\n"
                          << ir::print(block, guest);
            break;
        }
    }
}

TEST_P(JitRandom, OneInstruction) {
    run_seeds(GetParam(), 1, 3000, 1, false, Constants::kFoldable);
}
TEST_P(JitRandom, OneInstructionOpaque) {
    run_seeds(GetParam(), 100000, 2000, 1, false, Constants::kOpaque);
}
TEST_P(JitRandom, ShortBlocks) {
    run_seeds(GetParam(), 200000, 2000, 4, false, Constants::kFoldable);
}
TEST_P(JitRandom, ShortBlocksAfterPasses) {
    run_seeds(GetParam(), 300000, 2000, 4, true, Constants::kFoldable);
}
TEST_P(JitRandom, LongBlocksAfterPasses) {
    run_seeds(GetParam(), 400000, 500, 16, true, Constants::kFoldable);
}

INSTANTIATE_TEST_SUITE_P(Pins, JitRandom,
                         testing::Values(Pins{3, 1}, Pins{8, 2}, Pins{0, 0}),
                         [](const auto& info) {
                             return "Pins" + std::to_string(info.param.integers);
                         });

}  // namespace
}  // namespace rhea::tcg::test
