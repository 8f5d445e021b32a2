// Translation: what a block is, and that IR run by the interpreter does what the instructions say.
#include "tests/x86/test_cpu.h"

#include <gtest/gtest.h>
#include <initializer_list>

namespace rhea::target::x86::test {
namespace {

using tcg::CodeExit;
using tcg::TranslateStatus;

class X86Translate : public testing::Test {
protected:
    X86Translate() {
        cpu_.allow(data_, sizeof data_);
        cpu_.reg(kRsp) = reinterpret_cast<std::uintptr_t>(data_ + 512);
    }

    /// Places the bytes at `offset` of the code page and runs one block from there.
    CodeExit run(std::initializer_list<int> bytes, std::uint32_t mode = kUser64, unsigned max_insns = 64,
                 unsigned offset = 0x100) {
        place(bytes, offset);
        EXPECT_EQ(cpu_.translate(block_, page_ + offset, mode, max_insns), TranslateStatus::kOk);
        EXPECT_EQ(tcg::ir::verify(block_, TestCpu::guest()), "") << tcg::ir::print(block_, TestCpu::guest());
        return cpu_.run(block_, page_ + offset);
    }
    void place(std::initializer_list<int> bytes, unsigned offset) {
        for (const int byte : bytes) {
            page_[offset++] = static_cast<std::uint8_t>(byte);
        }
    }
    std::uint64_t pc_offset() { return cpu_.state().head.pc - reinterpret_cast<std::uintptr_t>(page_); }

