// Passes and folding: random blocks mean the same before and after; expectations for what must go
// and what must stay.
#include "rhea/tcg/passes.h"

#include <gtest/gtest.h>

#include "random_block.h"
#include "tcg/ir/int_ops.h"

namespace rhea::tcg::test {
namespace {

using ir::Op;
using ir::ValueId;

/// Runs both blocks from the same start; expects the same end.
void expect_same(const ir::Block& a, const ir::Block& b, std::uint64_t seed) {
    static Machine one, two;
    one.randomize(seed);
    two.randomize(seed);
    const CodeExit left_one = one.run(a), left_two = two.run(b);
    ASSERT_EQ(left_one, left_two) << "seed " << seed;
    ASSERT_EQ(one.difference(two), "") << "seed " << seed << "\n"
                                       << print(a, test_guest()) << "\n"
                                       << print(b, test_guest());
}

TEST(RandomBlocks, PassesKeepTheMeaning) {
    std::size_t before = 0, after = 0;
    for (std::uint64_t seed = 1; seed <= 600; ++seed) {
        ir::Block block;
        RandomBlock(block, seed, Constants::kFoldable).build(3 + seed % 20);
        ASSERT_EQ(ir::verify(block, test_guest()), "") << seed;
        ir::Block simplified = block, pruned = block, both = block;
        passes::simplify(simplified);
        passes::eliminate_dead(pruned, test_guest());
        passes::run(both, test_guest());
        ASSERT_EQ(ir::verify(simplified, test_guest()), "") << seed;
        ASSERT_EQ(ir::verify(pruned, test_guest()), "") << seed;
        ASSERT_EQ(ir::verify(both, test_guest()), "") << seed;
        for (std::uint64_t start = 0; start < 2; ++start) {
            expect_same(block, simplified, seed * 10 + start);
            expect_same(block, pruned, seed * 10 + start);
            expect_same(block, both, seed * 10 + start);
            if (testing::Test::HasFatalFailure())
                return;
        }
        before += block.insts.size();
        after += both.insts.size();
    }
    EXPECT_LT(after, before * 3 / 4);
}

TEST(RandomBlocks, FoldingKeepsTheMeaning) {
    for (std::uint64_t seed = 1; seed <= 600; ++seed) {
        ir::Block folded, opaque;
        RandomBlock(folded, seed, Constants::kFoldable).build(3 + seed % 20);
        RandomBlock(opaque, seed, Constants::kOpaque).build(3 + seed % 20);
        for (std::uint64_t start = 0; start < 2; ++start) {
            expect_same(folded, opaque, seed * 10 + start);
            if (testing::Test::HasFatalFailure())
                return;
        }
    }
}

/// Every chain of three width changes, folded by the builder, against the steps done one by one.
TEST(Folding, ChainsOfWidthChanges) {
    const Type types[] = {Type::kI8, Type::kI16, Type::kI32, Type::kI64};
    struct Step {
        Op op;
        Type to;
    };
    std::vector<Step> steps;
    for (const Type to : types) {
        for (const Op op : {Op::trunc, Op::zext, Op::sext})
            steps.push_back({op, to});
    }
    Machine machine;
    const auto fits = [](Type from, const Step& s) {
        return s.op == Op::trunc ? s.to < from : s.to > from;
    };
    for (const Step& s0 : steps) {
        for (const Step& s1 : steps) {
            for (const Step& s2 : steps) {
                if (!fits(Type::kI64, s0) || !fits(s0.to, s1) || !fits(s1.to, s2))
                    continue;
                ir::Block block;
                ir::Builder b(block, test_guest());
                b.insn_start(0, 1);
                ValueId v = b.get(kR0);
                std::uint64_t want = 0xf1f2f3f4e5e687a8;
                machine.state().r[0] = want;
                unsigned bits = 64;
                for (const Step& s : {s0, s1, s2}) {
                    v = b.emit(s.op, s.to, {v});
                    if (s.op == Op::sext)
                        want = ir::sign_extend(want, bits);
                    bits = type_bits(s.to);
                    want = ir::low_bits(want, bits);
                }
                b.set(kR1, b.zext(v, Type::kI64));
                b.emit(Op::exit_direct, Type::kNone);
                ASSERT_EQ(ir::verify(block, test_guest()), "");
                ASSERT_EQ(machine.run(block), CodeExit::kNext);
                ASSERT_EQ(machine.state().r[1], want) << ir::print(block, test_guest());
            }
        }
    }
}

TEST(RandomBlocks, EveryWayOutIsTaken) {
    Machine machine;
    unsigned exceptions = 0, side_exits = 0, ends = 0;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        ir::Block block;
        RandomBlock(block, seed, Constants::kFoldable).build(10);
        machine.randomize(seed);
        const CodeExit left = machine.run(block);
        const std::uint64_t offset = machine.state().head.pc - kCodePage;
        if (left == CodeExit::kException)
            ++exceptions;
        else if (offset >= 0x800 && offset < 0xa00)
            ++side_exits;
        else
            ++ends;
    }
    EXPECT_GT(exceptions, 10u);
    EXPECT_GT(side_exits, 10u);
    EXPECT_GT(ends, 10u);
}

class PassesTest : public testing::Test {
  protected:
    PassesTest() { b_.insn_start(0, 1); }
    void next() { b_.insn_start(static_cast<std::uint16_t>(block_.insns.size()), 1); }
    void run() {
        b_.emit(Op::exit_direct, Type::kNone, {}, 0, 0x40);
        passes::run(block_, test_guest());
        ASSERT_EQ(ir::verify(block_, test_guest()), "");
    }
    unsigned count(Op op) const {
        unsigned n = 0;
        for (const ir::Inst& inst : block_.insts)
            n += inst.op == op;
        return n;
    }
    ValueId r(unsigned i) { return b_.get(static_cast<Slot>(kR0 + i)); }
    ValueId logic(ValueId v) { return b_.emit(Op::f_logic, Type::kI64, {v}); }
    ValueId k(std::uint64_t v) { return b_.konst(Type::kI64, v); }

