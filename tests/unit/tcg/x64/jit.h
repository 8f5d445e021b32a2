// Blocks of the test guest as native code: a generator with its code memory, run on a Machine.
#pragma once
#include "../test_guest.h"

#include <memory>
#include <string>

namespace rhea::tcg::test {

/// The test guest with its first `integers` slots pinned, and v0 (and v1) when asked.
GuestDescription guest_with_pins(unsigned integers, unsigned vectors);

class Jit {
  public:
    explicit Jit(unsigned integer_pins = 3, unsigned vector_pins = 1);
    ~Jit();
    Jit(const Jit&) = delete;
    Jit& operator=(const Jit&) = delete;

    /// Null when the block does not compile. Valid until reset().
    TranslationBlock* compile(const ir::Block& block);
    /// Until generated code comes back. pc and flags are precise afterwards, as the run loop makes them.
    CodeExit run(Machine& machine, TranslationBlock& block);
    void reset();
    CodeGenerator& generator() { return *generator_; }
    /// Host instructions from the entry to the first one behind the hot path (its last jump), a line each.
    static std::string hot_path(const TranslationBlock& block);
    static unsigned lines(const std::string& text);
    /// Where find_block sends generated code; null: to the run loop.
    static std::uint64_t found_pc;

  private:
    GuestDescription guest_;
    std::unique_ptr<CodeGenerator> generator_;
    std::uint8_t* memory_ = nullptr;
    std::size_t thunk_bytes_ = 0, used_ = 0;
    std::vector<std::unique_ptr<TranslationBlock>> blocks_;
};

}  // namespace rhea::tcg::test
