// How generated code leaves: chaining, polls, loops, the jump cache, faults, calls.
#include <gtest/gtest.h>

#include "jit.h"

namespace rhea::tcg::test {
namespace {

using ir::Op;
using ir::ValueId;

class JitExit : public testing::Test {
  protected:
    JitExit() { machine_.randomize(1); }

    std::uint64_t& r(unsigned i) { return machine_.state().r[i]; }
    VcpuHead& head() { return machine_.state().head; }
    VcpuCold& cold() { return machine_.state().cold; }

    /// if (--r0 != 0) goto self; else goto `next`
    ir::Block countdown(std::uint64_t next) {
        ir::Block block;
        ir::Builder b(block, test_guest());
        block.page_offset = 0;
        b.insn_start(0, 3);
        const ValueId x = b.add_imm(b.get(kR0), -1);
        const ValueId f = b.emit(Op::f_sub, Type::kI64, {x, b.konst(Type::kI64, 1)});
        b.set(kR0, x);
        b.set_flags(f);
        b.insn_start(3, 2);
        b.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kNE), 0);
        b.emit(Op::exit_direct, Type::kNone, {}, 0, next);
        return block;
    }
    /// r1 += 1, flags of it, goto `next`.
    ir::Block increment(std::uint16_t at, std::uint64_t next) {
        ir::Block block;
        ir::Builder b(block, test_guest());
        block.page_offset = at;
        b.insn_start(at, 3);
        const ValueId x = b.add_imm(b.get(kR1), 1);
        b.set(kR1, x);
        b.set_flags(b.emit(Op::f_add, Type::kI64, {x, b.konst(Type::kI64, 1)}));
        b.emit(Op::exit_direct, Type::kNone, {}, 0, next);
        return block;
    }

    Machine machine_;
    Jit jit_;
};

TEST_F(JitExit, ALoopToItsOwnHeadStaysInside) {
    TranslationBlock* tb = jit_.compile(countdown(0x40));
    ASSERT_TRUE(tb);
    r(0) = 1000;
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kChain);
    EXPECT_EQ(r(0), 0u);
    EXPECT_EQ(head().pc, kCodePage + 0x40);
    EXPECT_EQ(cold().exit_site, reinterpret_cast<std::uint64_t>(&tb->exits[0]));
    EXPECT_EQ(tb->exits[0].target_offset, 0x40);
    EXPECT_TRUE(machine_.flags() & kZF);
}

TEST_F(JitExit, ALoopThatTurnsOftenIsWorthABetterTranslation) {
    // dec r0; jnz head
    const auto build = [](ir::Block& block) {
        ir::Builder b(block, test_guest());
        b.insn_start(0, 3);
        const ValueId r = b.add_imm(b.get(kR0), -1);
        b.set(kR0, r);
        const ValueId f = b.emit(Op::f_logic, Type::kI64, {r});
        b.set_flags(f);
        b.insn_start(3, 2);
        b.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kNE), 0);
        b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x40);
    };
    ir::Block block;
    build(block);
    TranslationBlock* first = jit_.compile(block);
    block.hot = true;
    TranslationBlock* hot = jit_.compile(block);
    ASSERT_TRUE(first && hot);
    r(0) = 10000;
    EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kHot);
    EXPECT_EQ(head().pc, kCodePage);
    EXPECT_EQ(r(0), 10000u - 4096);
    EXPECT_EQ(machine_.flags(), compute_flags(cc_op(FlagsKind::kLogic, 8), r(0), 0, 0));
    EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kHot); // counts anew
    EXPECT_EQ(r(0), 10000u - 2 * 4096);
    r(0) = 10000;
    EXPECT_EQ(jit_.run(machine_, *hot), CodeExit::kChain);
    EXPECT_EQ(r(0), 0u);
}

TEST_F(JitExit, ABackwardJumpLeavesWhenAsked) {
    TranslationBlock* tb = jit_.compile(countdown(0x40));
    ASSERT_TRUE(tb);
    r(0) = 1000;
    head().exit_request = 1;
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kNext);
    EXPECT_EQ(r(0), 999u);
    EXPECT_EQ(head().pc, kCodePage);
    EXPECT_EQ(machine_.flags(), compute_flags(cc_op(FlagsKind::kSub, 8), 999, 1, 0));
}

TEST_F(JitExit, ChainsAndUnchains) {
    TranslationBlock* first = jit_.compile(increment(0x10, 0x40));
    TranslationBlock* second = jit_.compile(increment(0x40, 0x80));
    ASSERT_TRUE(first && second);
    r(1) = 0;
    EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kChain);
    EXPECT_EQ(r(1), 1u);
    jit_.generator().patch_exit(*first, first->exits[0], second->entry);
    EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kChain);
    EXPECT_EQ(r(1), 3u);
    EXPECT_EQ(head().pc, kCodePage + 0x80);
    EXPECT_EQ(cold().exit_site, reinterpret_cast<std::uint64_t>(&second->exits[0]));
    EXPECT_EQ(machine_.flags(), compute_flags(cc_op(FlagsKind::kAdd, 8), 3, 1, 0));
    jit_.generator().patch_exit(*first, first->exits[0], nullptr);
    EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kChain);
    EXPECT_EQ(r(1), 4u);
    EXPECT_EQ(head().pc, kCodePage + 0x40);
}

