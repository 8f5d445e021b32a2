// Whole programs through the translator's run loop, as generated code, by the interpreter, and by both in lockstep:
// what only shows when blocks, page tables, code pages and exceptions meet.
#include "tests/unit/accel/tcg_debug_programs.h"
#include "tests/unit/accel/tcg_programs.h"

#include "rhea/accel/tcg.h"
#include "rhea/core/clock.h"
#include "rhea/core/machine.h"
#include "rhea/target/x86/cpu_model.h"
#include "rhea/target/x86/frontend.h"
#include "rhea/tcg/backend.h"

#include <cstring>
#include <gtest/gtest.h>
#include <ostream>
#include <vector>

namespace rhea::accel {
namespace {

namespace vcpu_exit = core::vcpu_exit;
using target::x86::CpuAvailability;

enum class How { kGenerated, kInterpreted, kLockstep };

class NoRequests final : public core::MachineRequests {
public:
    void request_shutdown(core::ShutdownCause, int) override {}
    void request_reset(core::ShutdownCause) override {}
    void request_work(std::function<void()>) override {}
};

class NoPorts final : public core::IoHandler {
public:
    std::uint64_t io_read(core::hwaddr, unsigned) override { return 0xff; }
    void io_write(core::hwaddr, std::uint64_t, unsigned) override {}
};

/// 16 MiB of RAM and one vCPU in flat 32-bit protected mode.
class TcgRun : public testing::TestWithParam<How> {
protected:
    static constexpr std::uint32_t kGdt = 0x1000, kIdt = 0x2000, kIdtPointer = 0x7000, kResults = 0x6000, kStack = 0xa000;
    static constexpr unsigned kCode = 0x10, kData = 0x18;

    TcgRun()
        : ram_("ram", 0, 16 << 20), root_(core::MemoryRegion::container("memory", 1ull << 48)),
          ram_region_(core::MemoryRegion::ram("ram", ram_)), io_root_(core::MemoryRegion::io("ports", 0x10000, ports_)),
          memory_("memory", *root_), io_("io", *io_root_) {
        root_->add(0, *ram_region_);
        put<std::uint64_t>(kGdt + kCode, 0x00cf9b000000ffff);
        put<std::uint64_t>(kGdt + kData, 0x00cf93000000ffff);
        put<std::uint64_t>(kGdt + 0x20, 0x0040930000000fff); // base 0, limit 0xfff, data
        put<std::uint16_t>(kIdtPointer, 0x7ff);
        put<std::uint32_t>(kIdtPointer + 2, kIdt);
    }

    void SetUp() override {
        TcgOptions options;
        options.interpret = GetParam() == How::kInterpreted;
        options.check_interp = GetParam() == How::kLockstep;
        if (!options.interpret && !tcg::x64_generator_lacks().empty())
            GTEST_SKIP() << "the host CPU lacks " << tcg::x64_generator_lacks();
        auto model = target::x86::parse_cpu_model("max", CpuAvailability::translator());
        ASSERT_TRUE(model) << model.error().message();
        accelerator_ = make_tcg_accelerator(options, [model = *model](unsigned index) {
            return target::x86::make_frontend(model, index);
        });
        ASSERT_TRUE(accelerator_->attach(memory_, io_));
        auto vcpu = accelerator_->create_vcpu(0, clocks_, requests_);
        ASSERT_TRUE(vcpu) << vcpu.error().message();
        vcpu_ = std::move(*vcpu);
    }

    template <class T>
    void put(std::uint32_t at, T value) {
        std::memcpy(ram_.host() + at, &value, sizeof value);
    }
    std::uint32_t word(std::uint32_t at) const {
        std::uint32_t value;
        std::memcpy(&value, ram_.host() + at, sizeof value);
        return value;
    }
    /// The n-th 32-bit result.
    std::uint32_t result(unsigned n) const { return word(kResults + 4 * n); }
    template <std::size_t kSize>
    void load(std::uint32_t at, const std::uint8_t (&code)[kSize]) {
        memory_.write(at, code, kSize);
    }
    /// A 32-bit interrupt gate to 0x5000, where handlers lie.
    void set_handler(unsigned vector) { put<std::uint64_t>(kIdt + vector * 8, 0x00008e0000005000 | kCode << 16); }
    core::VcpuExit run(std::uint32_t pc) {
        vcpu_->reset();
        vcpu_->set_boot_state({.rip = pc,
                               .rsp = kStack,
                               .gdt_base = kGdt,
                               .gdt_limit = 0xff,
                               .cs_selector = kCode,
                               .data_selector = kData,
                               .tss_selector = 0x28});
        if (pending_)
            vcpu_->request(pending_);
        return vcpu_->run();
    }
    void run_to_halt(std::uint32_t pc) {
        const core::VcpuExit exit = run(pc);
        const auto *error = std::get_if<vcpu_exit::InternalError>(&exit);
        EXPECT_TRUE(std::holds_alternative<vcpu_exit::Halted>(exit)) << (error ? error->text : "") << vcpu_->describe_registers();
    }