    alignas(4096) std::uint8_t page_[8192] = {};
    alignas(64) std::uint8_t data_[1024] = {};
    TestCpu cpu_;
    tcg::ir::Block block_;
};

TEST_F(X86Translate, LoopRunsToItsBranch) {
    cpu_.reg(kRcx) = 3;
    // add rax, rcx; dec rcx; jnz -8; (falls out) nop
    EXPECT_EQ(run({0x48, 0x01, 0xc8, 0x48, 0xff, 0xc9, 0x75, 0xf8, 0x90, 0xc3}), CodeExit::kNext);
    EXPECT_EQ(pc_offset(), 0x100u);
    EXPECT_EQ(cpu_.reg(kRax), 3u);
    EXPECT_EQ(cpu_.reg(kRcx), 2u);
}

TEST_F(X86Translate, AHotLoopIsUnrolled) {
    cpu_.hot = true;
    cpu_.reg(kRcx) = 20;
    // add rax, rcx; dec rcx; jnz -8: turns follow one another until there are 64 instructions or 8 turns
    const std::initializer_list<int> loop = {0x48, 0x01, 0xc8, 0x48, 0xff, 0xc9, 0x75, 0xf8, 0x90, 0xc3};
    EXPECT_EQ(run(loop), CodeExit::kNext);
    EXPECT_EQ(block_.byte_length, 8u + 2); // nop and ret behind the loop
    EXPECT_EQ(block_.insns.size(), 8u * 3 + 2);
    EXPECT_EQ(pc_offset(), 0x100u);
    EXPECT_EQ(cpu_.reg(kRcx), 12u);
    EXPECT_EQ(cpu_.reg(kRax), 20u + 19 + 18 + 17 + 16 + 15 + 14 + 13);
    // Its end may come in any turn.
    for (unsigned turns = 1; turns <= 8; turns++) {
        cpu_.reg(kRcx) = turns;
        cpu_.reg(kRax) = 0;
        *reinterpret_cast<std::uint64_t *>(data_ + 512) = 0x1234;
        cpu_.reg(kRsp) = reinterpret_cast<std::uintptr_t>(data_ + 512);
        run(loop);
        EXPECT_EQ(cpu_.reg(kRax), turns * (turns + 1) / 2);
        if (turns < 8) {
            EXPECT_EQ(pc_offset(), 0x108u);
            EXPECT_TRUE(cpu_.flags() & tcg::kZF);
        } else {
            EXPECT_EQ(cpu_.state().head.pc, 0x1234u); // fell out of the last turn, to the ret
        }
    }
}

TEST_F(X86Translate, HotLoopsEndOtherwiseToo) {
    cpu_.hot = true;
    cpu_.reg(kRcx) = 5;
    // jrcxz +4; dec ecx; jmp -6
    EXPECT_EQ(run({0xe3, 0x04, 0xff, 0xc9, 0xeb, 0xfa}), CodeExit::kNext);
    EXPECT_EQ(pc_offset(), 0x106u);
    EXPECT_EQ(cpu_.reg(kRcx), 0u);
    // loop to itself: eight turns
    cpu_.reg(kRcx) = 100;
    run({0xe2, 0xfe});
    EXPECT_EQ(pc_offset(), 0x100u);
    EXPECT_EQ(cpu_.reg(kRcx), 92u);
    // A jump to itself goes nowhere, but ends.
    run({0xeb, 0xfe});
    EXPECT_EQ(pc_offset(), 0x100u);
    // No room for another turn among the instructions that there may be.
    cpu_.reg(kRcx) = 100;
    run({0xff, 0xc9, 0x75, 0xfc, 0xc3}, kUser64, 3);
    EXPECT_EQ(pc_offset(), 0x102u);
    EXPECT_EQ(cpu_.reg(kRcx), 98u);
}

TEST_F(X86Translate, BlockGoesOnBehindABranchNotTaken) {
    cpu_.set_flags(tcg::kZF);
    run({0x75, 0x10, 0x48, 0xff, 0xc0, 0xeb, 0x20}); // jnz; inc rax; jmp
    EXPECT_EQ(block_.insns.size(), 3u);
    EXPECT_EQ(cpu_.reg(kRax), 1u);
    EXPECT_EQ(pc_offset(), 0x127u);
}

TEST_F(X86Translate, CallPushesAndReturnPops) {
    run({0xe8, 0x0b, 0, 0, 0}); // call +0x0b
    EXPECT_EQ(pc_offset(), 0x110u);
    const std::uint64_t top = cpu_.reg(kRsp);
    EXPECT_EQ(top, reinterpret_cast<std::uintptr_t>(data_ + 504));
    run({0xc3}, kUser64, 64, 0x110);
    EXPECT_EQ(pc_offset(), 0x105u);
    EXPECT_EQ(cpu_.reg(kRsp), top + 8);
}

TEST_F(X86Translate, FaultLeavesTheBoundaryState) {
    cpu_.reg(kRax) = 7;
    cpu_.reg(kRbx) = 16; // not mapped
    cpu_.set_flags(tcg::kCF);
    EXPECT_EQ(run({0x48, 0x83, 0xc0, 0x01, 0x48, 0x01, 0x03}), CodeExit::kException); // add rax, 1; add [rbx], rax
    ASSERT_TRUE(cpu_.last_fault().has_value());
    EXPECT_EQ(cpu_.last_fault()->vector, 14u);
    EXPECT_EQ(cpu_.reg(kRax), 8u);
    EXPECT_EQ(cpu_.flags() & tcg::kCF, 0u);
    EXPECT_EQ(pc_offset(), 0x104u);
}

TEST_F(X86Translate, PushToUnmappedStackChangesNothing) {
    cpu_.reg(kRsp) = 64;
    EXPECT_EQ(run({0x50}), CodeExit::kException);
    EXPECT_EQ(cpu_.reg(kRsp), 64u);
}

TEST_F(X86Translate, EndsAtThePage) {
    EXPECT_EQ(run({0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0}, kUser64, 64, 4090), CodeExit::kNext);
    EXPECT_EQ(block_.insns.size(), 2u);
    EXPECT_EQ(pc_offset(), 4096u);
    run({0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0}, kUser64, 64, 4091); // the second reaches over the end
    EXPECT_EQ(block_.insns.size(), 1u);
    EXPECT_EQ(pc_offset(), 4094u);
}

TEST_F(X86Translate, CrossingInstructionWantsTheNextPage) {
    place({0x48, 0xff, 0xc0}, 4094);
    EXPECT_EQ(cpu_.translate(block_, page_ + 4094, kUser64, 64), TranslateStatus::kNeedNextPage);
    tcg::FetchWindow fetch{page_, page_ + 4096, 4094};
    TranslateContext context{FeatureSet::all(), &TestCpu::guest()};
    block_.clear();
    block_.mode = kUser64;
    block_.page_offset = 4094;
    EXPECT_EQ(translate_block(block_, fetch, 64, context), TranslateStatus::kOk);
    EXPECT_TRUE(block_.crosses_page);
    EXPECT_EQ(block_.insns.size(), 1u);
    EXPECT_EQ(block_.byte_length, 3);
}

TEST_F(X86Translate, ShortLivedCodeIsTranslatedOnce) {
    // add rax, rcx; js over the next one; sub rcx, rax; inc rcx; ret
    place({0x48, 0x01, 0xc8, 0x78, 0x03, 0x48, 0x29, 0xc1, 0x48, 0xff, 0xc1, 0xc3}, 0x100);
    const auto insns_from = [&](std::uint16_t offset, bool short_lived, bool hot) {
        tcg::FetchWindow fetch{.page = page_, .page_offset = offset};
        fetch.short_lived = short_lived;
        fetch.hot = hot;
        TranslateContext context{FeatureSet::all(), &TestCpu::guest()};
        block_.clear();
        block_.mode = kUser64;
        block_.page_offset = offset;
        EXPECT_EQ(translate_block(block_, fetch, 64, context), TranslateStatus::kOk);
        EXPECT_EQ(tcg::ir::verify(block_, TestCpu::guest()), "");
        return block_.insns.size();
    };
    EXPECT_EQ(insns_from(0x100, false, false), 5u);
    EXPECT_EQ(insns_from(0x100, true, false), 3u) << "up to where the branch leads";
    EXPECT_EQ(insns_from(0x108, true, false), 2u);
    EXPECT_EQ(insns_from(0x100, true, true), 5u);
}

TEST_F(X86Translate, UndefinedAndPrivileged) {
    EXPECT_EQ(run({0x0f, 0x0b}), CodeExit::kException);
    EXPECT_EQ(cpu_.last_fault()->vector, 6u);
    EXPECT_EQ(run({0xf0, 0x89, 0xc3}), CodeExit::kException); // lock mov
    EXPECT_EQ(cpu_.last_fault()->vector, 6u);
    EXPECT_EQ(run({0xf4}), CodeExit::kException); // hlt at CPL 3
    EXPECT_EQ(cpu_.last_fault()->vector, 13u);
    EXPECT_EQ(cpu_.last_fault()->error_code, 0u);
}

TEST_F(X86Translate, DivideError) {
    cpu_.reg(kRax) = 5;
    cpu_.reg(kRcx) = 0;
    EXPECT_EQ(run({0x48, 0xf7, 0xf1}), CodeExit::kException);
    EXPECT_EQ(cpu_.last_fault()->vector, 0u);
    EXPECT_EQ(cpu_.reg(kRax), 5u);
}

TEST_F(X86Translate, StiRunsOneMoreInstructionThenLooks) {
    constexpr std::uint32_t kKernel = (kUser64 & ~kModeCpl3) | kModeIopl | 1;
    run({0xfb, 0x90, 0x90, 0x90}, kKernel); // sti; nop; nop
    EXPECT_EQ(block_.insns.size(), 2u);
    EXPECT_EQ(block_.insts.back().op, tcg::ir::Op::exit_next);
    EXPECT_EQ(cpu_.state().rflags, 0x202u);
    EXPECT_EQ(pc_offset(), 0x102u);
}

TEST_F(X86Translate, TheInstructionBehindALoadOfSsBelongsToItsBlock) {
    constexpr std::uint32_t kKernel = (kUser64 & ~kModeCpl3) | kModeIopl | 1;
    const std::initializer_list<int> code = {0x8e, 0xd0, 0x90, 0x90}; // mov ss, ax; nop; nop
    using Helpers = std::vector<HelperId>;
    run(code, kKernel, 1);
    EXPECT_EQ(block_.insns.size(), 2u);
    EXPECT_EQ(cpu_.helpers_called(), Helpers{HelperId::load_seg_continue});
    EXPECT_EQ(pc_offset(), 0x103u);
    // Under TF, and where the next instruction is in another page, the shadow is one of the mode.
    run(code, kKernel | kModeTf, 1);
    EXPECT_EQ(block_.insns.size(), 1u);
    EXPECT_EQ(cpu_.helpers_called(), Helpers{HelperId::load_seg});
    run(code, kKernel, 2, 0xffe);
    EXPECT_EQ(block_.insns.size(), 1u);
    EXPECT_EQ(cpu_.helpers_called(), Helpers{HelperId::load_seg});
}

TEST_F(X86Translate, SingleStepEndsEveryInstruction) {
    EXPECT_EQ(run({0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0}, kUser64 | kModeTf), CodeExit::kState);
    EXPECT_EQ(block_.insns.size(), 1u);
    ASSERT_EQ(cpu_.helpers_called().size(), 1u);
    EXPECT_EQ(cpu_.helpers_called()[0], HelperId::finish_single);
}

TEST_F(X86Translate, RealModeSegmentsAreInline) {
    cpu_.reg(kRax) = 0x1234;
    run({0x8e, 0xd8, 0x90}, kReal16, 2); // mov ds, ax; nop
    EXPECT_TRUE(cpu_.helpers_called().empty());
    EXPECT_EQ(cpu_.state().seg[kDs].selector, 0x1234);
    EXPECT_EQ(cpu_.state().seg_base[kDs], 0x12340u);
}

TEST_F(X86Translate, RealModeJumpWrapsAt64K) {
    cpu_.state().seg_base[kCs] = reinterpret_cast<std::uintptr_t>(page_) & ~0xffffull & 0xffffffff;
    place({0xe9, 0xf0, 0x7f}, 0x100); // jmp far forward within the segment
    ASSERT_EQ(cpu_.translate(block_, page_ + 0x100, kReal16, 1), TranslateStatus::kOk);
    EXPECT_EQ(block_.insts.back().op, tcg::ir::Op::exit_indirect);
}

TEST_F(X86Translate, Disassembly) {
    const std::uint8_t code[] = {0x48, 0x01, 0xd8};
    EXPECT_NE(disassemble(kUser64, 0x1000, code, sizeof code).find("rax, rbx"), std::string::npos);
}

/// Any bytes give a block that the verifier accepts, in every kind of mode.
TEST_F(X86Translate, AnyBytesGiveValidBlocks) {
    constexpr std::uint32_t kModes[] = {kUser64,
                                        kUser64 & ~kModeCpl3,
                                        kUser32,
                                        kUser32 | kModeSegChecks | kModeCsLimit,
                                        kReal16,
                                        kModeCpl3 | kModeVm86,
                                        kUser64 | kModeTf,
                                        kUser32 | kModeShadow | kModeBreakpoints,
                                        kModeProtected | 1u};
    std::uint64_t x = 88172645463325252ull;
    for (unsigned round = 0; round < 20000; round++) {
        for (unsigned n = 0x100; n < 0x140; n++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            page_[n] = static_cast<std::uint8_t>(x >> 24);
        }
        if (round % 2 == 0) {
            page_[0x100] = 0x0f;
        }
        cpu_.hot = round % 3 == 0;
        if (cpu_.hot) { // often a loop: jnz to the first instruction
            page_[0x108] = 0x75;
            page_[0x109] = 0xf6;
        }
        const std::uint32_t mode = kModes[round % std::size(kModes)];
        ASSERT_EQ(cpu_.translate(block_, page_ + 0x100, mode, cpu_.hot ? 64 : 8), TranslateStatus::kOk);
        const std::string problem = tcg::ir::verify(block_, TestCpu::guest());
        ASSERT_EQ(problem, "") << tcg::ir::print(block_, TestCpu::guest());
    }
}

TEST_F(X86Translate, VexVectorsNeedTheOperatingSystem) {
    // vaddps ymm1, ymm2, ymm3; vpaddd xmm0, xmm1, [rbx]
    const std::initializer_list<int> wide = {0xc5, 0xec, 0x58, 0xcb}, memory = {0xc5, 0xf1, 0xfe, 0x03};
    cpu_.reg(kRbx) = reinterpret_cast<std::uintptr_t>(data_) + 4; // no alignment needed
    EXPECT_EQ(run(wide), CodeExit::kException) << "XCR0 without AVX";
    EXPECT_EQ(cpu_.last_fault()->vector, 6u);
    constexpr std::uint32_t kOn = kUser64 | kModeXsave | kModeAvx;
    EXPECT_EQ(run(wide, kOn | kModeTaskSwitched | kModeFpuTrap), CodeExit::kException);
    EXPECT_EQ(cpu_.last_fault()->vector, 7u);
    EXPECT_EQ(run(wide, kOn | kModeSimdOff | kModeFpuTrap, 1), CodeExit::kNext) << "CR0.EM and CR4.OSFXSR are SSE's";
    EXPECT_EQ(run(memory, kOn, 1), CodeExit::kNext);
    EXPECT_EQ(run({0xc5, 0xf9, 0x6f, 0x03}, kOn, 1), CodeExit::kException) << "vmovdqa xmm0, [rbx] is aligned";
    EXPECT_EQ(cpu_.last_fault()->vector, 13u);
    cpu_.reg(kRbx) += 12;
    EXPECT_EQ(run({0xc5, 0xf9, 0x6f, 0x03}, kOn, 1), CodeExit::kNext);
    EXPECT_EQ(run({0xc5, 0xfd, 0x6f, 0x03}, kOn, 1), CodeExit::kException) << "vmovdqa ymm0, [rbx]: to 32 bytes";
    EXPECT_EQ(run({0xc5, 0xf8, 0x10, 0xc1}, kUser64 | kModeXsave, 1), CodeExit::kException) << "vmovups xmm0, xmm1";
    EXPECT_EQ(run({0xc4, 0xe2, 0xf8, 0xf2, 0xc3}, kUser64, 1), CodeExit::kNext) << "andn is no vector instruction";
}

TEST_F(X86Translate, VexClearsWhatSseKeeps) {
    constexpr std::uint32_t kOn = kUser64 | kModeXsave | kModeAvx;
    const auto fill = [&] {
        for (VectorRegister &r : cpu_.state().xmm) {
            r = {{1, 2, 3, 4}};
        }
    };
    fill();
    run({0x66, 0x0f, 0xd4, 0xc1}, kOn, 1); // paddq xmm0, xmm1
    EXPECT_EQ(cpu_.state().xmm[0].lane[0], 2u);
    EXPECT_EQ(cpu_.state().xmm[0].lane[3], 4u);
    run({0xc5, 0xf9, 0xd4, 0xc1}, kOn, 1); // vpaddq xmm0, xmm0, xmm1
    EXPECT_EQ(cpu_.state().xmm[0].lane[0], 3u);
    EXPECT_EQ(cpu_.state().xmm[0].lane[2] | cpu_.state().xmm[0].lane[3], 0u);
    run({0xc5, 0xf5, 0xd4, 0xc2}, kOn, 1); // vpaddq ymm0, ymm1, ymm2
    EXPECT_EQ(cpu_.state().xmm[0].lane[3], 8u);
    run({0xc5, 0xf8, 0x77}, kOn, 1); // vzeroupper
    EXPECT_EQ(cpu_.state().xmm[0].lane[1], 4u);
    for (const VectorRegister &r : cpu_.state().xmm) {
        EXPECT_EQ(r.lane[2] | r.lane[3], 0u);
    }
    run({0xc5, 0xfc, 0x77}, kOn, 1); // vzeroall
    EXPECT_EQ(cpu_.state().xmm[9].lane[0], 0u);
}

} // namespace
} // namespace rhea::target::x86::test
