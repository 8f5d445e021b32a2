// -accel tcg,check=interp: every block is run by the IR interpreter and by generated code, and compared.
//
// The interpreter goes first, with an undo log of the RAM bytes that it changes; then state and memory are put back
// and the generated code runs. Blocks that reach outside (helpers, devices) cannot be run twice: they end the
// comparison at that point and run once. A difference is narrowed by running the same block again with fewer
// instructions, down to the first wrong one.
#pragma once
#include "accel/tcg/tcg_vcpu.h"

#include <cstdint>
#include <string>
#include <vector>

namespace rhea::accel {

class Lockstep {
public:
    explicit Lockstep(TcgVcpu &vcpu);

    /// Guest instructions a block may have in this mode.
    unsigned max_insns() const { return max_insns_; }
    /// Runs the block once, compared where it can be.
    tcg::CodeExit run(tcg::TranslationBlock &block);
    /// What differed; empty: nothing so far.
    const std::string &mismatch() const { return mismatch_; }

    /// A slow load or store is about to happen during the interpreter's turn: notes what must be undone. False: this
    /// access cannot be done twice; the interpreter's turn is given up (exception_pending = kRestartSingle).
    bool recording() const { return recording_; }
    void note_store(std::uint8_t *host, unsigned size);
    void give_up() { gave_up_ = true; }

    std::uint64_t compared() const { return compared_; }
    std::uint64_t skipped() const { return skipped_; }

private:
    struct Undo {
        std::uint8_t *host;
        unsigned size;
        std::uint8_t old_bytes[32];
        std::uint8_t interpreted[32];
    };
    bool comparable(const tcg::ir::Block &block) const;
    std::string compare_state(const std::vector<std::uint8_t> &interpreted) const;

    TcgVcpu &vcpu_;
    unsigned max_insns_ = 16;
    bool recording_ = false, gave_up_ = false;
    std::vector<Undo> undo_;
    std::vector<std::uint8_t> before_, after_interp_;
    std::string mismatch_;
    std::uint64_t compared_ = 0, skipped_ = 0;
};

} // namespace rhea::accel