    /// EIP and DR6 (B0 to B3, BS) of a #DB.
    struct Trap {
        std::uint32_t eip, dr6;
        bool operator==(const Trap &) const = default;
        friend std::ostream &operator<<(std::ostream &out, const Trap &trap) {
            return out << std::hex << trap.eip << ": " << trap.dr6;
        }
    };
    /// What kNotingHandler noted.
    std::vector<Trap> traps() const {
        constexpr std::uint32_t kNotes = 0x6200, kBits = 0x400f;
        std::vector<Trap> list;
        for (std::uint32_t n = 0; n < result(0) && n < 64; ++n)
            list.push_back({word(kNotes + 8 * n), word(kNotes + 8 * n + 4) & kBits});
        return list;
    }
    /// Calls the function at 0x9000 with ECX counting down from `rounds`, before each call a store of the low `bytes` of ECX | mask to
    /// `field`; the sum of what comes back in EAX. EDX is 0x6100.
    std::uint32_t call_patched(const std::vector<std::uint8_t> &function, std::uint32_t field, unsigned bytes, std::uint32_t rounds,
                               std::uint32_t mask = 0) {
        std::vector<std::uint8_t> caller(std::begin(program::kPatchAndCall), std::end(program::kPatchAndCall));
        std::memcpy(&caller[program::kPatchRounds], &rounds, 4);
        std::memcpy(&caller[program::kPatchField], &field, 4);
        std::memcpy(&caller[program::kPatchMask], &mask, 4);
        constexpr std::uint8_t kStores[3][3] = {{0x88, 0x07, 0x90}, {0x66, 0x89, 0x07}, {0x89, 0x07, 0x90}}; // mov [edi], al, ax, eax
        std::memcpy(&caller[program::kPatchStore], kStores[bytes / 2], 3);
        memory_.write(0x9000, function.data(), function.size());
        memory_.write(0x8000, caller.data(), caller.size());
        run_to_halt(0x8000);
        return result(0);
    }
    /// A number that `info jit` names.
    std::uint64_t counter(std::string_view name) const {
        const std::string text = accelerator_->describe("jit");
        return std::stoull(text.substr(text.find(name) + name.size()));
    }
    std::uint64_t translations() const { return counter("blocks translated"); }
    template <std::size_t kSize>
    std::vector<Trap> traps_of(const std::uint8_t (&code)[kSize]) {
        load(0x8000, code);
        load(0x5000, program::kNotingHandler);
        set_handler(1);
        run_to_halt(0x8000);
        return traps();
    }

    std::uint32_t pending_ = 0; ///< requests when run() begins
    NoPorts ports_;
    NoRequests requests_;
    core::Clocks clocks_;
    core::RamBlock ram_;
    std::unique_ptr<core::MemoryRegion> root_, ram_region_, io_root_;
    core::AddressSpace memory_, io_;
    std::unique_ptr<core::Accelerator> accelerator_;
    std::unique_ptr<core::Vcpu> vcpu_;
};

TEST_P(TcgRun, CodeThatChangesItsNextInstruction) {
    load(0x8000, program::kSelfModifying);
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 3u + 2 + 1);
}

TEST_P(TcgRun, CodeChangedFromOutside) {
    load(0x8000, program::kPoked);
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 1u);
    const std::uint32_t value = 0x55aa;
    memory_.write(0x8001, &value, sizeof value); // as a device does
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 0x55aau);
}

