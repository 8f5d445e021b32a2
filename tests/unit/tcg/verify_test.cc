// The verifier: a block that is right, and one broken in each way that a rule forbids.
#include <gtest/gtest.h>

#include "test_guest.h"

namespace rhea::tcg::test {
namespace {

using ir::Inst;
using ir::Op;
using ir::ValueId;
using testing::HasSubstr;

class VerifyTest : public testing::Test {
  protected:
    VerifyTest() { start(); }

    void start() {
        block_.clear();
        block_.insns.push_back({0, 1, 0});
        put({.op = Op::insn_start, .aux = 1});
    }
    ValueId put(Inst inst, std::initializer_list<ValueId> args = {}) {
        inst.arg_count = static_cast<std::uint8_t>(args.size());
        std::copy(args.begin(), args.end(), inst.args.begin());
        block_.insts.push_back(inst);
        return static_cast<ValueId>(block_.insts.size() - 1);
    }
    ValueId zero() { return put({.op = Op::v_zero, .type = Type::kV128}, {}); }
    ValueId konst(Type type, std::uint64_t value = 1) {
        return put({.op = Op::konst, .type = type, .imm = value});
    }
    ValueId flags() { return put({.op = Op::f_load, .type = Type::kFlags}); }
    void exit() { put({.op = Op::exit_direct}); }
    /// The problem once the block is ended.
    std::string problem() {
        exit();
        return ir::verify(block_, test_guest());
    }

