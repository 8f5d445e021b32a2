// Builder: caches, folding, printer. That folding keeps the meaning: folding_test.cc.
#include <gtest/gtest.h>

#include "test_guest.h"

namespace rhea::tcg::test {
namespace {

using ir::Op;
using ir::ValueId;

class BuilderTest : public testing::Test {
  protected:
    BuilderTest() { b_.insn_start(0x100, 3); }
    ValueId k(Type type, std::uint64_t value) { return b_.konst(type, value); }
    std::size_t count() const { return block_.insts.size(); }
    std::uint64_t constant(ValueId v) {
        std::uint64_t value = 0xdeadbeef;
        EXPECT_TRUE(b_.is_const(v, &value));
        return value;
    }
    ir::Block block_;
    ir::Builder b_{block_, test_guest()};
};

TEST_F(BuilderTest, GetIsEmittedOnceUntilTheSlotChanges) {
    const ValueId first = b_.get(kR0);
    EXPECT_EQ(b_.get(kR0), first);
    const ValueId sum = b_.add(first, b_.get(kR1));
    b_.set(kR0, sum);
    EXPECT_EQ(b_.get(kR0), sum);
    const std::size_t before = count();
    b_.set(kR0, sum);  // holds it already
    EXPECT_EQ(count(), before);
}

TEST_F(BuilderTest, CallForgetsOnlyWhatTheHelperWrites) {
    const ValueId r = b_.get(kR0), v = b_.get(kV0), w = b_.get(kW), f = b_.flags();
    b_.call(kSum, Type::kI64, {r});
    EXPECT_EQ(b_.get(kR0), r);
    EXPECT_EQ(b_.get(kV0), v);
    EXPECT_EQ(b_.flags(), f);
    b_.call(kWriteR1, Type::kNone, {r});
    EXPECT_NE(b_.get(kR0), r);
    EXPECT_NE(b_.get(kW), w);
    EXPECT_EQ(b_.get(kV0), v);
    EXPECT_EQ(b_.flags(), f);
    const ValueId r2 = b_.get(kR0);
    b_.call(kFlipVector, Type::kNone);
    EXPECT_EQ(b_.get(kR0), r2);
    EXPECT_NE(b_.get(kV0), v);
    b_.call(kFlagsOut, Type::kNone, {r2});
    EXPECT_NE(b_.flags(), f);
    EXPECT_EQ(block_.insts[b_.flags()].op, Op::f_load);
}

TEST_F(BuilderTest, ConstantsAreMaskedAndShared) {
    EXPECT_EQ(constant(k(Type::kI8, 0x1ff)), 0xffu);
    EXPECT_EQ(k(Type::kI32, 5), k(Type::kI32, 5));
    EXPECT_NE(k(Type::kI32, 5), k(Type::kI64, 5));
}

TEST_F(BuilderTest, FoldsConstantArithmetic) {
    EXPECT_EQ(constant(b_.add(k(Type::kI8, 200), k(Type::kI8, 100))), 44u);
    EXPECT_EQ(constant(b_.sext(k(Type::kI8, 0x80), Type::kI32)), 0xffffff80u);
    EXPECT_EQ(constant(b_.emit(Op::mulhs, Type::kI64, {k(Type::kI64, ~0ull), k(Type::kI64, 2)})),
              ~0ull);
    EXPECT_EQ(constant(b_.emit(Op::crc32, Type::kI32, {k(Type::kI32, ~0u), k(Type::kI8, 'a')})),
              ~0xc1d04330u);
    const ValueId flags = b_.emit(Op::f_cmp, Type::kI32, {k(Type::kI32, 1), k(Type::kI32, 2)});
    EXPECT_EQ(constant(b_.emit(Op::cond, Type::kI8, {flags}, static_cast<std::uint16_t>(Cond::kB))),
              1u);
}

TEST_F(BuilderTest, FoldsIdentities) {
    const ValueId x = b_.get(kR0), zero = k(Type::kI64, 0);
    const std::size_t before = count();
    EXPECT_EQ(b_.add(x, zero), x);
    EXPECT_EQ(b_.add(zero, x), x);
    EXPECT_EQ(b_.xor_(x, x), zero);
    EXPECT_EQ(b_.sub(x, x), zero);
    EXPECT_EQ(b_.and_(x, x), x);
    EXPECT_EQ(b_.and_(x, zero), zero);
    EXPECT_EQ(b_.or_(x, zero), x);
    EXPECT_EQ(b_.shl_imm(x, 0), x);
    EXPECT_EQ(b_.trunc(x, Type::kI64), x);
    EXPECT_EQ(count(), before);
    EXPECT_EQ(b_.and_imm(x, ~0ull), x);
}

TEST_F(BuilderTest, LooksThroughWidthChanges) {
    const ValueId x = b_.get(kR0), narrow = b_.trunc(x, Type::kI8);
    EXPECT_EQ(b_.trunc(b_.zext(narrow, Type::kI64), Type::kI8), narrow);
    const ValueId byte = b_.trunc(b_.get(kR1), Type::kI8);
    const ValueId merged = b_.emit(Op::ins8, Type::kI64, {x, byte});
    EXPECT_EQ(b_.trunc(merged, Type::kI8), byte);
    const ValueId high = b_.emit(Op::ins8h, Type::kI64, {merged, narrow});
    EXPECT_EQ(b_.emit(Op::hi8, Type::kI8, {high}), narrow);
    EXPECT_EQ(b_.trunc(high, Type::kI8), byte);
    const ValueId again = b_.emit(Op::ins8, Type::kI64, {merged, narrow});
    EXPECT_EQ(block_.insts[again].args[0], x);  // the first insertion is lost
    EXPECT_EQ(block_.insts[b_.trunc(b_.trunc(x, Type::kI32), Type::kI16)].args[0], x);
}

TEST_F(BuilderTest, ShiftFlagsByAConstantDependOnNothingOlder) {
    const ValueId old = b_.flags(), x = b_.get(kR0);
    EXPECT_EQ(b_.emit(Op::f_shl, Type::kI64, {x, k(Type::kI8, 64), old}), old);  // masked to 0
    EXPECT_EQ(b_.emit(Op::f_rcl, Type::kI32, {b_.trunc(x, Type::kI32), k(Type::kI8, 32), old}),
              old);
    const ValueId f = b_.emit(Op::f_shl, Type::kI64, {x, k(Type::kI8, 3), old});
    EXPECT_NE(block_.insts[f].args[2], old);
    const ValueId variable = b_.emit(Op::f_shl, Type::kI64, {x, b_.trunc(x, Type::kI8), old});
    EXPECT_EQ(block_.insts[variable].args[2], old);
}

TEST_F(BuilderTest, SumsKeepTheirShape) {
    const ValueId x = b_.get(kR0);
    const ValueId once = b_.add_imm(x, 8), twice = b_.add_imm(once, 8);
    EXPECT_EQ(block_.insts[twice].args[0], once);  // f_add(twice, 8) means this very sum
}

TEST_F(BuilderTest, LeaWithConstantIndexIsAnAddition) {
    const ValueId x = b_.get(kR0);
    const ValueId v =
        b_.emit(Op::lea, Type::kI64, {x, k(Type::kI64, 3)}, 3, static_cast<std::uint64_t>(-4));
    EXPECT_EQ(block_.insts[v].op, Op::add);
    EXPECT_EQ(constant(block_.insts[v].args[1]), 20u);
}

TEST_F(BuilderTest, HalvesThatBelongTogetherAreTheWhole) {
    const ValueId low = b_.get(kV0), high = b_.get(kV1);
    const ValueId whole = b_.emit(Op::v_join, Type::kV256, {low, high});
    EXPECT_EQ(b_.emit(Op::v_high, Type::kV128, {whole}), high);
    const ValueId its_low = b_.emit(Op::v_low, Type::kV128, {whole});
    EXPECT_EQ(b_.emit(Op::v_join, Type::kV256, {its_low, high}), whole);
    const ValueId sum = b_.emit(Op::paddb, Type::kV256, {whole, whole});
    const ValueId sum_low = b_.emit(Op::v_low, Type::kV128, {sum});
    const ValueId sum_high = b_.emit(Op::v_high, Type::kV128, {sum});
    EXPECT_EQ(b_.emit(Op::v_join, Type::kV256, {sum_low, sum_high}), sum);
    EXPECT_NE(b_.emit(Op::v_join, Type::kV256, {sum_low, high}), sum);
}

TEST_F(BuilderTest, NeverTakenBranchesVanish) {
    const std::size_t before = count();
    b_.emit(Op::br_nz, Type::kNone, {k(Type::kI8, 0)}, 0, 0x10);
    EXPECT_EQ(count(), before + 1);  // the constant
    const ValueId f = b_.emit(Op::f_logic, Type::kI32, {k(Type::kI32, 0)});
    const std::size_t with_flags = count();
    b_.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kNE), 0x10);
    EXPECT_EQ(count(), with_flags);
    b_.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kE), 0x10);
    EXPECT_EQ(count(), with_flags + 1);
}

