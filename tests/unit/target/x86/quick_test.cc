// Quick helpers do what the helpers behind them do, or leave the state as those want to find it.
#include <gtest/gtest.h>

#include <cstring>

#include "rhea/tcg/backend.h"
#include "rhea/tcg/window_memory.h"
#include "target/x86/helper_args.h"
#include "target/x86/quick_helpers.h"
#include "target/x86/segment.h"
#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using test::X86Machine;

constexpr std::uint64_t kFirst = 0x200000, kUnknown = kFirst + 4 * 4096;

class Quick : public testing::Test {
  protected:
    X86Machine m;
    CpuState& s = m.s;

    void SetUp() override {
        m.enter_long();
        const auto window = reinterpret_cast<std::uintptr_t>(&s) - tcg::kStateOffset;
        tcg::init_tables(window);
        s.cold.window = window;
        const std::uint8_t* ram = m.memory().view().find(0)->host;
        for (std::uint64_t page = kFirst; page < kUnknown; page += 4096) {
            const unsigned index = tcg::tlb_index(page);
            const auto table = [&](std::uint32_t offset) -> std::uint64_t& {
                return reinterpret_cast<std::uint64_t*>(window + offset)[index];
            };
            table(tcg::kReadTagOffset) = page;
            table(tcg::kWriteTagOffset) = page;
            table(tcg::kAddendOffset) = reinterpret_cast<std::uintptr_t>(ram);
        }
    }
    static tcg::QuickResult quick(HelperId id, CpuState& state, std::uint64_t a = 0,
                                  std::uint64_t b = 0) {
        for (const QuickHelper& helper : quick_helpers())
            if (helper.id == id)
                return helper.function(&state, a, b, 0);
        ADD_FAILURE() << "there is no such quick helper";
        return {};
    }
    static std::uint64_t info(unsigned size) {
        StringInfo i;
        i.size = static_cast<std::uint8_t>(size);
        i.rep = RepKind::kRep;
        i.code64 = true;
        return i.pack();
    }
    void set(std::uint64_t rsi, std::uint64_t rdi, std::uint64_t rcx) {
        s.gpr[kRsi] = rsi;
        s.gpr[kRdi] = rdi;
        s.gpr[kRcx] = rcx;
    }
    std::vector<std::uint8_t> ram() const {
        std::vector<std::uint8_t> bytes(8 * 4096);
        for (std::size_t i = 0; i < bytes.size(); ++i)
            bytes[i] = m.peek<std::uint8_t>(kFirst + i);
        return bytes;
    }
    void scramble() {
        for (std::uint64_t i = 0; i < 8 * 4096; i += 8)
            m.poke<std::uint64_t>(kFirst + i, i * 0x9e3779b97f4a7c15ull);
    }
    /// Everything that a transfer may change.
    static std::string text(const CpuState& state) {
        std::string out;
        const auto add = [&out](const auto& field) {
            out.append(reinterpret_cast<const char*>(&field), sizeof field);
        };
        add(state.gpr);
        add(state.seg_base);
        add(state.df);
        add(state.rflags);
        add(state.seg);
        add(state.cpl);
        add(state.head.pc);
        const std::uint32_t flags = tcg::compute_flags(state.head);
        add(flags);
        return out;
    }
    void offer(std::uint32_t mode) {
        s.cold.mode_windows[mode & kModeWindowMask] = {mode, s.cold.window + tcg::kWindowSize};
    }
};

TEST_F(Quick, StringsAsTheHelpersDoThem) {
    for (const HelperId id : {HelperId::rep_movs, HelperId::rep_stos}) {
        for (const unsigned size : {1u, 2u, 4u, 8u}) {
            // Apart, overlapping forward, overlapping backward, across pages; short and long.
            for (const std::int64_t distance : {0xc00 / static_cast<std::int64_t>(size), std::int64_t{1}, std::int64_t{3}, std::int64_t{-5}, std::int64_t{0}}) {
                for (const std::uint64_t count : {0, 1, 7, 100, 600}) {
                    const std::uint64_t from = kFirst + 0x400 * size,
                                        to = from + static_cast<std::uint64_t>(distance * size);
                    scramble();
                    set(from, to, count);
                    s.gpr[kRax] = 0x1122334455667788;
                    const tcg::QuickResult result = quick(id, s, info(size));
                    ASSERT_EQ(result.done, 1u) << size << ' ' << distance << ' ' << count;
                    EXPECT_EQ(result.value, 0u);
                    const auto mine = ram();
                    const std::string mine_state = text(s);
                    scramble();
                    set(from, to, count);
                    m.call(id == HelperId::rep_movs ? helper_rep_movs : helper_rep_stos,
                           info(size));
                    ASSERT_EQ(mine_state, text(s)) << size << ' ' << distance << ' ' << count;
                    ASSERT_EQ(mine, ram()) << size << ' ' << distance << ' ' << count;
                }
            }
        }
    }
}

TEST_F(Quick, AnUnknownPageIsLeftToTheHelperWithTheRestOfTheWork) {
    scramble();
    set(0, kUnknown - 24, 5);
    s.gpr[kRax] = 7;
    EXPECT_EQ(quick(HelperId::rep_stos, s, info(8)).done, 0u);
    EXPECT_EQ(s.gpr[kRcx], 2u);
    EXPECT_EQ(s.gpr[kRdi], kUnknown);
    EXPECT_EQ(m.peek<std::uint64_t>(kUnknown - 8), 7u);
    EXPECT_NE(m.peek<std::uint64_t>(kUnknown), 7u);
    // An element across a page boundary, backwards, a TF step, a segment with a base: not quick.
    set(0, kFirst + 4092, 2);
    EXPECT_EQ(quick(HelperId::rep_stos, s, info(8)).done, 0u);
    EXPECT_EQ(s.gpr[kRcx], 2u);
    s.df = ~0ull;
    set(kFirst, kFirst + 4096, 2);
    EXPECT_EQ(quick(HelperId::rep_movs, s, info(8)).done, 0u);
}

