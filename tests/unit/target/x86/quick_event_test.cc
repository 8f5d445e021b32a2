// Quick delivery of events and IRETQ against the general way; the time stamp counter by the host's.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <functional>

#include "rhea/tcg/backend.h"
#include "rhea/tcg/window_memory.h"
#include "target/x86/interrupt.h"
#include "target/x86/quick_helpers.h"
#include "target/x86/tsc_anchor.h"
#include "target/x86/segment.h"
#include "tests/support/x86_machine.h"

namespace rhea::target::x86 {
namespace {

using test::X86Machine;

constexpr std::uint64_t kHandler = 0xffffffff81234567, kInnerStack = 0x5000, kIstStack = 0x6f00;
constexpr std::uint64_t kLastPage = 0x7000;
constexpr unsigned kIst = 2;

class QuickEvents : public testing::Test {
  protected:
    X86Machine m;
    CpuState& s = m.s;
    Cpu& cpu() { return Cpu::of(&s); }
    std::uint32_t kernel_mode = 0, user_mode = 0;

    void SetUp() override {
        m.enter_long();
        kernel_mode = s.cold.mode_word;
        const auto window = reinterpret_cast<std::uintptr_t>(&s) - tcg::kStateOffset;
        tcg::init_tables(window);
        s.cold.window = window;
        for (std::uint64_t page = 0x1000; page <= kLastPage; page += 0x1000)
            know(page);
        m.poke<std::uint64_t>(X86Machine::kTss + 4, kInnerStack - 8);
        m.poke<std::uint64_t>(X86Machine::kTss + 36 + (kIst - 1) * 8, kIstStack);
        enter_user64();
        user_mode = s.cold.mode_word;
        offer_all();
    }
    std::uint64_t& table(std::uint32_t offset, std::uint64_t page) {
        return reinterpret_cast<std::uint64_t*>(s.cold.window + offset)[tcg::tlb_index(page)];
    }
    void know(std::uint64_t page) {
        table(tcg::kReadTagOffset, page) = table(tcg::kWriteTagOffset, page) = page;
        table(tcg::kAddendOffset, page) = reinterpret_cast<std::uintptr_t>(m.memory().view().find(0)->host);
    }
    void forget(std::uint64_t page, std::uint32_t tags) { table(tags, page) = page + 0x1000; }
    void enter_user64() {
        m.enter_user();
        for (const Seg seg : {kEs, kDs, kFs, kGs})
            install_null(cpu(), seg, 0);
        install_segment(cpu(), kCs, 0x33, {X86Machine::descriptor(0, 0xfffff, 0xfb, 0xa), 0});
        update_mode(cpu());
        s.head.pc = 0x401234;
    }
    void enter_kernel() {
        s.cpl = 0;
        install_segment(cpu(), kCs, 0x08, {X86Machine::descriptor(0, 0xfffff, 0x9b, 0xa), 0});
        install_segment(cpu(), kSs, 0x10, {X86Machine::descriptor(0, 0xfffff, 0x93, 0xc), 0});
        update_mode(cpu());
        s.gpr[kRsp] = 0x6ab4;
    }
    void offer_all() {
        for (const std::uint32_t mode : {kernel_mode, user_mode})
            s.cold.mode_windows[mode & kModeWindowMask] = {mode, s.cold.window};
    }
    void offer_none() {
        for (tcg::ModeWindow& window : s.cold.mode_windows)
            window = {};
    }
    /// Registers and the pages that stacks lie in.
    std::string text() const {
        std::string out;
        const auto add = [&out](const auto& field) {
            out.append(reinterpret_cast<const char*>(&field), sizeof field);
        };
        add(s.gpr);
        add(s.seg_base);
        add(s.df);
        add(s.rflags);
        add(s.seg);
        add(s.cpl);
        add(s.nmi_blocked);
        add(s.head.pc);
        add(s.head.exception_pending);
        add(s.cr2);
        add(s.cold.mode_word);
        const std::uint32_t flags = tcg::compute_flags(s.head);
        add(flags);
        for (std::uint64_t at = 0x1000; at < kLastPage + 0x1000; at += 8)
            add(m.peek<std::uint64_t>(at));
        return out;
    }
    /// What `quick` and `general` leave, from the same state; the second has no windows at hand.
    void compare(const std::function<bool()>& quick, const std::function<void()>& general) {
        const CpuState before = s;
        std::vector<std::uint64_t> ram;
        for (std::uint64_t at = 0; at <= kLastPage + 0x1000; at += 8)
            ram.push_back(m.peek<std::uint64_t>(at));
        ASSERT_TRUE(quick());
        const std::string mine = text();
        s = before;
        for (std::uint64_t at = 0; at <= kLastPage + 0x1000; at += 8)
            m.poke(at, ram[at / 8]);
        ASSERT_NE(text(), mine);
        offer_none();
        general();
        EXPECT_EQ(text(), mine);
        offer_all();
    }
    void refused(const Event& event) {
        const std::string before = text();
        EXPECT_FALSE(quick_event(s, event));
        EXPECT_EQ(text(), before);
    }
    bool iret(std::uint64_t size = 8) { return quick_iret(&s, size, 0, 0).done != 0; }
    void iret_refused(std::uint64_t size = 8) {
        const std::string before = text();
        EXPECT_FALSE(iret(size));
        EXPECT_EQ(text(), before);
    }
    void frame(std::uint64_t cs, std::uint64_t ss, std::uint64_t flags, std::uint64_t ip = 0x402000) {
        const std::uint64_t values[] = {ip, cs, flags, 0x7fff1238, ss};
        for (unsigned n = 0; n < 5; ++n)
            m.poke(s.gpr[kRsp] + n * 8, values[n]);
    }
};

TEST_F(QuickEvents, AsTheGeneralDelivery) {
    for (const bool user : {true, false}) {
        for (const unsigned type : {14u, 15u}) {
            for (const unsigned ist : {0u, kIst}) {
                for (const Event& event : {Event{kVectorPF, EventKind::kException, true, 6, 0}, Event{0x40, EventKind::kExternal, false, 0, 0},
                                           Event{kVectorNM, EventKind::kException, false, 0, 0}, Event{kVectorDB, EventKind::kException, false, 0, 0},
                                           Event{kVectorBP, EventKind::kException, false, 0, 1}}) {
                    SCOPED_TRACE(testing::Message() << user << ' ' << type << ' ' << ist << ' ' << unsigned{event.vector});
                    enter_user64();
                    if (!user)
                        enter_kernel();
                    m.set_gate64(event.vector, 0x08, kHandler, type, 0, ist);
                    s.rflags |= kFlagIF;
                    s.df = ~0ull;
                    s.head.cc_op = tcg::cc_op(tcg::FlagsKind::kSub, 4);
                    s.head.cc_dst = 0x80000000;
                    s.head.cc_src = 5;
                    compare([&] { return quick_event(s, event); }, [&] { deliver_event(cpu(), event); });
                    EXPECT_EQ(s.head.pc, kHandler);
                    EXPECT_EQ(s.rflags & kFlagIF, type == 15 ? kFlagIF : 0u);
                }
            }
        }
    }
}

TEST_F(QuickEvents, FromCompatibilityModeTheOffsetIsPushed) {
    install_segment(cpu(), kCs, 0x1b, {X86Machine::descriptor(0x10000, 0xfffff, 0xfb, 0xc), 0});
    update_mode(cpu());
    s.head.pc = 0x12345;
    m.set_gate64(kVectorUD, 0x08, kHandler, 14, 0, 0);
    const Event event{kVectorUD};
    compare([&] { return quick_event(s, event); }, [&] { deliver_event(cpu(), event); });
    EXPECT_EQ(m.peek<std::uint64_t>(s.gpr[kRsp]), 0x2345u);
}

TEST_F(QuickEvents, WhatIsNotUsualIsLeftAlone) {
    const Event event{kVectorGP, EventKind::kException, true, 0, 0};
    const auto set = [&](unsigned type, unsigned selector, std::uint64_t target) {
        m.set_gate64(kVectorGP, selector, target, type, 0, 0);
    };
    set(14, 0x08, kHandler);
    refused({kVectorGP, EventKind::kSoftware, false, 0, 2});
    for (const std::uint64_t page : {X86Machine::kGdt, X86Machine::kIdt, X86Machine::kTss}) {
        forget(page, tcg::kReadTagOffset);
        refused(event);
        know(page);
    }
    forget(kInnerStack - 0x1000, tcg::kWriteTagOffset);
    refused(event);
    know(kInnerStack - 0x1000);
    m.poke<std::uint64_t>(X86Machine::kTss + 4, 0x5020); // across two pages
    refused(event);
    m.poke<std::uint64_t>(X86Machine::kTss + 4, kInnerStack);
    set(5, 0x08, kHandler); // no such gate
    refused(event);
    set(14, 0x18, kHandler); // 32-bit code
    refused(event);
    set(14, 0, kHandler);
    refused(event);
    set(14, 0x0c, kHandler); // in the LDT
    refused(event);
    set(14, 0x1008, kHandler); // behind the GDT's end
    refused(event);
    set(14, 0x33, kHandler); // of level 3
    refused(event);
    set(14, 0x08, 0x800000000000); // not canonical
    refused(event);
    set(14, 0x08, kHandler);
    for (const unsigned access : {0x9au, 0x1bu, 0x9fu, 0x93u}) { // not accessed, not present, conforming, data
        m.set_descriptor(0x08, X86Machine::descriptor(0, 0xfffff, access, 0xa));
        refused(event);
    }
    m.set_descriptor(0x08, X86Machine::descriptor(0, 0xfffff, 0x9b, 0xa));
    s.idt.limit = kVectorGP * 16 + 14;
    refused(event);
    s.idt.limit = kVectorGP * 16 + 15;
    s.tr.limit = 10;
    refused(event);
    s.tr.limit = 0x67;
    s.cold.mode_windows[1].mode_word ^= kModeXsave; // the window is another mode's
    refused(event);
    offer_none();
    refused(event);
    offer_all();
    EXPECT_TRUE(quick_event(s, event));
}

TEST_F(QuickEvents, APendingPageFaultIsTaken) {
    m.set_gate64(kVectorPF, 0x08, kHandler, 14, 0, 0);
    m.set_gate64(kVectorDB, 0x08, kHandler, 14, 0, 0);
    raise(s, Fault{kVectorDB, 0, 1});
    EXPECT_FALSE(deliver_quickly(cpu())); // DR6 and DR7
    raise(s, Fault{kVectorPF, kPfUser, 0xdeadbeef});
    s.interrupt_shadow = 1;
    EXPECT_FALSE(deliver_quickly(cpu()));
    EXPECT_EQ(m.pending(), X86Machine::exception(kVectorPF, kPfUser));
    EXPECT_EQ(s.cr2, 0u);
    s.interrupt_shadow = 0;
    EXPECT_TRUE(deliver_quickly(cpu()));
    EXPECT_EQ(m.pending(), -1);
    EXPECT_EQ(s.cr2, 0xdeadbeefu);
    EXPECT_EQ(s.head.pc, kHandler);
    EXPECT_EQ(s.cold.mode_word, kernel_mode);
    EXPECT_EQ(m.peek<std::uint64_t>(s.gpr[kRsp]), kPfUser);
}

TEST_F(QuickEvents, ReturnsAsTheHelperDoes) {
    constexpr std::uint64_t kAll = kAllFlags | 2;
    for (const auto& [cs, ss] : {std::pair{0x33, 0x23}, std::pair{0x08, 0x10}, std::pair{0x08, 0}}) {
        for (const std::uint64_t flags : {std::uint64_t{0x202}, std::uint64_t{0xad7}, kAll & ~(kFlagTF | kFlagAC | kFlagVM | kFlagIOPL)}) {
            SCOPED_TRACE(testing::Message() << cs << ' ' << ss << ' ' << flags);
            enter_user64();
            enter_kernel();
            s.rflags = 2;
            s.nmi_blocked = 1;
            frame(static_cast<std::uint64_t>(cs), static_cast<std::uint64_t>(ss), flags);
            compare([&] { return iret(); }, [&] { m.call(helper_iret, 8); });
            EXPECT_EQ(s.head.pc, 0x402000u);
            EXPECT_EQ(s.cpl, cs & 3);
        }
    }
}

TEST_F(QuickEvents, ReturnsThatAreNotUsualAreLeftToTheHelper) {
    enter_kernel();
    frame(0x33, 0x23, 0x202);
    iret_refused(4);
    s.rflags |= kFlagNT;
    iret_refused();
    s.rflags &= ~kFlagNT;
    for (const auto& [cs, ss] : {std::pair{0x33, 0}, std::pair{0x33, 0x10}, std::pair{0x33, 0x13}, std::pair{0x30, 0x23}, std::pair{0x1b, 0x23},
                                 std::pair{0, 0x10}, std::pair{0x37, 0x23}, std::pair{0x33, 0x33}, std::pair{0x33, 0x1023}}) {
        frame(static_cast<std::uint64_t>(cs), static_cast<std::uint64_t>(ss), 0x202);
        iret_refused();
    }
    frame(0x33, 0x23, 0x202, 0x800000000000);
    iret_refused();
    frame(0x33, 0x23, 0x302); // TF: another mode
    iret_refused();
    frame(0x33, 0x23, 0x202);
    install_segment(cpu(), kDs, 0x10, {X86Machine::descriptor(0, 0xfffff, 0x93, 0xc), 0});
    iret_refused(); // DS would have to go
    install_null(cpu(), kDs, 0);
    s.gpr[kRsp] = 0x6fe8; // across two pages
    iret_refused();
    s.gpr[kRsp] = 0x6ab4;
    forget(0x6000, tcg::kReadTagOffset);
    iret_refused();
    know(0x6000);
    m.set_descriptor(0x30, X86Machine::descriptor(0, 0xfffff, 0xfa, 0xa)); // accessed bit clear
    iret_refused();
    m.set_descriptor(0x30, X86Machine::descriptor(0, 0xfffff, 0xfb, 0xa));
    enter_user64();
    s.gpr[kRsp] = 0x6ab4;
    iret_refused(); // at level 3
    enter_kernel();
    EXPECT_TRUE(iret());
}

class QuickTsc : public testing::Test {
  protected:
    X86Machine m;
    CpuState& s = m.s;
    Cpu& cpu() { return Cpu::of(&s); }
    bool quick() {
        std::uint64_t value;
        return quick_tsc(s, value);
    }
    void follow_the_host() {
        m.now = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
    }
};

TEST_F(QuickTsc, ATimeThatIsNotTheHostsIsAlwaysAskedFor) {
    for (unsigned n = 0; n < 1000; ++n) {
        EXPECT_EQ(read_tsc(cpu()), cpu().tsc());
        EXPECT_FALSE(quick()) << n;
        m.now += n % 3 == 0 ? 500'000'000'000 : 0; // far faster than the host's, were this process held up for seconds
    }
}

TEST_F(QuickTsc, NeverGoesBack) {
    std::uint64_t last = 0;
    follow_the_host();
    const std::int64_t end = m.now + 100'000'000;
    while (m.now < end) {
        follow_the_host();
        std::uint64_t now = read_tsc(cpu());
        ASSERT_GE(now, last);
        for (unsigned n = 0; n < 1000 && quick(); ++n) {
            last = now;
            if (quick_tsc(s, now)) {
                ASSERT_GE(now, last);
            }
        }
        last = now;
    }
    // Set anew, it counts from there at once.
    s.tsc_offset -= 1'000'000'000;
    EXPECT_FALSE(quick());
    EXPECT_EQ(read_tsc(cpu()), cpu().tsc());
}

}  // namespace
}  // namespace rhea::target::x86
