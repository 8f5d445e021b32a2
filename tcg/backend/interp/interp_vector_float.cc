// Floating-point vector rows: each is the host's own SSE instruction of the row's name, so that NaNs, flags and
// approximations are the hardware's bit for bit. A host without SSE needs rows of its own here.
#include <immintrin.h>
#include <utility>

#include "tcg/backend/interp/interp_vector.h"

namespace rhea::tcg::interp::rows {
namespace {

__m128 xmm(const Value& value) {
    return std::bit_cast<__m128>(value);
}
Value from_xmm(__m128 x) {
    return std::bit_cast<Value>(x);
}

using int_of_d = std::uint32_t;
using int_of_q = std::uint64_t;

/// Calls body with the constant that equals imm & kMask.
template <unsigned kMask, class Body>
void with_constant(std::uint64_t imm, Body body) {
    [&]<unsigned... kN>(std::integer_sequence<unsigned, kN...>) {
        (void)((kN == (imm & kMask) && (body(std::integral_constant<unsigned, kN>{}), true)) || ...);
    }(std::make_integer_sequence<unsigned, kMask + 1>{});
}

/// The immediate's bits that count, by row. Predicates above 7 have VEX forms alone.
namespace immediate {
constexpr unsigned cmpps = 31, cmppd = 31, cmpss = 31, cmpsd = 31;
constexpr unsigned roundps = 15, roundpd = 15, roundss = 15, roundsd = 15;
constexpr unsigned dpps = 0xff, dppd = 0x33;
}  // namespace immediate

}  // namespace

// asm volatile: the MXCSR that these read and write is no operand the compiler knows of.
#define RHEA_IR_VOP1(name, vex, flags, meaning)                     \
    void name(VectorCall& call) {                                   \
        __m128 r;                                                   \
        asm volatile(#name " %1, %0" : "=x"(r) : "x"(xmm(call.a))); \
        call.result = from_xmm(r);                                  \
    }
#define RHEA_IR_VOP2(name, vex, flags, meaning)                     \
    void name(VectorCall& call) {                                   \
        __m128 r = xmm(call.a);                                     \
        asm volatile(#name " %1, %0" : "+x"(r) : "x"(xmm(call.b))); \
        call.result = from_xmm(r);                                  \
    }
#define RHEA_IR_VOP2I(name, vex, flags, meaning)                                             \
    void name(VectorCall& call) {                                                            \
        with_constant<immediate::name>(call.inst.imm, [&](auto imm) {                        \
            __m128 r = xmm(call.a);                                                          \
            if constexpr (immediate::name != 31 || imm.value < 8)                                                  \
                asm volatile(#name " %2, %1, %0" : "+x"(r) : "x"(xmm(call.b)), "i"(imm.value)); \
            else                                                                             \
                asm volatile("v" #name " %2, %1, %0, %0" : "+x"(r) : "x"(xmm(call.b)), "i"(imm.value)); \
            call.result = from_xmm(r);                                                       \
        });                                                                                  \
    }
#define RHEA_IR_VOP1I(name, vex, flags, meaning)                                              \
    void name(VectorCall& call) {                                                            \
        with_constant<immediate::name>(call.inst.imm, [&](auto imm) {                        \
            __m128 r;                                                                        \
            asm volatile(#name " %2, %1, %0" : "=x"(r) : "x"(xmm(call.a)), "i"(imm.value)); \
            call.result = from_xmm(r);                                                       \
        });                                                                                  \
    }
#define RHEA_IR_VFROMG(name, vex, letter, flags, meaning)                                \
    void name(VectorCall& call) {                                                        \
        __m128 r = xmm(call.a);                                                          \
        asm volatile(#name " %1, %0" : "+x"(r) : "r"(static_cast<int_of_##letter>(call.b.low))); \
        call.result = from_xmm(r);                                                       \
    }
#define RHEA_IR_VTOG(name, vex, letter, flags, meaning)             \
    void name(VectorCall& call) {                                   \
        int_of_##letter r;                                          \
        asm volatile(#name " %1, %0" : "=r"(r) : "x"(xmm(call.a))); \
        call.result = {r, 0};                                       \
    }
#define RHEA_IR_VFLAGS(name, vex, flags, meaning)                              \
    void name(VectorCall& call) {                                              \
        bool z, p, c;                                                          \
        asm volatile(#name " %4, %3"                                           \
                     : "=@ccz"(z), "=@ccp"(p), "=@ccc"(c)                      \
                     : "x"(xmm(call.a)), "x"(xmm(call.b)));                    \
        call.result = {(z ? kZF : 0u) | (p ? kPF : 0u) | (c ? kCF : 0u), 0};   \
    }
#define RHEA_IR_VNARROW(name, vex, flags, meaning) RHEA_IR_VOP1(name, vex, flags, meaning)
#define RHEA_IR_VWIDEN(name, vex, bytes, flags, meaning) RHEA_IR_VOP1(name, vex, flags, meaning)
#include "rhea/tcg/vector_float_ops.def"
#include "rhea/tcg/vector_sse4_float_ops.def"

}  // namespace rhea::tcg::interp::rows
