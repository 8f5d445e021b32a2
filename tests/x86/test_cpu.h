// An x86 CPU for tests of the translator: a state in a window of its own, flat memory at the addresses where it
// really lies (so that the same bytes can be run on the host CPU), and helpers that only record that they were called.
//
// Memory that a test has not given with allow() faults with #PF. One thread.
#pragma once
#include "rhea/target/x86/state.h"
#include "rhea/tcg/backend.h"
#include "rhea/tcg/ir.h"
#include "target/x86/helpers.h"
#include "target/x86/translate/translate.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rhea::target::x86::test {

/// A 64-bit user program in flat segments: what most tests run in.
inline constexpr std::uint32_t kUser64 =
    kModeCpl3 | kModeCode64 | kModeProtected | kModeLongActive | kModeCsBaseZero | kModeDataFlat;
inline constexpr std::uint32_t kUser32 = kModeCpl3 | kModeCode32 | kModeStack32 | kModeProtected | kModeLongActive |
                                         kModeCsBaseZero | kModeDataFlat;
inline constexpr std::uint32_t kReal16 = 1;

struct Fault {
    unsigned vector = 0;
    std::uint64_t error_code = ~0ull;
    std::uint64_t address = 0; ///< of a page fault
};

class TestCpu {
public:
    TestCpu();
    ~TestCpu();
    TestCpu(const TestCpu &) = delete;
    TestCpu &operator=(const TestCpu &) = delete;

    static const tcg::GuestDescription &guest();

    CpuState &state() { return *state_; }
    std::uint64_t &reg(unsigned number) { return state_->gpr[number]; }
    std::uint32_t flags() const { return tcg::compute_flags(state_->head); }
    void set_flags(std::uint32_t bits) { tcg::set_raw_flags(state_->head, bits); }

    /// [address, address + size) may be read and written.
    void allow(void *address, std::size_t size, bool writable = true);

    /// Translates the bytes at `code` (as if at their own address) into a block.
    tcg::TranslateStatus translate(tcg::ir::Block &block, const std::uint8_t *code, std::uint32_t mode,
                                   unsigned max_insns, FeatureSet features = FeatureSet::all());
    bool hot = false; ///< translate() makes blocks that run often
    /// Runs a block whose first byte is at `code`; a fault is in last_fault().
    tcg::CodeExit run(const tcg::ir::Block &block, const std::uint8_t *code);
    const std::optional<Fault> &last_fault() const { return fault_; }
    const std::vector<HelperId> &helpers_called() const { return helpers_called_; }
    void forget() { helpers_called_.clear(), fault_.reset(); }

private:
    struct Range {
        std::uint64_t first, size;
        bool writable;
    };
    static TestCpu &of(void *state);
    static void load(void *state, std::uint64_t address, unsigned size, unsigned flags, void *data);
    static void store(void *state, std::uint64_t address, unsigned size, unsigned flags, const void *data);
    static void *probe_write(void *state, std::uint64_t address, unsigned size, unsigned flags);
    static void raise(void *state, unsigned vector, std::uint64_t error_code);
    template <unsigned kId>
    static std::uint64_t helper(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c);
    template <std::size_t... kIds>
    static const tcg::GuestDescription &make_guest(std::index_sequence<kIds...>);
    bool check(std::uint64_t address, unsigned size, unsigned flags, bool write);

    std::uint8_t *window_;
    CpuState *state_;
    std::vector<Range> ranges_;
    std::optional<Fault> fault_;
    std::vector<HelperId> helpers_called_;
    std::unique_ptr<tcg::Interpreter> interpreter_;
};

} // namespace rhea::target::x86::test
