// The integer rows of vector_sse4_ops.def, portable. Lane operations as in the SDM, volume 2.
#include <algorithm>
#include <cstdlib>
#include <limits>

#include "rhea/tcg/types.h"
#include "tcg/backend/interp/interp_vector.h"

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

template <class T>
T saturate(I32 value) {
    return static_cast<T>(std::clamp<I32>(value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

template <class T, class F>
void by_lane(VectorCall& call, F op) {
    const Lanes<T> a = lanes<T>(call.a), b = lanes<T>(call.b);
    Lanes<T> r;
    for (unsigned n = 0; n < r.size(); ++n)
        r[n] = static_cast<T>(op(a[n], b[n]));
    call.result = from_lanes<T>(r);
}
template <class T>
void smaller(VectorCall& call) {
    by_lane<T>(call, [](T a, T b) { return std::min(a, b); });
}
template <class T>
void larger(VectorCall& call) {
    by_lane<T>(call, [](T a, T b) { return std::max(a, b); });
}

/// Neighbours of a fill the low half of the result, those of b the upper one.
template <class T, class F>
void horizontal(VectorCall& call, F op) {
    const Lanes<T> a = lanes<T>(call.a), b = lanes<T>(call.b);
    Lanes<T> r;
    const unsigned half = static_cast<unsigned>(r.size() / 2);
    for (unsigned n = 0; n < half; ++n) {
        r[n] = static_cast<T>(op(a[2 * n], a[2 * n + 1]));
        r[half + n] = static_cast<T>(op(b[2 * n], b[2 * n + 1]));
    }
    call.result = from_lanes<T>(r);
}

template <class From, class To>
void widen(VectorCall& call) {
    const Lanes<From> a = lanes<From>(call.a);
    Lanes<To> r;
    for (unsigned n = 0; n < r.size(); ++n)
        r[n] = static_cast<To>(a[n]);
    call.result = from_lanes<To>(r);
}

/// T signed: the sign bit chooses.
template <class T>
void blend_by_sign(VectorCall& call) {
    const Lanes<T> a = lanes<T>(call.a), b = lanes<T>(call.b), c = lanes<T>(call.c);
    Lanes<T> r;
    for (unsigned n = 0; n < r.size(); ++n)
        r[n] = c[n] < 0 ? b[n] : a[n];
    call.result = from_lanes<T>(r);
}

template <class T>
void sign(VectorCall& call) {
    by_lane<T>(call, [](T a, T b) { return b < 0 ? 0u - static_cast<U32>(a) : b == 0 ? 0u : static_cast<U32>(a); });
}

template <class T>
void absolute(VectorCall& call) {
    by_lane<T>(call, [](T a, T) { return a < 0 ? 0u - static_cast<U32>(a) : static_cast<U32>(a); });
}

template <class T>
void insert(VectorCall& call) {
    Lanes<T> r = lanes<T>(call.a);
    r[call.inst.imm & (r.size() - 1)] = static_cast<T>(call.b.low);
    call.result = from_lanes<T>(r);
}
template <class T>
void extract(VectorCall& call) {
    const Lanes<T> a = lanes<T>(call.a);
    call.result = {a[call.inst.imm & (a.size() - 1)], 0};
}

}  // namespace

void movddup(VectorCall& call) { call.result = {call.a.low, call.a.low}; }
void movsldup(VectorCall& call) {
    const Lanes<U32> a = lanes<U32>(call.a);
    call.result = from_lanes<U32>({a[0], a[0], a[2], a[2]});
}
void movshdup(VectorCall& call) {
    const Lanes<U32> a = lanes<U32>(call.a);
    call.result = from_lanes<U32>({a[1], a[1], a[3], a[3]});
}
void pshufb(VectorCall& call) {
    const Lanes<U8> a = lanes<U8>(call.a);
    call.a = call.b;
    by_lane<U8>(call, [&](U8 pick, U8) { return pick & 0x80 ? U8{0} : a[pick & 15]; });
}
void palignr(VectorCall& call) {
    const Lanes<U8> low = lanes<U8>(call.b), high = lanes<U8>(call.a);
    const unsigned by = static_cast<unsigned>(call.inst.imm & 0xff);
    Lanes<U8> r{};
    for (unsigned n = 0; n < 16; ++n) {
        const unsigned from = n + by;
        r[n] = from < 16 ? low[from] : from < 32 ? high[from - 16] : U8{0};
    }
    call.result = from_lanes<U8>(r);
}
void pblendw(VectorCall& call) {
    const Lanes<U16> a = lanes<U16>(call.a), b = lanes<U16>(call.b);
    Lanes<U16> r;
    for (unsigned n = 0; n < r.size(); ++n)
        r[n] = (call.inst.imm >> n) & 1 ? b[n] : a[n];
    call.result = from_lanes<U16>(r);
}
void blendvps(VectorCall& call) { blend_by_sign<I32>(call); }
void blendvpd(VectorCall& call) { blend_by_sign<I64>(call); }
void pblendvb(VectorCall& call) { blend_by_sign<I8>(call); }
void insertps(VectorCall& call) {
    Lanes<U32> r = lanes<U32>(call.a);
    const U64 imm = call.inst.imm;
    r[(imm >> 4) & 3] = lanes<U32>(call.b)[(imm >> 6) & 3];
    for (unsigned n = 0; n < 4; ++n)
        r[n] = (imm >> n) & 1 ? 0 : r[n];
    call.result = from_lanes<U32>(r);
}
void packusdw(VectorCall& call) {
    const Lanes<I32> a = lanes<I32>(call.a), b = lanes<I32>(call.b);
    Lanes<U16> r;
    for (unsigned n = 0; n < 4; ++n) {
        r[n] = saturate<U16>(a[n]);
        r[4 + n] = saturate<U16>(b[n]);
    }
    call.result = from_lanes<U16>(r);
}

void pmovsxbw(VectorCall& call) { widen<I8, I16>(call); }
void pmovsxbd(VectorCall& call) { widen<I8, I32>(call); }
void pmovsxbq(VectorCall& call) { widen<I8, I64>(call); }
void pmovsxwd(VectorCall& call) { widen<I16, I32>(call); }
void pmovsxwq(VectorCall& call) { widen<I16, I64>(call); }
void pmovsxdq(VectorCall& call) { widen<I32, I64>(call); }
void pmovzxbw(VectorCall& call) { widen<U8, U16>(call); }
void pmovzxbd(VectorCall& call) { widen<U8, U32>(call); }
void pmovzxbq(VectorCall& call) { widen<U8, U64>(call); }
void pmovzxwd(VectorCall& call) { widen<U16, U32>(call); }
void pmovzxwq(VectorCall& call) { widen<U16, U64>(call); }
void pmovzxdq(VectorCall& call) { widen<U32, U64>(call); }

void pinsrb(VectorCall& call) { insert<U8>(call); }
void pinsrd(VectorCall& call) { insert<U32>(call); }
void pinsrq(VectorCall& call) { insert<U64>(call); }
void pextrb(VectorCall& call) { extract<U8>(call); }
void pextrd(VectorCall& call) { extract<U32>(call); }
void ptest(VectorCall& call) {
    const bool zero = ((call.a.low & call.b.low) | (call.a.high & call.b.high)) == 0;
    const bool covered = ((~call.a.low & call.b.low) | (~call.a.high & call.b.high)) == 0;
    call.result = {(zero ? kZF : 0u) | (covered ? kCF : 0u), 0};
}

void phaddw(VectorCall& call) {
    horizontal<U16>(call, [](U16 x, U16 y) { return x + y; });
}
void phaddd(VectorCall& call) {
    horizontal<U32>(call, [](U32 x, U32 y) { return x + y; });
}
void phaddsw(VectorCall& call) {
    horizontal<I16>(call, [](I16 x, I16 y) { return saturate<I16>(I32{x} + y); });
}
void phsubw(VectorCall& call) {
    horizontal<U16>(call, [](U16 x, U16 y) { return x - y; });
}
void phsubd(VectorCall& call) {
    horizontal<U32>(call, [](U32 x, U32 y) { return x - y; });
}
void phsubsw(VectorCall& call) {
    horizontal<I16>(call, [](I16 x, I16 y) { return saturate<I16>(I32{x} - y); });
}
void pmaddubsw(VectorCall& call) {
    const Lanes<U8> a = lanes<U8>(call.a);
    const Lanes<I8> b = lanes<I8>(call.b);
    Lanes<I16> r;
    for (unsigned n = 0; n < 8; ++n)
        r[n] = saturate<I16>(I32{a[2 * n]} * b[2 * n] + I32{a[2 * n + 1]} * b[2 * n + 1]);
    call.result = from_lanes<I16>(r);
}
void pmulhrsw(VectorCall& call) {
    by_lane<I16>(call, [](I16 a, I16 b) { return (I32{a} * b + 0x4000) >> 15; });
}
void psignb(VectorCall& call) { sign<I8>(call); }
void psignw(VectorCall& call) { sign<I16>(call); }
void psignd(VectorCall& call) { sign<I32>(call); }
void pabsb(VectorCall& call) { absolute<I8>(call); }
void pabsw(VectorCall& call) { absolute<I16>(call); }
void pabsd(VectorCall& call) { absolute<I32>(call); }
void pmuldq(VectorCall& call) {
    by_lane<U64>(call, [](U64 a, U64 b) {
        return static_cast<U64>(I64{static_cast<I32>(a)} * static_cast<I32>(b));
    });
}
void pmulld(VectorCall& call) {
    by_lane<U32>(call, [](U32 a, U32 b) { return a * b; });
}
void pcmpeqq(VectorCall& call) {
    by_lane<U64>(call, [](U64 a, U64 b) { return a == b ? ~U64{0} : 0; });
}
void pcmpgtq(VectorCall& call) {
    by_lane<I64>(call, [](I64 a, I64 b) { return a > b ? -1 : 0; });
}
void pminsb(VectorCall& call) { smaller<I8>(call); }
void pminsd(VectorCall& call) { smaller<I32>(call); }
void pminuw(VectorCall& call) { smaller<U16>(call); }
void pminud(VectorCall& call) { smaller<U32>(call); }
void pmaxsb(VectorCall& call) { larger<I8>(call); }
void pmaxsd(VectorCall& call) { larger<I32>(call); }
void pmaxuw(VectorCall& call) { larger<U16>(call); }
void pmaxud(VectorCall& call) { larger<U32>(call); }
void phminposuw(VectorCall& call) {
    const Lanes<U16> a = lanes<U16>(call.a);
    const auto least = std::min_element(a.begin(), a.end());
    call.result = {*least | static_cast<U64>(least - a.begin()) << 16, 0};
}
void mpsadbw(VectorCall& call) {
    const Lanes<U8> a = lanes<U8>(call.a), b = lanes<U8>(call.b);
    const unsigned from_a = call.inst.imm & 4, from_b = 4 * (call.inst.imm & 3);
    Lanes<U16> r;
    for (unsigned n = 0; n < 8; ++n) {
        int sum = 0;
        for (unsigned k = 0; k < 4; ++k)
            sum += std::abs(I32{a[from_a + n + k]} - I32{b[from_b + k]});
        r[n] = static_cast<U16>(sum);
    }
    call.result = from_lanes<U16>(r);
}

}  // namespace rhea::tcg::interp::rows