TEST_P(TcgRun, AFieldThatIsPatchedAgainAndAgainCostsFewTranslations) {
    struct Case {
        std::vector<std::uint8_t> function;
        std::uint32_t field; ///< from the function's start
        unsigned bytes;
        std::uint32_t (*value)(std::uint32_t);
    };
    const Case cases[] = {
        {{0x8d, 0x82, 0, 0, 0, 0, 0xc3}, 2, 4, [](std::uint32_t n) { return 0x6100 + n; }},                 // lea eax, [edx + n]
        {{0xb8, 0, 0, 0, 0, 0xc3}, 1, 4, [](std::uint32_t n) { return n; }},                               // mov eax, n
        {{0xb8, 0, 0, 0x34, 0x12, 0xc3}, 1, 2, [](std::uint32_t n) { return 0x12340000 + (n & 0xffff); }}, // its lower half
        {{0x69, 0xc2, 0, 0, 0, 0, 0xc3}, 2, 4, [](std::uint32_t n) { return 0x6100 * n; }},                // imul eax, edx, n
        {{0x6a, 0, 0x58, 0xc3}, 1, 1, [](std::uint32_t n) { return static_cast<std::uint32_t>(static_cast<std::int8_t>(n)); }}, // push n
        {{0x31, 0xc0, 0x66, 0x05, 0, 0, 0xc3}, 4, 2, [](std::uint32_t n) { return n & 0xffff; }},          // add ax, n
        {{0xc7, 0x42, 4, 0, 0, 0, 0, 0x8b, 0x42, 4, 0xc3}, 3, 4, [](std::uint32_t n) { return n; }},       // mov [edx + 4], n
        {{0x89, 0xca, 0x83, 0xe2, 0x7c, 0x8d, 0x42, 0, 0xc3}, 7, 1, // lea eax, [(ecx & 0x7c) + n]
         [](std::uint32_t n) { return (n & 0x7c) + static_cast<std::uint32_t>(static_cast<std::int8_t>(n)); }},
        {{0x8d, 0x04, 0x8d, 0, 0, 0, 0, 0xc3}, 3, 4, [](std::uint32_t n) { return 5 * n; }},               // lea eax, [ecx * 4 + n]
    };
    constexpr std::uint32_t kRounds = 10'000;
    for (const Case &c : cases) {
        const std::uint64_t before = translations();
        std::uint32_t sum = 0;
        for (std::uint32_t n = kRounds; n != 0; --n)
            sum += c.value(n);
        EXPECT_EQ(call_patched(c.function, 0x9000 + c.field, c.bytes, kRounds), sum) << &c - cases;
        EXPECT_LT(translations() - before, 60u) << &c - cases;
    }
}

TEST_P(TcgRun, ABlockThatPatchesItsOwnField) {
    // inc dword [0x9007] ; mov eax, N ; ret
    EXPECT_EQ(call_patched({0xff, 0x05, 7, 0x90, 0, 0, 0xb8, 0, 0, 0, 0, 0xc3}, 0x6200, 4, 1000), 1000u * 1001 / 2);
    EXPECT_LT(translations(), 60u);
}

TEST_P(TcgRun, MoreThanAPatchedFieldIsNewCode) {
    const std::vector<std::uint8_t> function = {0xb8, 0, 0, 0, 0, 0xc3}; // mov eax, n
    EXPECT_EQ(call_patched(function, 0x9001, 4, 100), 5050u);
    constexpr std::uint32_t kOpcode = 0x9000;
    const std::uint16_t word = 0x07b8;
    memory_.write(kOpcode, &word, sizeof word); // as a device does
    const std::uint8_t call_alone[] = {0xe8, 0xfb, 0x07, 0x00, 0x00, 0xa3, 0x00, 0x60, 0x00, 0x00, 0xf4}; // 8800: call 9000; mov [6000], eax
    load(0x8800, call_alone);
    run_to_halt(0x8800);
    EXPECT_EQ(result(0), 7u);
    const std::uint32_t value = 0x1234;
    memory_.write(0x9001, &value, sizeof value); // the field alone
    run_to_halt(0x8800);
    EXPECT_EQ(result(0), 0x1234u);
    const std::uint8_t other[] = {0x31, 0xc0, 0x0c, 0x55, 0xc3}; // xor eax, eax; or al, 0x55; ret
    memory_.write(0x9000, other, sizeof other);
    run_to_halt(0x8800);
    EXPECT_EQ(result(0), 0x55u);
    // The field's upper three bytes and the RET behind it.
    EXPECT_EQ(call_patched(function, 0x9001, 4, 100), 5050u);
    EXPECT_EQ(call_patched(function, 0x9002, 4, 100, 0xc3000000), 5050u << 8);
}

