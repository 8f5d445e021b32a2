// Integer ops against the host's own instructions.
#include "tcg/ir/eval.h"

#include <gtest/gtest.h>

#include "test_guest.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rhea::tcg::test {
namespace {

using ir::Op;

std::uint64_t evaluate(Op op, Type type, std::uint64_t a, std::uint64_t b = 0,
                       std::uint64_t c = 0) {
    static const ir::Block kBlock = [] {
        ir::Block block;
        block.insts.push_back({.op = Op::konst, .type = Type::kI64});
        return block;
    }();
    ir::Inst inst{.op = op, .type = type};
    inst.args = {0, 0, 0};
    return ir::eval(kBlock, inst, a, b, c);
}

TEST(Eval, CountsOfZero) {
    EXPECT_EQ(evaluate(Op::ctz, Type::kI16, 0), 16u);
    EXPECT_EQ(evaluate(Op::clz, Type::kI16, 0), 16u);
    EXPECT_EQ(evaluate(Op::clz, Type::kI8, 1), 7u);
    EXPECT_EQ(evaluate(Op::ctz, Type::kI64, 1ull << 63), 63u);
}

TEST(Eval, ShiftCountsAreMaskedThenSaturate) {
    EXPECT_EQ(evaluate(Op::shl, Type::kI8, 0xff, 8), 0u);
    EXPECT_EQ(evaluate(Op::shl, Type::kI8, 0xff, 33), 0xfeu);
    EXPECT_EQ(evaluate(Op::sar, Type::kI16, 0x8000, 20), 0xffffu);
    EXPECT_EQ(evaluate(Op::shr, Type::kI64, ~0ull, 64), ~0ull);
    EXPECT_EQ(evaluate(Op::rol, Type::kI8, 0x81, 9), 0x03u);
}

TEST(Eval, ByteSwap) {
    EXPECT_EQ(evaluate(Op::bswap, Type::kI32, 0x01020304), 0x04030201u);
    EXPECT_EQ(evaluate(Op::bswap, Type::kI64, 0x0102030405060708), 0x0807060504030201u);
}

#if defined(__x86_64__)

template <class T>
T host_shld(T a, T b, unsigned n) {
    asm("shld %%cl, %[b], %[a]" : [a] "+r"(a) : [b] "r"(b), "c"(n) : "cc");
    return a;
}
template <class T>
T host_shrd(T a, T b, unsigned n) {
    asm("shrd %%cl, %[b], %[a]" : [a] "+r"(a) : [b] "r"(b), "c"(n) : "cc");
    return a;
}

template <class T>
void check_double_shifts(Type type) {
    Random random(11);
    for (unsigned n = 0; n < 256; ++n) {
        // Above 16 the result for 16 bits is undefined: processors differ.
        if (sizeof(T) == 2 && (n & 31) > 16)
            continue;
        for (int i = 0; i < 20; ++i) {
            const T a = static_cast<T>(random.interesting()),
                    b = static_cast<T>(random.interesting());
            ASSERT_EQ(evaluate(Op::shld, type, a, b, n), host_shld(a, b, n)) << n;
            ASSERT_EQ(evaluate(Op::shrd, type, a, b, n), host_shrd(a, b, n)) << n;
        }
    }
}

TEST(Eval, DoubleShifts) {
    check_double_shifts<std::uint16_t>(Type::kI16);
    check_double_shifts<std::uint32_t>(Type::kI32);
    check_double_shifts<std::uint64_t>(Type::kI64);
    EXPECT_EQ(evaluate(Op::shld, Type::kI16, 0x1234, 0xabcd, 17), 0x579bu);  // goes on with b
    EXPECT_EQ(evaluate(Op::shrd, Type::kI16, 0x1234, 0xabcd, 17), 0xd5e6u);
}

__attribute__((target("bmi2"))) void check_bmi2() {
    Random random(12);
    for (int i = 0; i < 2000; ++i) {
        const std::uint64_t a = random.interesting(), b = random.interesting();
        ASSERT_EQ(evaluate(Op::pdep, Type::kI64, a, b), _pdep_u64(a, b));
        ASSERT_EQ(evaluate(Op::pext, Type::kI64, a, b), _pext_u64(a, b));
    }
}
__attribute__((target("sse4.2"))) void check_crc32() {
    Random random(13);
    for (int i = 0; i < 2000; ++i) {
        const std::uint64_t crc = static_cast<std::uint32_t>(random.next()),
                            data = random.interesting();
        ASSERT_EQ(evaluate(Op::crc32, Type::kI32, crc, data), _mm_crc32_u64(crc, data));
    }
}

TEST(Eval, BitDepositAndExtract) {
    if (!__builtin_cpu_supports("bmi2"))
        GTEST_SKIP() << "the host has no BMI2";
    check_bmi2();
}
TEST(Eval, Crc32) {
    if (!__builtin_cpu_supports("sse4.2"))
        GTEST_SKIP() << "the host has no SSE4.2";
    check_crc32();
}

/// dx:ax by a 32-bit divisor, where the host does not trap.
TEST(Eval, DivisionAgreesWithTheHost) {
    Random random(14);
    for (int i = 0; i < 5000; ++i) {
        const auto divisor = static_cast<std::uint32_t>(random.interesting());
        const std::uint64_t dividend = random.interesting();
        const auto high = static_cast<std::uint32_t>(dividend >> 32),
                   low = static_cast<std::uint32_t>(dividend);
        const ir::Division u = ir::divide(false, 32, high, low, divisor),
                           s = ir::divide(true, 32, high, low, divisor);
        ASSERT_EQ(u.fits, divisor != 0 && high < divisor);
        const auto wide = static_cast<__int128>(static_cast<std::int64_t>(dividend));
        const auto by = static_cast<std::int32_t>(divisor);
        ASSERT_EQ(s.fits, by != 0 && wide / by >= INT32_MIN && wide / by <= INT32_MAX);
        std::uint32_t q = low, r = high;
        if (u.fits) {
            asm("div %[d]" : "+a"(q), "+d"(r) : [d] "r"(divisor) : "cc");
            ASSERT_EQ(u.quotient, q);
            ASSERT_EQ(u.remainder, r);
        }
        q = low, r = high;
        if (s.fits) {
            asm("idiv %[d]" : "+a"(q), "+d"(r) : [d] "r"(divisor) : "cc");
            ASSERT_EQ(s.quotient, q);
            ASSERT_EQ(s.remainder, r);
        }
    }
}

#endif

}  // namespace
}  // namespace rhea::tcg::test
