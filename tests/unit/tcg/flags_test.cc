// Flags against the host CPU: edge values and random operands, every size. On hosts of another
// architecture only the expectations that are written out.
#include <gtest/gtest.h>

#include "rhea/tcg/backend.h"
#include "tcg/ir/flags_eval.h"
#include "tcg/ir/int_ops.h"
#include "test_guest.h"

namespace rhea::tcg::test {
namespace {

TEST(Conditions, EveryOneOnEveryFlagsValue) {
    for (unsigned i = 0; i < 64; ++i) {
        const bool c = i & 1, p = i & 2, a = i & 4, z = i & 8, s = i & 16, o = i & 32;
        const std::uint32_t flags = (c ? kCF : 0) | (p ? kPF : 0) | (a ? kAF : 0) | (z ? kZF : 0) |
                                    (s ? kSF : 0) | (o ? kOF : 0);
        const bool want[16] = {o, !o, c, !c, z,      !z,     c || z,      !(c || z),
                               s, !s, p, !p, s != o, s == o, z || s != o, !z && s == o};
        for (unsigned cc = 0; cc < 16; ++cc)
            EXPECT_EQ(condition_holds(static_cast<Cond>(cc), flags), want[cc])
                << cc << " " << flags;
    }
}

TEST(LazyFlags, RawKeepsTheSixBits) {
    EXPECT_EQ(compute_flags(cc_op(FlagsKind::kRaw, 4), ~0ull, 0, 0), kArithFlags);
    VcpuHead head;
    set_raw_flags(head, kCF | 0x200);
    EXPECT_EQ(compute_flags(head), kCF);
}

TEST(LazyFlags, OverridesReplaceCarryAndOverflow) {
    const std::uint32_t both = kCarryOverride | kOverflowOverride;
    for (std::uint64_t bits = 0; bits < 4; ++bits) {
        const std::uint32_t want = (bits & 1 ? kCF : 0) | (bits & 2 ? kOF : 0);
        const std::uint32_t zero = kZF | kPF;
        EXPECT_EQ(compute_flags(cc_op(FlagsKind::kLogic, 4) | both, 0, 0, bits), zero | want);
        EXPECT_EQ(compute_flags(cc_op(FlagsKind::kRaw, 4) | both, kArithFlags, 0, bits),
                  (kArithFlags & ~(kCF | kOF)) | want);
        EXPECT_EQ(compute_flags(cc_op(FlagsKind::kDec, 8) | kOverflowOverride, 0, 0, bits),
                  zero | want);
    }
}

TEST(LazyFlags, GarbageAboveTheWidthDoesNotMatter) {
    Random random(3);
    for (unsigned kind = 1; kind <= static_cast<unsigned>(FlagsKind::kSar); ++kind) {
        for (const unsigned bytes : {1u, 2u, 4u}) {
            for (int i = 0; i < 200; ++i) {
                const std::uint64_t a = random.interesting(), b = random.interesting();
                const std::uint64_t junk = ~0ull << (8 * bytes);
                const std::uint64_t extra = kind >= static_cast<unsigned>(FlagsKind::kShl)
                                                ? 1 + random.below(30)
                                                : random.below(2);
                const std::uint32_t op = cc_op(static_cast<FlagsKind>(kind), bytes);
                ASSERT_EQ(compute_flags(op, a, b, extra),
                          compute_flags(op, a ^ junk, b ^ junk, extra))
                    << kind;
            }
        }
    }
}

#if defined(__x86_64__)

struct HostResult {
    std::uint64_t value;
    std::uint32_t flags;
};

// Past the red zone, flags in by popf, out by pushf.
#define RHEA_HOST_OP(name, text)                                                      \
    template <class T>                                                                \
    HostResult name(std::uint64_t a_in, std::uint64_t b_in, std::uint32_t flags_in) { \
        T a = static_cast<T>(a_in);                                                   \
        const T b = static_cast<T>(b_in);                                             \
        std::uint64_t flags = flags_in | 2;                                           \
        asm volatile("lea -128(%%rsp), %%rsp; push %[f]; popfq; " text                \
                     "; pushfq; pop %[f]; lea 128(%%rsp), %%rsp"                      \
                     : [a] "+a"(a), [f] "+r"(flags)                                   \
                     : [b] "c"(b)                                                     \
                     : "cc", "memory", "rdx");                                        \
        return {a, static_cast<std::uint32_t>(flags) & kArithFlags};                  \
    }
#include "host_ops.def"
#undef RHEA_HOST_OP

template <class T>
class FlagsAgainstHost : public testing::Test {
  protected:
    static constexpr unsigned kBits = sizeof(T) * 8;

