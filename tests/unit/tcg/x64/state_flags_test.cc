// Flags that come from the state and go back to it: every kind of lazy triple under a rotate, an increment and a carry.
#include <gtest/gtest.h>

#include <functional>

#include "jit.h"
#include "tcg/ir/flags_eval.h"

namespace rhea::tcg::test {
namespace {

using ir::Builder;
using ir::Op;
using ir::ValueId;

class StateFlags : public testing::Test {
  protected:
    TranslationBlock* compile(const std::function<void(Builder&)>& build) {
        ir::Block block;
        Builder b(block, test_guest());
        b.insn_start(0, 4);
        build(b);
        b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x40);
        EXPECT_EQ(ir::verify(block, test_guest()), "");
        return jit_.compile(block);
    }
    /// Runs `check` with the flags before and after the block, from states of all kinds.
    void with_all_states(TranslationBlock& block, const std::function<void(std::uint32_t, std::uint32_t)>& check) {
        constexpr std::uint32_t kOverrides[] = {0, kCarryOverride, kCarryOverride | kOverflowOverride,
                                                kOverflowOverride};
        VcpuHead& head = machine_.state().head;
        for (unsigned kind = 0; kind <= static_cast<unsigned>(FlagsKind::kMulO); ++kind) {
            for (const std::uint32_t override : kOverrides) {
                const bool counter = kind == static_cast<unsigned>(FlagsKind::kInc) ||
                                     kind == static_cast<unsigned>(FlagsKind::kDec);
                const bool low = kind <= static_cast<unsigned>(FlagsKind::kLogic);
                if (override != 0 && !(override == kOverflowOverride ? counter : low))
                    continue;
                for (unsigned round = 0; round < 64; ++round) {
                    const bool shift = kind >= static_cast<unsigned>(FlagsKind::kShl) &&
                                       kind <= static_cast<unsigned>(FlagsKind::kSar);
                    head.cc_op = cc_op(static_cast<FlagsKind>(kind), 1u << random_.below(4)) | override;
                    head.cc_dst = random_.interesting();
                    head.cc_src = random_.below(4) == 0 ? head.cc_dst : random_.interesting();
                    head.cc_src2 = shift ? 1 + random_.below(31) : random_.below(override & kOverflowOverride ? 4 : 2);
                    for (unsigned n = 0; n < 8; ++n)
                        machine_.state().r[n] = random_.interesting();
                    value_ = machine_.state().r[0];
                    const std::uint32_t before = machine_.flags(), op = head.cc_op;
                    ASSERT_EQ(jit_.run(machine_, block), CodeExit::kChain);
                    check(before, machine_.flags());
                    if (HasFailure()) {
                        ADD_FAILURE() << "kind " << kind << " cc_op " << op << " override " << override;
                        return;
                    }
                }
            }
        }
    }

    Machine machine_;
    Jit jit_{3, 1};
    Random random_{7};
    std::uint64_t value_ = 0; ///< of r0 before
};

TEST_F(StateFlags, RotatesByConstants) {
    for (const Type type : {Type::kI8, Type::kI16, Type::kI32, Type::kI64}) {
        const unsigned bits = type_bits(type);
        for (const bool left : {true, false}) {
            for (const unsigned n : {1u, 2u, 7u, 8u, 15u, 16u, 17u, 31u, 33u, 63u}) {
                if ((n & (bits == 64 ? 63 : 31)) == 0)
                    continue;
                TranslationBlock* block = compile([&](Builder& b) {
                    const ValueId x = b.trunc(b.get(kR0), type), count = b.konst(Type::kI8, n);
                    b.set(kR1, b.zext(b.emit(left ? Op::rol : Op::ror, type, {x, count}), Type::kI64));
                    b.set_flags(b.emit(left ? Op::f_rol : Op::f_ror, type, {x, count, b.flags()}));
                });
                ASSERT_TRUE(block);
                with_all_states(*block, [&](std::uint32_t before, std::uint32_t after) {
                    const auto flags = left ? ir::flags_rol : ir::flags_ror;
                    EXPECT_EQ(after, flags(bits, value_, n, before)) << bits << (left ? " rol " : " ror ") << n;
                });
                if (HasFailure())
                    return;
            }
        }
    }
}

TEST_F(StateFlags, ARotateBehindArithmetic) {
    TranslationBlock* block = compile([&](Builder& b) {
        const ValueId x = b.get(kR0), y = b.get(kR1), count = b.konst(Type::kI8, 5);
        const ValueId sum = b.add(x, y);
        b.set_flags(b.emit(Op::f_add, Type::kI64, {sum, y}));
        b.set_flags(b.emit(Op::f_rol, Type::kI64, {x, count, b.flags()}));
        b.set(kR2, sum);
    });
    ASSERT_TRUE(block);
    with_all_states(*block, [&](std::uint32_t, std::uint32_t after) {
        const TestState& state = machine_.state();
        EXPECT_EQ(after, ir::flags_rol(64, value_, 5, ir::flags_add(64, state.r[2], state.r[1])));
    });
}

TEST_F(StateFlags, AnotherCarry) {
    TranslationBlock* block = compile([](Builder& b) {
        b.set_flags(b.emit(Op::f_bit, Type::kFlags, {b.trunc(b.get(kR0), Type::kI8), b.flags()}));
    });
    ASSERT_TRUE(block);
    with_all_states(*block, [&](std::uint32_t before, std::uint32_t after) {
        EXPECT_EQ(after, ir::flags_bit(value_, before));
    });
}

TEST_F(StateFlags, IncrementKeepsTheCarry) {
    TranslationBlock* block = compile([](Builder& b) {
        const ValueId r = b.add_imm(b.get(kR0), 1);
        b.set_flags(b.emit(Op::f_inc, Type::kI64, {r, b.flags()}));
        b.set(kR0, r);
    });
    ASSERT_TRUE(block);
    with_all_states(*block, [&](std::uint32_t before, std::uint32_t after) {
        EXPECT_EQ(after, ir::flags_inc(64, value_ + 1, before));
    });
}

TEST_F(StateFlags, AddWithTheirCarry) {
    TranslationBlock* block = compile([](Builder& b) {
        const ValueId f = b.flags(), x = b.get(kR1);
        const ValueId r = b.emit(Op::adc, Type::kI64, {b.get(kR0), x, f});
        b.set_flags(b.emit(Op::f_adc, Type::kI64, {r, x, f}));
        b.set(kR2, r);
    });
    ASSERT_TRUE(block);
    with_all_states(*block, [&](std::uint32_t before, std::uint32_t after) {
        const TestState& state = machine_.state();
        EXPECT_EQ(state.r[2], value_ + state.r[1] + (before & kCF));
        EXPECT_EQ(after, ir::flags_adc(64, state.r[2], state.r[1], before));
    });
}

}  // namespace
}  // namespace rhea::tcg::test
