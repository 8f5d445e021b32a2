#include "tests/diff/block_runner.h"

#include "target/x86/translate/translate.h"
#include "tests/diff/comparison.h"
#include "tests/diff/host_features.h"
#include "tests/diff/vendor.h"

#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace rhea::target::x86::diff {
namespace {

constexpr std::size_t kPoolSize = 1 << 16;

std::vector<std::uint8_t> make_pool(bool floats) {
    Random random(floats ? 2 : 1);
    std::vector<std::uint8_t> pool(kPoolSize);
    for (std::size_t n = 0; n < pool.size(); n += 8) {
        const std::uint64_t word = floats ? interesting_float(random) : random.interesting();
        std::memcpy(&pool[n], &word, 8);
    }
    return pool;
}

FeatureSet common_features() {
    const FeatureSet host = host_features(), model = MachineCpu::features();
    FeatureSet both;
    for (unsigned n = 0; n < static_cast<unsigned>(Feature::kCount); n++) {
        const auto feature = static_cast<Feature>(n);
        if (host.has(feature) && model.has(feature)) {
            both.add(feature);
        }
    }
    return both;
}

CodeSize pick_size(Random &random) {
    const unsigned n = random.below(20);
    return n < 13 ? CodeSize::k64 : n < 17 ? CodeSize::k32 : CodeSize::k16;
}

const char *size_name(CodeSize size) { return size == CodeSize::k64 ? "64" : size == CodeSize::k32 ? "32" : "16"; }

/// A stream of its own, as that of checks_alignment().
bool unmasks(std::uint64_t seed) {
    constexpr std::uint64_t kOther = 0xd1342543de82ef95;
    return Random(seed * kOther).one_in(8);
}

/// A data breakpoint near where a pointer leads, now and then; a stream of its own, too.
WatchPoint watch_of(std::uint64_t seed, const Program &program, CodeSize size) {
    constexpr std::uint64_t kOther = 0xaef17502108ef2d9;
    Random random(seed * kOther);
    if (!random.one_in(12)) {
        return {};
    }
    WatchPoint watch;
    watch.length = 1u << random.below(4);
    watch.reads = random.one_in(2);
    const std::uint64_t base = size == CodeSize::k16 ? kDataAddress : 0;
    const std::uint8_t pointer = program.pointers[random.below(static_cast<unsigned>(program.pointers.size()))];
    watch.address = (base + program.before.gpr[pointer] + random.below(0x80) - 0x40) & ~std::uint64_t{watch.length - 1};
    const bool inside = watch.address >= kDataAddress && watch.address < kReadOnlyAddress + kReadOnlySize;
    return inside ? watch : WatchPoint{};
}

std::uint32_t mode_of(CodeSize size) {
    return size == CodeSize::k64 ? std::uint32_t{kModeCode64} : size == CodeSize::k32 ? std::uint32_t{kModeCode32} : 0u;
}

} // namespace

BlockRunner::BlockRunner()
    : generated_(false), interpreted_(true), rows_(common_features()), integers_(make_pool(false)), floats_(make_pool(true)) {}

void BlockRunner::run_native(Program &program, CodeSize size, Result &result) {
    std::memcpy(arena_.code(), program.bytes.data(), program.bytes.size());
    std::memcpy(arena_.data(), initial_.data(), initial_.size());
    result.state = native_.run(program.before, size, true);
    std::memcpy(result.data.data(), arena_.data(), result.data.size());
}

void BlockRunner::run_translated(MachineCpu &cpu, const Program &program, CodeSize size, const MachineCpu::How &how,
                                 Result &result) {
    cpu.write_code(program.bytes);
    std::memcpy(cpu.data(), initial_.data(), initial_.size());
    result.state = cpu.run(program.before, size, how);
    result.error_code = cpu.error_code();
    std::memcpy(result.data.data(), cpu.data(), result.data.size());
}

