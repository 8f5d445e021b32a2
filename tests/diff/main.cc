// The differential test: every decoder row, natively and translated. See --help.
#include "tests/diff/host_features.h"
#include "tests/diff/random.h"
#include "tests/diff/runner.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sched.h>
#include <string>

namespace {

using namespace rhea::target::x86;
using namespace rhea::target::x86::diff;

struct Options {
    unsigned cases = 40;        ///< a row and code size
    std::uint64_t seed = 1;
    std::string row;            ///< mnemonic; empty: all
    unsigned sequences = 500;   ///< of each code size
    unsigned length = 8;        ///< instructions in a sequence
    bool replay = false;
    std::uint64_t replay_seed = 0;
    EngineKind engine = EngineKind::kInterpreter;
    unsigned shown = 5;         ///< reports printed
};

void usage() {
    std::puts("diff-x86: runs random encodings of every instruction on the host CPU and translated, and compares.\n"
              "  --cases N    cases a row and code size (RHEA_DIFF_CASES)\n"
              "  --seed N     another series of cases (RHEA_DIFF_SEED)\n"
              "  --sequences N, --length N    how many sequences of instructions, and of how many (RHEA_DIFF_SEQUENCES)\n"
              "  --row NAME   only rows of this mnemonic\n"
              "  --replay N   with --row NAME or --row sequence: one case, by the seed that a failure printed\n"
              "  --engine E   interp (default) or jit\n"
              "  --show N     how many failures are printed in full");
}

bool parse(int argc, char **argv, Options &options) {
    if (const char *value = std::getenv("RHEA_DIFF_CASES")) {
        options.cases = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
    }
    if (const char *value = std::getenv("RHEA_DIFF_SEED")) {
        options.seed = std::strtoull(value, nullptr, 0);
    }
    if (const char *value = std::getenv("RHEA_DIFF_SEQUENCES")) {
        options.sequences = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
    }
    for (int n = 1; n < argc; n += 2) {
        const std::string name = argv[n];
        if (n + 1 >= argc) {
            usage();
            return false;
        }
        const char *value = argv[n + 1];
        if (name == "--cases") {
            options.cases = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else if (name == "--sequences") {
            options.sequences = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else if (name == "--length") {
            options.length = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else if (name == "--seed") {
            options.seed = std::strtoull(value, nullptr, 0);
        } else if (name == "--row") {
            options.row = value;
        } else if (name == "--replay") {
            options.replay = true;
            options.replay_seed = std::strtoull(value, nullptr, 0);
        } else if (name == "--engine") {
            options.engine = std::strcmp(value, "jit") == 0 ? EngineKind::kGenerated : EngineKind::kInterpreter;
        } else if (name == "--show") {
            options.shown = static_cast<unsigned>(std::strtoul(value, nullptr, 0));
        } else {
            usage();
            return false;
        }
    }
    return true;
}

/// The traced process answers within a microsecond when it shares the CPU.
void stay_on_this_cpu() {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(sched_getcpu()), &set);
    sched_setaffinity(0, sizeof set, &set);
}

std::uint64_t case_seed(std::uint64_t seed, RowId row, CodeSize size, unsigned number) {
    return Random((seed << 32 ^ number) * 0x9e3779b97f4a7c15ull ^ static_cast<std::uint64_t>(row) << 8 ^
                  static_cast<std::uint64_t>(size))
        .next();
}

struct Totals {
    unsigned native = 0, interpreter = 0, excluded = 0, absent = 0, cases = 0, sequences = 0, failures = 0, unsteady = 0;
    std::map<std::string, unsigned> reasons;
};

const char *size_name(CodeSize size) {
    return size == CodeSize::k64 ? "64" : size == CodeSize::k32 ? "32" : "16";
}

void run_row(Runner &runner, RowId row, const Options &options, FeatureSet features, Totals &totals, unsigned &shown) {
    const Row &r = kRows[row];
    if (!features.has(r.feature)) {
        totals.absent++;
        return;
    }
    if ((r.flags & (kRowNatural | kRowRandom)) != 0) {
        totals.interpreter++;
        totals.reasons[(r.flags & kRowRandom) != 0 ? "result differs each time" : "needs an operating system's state"]++;
        return;
    }
    unsigned compared = 0, failures = 0;
    for (const CodeSize size : {CodeSize::k64, CodeSize::k32, CodeSize::k16}) {
        if (!runner.has(size)) {
            continue;
        }
        for (unsigned n = 0; n < options.cases; n++) {
            const std::uint64_t seed = options.replay ? options.replay_seed : case_seed(options.seed, row, size, n);
            const Verdict verdict = runner.run(row, size, seed);
            compared += verdict == Verdict::kSame || verdict == Verdict::kDifferent;
            totals.unsteady += verdict == Verdict::kUnsteady;
            if (verdict == Verdict::kDifferent || verdict == Verdict::kUnsteady) {
                failures += verdict == Verdict::kDifferent;
                if (shown < options.shown) {
                    shown++;
                    std::printf("---- row %u %02x \"%.*s\" in %s-bit code, seed %llu\n%s", row, r.opcode,
                                static_cast<int>(r.mnemonic.size()), r.mnemonic.data(), size_name(size),
                                static_cast<unsigned long long>(seed), runner.report().c_str());
                }
            }
            if (options.replay) {
                break;
            }
        }
    }
    totals.cases += compared;
    totals.failures += failures;
    if (failures != 0) {
        std::printf("row %u %02x \"%.*s\": %u of %u cases differ\n", row, r.opcode, static_cast<int>(r.mnemonic.size()),
                    r.mnemonic.data(), failures, compared);
    }
    if ((r.flags & kRowPriv) != 0) {
        totals.excluded++;
        totals.reasons["privileged: only the fault at CPL 3 is compared"]++;
    } else if (compared != 0) {
        totals.native++;
    } else {
        totals.interpreter++;
        totals.reasons["no encoding found"]++;
    }
}

void run_sequences(Runner &runner, const Options &options, Totals &totals, unsigned &shown) {
    for (const CodeSize size : {CodeSize::k64, CodeSize::k32, CodeSize::k16}) {
        for (unsigned n = 0; n < options.sequences && runner.has(size); n++) {
            const std::uint64_t seed = options.replay ? options.replay_seed : case_seed(options.seed, kNoRow, size, n);
            const Verdict verdict = runner.run_sequence(options.length, size, seed);
            totals.sequences += verdict != Verdict::kNotEncoded;
            n = options.replay ? options.sequences : n;
            totals.unsteady += verdict == Verdict::kUnsteady;
            if (verdict == Verdict::kDifferent || verdict == Verdict::kUnsteady) {
                totals.failures += verdict == Verdict::kDifferent;
                if (shown < options.shown) {
                    shown++;
                    std::printf("---- sequence in %s-bit code, seed %llu\n%s", size_name(size),
                                static_cast<unsigned long long>(seed), runner.report().c_str());
                }
            }
        }
    }
}

} // namespace

int main(int argc, char **argv) {
    constexpr int kSkipped = 77;
    Options options;
    if (!parse(argc, argv, options)) {
        return 2;
    }
    stay_on_this_cpu();
    const FeatureSet features = host_features();
    Runner runner(features, options.engine);
    if (!runner.why_not().empty()) {
        std::printf("%s\n", runner.why_not().c_str());
        return kSkipped;
    }
    Totals totals;
    unsigned shown = 0;
    for (RowId row = 0; row < kRowCount; row++) {
        if (options.row.empty() || options.row == kRows[row].mnemonic) {
            run_row(runner, row, options, features, totals, shown);
        }
    }
    if (options.row.empty() || options.row == "sequence") {
        run_sequences(runner, options, totals, shown);
    }
    for (const auto &[reason, count] : totals.reasons) {
        std::printf("%u rows not native: %s\n", count, reason.c_str());
    }
    std::printf("host CPU: %s\n", host_name().c_str());
    std::printf("rows: %u checked natively, %u interpreter only, %u excluded, %u absent from this CPU; %u cases and "
                "%u sequences, %u differ, %u where the host differed from itself\n",
                totals.native, totals.interpreter, totals.excluded, totals.absent, totals.cases, totals.sequences,
                totals.failures, totals.unsteady);
    // A host that does so often is no measure of anything.
    constexpr unsigned kMaxUnsteady = 3;
    return totals.failures == 0 && totals.unsteady <= kMaxUnsteady && totals.cases + totals.sequences != 0 ? 0 : 1;
}