TEST_F(JitExit, FlagsAreStoredWhenTheTargetLooksAtThem) {
    // cmp r0, r1; je 0x40: a target that shows the flags, and one that overwrites them first.
    ir::Block compare;
    ir::Builder b(compare, test_guest());
    b.insn_start(0, 3);
    const ValueId f = b.emit(Op::f_cmp, Type::kI64, {b.get(kR0), b.get(kR1)});
    b.set_flags(f);
    b.insn_start(3, 2);
    b.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kE), 0x40);
    b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x80);

    ir::Block show;
    ir::Builder s(show, test_guest());
    show.page_offset = 0x40;
    s.insn_start(0x40, 3);
    s.set(kR2, s.zext(s.emit(Op::f_bits, Type::kI32, {s.flags()}), Type::kI64));
    s.emit(Op::exit_direct, Type::kNone, {}, 0, 0x100);

    TranslationBlock* first = jit_.compile(compare);
    TranslationBlock* looks = jit_.compile(show);
    TranslationBlock* overwrites = jit_.compile(increment(0x40, 0x100));
    ASSERT_TRUE(first && looks && overwrites);
    const std::uint32_t equal = compute_flags(cc_op(FlagsKind::kCmp, 8), 5, 5, 0);
    for (int round = 0; round < 2; ++round) {
        r(0) = r(1) = 5;
        r(2) = 0;
        set_raw_flags(head(), 0);
        jit_.generator().patch_exit(*first, first->exits[1], overwrites->entry);
        EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kChain);
        EXPECT_EQ(r(1), 6u);
        EXPECT_EQ(machine_.flags(), compute_flags(cc_op(FlagsKind::kAdd, 8), 6, 1, 0));
        r(1) = 5;
        jit_.generator().patch_exit(*first, first->exits[1], looks->entry);
        EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kChain);
        EXPECT_EQ(r(2), equal);
        EXPECT_EQ(machine_.flags(), equal);
        jit_.generator().patch_exit(*first, first->exits[1], nullptr);
        EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kChain);
        EXPECT_EQ(head().pc, kCodePage + 0x40);
        EXPECT_EQ(machine_.flags(), equal);
    }
}

TEST_F(JitExit, OtherPagesGoThroughTheJumpCache) {
    TranslationBlock* first = jit_.compile(increment(0x10, 0x1040));
    TranslationBlock* second = jit_.compile(increment(0x40, 0x80));
    ASSERT_TRUE(first && second);
    r(1) = 0;
    EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kNext); // find_block sends it out
    EXPECT_EQ(Jit::found_pc, kCodePage + 0x1040);
    EXPECT_EQ(head().pc, kCodePage + 0x1040);
    EXPECT_EQ(cold().stat_jump_misses, 1u);

    const std::uint64_t pc = kCodePage + 0x1040;
    auto* window = reinterpret_cast<std::uint8_t*>(cold().window);
    const auto host = reinterpret_cast<std::uint64_t>(second->entry);
    std::memcpy(window + kJumpOffset + 16 * jump_cache_index(pc), &pc, 8);
    std::memcpy(window + kJumpOffset + 16 * jump_cache_index(pc) + 8, &host, 8);
    head().pc_page = kCodePage;
    EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kChain);
    EXPECT_EQ(r(1), 3u);
    EXPECT_EQ(head().pc_page, kCodePage + 0x1000);
    EXPECT_EQ(head().pc, kCodePage + 0x1080);
    EXPECT_EQ(cold().stat_jump_misses, 1u);

    head().pc_page = kCodePage;
    head().exit_request = 1;
    EXPECT_EQ(jit_.run(machine_, *first), CodeExit::kNext);
    EXPECT_EQ(head().pc, pc);
}

TEST_F(JitExit, AFaultIsPreciseInTheMiddle) {
    ir::Block block;
    ir::Builder b(block, test_guest());
    b.insn_start(0x10, 3);
    const ValueId sum = b.add(b.get(kR0), b.get(kR1));
    b.set(kR0, sum);
    b.set_flags(b.emit(Op::f_add, Type::kI64, {sum, b.get(kR1)}));
    b.insn_start(0x13, 3);
    b.set(kR0, b.load(Type::kI64, b.get(kR2)));
    b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x16);
    TranslationBlock* tb = jit_.compile(block);
    ASSERT_TRUE(tb);
    r(0) = 3, r(1) = ~0ull, r(2) = 0x123;
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kException);
    EXPECT_EQ(head().pc, kCodePage + 0x13);
    EXPECT_EQ(r(0), 2u);
    EXPECT_EQ(machine_.flags(), compute_flags(cc_op(FlagsKind::kAdd, 8), 2, ~0ull, 0));
}