std::string BlockRunner::compare(const Program &program, Result &native, const Result &generated, const Result &interpreted) const {
    std::string text = difference(interpreted.state, generated.state, kComparedFlags, interpreted.data, generated.data,
                                  {"interpreted", "generated"});
    if (interpreted.error_code != generated.error_code) {
        text += "  error codes differ\n";
    }
    const Program::Place *place = program.at(native.state.rip);
    if (place == nullptr) { // a jump of random bytes led out of the program: which flags are defined there is not known
        return text + difference(native.state, generated.state, 0, native.data, generated.data, {"native", "generated"});
    }
    if ((place->insn.row().flags & kRowX87) != 0 || program.floating) {
        native.state.fault_address = 0; // which of two pages: varies
    }
    if (native.state.ending == Ending::kFloat) { // overflow that is unmasked: see mxcsr_alone_differs() of runner.cc
        constexpr std::uint32_t kInexact = 0x20;
        native.state.fp.mxcsr |= generated.state.fp.mxcsr & kInexact;
    }
    return text + difference(native.state, generated.state, kComparedFlags & ~place->undefined_before, native.data, generated.data,
                             {"native", "generated"});
}

BlockCounts BlockRunner::counts() const {
    BlockCounts counts = counts_;
    counts.blocks = generated_.blocks();
    return counts;
}

bool BlockRunner::run(std::uint64_t seed) {
    Random random(seed * 0x9e3779b97f4a7c15ull);
    const CodeSize size = pick_size(random);
    if (!native_.has(size)) {
        return true;
    }
    Program program = make_program(rows_, size, unmasks(seed), random);
    program.before.align_check = checks_alignment(seed);
    const std::vector<std::uint8_t> &pool = random.one_in(2) ? integers_ : floats_;
    std::memcpy(initial_.data(), &pool[random.below((kPoolSize - kWritableSize) / 8) * 8], initial_.size());
    MachineCpu::How how;
    how.cold = random.one_in(2);
    how.heat = random.one_in(2) ? random.below(8) : 4096;
    how.watch = watch_of(seed, program, size);
    const bool watching = how.watch.length != 0 && native_.set_watch(how.watch);
    if (!watching) {
        how.watch = {};
    }
    counts_.programs++;
    counts_.instructions += program.places.size();

    std::string what;
    try {
        run_native(program, size, native_result_);
        run_translated(generated_, program, size, how, generated_result_);
        run_translated(interpreted_, program, size, how, interpreted_result_);
        what = compare(program, native_result_, generated_result_, interpreted_result_);
    } catch (const std::runtime_error &error) {
        what = error.what();
    }
    if (watching) {
        native_.set_watch({});
    }
    const Snapshot &native = native_result_.state, &generated = generated_result_.state;
    counts_.faults += native.ending != Ending::kDone;
    if (what.empty()) {
        return true;
    }
    for (const Snapshot *end : {&native, &generated}) {
        const Program::Place *place = program.at(end->rip);
        if (end->ending != Ending::kDone && place != nullptr && faults_differ(place->insn)) {
            counts_.skipped++;
            return true;
        }
    }
    counts_.different++;
    report_ = "---- seed " + std::to_string(seed) + ", " + size_name(size) + "-bit code" + (how.cold ? ", cold" : "") +
              (watching ? ", watching " + std::to_string(how.watch.length) + " bytes at data + " +
                              std::to_string(how.watch.address - kDataAddress) + (how.watch.reads ? ", reads too" : "") : "") +
              (how.heat < 4096 ? ", hot after " + std::to_string(how.heat) : "") + "\n" + what +
              disassemble(mode_of(size), kStart, program.bytes.data(), program.bytes.size()) + "before\n" + describe(program.before) +
              "native\n" + describe(native) + "generated\n" + describe(generated) + "interpreted\n" +
              describe(interpreted_result_.state);
    return false;
}

} // namespace rhea::target::x86::diff
