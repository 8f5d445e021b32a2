// Integer vector rows, portable. Lane operations as in the SDM, volume 2.
#include "tcg/backend/interp/interp_vector.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace rhea::tcg::interp::rows {
namespace {

using U8 = std::uint8_t;
using U16 = std::uint16_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;
using I8 = std::int8_t;
using I16 = std::int16_t;
using I32 = std::int32_t;
using I64 = std::int64_t;

/// r[n] = op(a[n], b[n]) for lanes of T.
template <class T, class F>
void by_lane(VectorCall& call, F op) {
    const Lanes<T> a = lanes<T>(call.a), b = lanes<T>(call.b);
    Lanes<T> r;
    for (unsigned n = 0; n < r.size(); ++n)
        r[n] = static_cast<T>(op(a[n], b[n]));
    call.result = from_lanes<T>(r);
}

template <class T>
T saturate(I32 value) {
    return static_cast<T>(std::clamp<I32>(value, std::numeric_limits<T>::min(),
                                          std::numeric_limits<T>::max()));
}
template <class T>
void add_saturating(VectorCall& call) {
    by_lane<T>(call, [](T a, T b) { return saturate<T>(I32{a} + I32{b}); });
}
template <class T>
void sub_saturating(VectorCall& call) {
    by_lane<T>(call, [](T a, T b) { return saturate<T>(I32{a} - I32{b}); });
}
template <class T>
void average(VectorCall& call) {
    by_lane<T>(call, [](T a, T b) { return (U32{a} + U32{b} + 1) >> 1; });
}
template <class T>
void equal(VectorCall& call) {
    by_lane<T>(call, [](T a, T b) { return a == b ? -1 : 0; });
}
template <class T>
void greater(VectorCall& call) {
    by_lane<T>(call, [](T a, T b) { return a > b ? -1 : 0; });
}

template <class T, bool kHigh>
void interleave(VectorCall& call) {
    const Lanes<T> a = lanes<T>(call.a), b = lanes<T>(call.b);
    Lanes<T> r;
    const unsigned half = static_cast<unsigned>(r.size() / 2), from = kHigh ? half : 0;
    for (unsigned n = 0; n < half; ++n) {
        r[2 * n] = a[from + n];
        r[2 * n + 1] = b[from + n];
    }
    call.result = from_lanes<T>(r);
}

template <class From, class To>
void pack(VectorCall& call) {
    const Lanes<From> a = lanes<From>(call.a), b = lanes<From>(call.b);
    Lanes<To> r;
    for (unsigned n = 0; n < a.size(); ++n) {
        r[n] = saturate<To>(a[n]);
        r[a.size() + n] = saturate<To>(b[n]);
    }
    call.result = from_lanes<To>(r);
}

/// Lane n of the result from first, then `half` on from second, two bits (or one) of imm a lane.
template <class T>
void shuffle(VectorCall& call, const Value& first, const Value& second, unsigned from = 0, unsigned count = 0) {
    const Lanes<T> a = lanes<T>(first), b = lanes<T>(second);
    constexpr unsigned kSize = sizeof(T) == 8 ? 2 : 4;
    constexpr unsigned kBits = kSize / 2;
    Lanes<T> r = a;
    const unsigned lanes_done = count == 0 ? kSize : count;
    for (unsigned n = 0; n < lanes_done; ++n) {
        const unsigned pick = static_cast<unsigned>(call.inst.imm >> (n * kBits)) & (kSize - 1);
        r[from + n] = n < kSize / 2 ? a[from + pick] : b[from + pick];
    }
    call.result = from_lanes<T>(r);
}

template <class T>
void blend(VectorCall& call) {
    const Lanes<T> a = lanes<T>(call.a), b = lanes<T>(call.b);
    Lanes<T> r;
    for (unsigned n = 0; n < r.size(); ++n)
        r[n] = (call.inst.imm >> n) & 1 ? b[n] : a[n];
    call.result = from_lanes<T>(r);
}

enum class Shift { kLeft, kRight, kArithmetic };

template <class T, Shift kShift>
void shift_by(VectorCall& call, U64 count) {
    constexpr unsigned kWidth = 8 * sizeof(T);
    const unsigned n = static_cast<unsigned>(std::min<U64>(count, kWidth));
    call.b = {};
    by_lane<T>(call, [n](T a, T) -> T {
        if constexpr (kShift == Shift::kArithmetic) {
            return static_cast<T>(static_cast<std::make_signed_t<T>>(a) >> std::min(n, kWidth - 1));
        } else if (n >= kWidth) {
            return 0;
        } else if constexpr (kShift == Shift::kLeft) {
            return static_cast<T>(U64{a} << n);
        } else {
            return static_cast<T>(a >> n);
        }
    });
}

template <class T>
U32 sign_bits(const Value& value) {
    const Lanes<T> a = lanes<T>(value);
    U32 bits = 0;
    for (unsigned n = 0; n < a.size(); ++n)
        bits |= (a[n] < 0 ? 1u : 0u) << n;
    return bits;
}

template <class F>
void by_half(VectorCall& call, F op) {
    call.result = {op(call.a.low, call.b.low), op(call.a.high, call.b.high)};
}
U64 and_bits(U64 a, U64 b) { return a & b; }
U64 or_bits(U64 a, U64 b) { return a | b; }
U64 xor_bits(U64 a, U64 b) { return a ^ b; }
U64 and_not_bits(U64 a, U64 b) { return ~a & b; }

}  // namespace

