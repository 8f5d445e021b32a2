// A range of seeds, shared out in chunks to processes. What is done is in a file, so that a long run can be stopped and go on.
#pragma once
#include "tests/diff/block_runner.h"

#include <cstdint>
#include <string>

namespace rhea::target::x86::diff {

struct WorkOptions {
    std::uint64_t first = 1, count = 0; ///< seeds
    unsigned jobs = 1;                  ///< processes
    std::string state_file;             ///< empty: none
    unsigned shown = 5;                 ///< reports printed
    unsigned progress_seconds = 0;      ///< 0: no lines of progress
};

struct WorkResult {
    BlockCounts counts;
    std::uint64_t done = 0;   ///< seeds from the first one on that are done without a gap, those of earlier runs included
    unsigned crashes = 0;     ///< processes that died; the seeds are printed
    std::string skipped_why;  ///< not empty: nothing could be run
};

/// Prints reports and progress. A state file must be of the same range; throws std::runtime_error if it is not.
WorkResult run_blocks(const WorkOptions &options);

} // namespace rhea::target::x86::diff
