// Vector rows of AVX, AVX2, FMA and F16C, and how every row's 256-bit form is made of its 128-bit one. Fused and half
// precision rows are the host's own instructions: they are emitted only where the host has them.
#include <immintrin.h>

#include <algorithm>

#include "tcg/backend/interp/interp_vector.h"

namespace rhea::tcg::interp {
namespace {

using ir::Op;

/// The part of the immediate that the upper half of a v256 goes by.
std::uint64_t upper_immediate(const ir::Inst& inst) {
    switch (inst.op) {
        case Op::blendps:
        case Op::pblendd:
            return inst.imm >> 4;
        case Op::blendpd:
        case Op::shufpd:
        case Op::permilpd_imm:
            return inst.imm >> 2;
        case Op::mpsadbw:
            return inst.imm >> 3;
        default:
            return inst.imm;
    }
}

/// Where the upper half's bits begin in an integer result.
unsigned result_lanes(Op op) { return op == Op::pmovmskb ? 16 : op == Op::movmskps ? 4 : 2; }

Value shifted_down(const Value& v, unsigned bytes) {
    if (bytes == 0)
        return v;
    const unsigned __int128 bits = (static_cast<unsigned __int128>(v.high) << 64 | v.low) >> (8 * bytes);
    return {static_cast<std::uint64_t>(bits), static_cast<std::uint64_t>(bits >> 64)};
}

}  // namespace

void run_wide(VectorCall& call, HalvesRule rule, void (*row)(VectorCall&)) {
    call.wide = true;
    if (rule.kind == Halves::kCross || call.inst.op == Op::cvtps2ph) {
        row(call);
        return;
    }
    ir::Inst upper_inst = call.inst;
    upper_inst.imm = upper_immediate(call.inst);
    VectorCall upper{upper_inst, call.a_upper, call.b_upper, call.c_upper, {}, {}, {}, {}, {}, true};
    if (rule.kind == Halves::kCount)
        upper.b = call.b;
    if (rule.kind == Halves::kWiden)
        upper.a = shifted_down(call.a, rule.bytes);
    row(call);
    row(upper);
    const std::string_view result = ir::op_info(call.inst.op).result;
    if (rule.kind == Halves::kNarrow) {
        call.result.high = upper.result.low;
    } else if (result == "v") {
        call.result_upper = upper.result;
    } else if (ir::op_info(call.inst.op).args == "vv") {
        call.result.low &= upper.result.low;  // flags of PTEST: zero in both halves
    } else {
        call.result.low |= upper.result.low << result_lanes(call.inst.op);
    }
}

namespace rows {
namespace {

using U8 = std::uint8_t;
using U16 = std::uint16_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;
using I32 = std::int32_t;

template <class T>
void broadcast(VectorCall& call) {
    Lanes<T> r;
    r.fill(lanes<T>(call.a)[0]);
    call.result = from_lanes<T>(r);
}

template <class T, class F>
void shift_each(VectorCall& call, F shift) {
    const Lanes<T> a = lanes<T>(call.a), b = lanes<T>(call.b);
    Lanes<T> r;
    for (unsigned n = 0; n < r.size(); ++n)
        r[n] = shift(a[n], b[n]);
    call.result = from_lanes<T>(r);
}
template <class T>
T left(T a, T n) {
    return n < 8 * sizeof(T) ? static_cast<T>(a << n) : 0;
}
template <class T>
T right(T a, T n) {
    return n < 8 * sizeof(T) ? static_cast<T>(a >> n) : 0;
}

/// PTEST on the sign bits of lanes: ZF where no sign is in both, CF where b has none that a lacks.
template <class T>
void test_signs(VectorCall& call) {
    const Lanes<T> a = lanes<T>(call.a), b = lanes<T>(call.b);
    bool both = false, only_b = false;
    for (unsigned n = 0; n < a.size(); ++n) {
        both |= a[n] < 0 && b[n] < 0;
        only_b |= a[n] >= 0 && b[n] < 0;
    }
    call.result = {(both ? 0u : kZF) | (only_b ? 0u : kCF), 0};
}

/// Eight lanes of a v256.
using Eight = std::array<U32, 8>;
Eight eight(const Value& low, const Value& high) {
    return std::bit_cast<Eight>(std::array<Value, 2>{low, high});
}

}  // namespace

void v_join(VectorCall&) {}
void v_low(VectorCall&) {}
void v_high(VectorCall&) {}

void pbroadcastb(VectorCall& call) { broadcast<U8>(call); }
void pbroadcastw(VectorCall& call) { broadcast<U16>(call); }
void pbroadcastd(VectorCall& call) { broadcast<U32>(call); }
void pbroadcastq(VectorCall& call) { broadcast<U64>(call); }

void permilps(VectorCall& call) {
    const Lanes<U32> a = lanes<U32>(call.a), b = lanes<U32>(call.b);
    call.result = from_lanes<U32>({a[b[0] & 3], a[b[1] & 3], a[b[2] & 3], a[b[3] & 3]});
}
void permilpd(VectorCall& call) {
    const Lanes<U64> a = lanes<U64>(call.a), b = lanes<U64>(call.b);
    call.result = from_lanes<U64>({a[b[0] >> 1 & 1], a[b[1] >> 1 & 1]});
}
void permilpd_imm(VectorCall& call) {
    const Lanes<U64> a = lanes<U64>(call.a);
    call.result = from_lanes<U64>({a[call.inst.imm & 1], a[call.inst.imm >> 1 & 1]});
}
void pblendd(VectorCall& call) { blendps(call); }

void psllvd(VectorCall& call) { shift_each<U32>(call, left<U32>); }
void psllvq(VectorCall& call) { shift_each<U64>(call, left<U64>); }
void psrlvd(VectorCall& call) { shift_each<U32>(call, right<U32>); }
void psrlvq(VectorCall& call) { shift_each<U64>(call, right<U64>); }
void psravd(VectorCall& call) {
    shift_each<U32>(call, [](U32 a, U32 n) { return static_cast<U32>(static_cast<I32>(a) >> std::min(n, 31u)); });
}

void testps(VectorCall& call) { test_signs<I32>(call); }
void testpd(VectorCall& call) { test_signs<std::int64_t>(call); }

void permd(VectorCall& call) {
    const Eight index = eight(call.a, call.a_upper), from = eight(call.b, call.b_upper);
    Eight r;
    for (unsigned n = 0; n < r.size(); ++n)
        r[n] = from[index[n] & 7];
    const auto halves = std::bit_cast<std::array<Value, 2>>(r);
    call.result = halves[0];
    call.result_upper = halves[1];
}
void permq(VectorCall& call) {
    const std::array<U64, 4> from{call.a.low, call.a.high, call.a_upper.low, call.a_upper.high};
    const auto pick = [&](unsigned n) { return from[call.inst.imm >> (2 * n) & 3]; };
    call.result = {pick(0), pick(1)};
    call.result_upper = {pick(2), pick(3)};
}
void perm2i128(VectorCall& call) {
    const std::array<Value, 4> from{call.a, call.a_upper, call.b, call.b_upper};
    const auto pick = [&](U64 control) { return (control & 8) != 0 ? Value{} : from[control & 3]; };
    call.result = pick(call.inst.imm);
    call.result_upper = pick(call.inst.imm >> 4);
}

// asm volatile: the MXCSR that these read and write is no operand the compiler knows of.
void cvtph2ps(VectorCall& call) {
    __m128 r;
    asm volatile("vcvtph2ps %1, %0" : "=x"(r) : "x"(std::bit_cast<__m128>(call.a)));
    call.result = std::bit_cast<Value>(r);
}
void cvtps2ph(VectorCall& call) {
    const auto half = [&](const Value& v) {
        const auto a = std::bit_cast<__m128>(v);
        __m128 r;
        switch (call.inst.imm & 7) {
            case 0: asm volatile("vcvtps2ph $0, %1, %0" : "=x"(r) : "x"(a)); break;
            case 1: asm volatile("vcvtps2ph $1, %1, %0" : "=x"(r) : "x"(a)); break;
            case 2: asm volatile("vcvtps2ph $2, %1, %0" : "=x"(r) : "x"(a)); break;
            case 3: asm volatile("vcvtps2ph $3, %1, %0" : "=x"(r) : "x"(a)); break;
            default: asm volatile("vcvtps2ph $4, %1, %0" : "=x"(r) : "x"(a)); break;
        }
        return std::bit_cast<Value>(r).low;
    };
    // Whether there is an upper half at all: not by type, which is that of the result.
    call.result = {half(call.a), 0};
    if (call.wide)
        call.result.high = half(call.a_upper);
}

#define RHEA_IR_VFMA(name, vex, flags, meaning)                                                \
    void name(VectorCall& call) {                                                              \
        __m128 r = std::bit_cast<__m128>(call.a);                                              \
        asm volatile(#vex " %2, %1, %0"                                                        \
                     : "+x"(r)                                                                 \
                     : "x"(std::bit_cast<__m128>(call.b)), "x"(std::bit_cast<__m128>(call.c))); \
        call.result = std::bit_cast<Value>(r);                                                 \
    }
#include "rhea/tcg/vector_fma_ops.def"

}  // namespace rows
}  // namespace rhea::tcg::interp
