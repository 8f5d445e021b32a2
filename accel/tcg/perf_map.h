// /tmp/perf-PID.map for perf(1): which guest code a piece of generated code is (`-d perf`).
//
// perf reads the file when it reports; the last line that covers an address counts, so code memory that is used again needs no care.
// One thread at a time writes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string_view>

namespace rhea::accel {

class PerfMap {
public:
    /// Nothing is written where the file cannot be made: said once on the log.
    PerfMap();
    void add(const void *code, std::size_t size, std::string_view name);
    /// A block at the linear pc.
    void add_block(const void *code, std::size_t size, std::uint64_t pc, std::uint32_t mode);

private:
    struct Close {
        void operator()(std::FILE *file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, Close> file_;
};

} // namespace rhea::accel