    ir::Block block_;
};

TEST_F(VerifyTest, AcceptsAWellFormedBlock) {
    const ValueId k = konst(Type::kI64);
    put({.op = Op::set, .type = Type::kI64, .aux = kR0}, {k});
    put({.op = Op::set_flags}, {put({.op = Op::f_add, .type = Type::kI64}, {k, k})});
    EXPECT_EQ(problem(), "");
}

TEST_F(VerifyTest, Empty) {
    block_.clear();
    EXPECT_THAT(ir::verify(block_, test_guest()), HasSubstr("empty"));
}

TEST_F(VerifyTest, OpAndTypeExist) {
    put({.op = Op::kCount});
    EXPECT_THAT(problem(), HasSubstr("no such op"));
    start();
    put({.op = Op::konst, .type = static_cast<Type>(9)});
    EXPECT_THAT(problem(), HasSubstr("no such type"));
}

TEST_F(VerifyTest, ArgumentCount) {
    const ValueId k = konst(Type::kI64);
    put({.op = Op::add, .type = Type::kI64}, {k});
    EXPECT_THAT(problem(), HasSubstr("1 arguments, the row has 2"));
    start();
    Inst extra{.op = Op::konst, .type = Type::kI64};
    extra.args[1] = 0;
    put(extra);
    EXPECT_THAT(problem(), HasSubstr("not counted"));
}

TEST_F(VerifyTest, ArgumentsComeEarlier) {
    put({.op = Op::not_, .type = Type::kI64}, {1});
    EXPECT_THAT(problem(), HasSubstr("no earlier value"));
    start();
    put({.op = Op::not_, .type = Type::kI64}, {77});
    EXPECT_THAT(problem(), HasSubstr("no earlier value"));
}

TEST_F(VerifyTest, ArgumentTypes) {
    const ValueId k64 = konst(Type::kI64), k8 = konst(Type::kI8);
    put({.op = Op::add, .type = Type::kI64}, {k64, k8});
    EXPECT_THAT(problem(), HasSubstr("argument 1 is i8, the row wants 'T'"));
    start();
    put({.op = Op::ld, .type = Type::kI32}, {konst(Type::kI32)});
    EXPECT_THAT(problem(), HasSubstr("the row wants 'q'"));
    start();
    put({.op = Op::set_flags}, {konst(Type::kI32)});
    EXPECT_THAT(problem(), HasSubstr("the row wants 'f'"));
    start();
    put({.op = Op::shl, .type = Type::kI32}, {konst(Type::kI32), konst(Type::kI32)});
    EXPECT_THAT(problem(), HasSubstr("the row wants 'b'"));
    start();
    put({.op = Op::not_, .type = Type::kI64}, {0});  // insn_start has no value
    EXPECT_THAT(problem(), HasSubstr("argument 0 is none"));
    start();
    put({.op = Op::v_to_i32, .type = Type::kI32}, {konst(Type::kI64)});
    EXPECT_THAT(problem(), HasSubstr("the row wants 'x'"));
    start();
    put({.op = Op::paddb, .type = Type::kV256}, {zero(), zero()});
    EXPECT_THAT(problem(), HasSubstr("argument 0 is v128, the row wants 'v'"));
    start();
    put({.op = Op::v_high, .type = Type::kV128}, {zero()});
    EXPECT_THAT(problem(), HasSubstr("argument 0 is v128, the row wants 'y'"));
    start();
    put({.op = Op::call, .type = Type::kNone, .aux = kSum}, {flags()});
    EXPECT_THAT(problem(), HasSubstr("the row wants 'i'"));
    start();
    put({.op = Op::st, .type = Type::kFlags}, {konst(Type::kI64), flags()});
    EXPECT_THAT(problem(), HasSubstr("the row wants '*'"));
}

TEST_F(VerifyTest, InstructionTypes) {
    konst(Type::kV128);
    EXPECT_THAT(problem(), HasSubstr("type v128 does not fit"));
    start();
    put({.op = Op::cond, .type = Type::kI32}, {flags()});
    EXPECT_THAT(problem(), HasSubstr("type i32 does not fit"));
    start();
    put({.op = Op::bswap, .type = Type::kI16}, {konst(Type::kI16)});
    EXPECT_THAT(problem(), HasSubstr("type i16 does not fit"));
    start();
    put({.op = Op::st, .type = Type::kI32}, {konst(Type::kI64), konst(Type::kI8)});
    EXPECT_THAT(problem(), HasSubstr("type i32 does not fit"));
    start();
    put({.op = Op::call, .type = Type::kV128, .aux = kSum});
    EXPECT_THAT(problem(), HasSubstr("type v128 does not fit"));
}

TEST_F(VerifyTest, Slots) {
    put({.op = Op::get, .type = Type::kI64, .aux = kSlotCount});
    EXPECT_THAT(problem(), HasSubstr("slot 12 of 12"));
    start();
    put({.op = Op::get, .type = Type::kI64, .aux = kW});
    EXPECT_THAT(problem(), HasSubstr("type i64 does not fit"));
    start();
    put({.op = Op::set, .type = Type::kI64, .aux = kR0}, {konst(Type::kI32)});
    EXPECT_THAT(problem(), HasSubstr("type i64 does not fit"));
}

TEST_F(VerifyTest, Helpers) {
    put({.op = Op::call, .type = Type::kNone, .aux = kHelperCount});
    EXPECT_THAT(problem(), HasSubstr("helper 7 of 7"));
    start();
    put({.op = Op::call, .type = Type::kNone, .aux = kFar}, {konst(Type::kI64)});
    EXPECT_THAT(problem(), HasSubstr("only exit_state may end the block"));
}

TEST_F(VerifyTest, WidthChangesGoTheirWay) {
    put({.op = Op::trunc, .type = Type::kI32}, {konst(Type::kI32)});
    EXPECT_THAT(problem(), HasSubstr("does not narrow"));
    start();
    put({.op = Op::zext, .type = Type::kI8}, {konst(Type::kI32)});
    EXPECT_THAT(problem(), HasSubstr("does not widen"));
    start();
    put({.op = Op::hi8, .type = Type::kI8}, {konst(Type::kI8)});
    EXPECT_THAT(problem(), HasSubstr("no bits 15:8"));
}

TEST_F(VerifyTest, AuxAndImmediates) {
    put({.op = Op::konst, .type = Type::kI8, .imm = 0x100});
    EXPECT_THAT(problem(), HasSubstr("wider than its type"));
    start();
    put({.op = Op::cond, .type = Type::kI8, .aux = 16}, {flags()});
    EXPECT_THAT(problem(), HasSubstr("no such condition"));
    start();
    put({.op = Op::lea, .type = Type::kI64, .aux = 4}, {konst(Type::kI64), 1});
    EXPECT_THAT(problem(), HasSubstr("shift above 3"));
    start();
    put({.op = Op::ld, .type = Type::kI64, .aux = 0x80}, {konst(Type::kI64)});
    EXPECT_THAT(problem(), HasSubstr("unknown memory flags"));
    start();
    put({.op = Op::exit_indirect, .aux = 3}, {konst(Type::kI64)});
    EXPECT_THAT(ir::verify(block_, test_guest()), HasSubstr("no such jump kind"));
    start();
    put({.op = Op::trap, .aux = 256});
    EXPECT_THAT(ir::verify(block_, test_guest()), HasSubstr("vector above 255"));
}

TEST_F(VerifyTest, SecondDirectlyFollowsItsDivision) {
    const ValueId k = konst(Type::kI32);
    const ValueId q = put({.op = Op::divu, .type = Type::kI32}, {k, k, k});
    put({.op = Op::second, .type = Type::kI32}, {q});
    EXPECT_EQ(problem(), "");
    start();
    const ValueId k2 = konst(Type::kI32);
    const ValueId q2 = put({.op = Op::divu, .type = Type::kI32}, {k2, k2, k2});
    konst(Type::kI32, 9);
    put({.op = Op::second, .type = Type::kI32}, {q2});
    EXPECT_THAT(problem(), HasSubstr("directly follow"));
    start();
    put({.op = Op::second, .type = Type::kI32}, {konst(Type::kI32)});
    EXPECT_THAT(problem(), HasSubstr("directly follow"));
}

TEST_F(VerifyTest, ExactlyOneEndAtTheEnd) {
    exit();
    EXPECT_THAT(problem(), HasSubstr("not the last instruction"));
    start();
    konst(Type::kI8);
    EXPECT_THAT(ir::verify(block_, test_guest()), HasSubstr("does not end the block"));
}

TEST_F(VerifyTest, GuestInstructionBoundaries) {
    block_.insts[0] = {.op = Op::konst, .type = Type::kI8};
    EXPECT_THAT(problem(), HasSubstr("begins with insn_start"));
    start();
    put({.op = Op::insn_start, .aux = 1, .imm = 1});
    EXPECT_THAT(problem(), HasSubstr("more insn_start"));
    start();
    block_.insns.push_back({1, 1, 1});
    EXPECT_THAT(problem(), HasSubstr("2 guest instructions but 1 insn_start"));
    start();
    block_.insns[0].length = 2;
    EXPECT_THAT(problem(), HasSubstr("differs from its entry"));
}

TEST_F(VerifyTest, StateFlagsAreReadOnlyWhileTheyHold) {
    put({.op = Op::set_flags}, {flags()});
    flags();
    EXPECT_THAT(problem(), HasSubstr("out of date"));
    start();
    put({.op = Op::set_flags}, {flags()});
    put({.op = Op::call, .type = Type::kNone, .aux = kFlagsOut});
    flags();
    EXPECT_EQ(problem(), "");
}

}  // namespace
}  // namespace rhea::tcg::test