TEST_F(Quick, AWishToStopIsObeyedBetweenPages) {
    set(0, kFirst, 3 * 512);
    s.head.exit_request = 1;
    const tcg::QuickResult result = quick(HelperId::rep_stos, s, info(8));
    EXPECT_EQ(result.done, 1u);
    EXPECT_EQ(result.value, 1u);
    EXPECT_EQ(s.gpr[kRcx], 2u * 512);
}

TEST_F(Quick, CompareAndExchangeOfSixteenBytes) {
    m.poke<std::uint64_t>(kFirst + 16, 1);
    m.poke<std::uint64_t>(kFirst + 24, 2);
    s.gpr[kRax] = 1, s.gpr[kRdx] = 2, s.gpr[kRbx] = 3, s.gpr[kRcx] = 4;
    tcg::set_raw_flags(s.head, tcg::kCF | tcg::kOF);
    EXPECT_EQ(quick(HelperId::cmpxchg16b, s, kFirst + 16).done, 1u);
    EXPECT_EQ(m.peek<std::uint64_t>(kFirst + 16), 3u);
    EXPECT_EQ(m.peek<std::uint64_t>(kFirst + 24), 4u);
    EXPECT_EQ(tcg::compute_flags(s.head), tcg::kCF | tcg::kOF | tcg::kZF);
    EXPECT_EQ(quick(HelperId::cmpxchg16b, s, kFirst + 16).done, 1u);
    EXPECT_EQ(s.gpr[kRax], 3u);
    EXPECT_EQ(s.gpr[kRdx], 4u);
    EXPECT_EQ(tcg::compute_flags(s.head), tcg::kCF | tcg::kOF);
    EXPECT_EQ(quick(HelperId::cmpxchg16b, s, kFirst + 8).done, 0u);   // #GP
    EXPECT_EQ(quick(HelperId::cmpxchg16b, s, kUnknown).done, 0u);
}

TEST_F(Quick, SystemCallsAndReturns) {
    m.enter_user();
    install_segment(*reinterpret_cast<Cpu*>(s.cpu_data), kCs, 0x33, {X86Machine::descriptor(0, 0xfffff, 0xfb, 0xa), 0});
    update_mode(*reinterpret_cast<Cpu*>(s.cpu_data));
    ASSERT_NE(s.cold.mode_word & kModeCode64, 0u);
    s.efer |= kEferSCE;
    s.star = 0x0023'0008ull << 32;
    s.lstar = 0xffffffff81000000;
    s.sfmask = 0x47700;
    s.head.pc = 0x401000;
    s.rflags |= kFlagIF;
    tcg::set_raw_flags(s.head, tcg::kCF | tcg::kZF);
    const std::uint32_t user = s.cold.mode_word;
    const std::string before = text(s);
    EXPECT_EQ(quick(HelperId::syscall, s, 2).done, 0u); // no window for the kernel's mode
    EXPECT_EQ(text(s), before);
    EXPECT_EQ(s.cold.mode_word, user);

    m.call(helper_syscall, 2);
    ASSERT_EQ(m.pending(), -1);
    const std::uint32_t kernel = s.cold.mode_word;
    const std::string in_kernel = text(s);
    m.call(helper_sysret, 8);
    const std::string back = text(s);
    EXPECT_EQ(s.cold.mode_word, user);

    offer(kernel);
    offer(user);
    s.gpr[kRcx] = s.gpr[kR11] = 0;
    EXPECT_EQ(quick(HelperId::syscall, s, 0).done, 1u);
    EXPECT_EQ(text(s), in_kernel);
    EXPECT_EQ(s.cold.mode_word, kernel);
    EXPECT_EQ(s.cold.window, s.cold.mode_windows[kernel & kModeWindowMask].window);
    EXPECT_EQ(quick(HelperId::sysret, s, 8).done, 1u);
    EXPECT_EQ(text(s), back);
    EXPECT_EQ(s.cold.mode_word, user);
    s.cpl = 0;
    s.gpr[kRcx] = 0x800000000000; // not canonical: #GP is the helper's
    EXPECT_EQ(quick(HelperId::sysret, s, 8).done, 0u);
}

TEST_F(Quick, AlignmentCheckTogglesSwitchWindows) {
    s.cr4 |= kCr4SMAP;
    update_mode(*reinterpret_cast<Cpu*>(s.cpu_data));
    const std::uint32_t kernel = s.cold.mode_word;
    s.rflags |= kFlagAC;
    s.head.pc = 0x1000;
    EXPECT_EQ(quick(HelperId::finish_single, s, 0x1003, 0).done, 0u);
    offer((kernel & ~kModeWindowMask) | 2);
    EXPECT_EQ(quick(HelperId::finish_single, s, 0x1003, 1).done, 0u); // TF: #DB is the helper's
    EXPECT_EQ(quick(HelperId::finish_single, s, 0x1003, 0).done, 1u);
    EXPECT_EQ(s.head.pc, 0x1003u);
    EXPECT_EQ(s.cold.mode_word, (kernel & ~kModeWindowMask) | 2);
}

}  // namespace
}  // namespace rhea::target::x86