    ir::Block block_;
    ir::Builder b_{block_, test_guest()};
};

TEST_F(PassesTest, UnusedPureValuesGo) {
    b_.add(r(0), r(1));
    b_.emit(Op::v_zero, Type::kV128);
    b_.load(Type::kI64, r(0));  // may fault: stays
    run();
    EXPECT_EQ(count(Op::add), 0u);
    EXPECT_EQ(count(Op::v_zero), 0u);
    EXPECT_EQ(count(Op::ld), 1u);
    EXPECT_EQ(count(Op::get), 1u);
}

TEST_F(PassesTest, OverwrittenSetGoesUnlessSomethingCouldLook) {
    b_.set(kR0, k(1));
    b_.set(kR0, k(2));
    next();
    b_.load(Type::kI64, r(1));
    b_.set(kR0, k(3));
    run();
    EXPECT_EQ(count(Op::set), 2u);  // 2 is seen by the load's fault
}

TEST_F(PassesTest, SetBeforeASideExitStays) {
    b_.set(kR0, k(1));
    b_.emit(Op::br_cc, Type::kNone, {b_.flags()}, 4, 0x10);
    b_.set(kR0, k(2));
    run();
    EXPECT_EQ(count(Op::set), 2u);
}

TEST_F(PassesTest, HelpersLookAtWhatTheySay) {
    b_.set(kR0, k(1));
    b_.set(kV0, b_.emit(Op::v_from_i64, Type::kV128, {r(3)}));
    b_.call(kSum, Type::kNone);  // looks at nothing
    b_.set(kR0, k(2));
    b_.set(kV0, b_.emit(Op::v_zero, Type::kV128));
    run();
    EXPECT_EQ(count(Op::set), 2u);

    block_.clear();
    ir::Builder b(block_, test_guest());
    b.insn_start(0, 1);
    b.set(kR0, b.konst(Type::kI64, 1));
    b.set(kV0, b.emit(Op::v_from_i64, Type::kV128, {b.get(kR3)}));
    b.call(kWriteR1, Type::kNone, {b.get(kR2)});  // integer slots
    b.set(kR0, b.konst(Type::kI64, 2));
    b.set(kV0, b.emit(Op::v_zero, Type::kV128));
    b.emit(Op::exit_direct, Type::kNone);
    passes::run(block_, test_guest());
    EXPECT_EQ(count(Op::set), 3u);
}

TEST_F(PassesTest, OverwrittenFlagsGoWithTheirOperands) {
    b_.set_flags(b_.emit(Op::f_add, Type::kI64, {r(0), r(1)}));
    next();
    b_.set_flags(logic(r(2)));
    run();
    EXPECT_EQ(count(Op::set_flags), 1u);
    EXPECT_EQ(count(Op::f_add), 0u);
    EXPECT_EQ(count(Op::get), 1u);
}

TEST_F(PassesTest, FlagsThatAFaultNeedsStay) {
    b_.set_flags(b_.emit(Op::f_add, Type::kI64, {r(0), r(1)}));
    next();
    const ValueId loaded = b_.load(Type::kI64, r(3));
    b_.set_flags(logic(loaded));
    run();
    EXPECT_EQ(count(Op::set_flags), 2u);
    EXPECT_EQ(count(Op::f_add), 1u);
}

TEST_F(PassesTest, HelperThatReplacesFlagsMakesOlderOnesDead) {
    b_.set_flags(logic(r(0)));
    next();
    b_.call(kFlagsOut, Type::kNone, {r(1)});
    run();
    EXPECT_EQ(count(Op::set_flags), 0u);

    block_.clear();
    ir::Builder b(block_, test_guest());
    b.insn_start(0, 1);
    b.set_flags(b.emit(Op::f_logic, Type::kI64, {b.get(kR0)}));
    b.set(kR0, b.call(kFlagsIn, Type::kI64));  // looks
    b.call(kFlagsOut, Type::kNone, {b.get(kR1)});
    b.emit(Op::exit_direct, Type::kNone);
    passes::run(block_, test_guest());
    EXPECT_EQ(count(Op::set_flags), 1u);
}

TEST_F(PassesTest, ChainsOfIncrementsKeepOnlyTheFirstCarry) {
    ValueId f = b_.flags(), x = r(0);
    for (int i = 0; i < 4; ++i) {
        x = b_.add_imm(x, 1);
        f = b_.emit(Op::f_inc, Type::kI64, {x, f});
        b_.set_flags(f);
    }
    b_.set(kR0, x);
    run();
    EXPECT_EQ(count(Op::f_inc), 1u);
    EXPECT_EQ(count(Op::set_flags), 1u);
    EXPECT_EQ(count(Op::f_load), 1u);
}

TEST_F(PassesTest, UsersSkipFlagsThatDoNotMatterToThem) {
    const ValueId compare = b_.emit(Op::f_cmp, Type::kI64, {r(0), r(1)});
    const ValueId bit = b_.emit(Op::f_bit, Type::kFlags, {b_.trunc(r(2), Type::kI8), compare});
    const ValueId rotated = b_.emit(Op::f_rol, Type::kI64, {r(3), b_.trunc(r(2), Type::kI8), bit});
    b_.set(kR4,
           b_.zext(b_.emit(Op::cond, Type::kI8, {rotated}, static_cast<std::uint16_t>(Cond::kE)),
                   Type::kI64));
    run();
    EXPECT_EQ(count(Op::f_rol), 0u);
    EXPECT_EQ(count(Op::f_bit), 0u);
    EXPECT_EQ(count(Op::f_cmp), 1u);
}

TEST_F(PassesTest, RotateThroughCarryKeepsItsCarry) {
    const ValueId bit = b_.emit(Op::f_bit, Type::kFlags, {b_.trunc(r(2), Type::kI8), b_.flags()});
    b_.set_flags(b_.emit(Op::f_rcl, Type::kI64, {r(3), b_.konst(Type::kI8, 1), bit}));
    run();
    EXPECT_EQ(count(Op::f_bit), 1u);
}

TEST_F(PassesTest, ConditionsFuseIntoBranchesAndSelects) {
    const ValueId compare = b_.emit(Op::f_cmp, Type::kI64, {r(0), r(1)});
    const ValueId c = b_.emit(Op::cond, Type::kI8, {compare}, static_cast<std::uint16_t>(Cond::kL));
    b_.set(kR2, b_.emit(Op::select, Type::kI64, {c, r(3), r(4)}));
    b_.emit(Op::br_nz, Type::kNone, {c}, 0, 0x10);
    run();
    EXPECT_EQ(count(Op::cond), 0u);
    EXPECT_EQ(count(Op::select_cc), 1u);
    EXPECT_EQ(count(Op::br_cc), 1u);
}

TEST_F(PassesTest, BoundariesFollowTheirInstructions) {
    b_.add(r(0), r(1));
    next();
    b_.set(kR1, r(0));
    run();
    ASSERT_EQ(block_.insns.size(), 2u);
    EXPECT_EQ(block_.insts[block_.insns[1].first_inst].op, Op::insn_start);
    EXPECT_EQ(block_.insts[block_.insns[1].first_inst].imm, 1u);
}

}  // namespace
}  // namespace rhea::tcg::test