TEST_P(TcgRun, CodeThatIsMadeAnewAgainAndAgain) {
    // 24 times: test al, 1; jz over the next one; add eax, N; ror eax, 1; and a return. N is changed by the guest in each round.
    std::vector<std::uint8_t> code;
    for (unsigned n = 0; n < 24; ++n)
        code.insert(code.end(), {0xa8, 0x01, 0x74, 0x03, 0x83, 0xc0, static_cast<std::uint8_t>(n + 1), 0xd1, 0xc8, 0x90});
    code.insert(code.end(), {0xc3, 0x90, 0x90, 0x90});
    memory_.write(0x5000, code.data(), code.size());
    load(0x8000, program::kGenerateAndCall);
    run_to_halt(0x8000);
    std::uint32_t sum = 0;
    for (std::uint32_t round = program::kGenerateRounds; round != 0; --round) {
        std::uint32_t value = round;
        for (unsigned n = 0; n < 24; ++n) {
            if (value & 1)
                value += static_cast<std::uint32_t>(static_cast<std::int8_t>(n + 1 + (n == 0 ? program::kGenerateRounds - round : 0)));
            value = value >> 1 | value << 31;
        }
        sum += value;
    }
    EXPECT_EQ(result(0), sum);
}

TEST_P(TcgRun, BlocksAreChainedWhileAnInterruptIsMasked) {
    constexpr std::uint32_t kRounds = 10'000;
    pending_ = core::kRequestIntr; // nothing in the program enables interrupts
    EXPECT_EQ(call_patched({0x8d, 0x41, 0x01, 0xc3}, 0x6200, 4, kRounds), kRounds * (kRounds + 1) / 2 + kRounds); // lea eax, [ecx + 1]; ret
    if (GetParam() == How::kGenerated) {
        EXPECT_LT(counter("run loop turns"), 200u);
    }
}

TEST_P(TcgRun, AnInstructionAcrossPagesWhoseSecondPageChanges) {
    load(0x8ff8, program::kCrossingInsn);
    run_to_halt(0x8ff8);
    EXPECT_EQ(result(0), 0x11111111u + 0x22111111u);
}

TEST_P(TcgRun, AccessesAcrossPages) {
    load(0x8000, program::kCrossingData);
    put<std::uint32_t>(0x6ffc, 0);
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 0x34567800u);
    EXPECT_EQ(result(1), 0x3456u);
    EXPECT_EQ(result(2), 0x12345679u);
}

TEST_P(TcgRun, SingleStep) {
    load(0x8000, program::kSingleStep);
    load(0x5000, program::kDebugHandler);
    set_handler(1);
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 6u) << "after each instruction that began with TF set, POPF included";
    EXPECT_EQ(result(1) & 0x4000, 0x4000u) << "DR6.BS";
    EXPECT_EQ(result(2), 0x801cu) << "the last trap is behind the POPF that clears TF";
}

TEST_P(TcgRun, InstructionBreakpoint) {
    load(0x8000, program::kBreakpoint);
    load(0x5000, program::kDebugHandler);
    set_handler(1);
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 3u) << "once a turn of the loop: RF lets the instruction run";
    EXPECT_EQ(result(1) & 0x400f, 1u) << "DR6.B0, not BS";
    EXPECT_EQ(result(2), 0x801du) << "a fault: the instruction itself";
    EXPECT_EQ(result(3), 3u);
}

TEST_P(TcgRun, DataBreakpoints) {
    const std::vector<Trap> expected = {{0x8029, 1}, {0x8034, 1}, {0x803e, 1}, {0x8045, 1}, {0x804c, 2}, {0x8058, 2},
                                        {0x8064, 1}, {0x8064, 2}, // within REP STOS, behind the element
                                        {0x8071, 2}, {0x8079, 1}, {0x8084, 1}};
    EXPECT_EQ(traps_of(program::kDataBreakpoints), expected);
    EXPECT_EQ(word(0x6108), 1u) << "the loop beside it ran";
}

TEST_P(TcgRun, ADataBreakpointAndTheSingleStepAreOneTrap) {
    const std::vector<Trap> expected = {{0x8025, 0x4001}, {0x8026, 0x4000}, {0x802d, 0x4000}, {0x802e, 0x4000}};
    EXPECT_EQ(traps_of(program::kStepAndBreakpoint), expected);
}

TEST_P(TcgRun, AStoreThatPopsIsDoneOnceAtABreakpointForWrites) {
    const std::vector<Trap> expected = {{0x8032, 1}};
    EXPECT_EQ(traps_of(program::kPopAndBreakpoint), expected);
    EXPECT_EQ(word(0x6108) & 0x3800u, 0x3800u) << "TOP: two pushes, one pop";
}

TEST_P(TcgRun, PortBreakpoints) {
    const std::vector<Trap> expected = {{0x8023, 4}, {0x8025, 4}, {0x802a, 4},              // OUT, IN, IN of two ports
                                        {0x8039, 4}, {0x8039, 4}, {0x803b, 4}, {0x8041, 4}}; // REP OUTS, INS
    EXPECT_EQ(traps_of(program::kPortBreakpoints), expected);
}

