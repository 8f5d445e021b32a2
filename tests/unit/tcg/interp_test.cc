// The interpreter on hand-written blocks: exits, memory, faults, helpers, traps.
#include <gtest/gtest.h>

#include "test_guest.h"

namespace rhea::tcg::test {
namespace {

using ir::Op;
using ir::ValueId;

class InterpTest : public testing::Test {
  protected:
    InterpTest() { machine_.randomize(1); }

    CodeExit run() {
        EXPECT_EQ(ir::verify(block_, test_guest()), "");
        return machine_.run(block_);
    }
    void exit(std::uint64_t offset = 0x20) { b_.emit(Op::exit_direct, Type::kNone, {}, 0, offset); }
    std::uint64_t& r(unsigned i) { return machine_.state().r[i]; }
    std::uint64_t pc() { return machine_.state().head.pc; }
    ValueId k64(std::uint64_t value) { return b_.konst(Type::kI64, value); }

    Machine machine_;
    ir::Block block_;
    ir::Builder b_{block_, test_guest()};
};

TEST_F(InterpTest, ArithmeticReachesSlotsAndExitSetsPc) {
    r(0) = 5;
    r(1) = 7;
    b_.insn_start(0x10, 3);
    b_.set(kR2, b_.add(b_.get(kR0), b_.get(kR1)));
    exit(0x13);
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(r(2), 12u);
    EXPECT_EQ(pc(), kCodePage + 0x13);
}

TEST_F(InterpTest, ExitOffsetsAreSigned) {
    b_.insn_start(0, 2);
    exit(static_cast<std::uint64_t>(-16));
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(pc(), kCodePage - 16);
}

TEST_F(InterpTest, SideExitsLeaveInTheMiddle) {
    b_.insn_start(0, 2);
    const ValueId f = b_.emit(Op::f_cmp, Type::kI64, {b_.get(kR0), b_.get(kR1)});
    b_.set_flags(f);
    b_.emit(Op::br_cc, Type::kNone, {f}, static_cast<std::uint16_t>(Cond::kB), 0x80);
    b_.set(kR2, k64(1));
    exit();
    r(0) = 1, r(1) = 2, r(2) = 0;
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(pc(), kCodePage + 0x80);
    EXPECT_EQ(r(2), 0u);
    EXPECT_TRUE(machine_.flags() & kCF);
    r(0) = 3;
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(pc(), kCodePage + 0x20);
    EXPECT_EQ(r(2), 1u);
    EXPECT_FALSE(machine_.flags() & kCF);
}

TEST_F(InterpTest, SecondLoadHitsTheTlb) {
    b_.insn_start(0, 2);
    b_.set(kR2, b_.load(Type::kI64, b_.get(kR0)));
    b_.set(kR3, b_.zext(b_.load(Type::kI16, b_.add_imm(b_.get(kR0), 2)), Type::kI64));
    exit();
    r(0) = 0x10100;
    for (unsigned i = 0; i < 8; ++i)
        *machine_.ram(0x10100 + i) = static_cast<std::uint8_t>(i + 1);
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(r(2), 0x0807060504030201u);
    EXPECT_EQ(r(3), 0x0403u);
    EXPECT_EQ(machine_.slow_loads, 1u);
}

TEST_F(InterpTest, AccessAcrossPagesIsSlowEvenWhenMapped) {
    b_.insn_start(0, 2);
    b_.set(kR2, b_.load(Type::kI64, k64(0x10800)));
    b_.set(kR3, b_.load(Type::kI64, k64(0x10ffc)));
    b_.set(kR4, b_.load(Type::kI64, k64(0x10ff8)));
    exit();
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(machine_.slow_loads, 2u);
    std::uint64_t want;
    std::memcpy(&want, machine_.ram(0x10ffc), 8);
    EXPECT_EQ(r(3), want);
}

TEST_F(InterpTest, FaultIsPreciseInPcFlagsAndSlots) {
    b_.insn_start(0x30, 3);
    const ValueId sum = b_.add(b_.get(kR0), b_.get(kR1));
    b_.set_flags(b_.emit(Op::f_add, Type::kI64, {sum, b_.get(kR1)}));
    b_.set(kR0, sum);
    b_.insn_start(0x33, 4);
    const ValueId loaded = b_.load(Type::kI64, k64(0x99990000));
    b_.set_flags(b_.emit(Op::f_logic, Type::kI64, {loaded}));
    b_.set(kR0, loaded);
    exit();
    r(0) = ~0ull, r(1) = 1;
    EXPECT_EQ(run(), CodeExit::kException);
    EXPECT_EQ(pc(), kCodePage + 0x33);
    EXPECT_EQ(r(0), 0u);
    EXPECT_EQ(machine_.flags(), kCF | kZF | kPF | kAF);
}

TEST_F(InterpTest, StoreToReadOnlyFaultsAndChangesNothing) {
    const std::uint8_t before = *machine_.ram(kReadOnlyPage);
    b_.insn_start(0, 2);
    b_.set(kR2, b_.load(Type::kI64, k64(kReadOnlyPage)));  // readable: fills the read tag only
    b_.insn_start(2, 2);
    b_.store(k64(kReadOnlyPage), b_.konst(Type::kI8, before ^ 0xffu));
    exit();
    EXPECT_EQ(run(), CodeExit::kException);
    EXPECT_EQ(pc(), kCodePage + 2);
    EXPECT_EQ(*machine_.ram(kReadOnlyPage), before);
}

TEST_F(InterpTest, WriteIntentLoadFaultsAsAWrite) {
    b_.insn_start(0, 2);
    b_.set(kR2, b_.load(Type::kI64, k64(kReadOnlyPage)));
    b_.insn_start(2, 2);
    b_.set(kR2, b_.load(Type::kI64, k64(kReadOnlyPage), kMemWriteIntent));
    exit();
    EXPECT_EQ(run(), CodeExit::kException);
    EXPECT_EQ(pc(), kCodePage + 2);
}

TEST_F(InterpTest, CheckWriteFaultsButDoesNotWrite) {
    b_.insn_start(0, 2);
    b_.emit(Op::check_w, Type::kI32, {b_.get(kR0)});
    b_.set(kR1, k64(77));
    exit();
    r(0) = 0x11000, r(1) = 0;
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(r(1), 77u);
    r(0) = kReadOnlyPage, r(1) = 0;
    EXPECT_EQ(run(), CodeExit::kException);
    EXPECT_EQ(r(1), 0u);
}

TEST_F(InterpTest, MisalignedVectorAccessReachesTheCallback) {
    b_.insn_start(0, 2);
    b_.set(kV0, b_.load(Type::kV128, b_.get(kR0), kMemAlign16));
    exit();
    r(0) = 0x10200;
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(std::memcmp(machine_.state().v[0], machine_.ram(0x10200), 16), 0);
    r(0) = 0x10208;
    EXPECT_EQ(run(), CodeExit::kException);
}

TEST_F(InterpTest, AtomicsGiveTheOldValueAtEverySize) {
    for (const Type type : {Type::kI8, Type::kI16, Type::kI32, Type::kI64}) {
        const std::uint64_t mask = type == Type::kI64 ? ~0ull : (1ull << type_bits(type)) - 1;
        struct Case {
            Op op;
            std::uint64_t result;
        };
        const std::uint64_t start = 0xf0f0f0f0f0f0f0f5u, operand = 0x1122334455667715u;
        for (const Case& c :
             {Case{Op::atomic_add, start + operand}, Case{Op::atomic_and, start & operand},
              Case{Op::atomic_or, start | operand}, Case{Op::atomic_xor, start ^ operand},
              Case{Op::atomic_xchg, operand}}) {
            for (const std::uint64_t address :
                 {0x12008ull, 0x12ffdull}) {  // the second: across pages, under the lock
                std::memcpy(machine_.ram(address), &start, 8);
                const unsigned exclusive = machine_.exclusive;
                ir::Block block;
                ir::Builder b(block, test_guest());
                b.insn_start(0, 1);
                const ValueId old =
                    b.emit(c.op, type, {b.konst(Type::kI64, address), b.konst(type, operand)});
                b.set(kR0, b.zext(old, Type::kI64));
                b.emit(Op::exit_direct, Type::kNone);
                ASSERT_EQ(machine_.run(block), CodeExit::kNext);
                EXPECT_EQ(r(0), start & mask);
                std::uint64_t after;
                std::memcpy(&after, machine_.ram(address), 8);
                EXPECT_EQ(after, (start & ~mask) | (c.result & mask))
                    << ir::print(block, test_guest());
                const bool crosses = (address & 0xfff) + type_bytes(type) > 0x1000;
                EXPECT_EQ(machine_.exclusive - exclusive, crosses ? 101u : 0u);
            }
        }
    }
}

TEST_F(InterpTest, CompareAndExchangeWritesOnlyOnAMatch) {
    b_.insn_start(0, 1);
    b_.set(kR2, b_.emit(Op::atomic_cmpxchg, Type::kI64, {k64(0x13000), b_.get(kR0), b_.get(kR1)}));
    exit();
    const std::uint64_t value = 41;
    std::uint64_t after;
    std::memcpy(machine_.ram(0x13000), &value, 8);
    r(0) = 40, r(1) = 99;
    EXPECT_EQ(run(), CodeExit::kNext);
    std::memcpy(&after, machine_.ram(0x13000), 8);
    EXPECT_EQ(r(2), 41u);
    EXPECT_EQ(after, 41u);
    r(0) = 41;
    EXPECT_EQ(run(), CodeExit::kNext);
    std::memcpy(&after, machine_.ram(0x13000), 8);
    EXPECT_EQ(r(2), 41u);
    EXPECT_EQ(after, 99u);
}

TEST_F(InterpTest, AtomicOnADeviceGoesThroughLoadAndStore) {
    b_.insn_start(0, 1);
    b_.set(kR2,
           b_.zext(b_.emit(Op::atomic_or, Type::kI8, {k64(kDevicePage), b_.konst(Type::kI8, 0x0f)}),
                   Type::kI64));
    exit();
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(r(2), 0x5au);
    EXPECT_EQ(machine_.device_writes, 1u);
    EXPECT_EQ(*machine_.ram(kDevicePage), 0x5f);
    EXPECT_EQ(machine_.exclusive, 101u);
}

TEST_F(InterpTest, HelperGetsArgumentsZeroExtendedAndResultIsCut) {
    b_.insn_start(0, 1);
    const ValueId v = b_.call(kSum, Type::kI8, {b_.konst(Type::kI8, 0xff), k64(1), k64(2)});
    b_.set(kR0, b_.zext(v, Type::kI64));
    exit();
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(r(0), (0xffu + 2 + 6) & 0xff);
}

TEST_F(InterpTest, HelperFaultLeavesWithItsOwnPc) {
    b_.insn_start(0x40, 1);
    b_.set(kR0, k64(1));
    b_.insn_start(0x41, 2);
    b_.set(kR2, b_.call(kMayFault, Type::kI64, {b_.get(kR1)}));
    exit();
    r(1) = 0;
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(r(2), kCodePage + 0x41);  // kHelperPcIn: the helper saw its instruction's address
    r(1) = 1, r(2) = 0;
    EXPECT_EQ(run(), CodeExit::kException);
    EXPECT_EQ(pc(), kCodePage + 0x41);
    EXPECT_EQ(r(0), 1u);
    EXPECT_EQ(r(2), 0u);
}

TEST_F(InterpTest, HelperSeesAndLeavesFlags) {
    b_.insn_start(0, 1);
    b_.set_flags(b_.emit(Op::f_logic, Type::kI32, {b_.konst(Type::kI32, 0)}));
    b_.set(kR0, b_.call(kFlagsIn, Type::kI64));
    b_.call(kFlagsOut, Type::kNone, {k64(kCF | kOF)});
    b_.set(kR1, b_.zext(b_.cond(Cond::kO), Type::kI64));
    exit();
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(r(0), kZF | kPF);
    EXPECT_EQ(r(1), 1u);
    EXPECT_EQ(machine_.flags(), kCF | kOF);
}

TEST_F(InterpTest, FarHelperThenExitState) {
    b_.insn_start(0, 1);
    b_.call(kFar, Type::kNone, {b_.get(kR0)});
    b_.emit(Op::exit_state, Type::kNone);
    r(0) = 0x123456;
    EXPECT_EQ(run(), CodeExit::kState);
    EXPECT_EQ(pc(), 0x123456u);
    r(0) = 0;
    EXPECT_EQ(run(), CodeExit::kException);
    EXPECT_EQ(pc(), kCodePage);
}

TEST_F(InterpTest, IndirectExitAndExitNext) {
    b_.insn_start(0, 1);
    b_.emit(Op::exit_indirect, Type::kNone, {b_.get(kR0)},
            static_cast<std::uint16_t>(JumpKind::kReturn));
    r(0) = 0xffff800000001234u;
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(pc(), 0xffff800000001234u);

    ir::Block block;
    ir::Builder b(block, test_guest());
    b.insn_start(0, 1);
    b.emit(Op::exit_next, Type::kNone, {}, 0, 0x77);
    EXPECT_EQ(machine_.run(block), CodeExit::kNext);
    EXPECT_EQ(pc(), kCodePage + 0x77);
}

TEST_F(InterpTest, TrapRaisesAtItsInstruction) {
    b_.insn_start(0x50, 2);
    b_.emit(Op::trap, Type::kNone, {}, 13, 0x18);
    EXPECT_EQ(run(), CodeExit::kException);
    EXPECT_EQ(machine_.state().raised_vector, 13u);
    EXPECT_EQ(machine_.state().raised_error, 0x18u);
    EXPECT_EQ(pc(), kCodePage + 0x50);
}

TEST_F(InterpTest, DivisionAndItsTraps) {
    struct Case {
        Op op;
        Type type;
        std::uint64_t high, low, divisor;
        bool fits;
        std::uint64_t quotient, remainder;
    };
    const Case cases[] = {
        {Op::divu, Type::kI64, 1, 0, 2, true, 0x8000000000000000u, 0},
        {Op::divu, Type::kI64, 2, 0, 2, false, 0, 0},
        {Op::divu, Type::kI32, 0, 100, 7, true, 14, 2},
        {Op::divu, Type::kI32, 0, 100, 0, false, 0, 0},
        {Op::divu, Type::kI8, 0x12, 0x34, 0x13, true, 0xf5, 0x05},
        {Op::divs, Type::kI8, 0xff, 0x80, 1, true, 0x80, 0},
        {Op::divs, Type::kI8, 0xff, 0x80, 0xff, false, 0, 0},    // -128 / -1
        {Op::divs, Type::kI8, 0xff, 0xf9, 2, true, 0xfd, 0xff},  // -7 / 2 = -3 rest -1
        {Op::divs, Type::kI16, 0, 7, 0xfffe, true, 0xfffd, 1},   // 7 / -2 = -3 rest 1
        {Op::divs, Type::kI32, 0x7fffffff, 0xffffffff, 1, false, 0, 0},
        {Op::divs, Type::kI64, ~0ull, 0x8000000000000000u, ~0ull, false, 0, 0},
        {Op::divs, Type::kI64, ~0ull, 0x8000000000000000u, 1, true, 0x8000000000000000u, 0},
        {Op::divs, Type::kI64, 0x8000000000000000u, 0, 1, false, 0, 0},
        {Op::divs, Type::kI64, 0, 5, 0, false, 0, 0},
    };
    for (const Case& c : cases) {
        ir::Block block;
        ir::Builder b(block, test_guest());
        b.insn_start(0, 1);
        const ValueId q =
            b.emit(c.op, c.type,
                   {b.konst(c.type, c.high), b.konst(c.type, c.low), b.konst(c.type, c.divisor)});
        const ValueId rest = b.emit(Op::second, c.type, {q});
        b.set(kR0, b.zext(q, Type::kI64));
        b.set(kR1, b.zext(rest, Type::kI64));
        b.emit(Op::exit_direct, Type::kNone);
        ASSERT_EQ(ir::verify(block, test_guest()), "");
        machine_.state().head.exception_pending = 0;
        const CodeExit left = machine_.run(block);
        ASSERT_EQ(left, c.fits ? CodeExit::kNext : CodeExit::kException)
            << ir::print(block, test_guest());
        if (!c.fits)
            continue;
        EXPECT_EQ(r(0), c.quotient) << ir::print(block, test_guest());
        EXPECT_EQ(r(1), c.remainder) << ir::print(block, test_guest());
    }
}

TEST_F(InterpTest, VectorsMoveBetweenSlotsMemoryAndIntegers) {
    b_.insn_start(0, 1);
    b_.store(k64(0x14010), b_.get(kV1));
    b_.set(kV0, b_.emit(Op::v_from_i64, Type::kV128, {b_.get(kR0)}));
    b_.set(kR1, b_.emit(Op::v_to_i64, Type::kI64, {b_.get(kV1)}));
    exit();
    EXPECT_EQ(run(), CodeExit::kNext);
    EXPECT_EQ(std::memcmp(machine_.ram(0x14010), machine_.state().v[1], 16), 0);
    EXPECT_EQ(machine_.state().v[0][0], r(0));
    EXPECT_EQ(machine_.state().v[0][1], 0u);
    EXPECT_EQ(r(1), machine_.state().v[1][0]);
}

}  // namespace
}  // namespace rhea::tcg::test