TEST_F(JitExit, DivisionErrorsRaise) {
    for (const bool is_signed : {false, true}) {
        for (const Type type : {Type::kI8, Type::kI16, Type::kI32, Type::kI64}) {
            ir::Block block;
            ir::Builder b(block, test_guest());
            b.insn_start(0x20, 3);
            const auto arg = [&](Slot slot) { return b.trunc(b.get(slot), type); };
            const ValueId q = b.emit(is_signed ? Op::divs : Op::divu, type, {arg(kR2), arg(kR0), arg(kR3)}, 7);
            const ValueId rest = b.emit(Op::second, type, {q});
            b.set(kR0, b.zext(q, Type::kI64));
            b.set(kR2, b.zext(rest, Type::kI64));
            b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x23);
            TranslationBlock* tb = jit_.compile(block);
            ASSERT_TRUE(tb);
            Machine oracle;
            Random random(5);
            for (int i = 0; i < 400; ++i) {
                machine_.randomize(static_cast<std::uint64_t>(i));
                oracle.randomize(static_cast<std::uint64_t>(i));
                const std::uint64_t low = random.interesting();
                const std::uint64_t high = random.below(2) ? random.interesting() : static_cast<std::uint64_t>(static_cast<std::int64_t>(low) >> 63);
                const std::uint64_t by = random.below(8) ? random.interesting() : random.below(2) - 1ull;
                for (Machine* m : {&machine_, &oracle})
                    m->state().r[0] = low, m->state().r[2] = high, m->state().r[3] = by, m->state().raised_vector = 0;
                const CodeExit expected = oracle.run(block);
                const CodeExit got = jit_.run(machine_, *tb);
                EXPECT_EQ(got == CodeExit::kChain ? CodeExit::kNext : got, expected);
                EXPECT_EQ(machine_.difference(oracle), "");
                EXPECT_EQ(machine_.state().raised_vector, oracle.state().raised_vector);
            }
        }
    }
}

/// What the flags are made of fills all scratch registers but one, which has the divisor; the division checks its operands in another.
TEST_F(JitExit, ADivisionThatRaisesFindsTheFlagsWhereverTheyAre) {
    for (const bool is_signed : {false, true}) {
        for (const ValueId other : {0u, 1u}) {
            ir::Block block;
            ir::Builder b(block, test_guest());
            b.insn_start(0x20, 3);
            const ValueId addend = b.add(b.get(kR4), b.get(kR5));
            const ValueId sum = b.add(addend, b.get(kR6));
            const ValueId bit = b.trunc(b.shr_imm(b.get(kR7), 7), Type::kI8);
            b.set_flags(b.emit(Op::f_bit, Type::kNone, {bit, b.emit(Op::f_add, Type::kI64, {sum, addend})}));
            b.insn_start(0x23, 3);
            const ValueId high = other != 0 ? b.konst(Type::kI64, 9) : b.get(kR2);
            const ValueId q = b.emit(is_signed ? Op::divs : Op::divu, Type::kI64, {high, b.get(kR0), b.get(kR3)}, 7);
            const ValueId rest = b.emit(Op::second, Type::kI64, {q});
            b.set(kR0, q);
            b.set(kR2, rest);
            b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x26);
            TranslationBlock* tb = jit_.compile(block);
            ASSERT_TRUE(tb);
            Machine oracle;
            for (std::uint64_t seed = 0; seed < 100; ++seed) {
                for (Machine* m : {&machine_, &oracle})
                    m->randomize(seed), m->state().r[3] = 0;
                EXPECT_EQ(oracle.run(block), CodeExit::kException);
                EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kException);
                EXPECT_EQ(machine_.difference(oracle), "") << is_signed << other << seed;
            }
        }
    }
}

TEST_F(JitExit, TrapRaisesAtItsInstruction) {
    ir::Block block;
    ir::Builder b(block, test_guest());
    b.insn_start(0x20, 2);
    b.emit(Op::trap, Type::kNone, {}, 13, 0x18);
    TranslationBlock* tb = jit_.compile(block);
    ASSERT_TRUE(tb);
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kException);
    EXPECT_EQ(machine_.state().raised_vector, 13u);
    EXPECT_EQ(machine_.state().raised_error, 0x18u);
    EXPECT_EQ(head().pc, kCodePage + 0x20);
}

TEST_F(JitExit, ABlockThatDoesNotFitIsRefused) {
    Jit jit;
    CompiledCode code;
    alignas(64) static std::uint8_t small[256];
    EXPECT_FALSE(jit.generator().compile(countdown(0x40), {small, small, 40}, code));
}

TEST_F(JitExit, MxcsrIsTheGuestsInside) {
    head().guest_mxcsr = 0x7f80; // round to zero
    TranslationBlock* tb = jit_.compile(increment(0x10, 0x40));
    ASSERT_TRUE(tb);
    const unsigned before = __builtin_ia32_stmxcsr();
    EXPECT_EQ(jit_.run(machine_, *tb), CodeExit::kChain);
    EXPECT_EQ(__builtin_ia32_stmxcsr(), before);
    EXPECT_EQ(head().guest_mxcsr, 0x7f80u);
}

}  // namespace
}  // namespace rhea::tcg::test