TEST_P(TcgRun, ADataBreakpointOnTheStackOfAnInterrupt) {
    load(0x5800, program::kStackHandler);
    put<std::uint64_t>(kIdt + 0x30 * 8, 0x00008e0000005800 | kCode << 16);
    const std::vector<Trap> expected = {{0x5800, 8}};
    EXPECT_EQ(traps_of(program::kStackBreakpoint), expected) << "as the handler begins";
}

TEST_P(TcgRun, AlignmentIsCheckedAtLevelThreeOnly) {
    constexpr std::uint32_t kTss = 0xb000;
    put<std::uint64_t>(kGdt + 0x30, 0x00cffb000000ffff); // code and data of level 3, a TSS
    put<std::uint64_t>(kGdt + 0x38, 0x00cff3000000ffff);
    put<std::uint64_t>(kGdt + 0x40, 0x0000890000000067 | std::uint64_t{kTss} << 16);
    put<std::uint32_t>(kTss + 4, 0x9800); // ESP0, SS0
    put<std::uint32_t>(kTss + 8, kData);
    put<std::uint32_t>(kResults, 0xffffffff);
    load(0x8000, program::kAlignment);
    load(0x5000, program::kAlignmentHandler);
    set_handler(17);
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 0u) << "#AC(0)";
    EXPECT_EQ(result(1), 0x8000 + sizeof program::kAlignment - 7) << "of the store; loads before it are aligned";
}

TEST_P(TcgRun, PageFaultsArePrecise) {
    load(0x8000, program::kPageFault);
    load(0x5000, program::kPageFaultHandler);
    set_handler(14);
    constexpr std::uint32_t kDirectory = 0x20000, kTable = 0x21000;
    put<std::uint32_t>(kDirectory, kTable | 3);
    for (std::uint32_t page = 0; page < 1024; ++page)
        put<std::uint32_t>(kTable + 4 * page, page << 12 | (page == 0x50 ? 0 : page == 0x51 ? 1 : 3));
    run_to_halt(0x8000);
    struct Fault {
        std::uint32_t error_code, address;
    };
    constexpr Fault kFaults[] = {{2, 0x50123}, {0, 0x50ffc}, {3, 0x51001}, {2, 0x50000}};
    for (unsigned n = 0; n < std::size(kFaults); ++n) {
        EXPECT_EQ(result(3 * n), kFaults[n].error_code) << n;
        EXPECT_EQ(result(3 * n + 1), kFaults[n].address) << n;
        EXPECT_EQ(result(3 * n + 2), 0x40u) << n << ": ZF of the comparison before";
    }
    EXPECT_EQ(word(0x4fffc), 0u) << "nothing of a store that faults is written";
}

TEST_P(TcgRun, DivideErrorLeavesRegistersAndPc) {
    load(0x8000, program::kDivide);
    load(0x5000, program::kDivideHandler);
    set_handler(0);
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 10u);
    EXPECT_EQ(result(1), 0x8013u);
}

TEST_P(TcgRun, DoubleFault) {
    load(0x8000, program::kDivide);
    load(0x5000, program::kDoubleFaultHandler);
    put<std::uint32_t>(kResults, 0xffffffff);
    set_handler(8); // #DE's gate and #NP's are not present
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 0u) << "the error code";
    EXPECT_EQ(result(1), 8u);
}

TEST_P(TcgRun, TripleFaultShutsDown) {
    load(0x8000, program::kDivide);
    EXPECT_TRUE(std::holds_alternative<vcpu_exit::Shutdown>(run(0x8000)));
}

TEST_P(TcgRun, SegmentLimit) {
    load(0x8000, program::kLimit);
    load(0x5000, program::kLimitHandler);
    put<std::uint32_t>(kResults, 0xffffffff);
    set_handler(13);
    run_to_halt(0x8000);
    EXPECT_EQ(result(0), 0u) << "#GP(0)";
    EXPECT_EQ(result(1), 0x801fu) << "of the access that passes the limit by a byte";
    EXPECT_EQ(result(2), 1u) << "the last byte below the limit could be read";
}

std::string name_of(const testing::TestParamInfo<How> &info) {
    constexpr const char *kNames[] = {"GeneratedCode", "Interpreter", "Both"};
    return kNames[static_cast<unsigned>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(By, TcgRun, testing::Values(How::kGenerated, How::kInterpreted, How::kLockstep), name_of);

} // namespace
} // namespace rhea::accel
