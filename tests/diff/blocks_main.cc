// Whole random blocks: generated code against the interpreter against the host CPU. See --help.
#include "rhea/tcg/backend.h"
#include "rhea/util/log.h"
#include "tests/diff/blocks_work.h"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace {

using namespace rhea::target::x86::diff;

void usage() {
    std::puts("diff-blocks: makes a random program of a few blocks from each seed, runs it on the host CPU, as generated code in a\n"
              "machine, and by the interpreter, and compares registers, memory and the exception that ended it.\n"
              "  --first N --count N   the range of seeds (RHEA_DIFF_SEED, RHEA_DIFF_BLOCKS)\n"
              "  --jobs N              processes, each on a CPU of its own\n"
              "  --state FILE          where a stopped run has left off, and will go on\n"
              "  --progress N          a line each N seconds\n"
              "  --show N              how many differences are printed in full\n"
              "  --replay N            one seed, and the translator's counters\n"
              "  --log ITEMS           with --replay: as -d, in_asm,op_opt,out_asm say what is translated");
}

struct Options {
    WorkOptions work;
    bool replay = false;
};

std::uint64_t number(const char *text) { return std::strtoull(text, nullptr, 0); }

bool parse(int argc, char **argv, Options &options) {
    options.work.count = 20000;
    if (const char *value = std::getenv("RHEA_DIFF_SEED")) {
        options.work.first = number(value);
    }
    if (const char *value = std::getenv("RHEA_DIFF_BLOCKS")) {
        options.work.count = number(value);
    }
    for (int n = 1; n < argc; n += 2) {
        const std::string name = argv[n];
        const char *value = n + 1 < argc ? argv[n + 1] : nullptr;
        if (value == nullptr) {
            return false;
        } else if (name == "--first") {
            options.work.first = number(value);
        } else if (name == "--count") {
            options.work.count = number(value);
        } else if (name == "--jobs") {
            options.work.jobs = static_cast<unsigned>(number(value));
        } else if (name == "--state") {
            options.work.state_file = value;
        } else if (name == "--progress") {
            options.work.progress_seconds = static_cast<unsigned>(number(value));
        } else if (name == "--show") {
            options.work.shown = static_cast<unsigned>(number(value));
        } else if (name == "--log") {
            const auto mask = rhea::util::parse_log_items(value);
            if (!mask) {
                return false;
            }
            rhea::util::set_log_mask(*mask);
        } else if (name == "--replay") {
            options.replay = true;
            options.work.first = number(value);
        } else {
            return false;
        }
    }
    return true;
}

int replay(std::uint64_t seed) {
    BlockRunner runner;
    const bool same = runner.run(seed);
    std::printf("%s%s%s\n", same ? "no difference\n" : "", runner.report().c_str(), runner.statistics().c_str());
    return same ? 0 : 1;
}

int run(const WorkOptions &options) {
    constexpr int kSkipped = 77;
    const WorkResult result = run_blocks(options);
    if (!result.skipped_why.empty()) {
        std::printf("%s\n", result.skipped_why.c_str());
        return kSkipped;
    }
    const BlockCounts &c = result.counts;
    std::printf("seeds %llu to %llu done; in this run %llu programs of %.1f instructions, %llu blocks, %llu ended by exceptions, %llu left to the "
                "vendor, %llu differ, %u crashes\n",
                static_cast<unsigned long long>(options.first), static_cast<unsigned long long>(options.first + result.done - 1),
                static_cast<unsigned long long>(c.programs), static_cast<double>(c.instructions) / static_cast<double>(c.programs + !c.programs),
                static_cast<unsigned long long>(c.blocks), static_cast<unsigned long long>(c.faults), static_cast<unsigned long long>(c.skipped),
                static_cast<unsigned long long>(c.different), result.crashes);
    return c.different == 0 && result.crashes == 0 && result.done == options.count ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
    constexpr int kSkipped = 77;
    Options options;
    if (!parse(argc, argv, options)) {
        usage();
        return 2;
    }
    if (const std::string_view lacks = rhea::tcg::x64_generator_lacks(); !lacks.empty()) {
        std::printf("no generated code: the host lacks %s\n", std::string(lacks).c_str());
        return kSkipped;
    }
    try {
        return options.replay ? replay(options.work.first) : run(options.work);
    } catch (const std::exception &error) {
        std::printf("%s\n", error.what());
        return 1;
    }
}