    /// Every pair of edge values, then random ones; all with random incoming flags.
    template <class F>
    void for_operands(F check) {
        static constexpr std::uint64_t top = 1ull << (kBits - 1);
        const std::uint64_t edges[] = {0,
                                       1,
                                       2,
                                       7,
                                       8,
                                       0xf,
                                       0x10,
                                       top - 1,
                                       top,
                                       top + 1,
                                       static_cast<T>(~0ull),
                                       static_cast<T>(~0ull) - 1ull};
        Random random(7);
        const auto flags = [&] { return static_cast<std::uint32_t>(random.next()) & kArithFlags; };
        for (const std::uint64_t a : edges) {
            for (const std::uint64_t b : edges) {
                for (int i = 0; i < 4; ++i)
                    check(a, b, flags());
            }
        }
        for (int i = 0; i < 20000; ++i) {
            check(static_cast<T>(random.interesting()), static_cast<T>(random.interesting()),
                  flags());
        }
    }
    /// Every count, well above the width too.
    template <class F>
    void for_counts(F check) {
        Random random(9);
        for (unsigned n = 0; n < 256; ++n) {
            for (int i = 0; i < 50; ++i) {
                check(static_cast<T>(random.interesting()), n,
                      static_cast<std::uint32_t>(random.next()) & kArithFlags);
            }
        }
    }
};
using Widths = testing::Types<std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>;
TYPED_TEST_SUITE(FlagsAgainstHost, Widths);

TYPED_TEST(FlagsAgainstHost, AddAndSubtract) {
    constexpr unsigned n = TestFixture::kBits;
    this->for_operands([](std::uint64_t a, std::uint64_t b, std::uint32_t f) {
        const HostResult add = host_add<TypeParam>(a, b, f), sub = host_sub<TypeParam>(a, b, f);
        ASSERT_EQ(ir::flags_add(n, add.value, b), add.flags) << a << " + " << b;
        ASSERT_EQ(ir::flags_sub(n, sub.value, b), sub.flags) << a << " - " << b;
        ASSERT_EQ(ir::flags_cmp(n, a, b), host_cmp<TypeParam>(a, b, f).flags) << a << " cmp " << b;
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kAdd, n / 8), add.value, b, 0), add.flags);
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kSub, n / 8), sub.value, b, 0), sub.flags);
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kCmp, n / 8), a, b, 0), sub.flags);
    });
}

TYPED_TEST(FlagsAgainstHost, WithCarryIn) {
    constexpr unsigned n = TestFixture::kBits;
    this->for_operands([](std::uint64_t a, std::uint64_t b, std::uint32_t f) {
        const HostResult adc = host_adc<TypeParam>(a, b, f), sbb = host_sbb<TypeParam>(a, b, f);
        ASSERT_EQ(ir::flags_adc(n, adc.value, b, f), adc.flags)
            << a << " + " << b << " flags " << f;
        ASSERT_EQ(ir::flags_sbb(n, sbb.value, b, f), sbb.flags)
            << a << " - " << b << " flags " << f;
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kAdc, n / 8), adc.value, b, f & 1), adc.flags);
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kSbb, n / 8), sbb.value, b, f & 1), sbb.flags);
    });
}

TYPED_TEST(FlagsAgainstHost, LogicIncrementDecrement) {
    constexpr unsigned n = TestFixture::kBits;
    this->for_operands([](std::uint64_t a, std::uint64_t b, std::uint32_t f) {
        const HostResult logic = host_and<TypeParam>(a, b, f);
        const HostResult inc = host_inc<TypeParam>(a, b, f), dec = host_dec<TypeParam>(a, b, f);
        ASSERT_EQ(ir::flags_logic(n, logic.value), logic.flags);
        ASSERT_EQ(ir::flags_inc(n, inc.value, f), inc.flags) << a << " flags " << f;
        ASSERT_EQ(ir::flags_dec(n, dec.value, f), dec.flags) << a << " flags " << f;
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kLogic, n / 8), logic.value, 0, 0), logic.flags);
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kInc, n / 8), inc.value, 0, f & 1), inc.flags);
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kDec, n / 8), dec.value, 0, f & 1), dec.flags);
    });
}

TYPED_TEST(FlagsAgainstHost, Shifts) {
    constexpr unsigned n = TestFixture::kBits;
    this->for_counts([](std::uint64_t a, unsigned count, std::uint32_t f) {
        const unsigned masked = ir::masked_count(count, n);
        // Undefined and different between processors: AF always; OF of counts above 1; CF of counts
        // above the width.
        std::uint32_t defined = kArithFlags;
        if (masked != 0)
            defined &= ~kAF;
        if (masked > 1)
            defined &= ~kOF;
        std::uint32_t defined_left_right = defined;
        if (masked >= n)
            defined_left_right &= ~kCF;
        const HostResult shl = host_shl<TypeParam>(a, count, f),
                         shr = host_shr<TypeParam>(a, count, f);
        const HostResult sar = host_sar<TypeParam>(a, count, f);
        ASSERT_EQ(ir::flags_shl(n, a, count, f) & defined_left_right,
                  shl.flags & defined_left_right)
            << a << " << " << count;
        ASSERT_EQ(ir::flags_shr(n, a, count, f) & defined_left_right,
                  shr.flags & defined_left_right)
            << a << " >> " << count;
        ASSERT_EQ(ir::flags_sar(n, a, count, f) & defined, sar.flags & defined)
            << a << " sar " << count;
        ASSERT_EQ(ir::shift_left(a, masked, n), shl.value);
        ASSERT_EQ(ir::shift_right(a, masked, n), shr.value);
        ASSERT_EQ(ir::shift_arithmetic(a, masked, n), sar.value);
        if (masked == 0)
            return;
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kShl, n / 8), a, 0, masked),
                  ir::flags_shl(n, a, count, f));
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kShr, n / 8), a, 0, masked),
                  ir::flags_shr(n, a, count, f));
        ASSERT_EQ(compute_flags(cc_op(FlagsKind::kSar, n / 8), a, 0, masked),
                  ir::flags_sar(n, a, count, f));
    });
}