void v_zero(VectorCall& call) { call.result = {}; }
void v_from_i32(VectorCall& call) { call.result = {call.a.low & 0xffffffffu, 0}; }
void v_from_i64(VectorCall& call) { call.result = {call.a.low, 0}; }
void v_to_i32(VectorCall& call) { call.result = {call.a.low & 0xffffffffu, 0}; }
void v_to_i64(VectorCall& call) { call.result = {call.a.low, 0}; }

void movq_v(VectorCall& call) { call.result = {call.a.low, 0}; }
void movhlps(VectorCall& call) { call.result = {call.b.high, call.a.high}; }
void blendps(VectorCall& call) { blend<U32>(call); }
void blendpd(VectorCall& call) { blend<U64>(call); }
void pshufd(VectorCall& call) { shuffle<U32>(call, call.a, call.a); }
void pshufhw(VectorCall& call) { shuffle<U16>(call, call.a, call.a, 4, 4); }
void pshuflw(VectorCall& call) { shuffle<U16>(call, call.a, call.a, 0, 4); }
void shufps(VectorCall& call) { shuffle<U32>(call, call.a, call.b); }
void shufpd(VectorCall& call) { shuffle<U64>(call, call.a, call.b); }
void unpcklps(VectorCall& call) { interleave<U32, false>(call); }
void unpckhps(VectorCall& call) { interleave<U32, true>(call); }
void unpcklpd(VectorCall& call) { interleave<U64, false>(call); }
void unpckhpd(VectorCall& call) { interleave<U64, true>(call); }
void punpcklbw(VectorCall& call) { interleave<U8, false>(call); }
void punpcklwd(VectorCall& call) { interleave<U16, false>(call); }
void punpckldq(VectorCall& call) { interleave<U32, false>(call); }
void punpcklqdq(VectorCall& call) { interleave<U64, false>(call); }
void punpckhbw(VectorCall& call) { interleave<U8, true>(call); }
void punpckhwd(VectorCall& call) { interleave<U16, true>(call); }
void punpckhdq(VectorCall& call) { interleave<U32, true>(call); }
void punpckhqdq(VectorCall& call) { interleave<U64, true>(call); }
void packsswb(VectorCall& call) { pack<I16, I8>(call); }
void packssdw(VectorCall& call) { pack<I32, I16>(call); }
void packuswb(VectorCall& call) { pack<I16, U8>(call); }