TEST_F(BuilderTest, TypesOfRowsWithoutTComeByThemselves) {
    const ValueId x = b_.get(kR0);
    b_.emit(Op::st, Type::kNone, {x, b_.trunc(x, Type::kI16)});
    EXPECT_EQ(block_.insts.back().type, Type::kI16);
    const ValueId c = b_.emit(Op::cond, Type::kNone, {b_.flags()}, 4);
    EXPECT_EQ(block_.type_of(c), Type::kI8);
    EXPECT_EQ(block_.type_of(b_.emit(Op::f_add, Type::kI64, {x, x})), Type::kFlags);
    EXPECT_EQ(block_.type_of(0), Type::kNone);
}

TEST_F(BuilderTest, InstructionLengthsGiveTheBlockLength) {
    EXPECT_EQ(block_.page_offset, 0x100);
    EXPECT_EQ(block_.byte_length, 3);
    b_.insn_start(0x103);
    b_.set_insn_length(7);
    EXPECT_EQ(block_.byte_length, 10);
    EXPECT_EQ(block_.insns[1].length, 7);
    b_.emit(Op::exit_direct, Type::kNone, {}, 0, 0x10a);
    EXPECT_TRUE(b_.ended());
    EXPECT_EQ(ir::verify(block_, test_guest()), "");
}