TYPED_TEST(FlagsAgainstHost, Rotates) {
    constexpr unsigned n = TestFixture::kBits;
    this->for_counts([](std::uint64_t a, unsigned count, std::uint32_t f) {
        const unsigned masked = ir::masked_count(count, n);
        const std::uint32_t defined = masked > 1 ? kArithFlags & ~kOF : kArithFlags;
        const auto expect = [&](std::uint32_t flags, const HostResult& host, const char* op) {
            ASSERT_EQ(flags & defined, host.flags & defined)
                << op << " " << a << " by " << count << " flags " << f;
        };
        const HostResult rol = host_rol<TypeParam>(a, count, f),
                         ror = host_ror<TypeParam>(a, count, f);
        const HostResult rcl = host_rcl<TypeParam>(a, count, f),
                         rcr = host_rcr<TypeParam>(a, count, f);
        expect(ir::flags_rol(n, a, count, f), rol, "rol");
        expect(ir::flags_ror(n, a, count, f), ror, "ror");
        expect(ir::flags_rcl(n, a, count, f), rcl, "rcl");
        expect(ir::flags_rcr(n, a, count, f), rcr, "rcr");
        ASSERT_EQ(ir::rotate_left(a, masked, n), rol.value);
        ASSERT_EQ(ir::rotate_right(a, masked, n), ror.value);
        ASSERT_EQ(ir::rotate_carry_left(a, f & kCF, masked, n).value, rcl.value);
        ASSERT_EQ(ir::rotate_carry_right(a, f & kCF, masked, n).value, rcr.value);
    });
}

TYPED_TEST(FlagsAgainstHost, MultiplyDefinesCarryAndOverflow) {
    constexpr unsigned n = TestFixture::kBits;
    this->for_operands([](std::uint64_t a, std::uint64_t b, std::uint32_t f) {
        const HostResult mul = host_mul<TypeParam>(a, b, f);
        const auto product = static_cast<unsigned __int128>(a) * b;
        const std::uint32_t flags =
            ir::flags_mulo(n, static_cast<std::uint64_t>(product), (product >> n) != 0);
        ASSERT_EQ(flags & (kCF | kOF), mul.flags & (kCF | kOF)) << a << " * " << b;
    });
}

TYPED_TEST(FlagsAgainstHost, BitTestKeepsTheRest) {
    if constexpr (sizeof(TypeParam) > 1) {
        constexpr unsigned n = TestFixture::kBits;
        this->for_counts([](std::uint64_t a, unsigned bit, std::uint32_t f) {
            const std::uint32_t kept = kCF | kZF;  // what the SDM defines
            const HostResult bt = host_bt<TypeParam>(a, bit, f);
            ASSERT_EQ(ir::flags_bit(a >> (bit % n), f) & kept, bt.flags & kept);
        });
    }
}

#endif

// Choices where the SDM leaves a flag open: these hold on every host.
TEST(FlagsChoices, OverflowOfLongShiftsIsThatOfTheLastStep) {
    EXPECT_EQ(ir::flags_shl(8, 0xb7, 2, 0) & kOF, kOF);  // 0x6e << 1: top bit appears
    EXPECT_EQ(ir::flags_shl(8, 0xff, 8, 0) & (kOF | kCF), kOF | kCF);
    EXPECT_EQ(ir::flags_shl(8, 0xff, 9, 0) & (kOF | kCF), 0u);
    EXPECT_EQ(ir::flags_shr(8, 0xb7, 1, 0) & kOF, kOF);
    EXPECT_EQ(ir::flags_shr(8, 0xb7, 2, 0) & kOF, 0u);
    EXPECT_EQ(ir::flags_sar(8, 0x80, 20, kOF) & (kOF | kCF), kCF);
    EXPECT_EQ(ir::flags_rol(8, 0xb6, 8, 0), kOF);  // comes round: OF = top bit ^ CF all the same
    EXPECT_EQ(ir::flags_rcl(8, 0xb6, 9, kCF), kCF);
}

TEST(FlagsChoices, AuxiliaryCarryIsClearAfterShiftsLogicAndMultiplication) {
    EXPECT_EQ(ir::flags_shl(32, 1, 4, kAF) & kAF, 0u);
    EXPECT_EQ(ir::flags_logic(32, 0x10) & kAF, 0u);
    EXPECT_EQ(ir::flags_mulo(32, 0, 1), kCF | kOF | kZF | kPF);
}

}  // namespace
}  // namespace rhea::tcg::test