void pinsrw(VectorCall& call) {
    Lanes<U16> r = lanes<U16>(call.a);
    r[call.inst.imm & 7] = static_cast<U16>(call.b.low);
    call.result = from_lanes<U16>(r);
}
void pextrw(VectorCall& call) { call.result = {lanes<U16>(call.a)[call.inst.imm & 7], 0}; }
void pextrq(VectorCall& call) { call.result = {lanes<U64>(call.a)[call.inst.imm & 1], 0}; }
void pmovmskb(VectorCall& call) { call.result = {sign_bits<I8>(call.a), 0}; }
void movmskps(VectorCall& call) { call.result = {sign_bits<I32>(call.a), 0}; }
void movmskpd(VectorCall& call) { call.result = {sign_bits<I64>(call.a), 0}; }

void pand(VectorCall& call) { by_half(call, and_bits); }
void por(VectorCall& call) { by_half(call, or_bits); }
void pxor(VectorCall& call) { by_half(call, xor_bits); }
void pandn(VectorCall& call) { by_half(call, and_not_bits); }
void andps(VectorCall& call) { by_half(call, and_bits); }
void orps(VectorCall& call) { by_half(call, or_bits); }
void xorps(VectorCall& call) { by_half(call, xor_bits); }
void andnps(VectorCall& call) { by_half(call, and_not_bits); }

void paddb(VectorCall& call) { by_lane<U8>(call, [](U8 a, U8 b) { return a + b; }); }
void paddw(VectorCall& call) { by_lane<U16>(call, [](U16 a, U16 b) { return a + b; }); }
void paddd(VectorCall& call) { by_lane<U32>(call, [](U32 a, U32 b) { return a + b; }); }
void paddq(VectorCall& call) { by_lane<U64>(call, [](U64 a, U64 b) { return a + b; }); }
void psubb(VectorCall& call) { by_lane<U8>(call, [](U8 a, U8 b) { return a - b; }); }
void psubw(VectorCall& call) { by_lane<U16>(call, [](U16 a, U16 b) { return a - b; }); }
void psubd(VectorCall& call) { by_lane<U32>(call, [](U32 a, U32 b) { return a - b; }); }
void psubq(VectorCall& call) { by_lane<U64>(call, [](U64 a, U64 b) { return a - b; }); }
void paddsb(VectorCall& call) { add_saturating<I8>(call); }
void paddsw(VectorCall& call) { add_saturating<I16>(call); }
void paddusb(VectorCall& call) { add_saturating<U8>(call); }
void paddusw(VectorCall& call) { add_saturating<U16>(call); }
void psubsb(VectorCall& call) { sub_saturating<I8>(call); }
void psubsw(VectorCall& call) { sub_saturating<I16>(call); }
void psubusb(VectorCall& call) { sub_saturating<U8>(call); }
void psubusw(VectorCall& call) { sub_saturating<U16>(call); }
void pminub(VectorCall& call) { by_lane<U8>(call, [](U8 a, U8 b) { return std::min(a, b); }); }
void pmaxub(VectorCall& call) { by_lane<U8>(call, [](U8 a, U8 b) { return std::max(a, b); }); }
void pminsw(VectorCall& call) { by_lane<I16>(call, [](I16 a, I16 b) { return std::min(a, b); }); }
void pmaxsw(VectorCall& call) { by_lane<I16>(call, [](I16 a, I16 b) { return std::max(a, b); }); }
void pavgb(VectorCall& call) { average<U8>(call); }
void pavgw(VectorCall& call) { average<U16>(call); }
void pcmpeqb(VectorCall& call) { equal<I8>(call); }
void pcmpeqw(VectorCall& call) { equal<I16>(call); }
void pcmpeqd(VectorCall& call) { equal<I32>(call); }
void pcmpgtb(VectorCall& call) { greater<I8>(call); }
void pcmpgtw(VectorCall& call) { greater<I16>(call); }
void pcmpgtd(VectorCall& call) { greater<I32>(call); }
void pmullw(VectorCall& call) {
    by_lane<I16>(call, [](I16 a, I16 b) { return I32{a} * I32{b}; });
}
void pmulhw(VectorCall& call) {
    by_lane<I16>(call, [](I16 a, I16 b) { return (I32{a} * I32{b}) >> 16; });
}
void pmulhuw(VectorCall& call) {
    by_lane<U16>(call, [](U16 a, U16 b) { return (U32{a} * U32{b}) >> 16; });
}
void pmuludq(VectorCall& call) {
    by_half(call, [](U64 a, U64 b) { return (a & 0xffffffffu) * (b & 0xffffffffu); });
}
void pmaddwd(VectorCall& call) {
    const Lanes<I16> a = lanes<I16>(call.a), b = lanes<I16>(call.b);
    Lanes<U32> r;
    for (unsigned n = 0; n < r.size(); ++n) {
        const auto product = [&](unsigned i) { return static_cast<U32>(I32{a[i]} * I32{b[i]}); };
        r[n] = product(2 * n) + product(2 * n + 1);
    }
    call.result = from_lanes<U32>(r);
}
void psadbw(VectorCall& call) {
    const Lanes<U8> a = lanes<U8>(call.a), b = lanes<U8>(call.b);
    const auto sum = [&](unsigned from) {
        U64 total = 0;
        for (unsigned n = from; n < from + 8; ++n)
            total += static_cast<U64>(std::abs(I32{a[n]} - I32{b[n]}));
        return total;
    };
    call.result = {sum(0), sum(8)};
}