TEST_F(BuilderTest, PrintsSlotsHelpersAndConditionsByName) {
    const ValueId x = b_.get(kR0);
    const ValueId sum = b_.add(x, b_.konst(Type::kI64, 0x10));
    b_.set(kR1, sum);
    b_.call(kMayFault, Type::kI64, {sum});
    b_.load(Type::kI32, sum, kMemWriteIntent);
    const ValueId f = b_.emit(Op::f_logic, Type::kI64, {sum});
    b_.set_flags(f);
    b_.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kNE), 0x40);
    b_.emit(Op::exit_direct, Type::kNone, {}, 0, static_cast<std::uint64_t>(-2));
    EXPECT_EQ(ir::print(block_, test_guest()),
              "---- page+0x100, 3 bytes\n"
              "    %1:i64 = get r0\n"
              "    %2:i64 = konst 0x10\n"
              "    %3:i64 = add %1, %2\n"
              "    set r1 %3\n"
              "    %5:i64 = call may_fault %3\n"
              "    %6:i32 = ld %3 write-intent\n"
              "    %7:flags = f_logic.i64 %3\n"
              "    set_flags %7\n"
              "    br_cc ne %7 -> page+0x40\n"
              "    exit_direct -> page-0x2\n");
}

}  // namespace
}  // namespace rhea::tcg::test
