// One program a call: made from its seed, run by the host CPU, by generated code and by the interpreter, and compared: all registers,
// memory, and where an exception ended it.
#pragma once
#include "tests/diff/arena.h"
#include "tests/diff/machine_cpu.h"
#include "tests/diff/native_cpu.h"
#include "tests/diff/program.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace rhea::target::x86::diff {

struct BlockCounts {
    std::uint64_t programs = 0, instructions = 0;
    std::uint64_t blocks = 0;  ///< translated to host code and run
    std::uint64_t faults = 0;  ///< programs that an exception ended, all of which were compared
    std::uint64_t skipped = 0; ///< ended at an instruction where the host's vendor does something else, or differed from itself
    std::uint64_t different = 0;
};

class BlockRunner {
public:
    BlockRunner();

    /// Empty, or why nothing can be run natively.
    const std::string &why_not() const { return native_.why_not(); }
    /// False: the three do not agree.
    bool run(std::uint64_t seed);
    /// Of the last program that differed: what, code, states.
    const std::string &report() const { return report_; }
    BlockCounts counts() const;
    std::string statistics() const { return generated_.statistics(); }

private:
    struct Result {
        Snapshot state;
        std::array<std::uint8_t, kWritableSize> data{};
        std::uint32_t error_code = 0;
    };
    void run_native(Program &program, CodeSize size, Result &result);
    void run_translated(MachineCpu &cpu, const Program &program, CodeSize size, const MachineCpu::How &how, Result &result);
    std::string compare(const Program &program, Result &native, const Result &generated, const Result &interpreted) const;

    Arena arena_; // before native_: its process shares it
    NativeCpu native_;
    MachineCpu generated_, interpreted_;
    ProgramRows rows_;
    std::vector<std::uint8_t> integers_, floats_;   ///< what memory is filled with: pieces of these
    std::array<std::uint8_t, kWritableSize> initial_{};
    Result native_result_, generated_result_, interpreted_result_;
    std::string report_;
    BlockCounts counts_;
};

} // namespace rhea::target::x86::diff