void psllw(VectorCall& call) { shift_by<U16, Shift::kLeft>(call, call.b.low); }
void pslld(VectorCall& call) { shift_by<U32, Shift::kLeft>(call, call.b.low); }
void psllq(VectorCall& call) { shift_by<U64, Shift::kLeft>(call, call.b.low); }
void psrlw(VectorCall& call) { shift_by<U16, Shift::kRight>(call, call.b.low); }
void psrld(VectorCall& call) { shift_by<U32, Shift::kRight>(call, call.b.low); }
void psrlq(VectorCall& call) { shift_by<U64, Shift::kRight>(call, call.b.low); }
void psraw(VectorCall& call) { shift_by<U16, Shift::kArithmetic>(call, call.b.low); }
void psrad(VectorCall& call) { shift_by<U32, Shift::kArithmetic>(call, call.b.low); }
void psllw_imm(VectorCall& call) { shift_by<U16, Shift::kLeft>(call, call.inst.imm & 0xff); }
void pslld_imm(VectorCall& call) { shift_by<U32, Shift::kLeft>(call, call.inst.imm & 0xff); }
void psllq_imm(VectorCall& call) { shift_by<U64, Shift::kLeft>(call, call.inst.imm & 0xff); }
void psrlw_imm(VectorCall& call) { shift_by<U16, Shift::kRight>(call, call.inst.imm & 0xff); }
void psrld_imm(VectorCall& call) { shift_by<U32, Shift::kRight>(call, call.inst.imm & 0xff); }
void psrlq_imm(VectorCall& call) { shift_by<U64, Shift::kRight>(call, call.inst.imm & 0xff); }
void psraw_imm(VectorCall& call) { shift_by<U16, Shift::kArithmetic>(call, call.inst.imm & 0xff); }
void psrad_imm(VectorCall& call) { shift_by<U32, Shift::kArithmetic>(call, call.inst.imm & 0xff); }

void pslldq(VectorCall& call) {
    const Lanes<U8> a = lanes<U8>(call.a);
    Lanes<U8> r{};
    for (std::size_t n = call.inst.imm & 0xff; n < r.size(); ++n)
        r[n] = a[n - (call.inst.imm & 0xff)];
    call.result = from_lanes<U8>(r);
}
void psrldq(VectorCall& call) {
    const Lanes<U8> a = lanes<U8>(call.a);
    Lanes<U8> r{};
    for (std::size_t n = 0, from = call.inst.imm & 0xff; n + from < r.size(); ++n)
        r[n] = a[n + from];
    call.result = from_lanes<U8>(r);
}

}  // namespace rhea::tcg::interp::rows
