// Every vector row, by the interpreter and as native code: operands in pinned registers, in memory, the same one twice,
// results set to either and kept across a call.
#include <cpuid.h>
#include <gtest/gtest.h>

#include "jit.h"
#include "tcg/backend/x64/analysis.h"

namespace rhea::tcg::test {
namespace {

using ir::Op;
using ir::ValueId;

/// The type of the row's polymorphic operands is v256 where `wide`.
bool polymorphic(const ir::OpInfo& info) {
    return info.result == "v" || info.args.find('v') != std::string_view::npos;
}

/// A block that applies the row to slots and puts its result where it can be seen.
void build(ir::Block& block, Op op, Random& random, bool again, bool wide) {
    const ir::OpInfo& info = ir::op_info(op);
    ir::Builder b(block, test_guest());
    b.insn_start(0, 4);
    const auto vector = [&](bool both) {
        const ValueId low = b.get(static_cast<Slot>(kV0 + random.below(2)));
        if (!both)
            return low;
        return b.emit(Op::v_join, Type::kV256, {low, b.get(static_cast<Slot>(kV0 + random.below(2)))});
    };
    std::array<ValueId, 3> args{};
    for (unsigned k = 0; k < info.arity; ++k) {
        switch (info.args[k]) {
            case 'v':
            case 'x':
            case 'y':
                args[k] = vector(info.args[k] == 'y' || (wide && info.args[k] == 'v'));
                break;
            case 'q':
                args[k] = b.get(static_cast<Slot>(kR0 + random.below(8)));
                break;
            default:
                args[k] = b.trunc(b.get(static_cast<Slot>(kR0 + random.below(8))), Type::kI32);
                break;
        }
    }
    const std::uint64_t imm = random.below(info.name.starts_with("cmp") ? 32 : info.name == "cvtps2ph" ? 5 : 256);
    const Type type = wide ? Type::kV256 : Type::kV128;
    const auto apply = [&]() -> ValueId {
        switch (info.arity) {
            case 0:
                return b.emit(op, type, {}, 0, imm);
            case 1:
                return b.emit(op, type, {args[0]}, 0, imm);
            case 2:
                return b.emit(op, type, {args[0], args[1]}, 0, imm);
            default:
                return b.emit(op, type, {args[0], args[1], args[2]}, 0, imm);
        }
    };
    const ValueId r = apply();
    if (again)
        b.call(kFlipVector, Type::kNone);
    const unsigned to = random.below(2);
    if (block.type_of(r) == Type::kV128) {
        b.set(static_cast<Slot>(kV0 + to), r);
    } else if (block.type_of(r) == Type::kV256) {
        b.set(static_cast<Slot>(kV1 - to), b.emit(Op::v_high, Type::kV128, {r}));
        b.set(static_cast<Slot>(kV0 + to), b.emit(Op::v_low, Type::kV128, {r}));
    } else {
        b.set(static_cast<Slot>(kR0 + random.below(8)), b.zext(r, Type::kI64));
    }
    b.emit(Op::exit_direct, Type::kNone, {}, 0, 0x40);
}

/// Integers, small floats, NaNs, infinities, denormals.
std::uint64_t lane(Random& random) {
    static constexpr std::uint64_t kFloats[] = {
        0x3f8000003f800000, 0xbf80000040490fdb, 0x7f8000007fc00000, 0x0000000180000000,
        0x3ff0000000000000, 0xbff8000000000000, 0x7ff0000000000000, 0x7ff8000000000001,
        0x000fffffffffffff, 0x41dfffffffc00000, 0x43e0000000000000, 0x4f0000004effffff};
    return random.below(2) ? kFloats[random.below(std::size(kFloats))] : random.interesting();
}

/// Rows of vector_crypto_ops.def are emitted only where the host has them (CpuAvailability::translator).
bool host_has(Op op, bool wide) {
    if (op >= Op::pbroadcastb) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    }
    if (wide && op >= Op::aesenc && op <= Op::pclmulqdq)
        return __builtin_cpu_supports("vaes") && __builtin_cpu_supports("vpclmulqdq");
    if (wide && !__builtin_cpu_supports("avx2"))
        return false;
    if (op < Op::aesenc)
        return true;
    if (op < Op::pclmulqdq)
        return __builtin_cpu_supports("aes") != 0;
    if (op == Op::pclmulqdq)
        return __builtin_cpu_supports("pclmul") != 0;
    if (op <= Op::gf2p8affineinvqb)
        return __builtin_cpu_supports("gfni") != 0;
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && ((b >> 29) & 1) != 0;
}

TEST(JitVector, EveryRowEqualsTheInterpreter) {
    Machine by_interpreter, by_jit;
    for (const unsigned pinned : {0u, 1u, 2u}) {
        Jit jit(8, pinned);
        for (auto n = static_cast<unsigned>(Op::v_zero); n < ir::kOpCount; ++n) {
            const auto op = static_cast<Op>(n);
            for (unsigned round = 0; round < 60; ++round) {
                const bool wide = round % 2 != 0;
                if (!host_has(op, wide) || (wide && (!polymorphic(ir::op_info(op)) || !x64::has_wide_form(op))))
                    continue;
                Random random(n * 1000 + round);
                ir::Block block;
                build(block, op, random, round % 5 == 0, wide);
                ASSERT_EQ(ir::verify(block, test_guest()), "");
                jit.reset();
                TranslationBlock* tb = jit.compile(block);
                ASSERT_TRUE(tb) << ir::print(block, test_guest());
                by_interpreter.randomize(round);
                by_jit.randomize(round);
                for (unsigned i = 0; i < 4; ++i) {
                    const std::uint64_t value = lane(random);
                    by_interpreter.state().v[i / 2][i % 2] = value;
                    by_jit.state().v[i / 2][i % 2] = value;
                }
                // Rounding modes and denormals: the guest's.
                const std::uint32_t mxcsr = 0x1f80 | random.below(4) << 13 | random.below(2) << 15;
                by_interpreter.state().head.guest_mxcsr = mxcsr;
                by_jit.state().head.guest_mxcsr = mxcsr;
                by_interpreter.run(block);
                jit.run(by_jit, *tb);
                const std::string difference = by_interpreter.difference(by_jit);
                ASSERT_EQ(difference, "") << ir::print(block, test_guest());
                EXPECT_EQ(by_interpreter.state().head.guest_mxcsr, by_jit.state().head.guest_mxcsr)
                    << ir::print(block, test_guest());
            }
        }
    }
}

}  // namespace
}  // namespace rhea::tcg::test
