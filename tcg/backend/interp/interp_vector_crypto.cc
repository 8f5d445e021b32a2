// The rows of vector_crypto_ops.def, portable: AES (FIPS 197), SHA-1 and SHA-256 (FIPS 180-4), GF(2^8); what of them an
// instruction does is in the SDM, volume 2.
#include <bit>

#include "tcg/backend/interp/interp_vector.h"

namespace rhea::tcg::interp::rows {
namespace {

using U8 = std::uint8_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;
using Bytes = Lanes<U8>;
using Words = Lanes<U32>;

constexpr U8 multiply(U8 a, U8 b) {
    unsigned product = 0, factor = a;
    for (unsigned n = 0; n < 8; ++n) {
        product ^= (b >> n) & 1 ? factor : 0;
        factor = factor << 1 ^ (factor & 0x80 ? 0x11b : 0);
    }
    return static_cast<U8>(product);
}

/// The inverse in GF(2^8): the 254th power; 0 for 0.
constexpr U8 inverse(U8 a) {
    U8 power = a, result = 1;
    for (unsigned n = 1; n < 8; ++n) {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    return result;
}

constexpr std::array<U8, 256> make_inverses() {
    std::array<U8, 256> table{};
    for (unsigned n = 0; n < 256; ++n)
        table[n] = inverse(static_cast<U8>(n));
    return table;
}
constexpr std::array<U8, 256> kInverses = make_inverses();

constexpr std::array<U8, 256> make_sbox() {
    std::array<U8, 256> table{};
    for (unsigned n = 0; n < 256; ++n) {
        const U8 x = kInverses[n];
        table[n] = static_cast<U8>(x ^ std::rotl(x, 1) ^ std::rotl(x, 2) ^ std::rotl(x, 3) ^ std::rotl(x, 4) ^ 0x63);
    }
    return table;
}
constexpr std::array<U8, 256> kSbox = make_sbox();

constexpr std::array<U8, 256> make_inverse_sbox() {
    std::array<U8, 256> table{};
    for (unsigned n = 0; n < 256; ++n)
        table[kSbox[n]] = static_cast<U8>(n);
    return table;
}
constexpr std::array<U8, 256> kInverseSbox = make_inverse_sbox();

/// Byte r + 4c of the state is row r, column c. Row r moves by r columns: left, or right when `back`.
Bytes shift_rows(const Bytes& s, bool back) {
    Bytes r;
    for (unsigned n = 0; n < 16; ++n) {
        const unsigned row = n & 3, by = back ? 16 - 4 * row : 4 * row;
        r[n] = s[(n + by) & 15];
    }
    return r;
}
Bytes substitute(Bytes s, const std::array<U8, 256>& box) {
    for (U8& byte : s)
        byte = box[byte];
    return s;
}
/// Each column times the circulant matrix whose first row is `f`.
Bytes mix_columns(const Bytes& s, const std::array<U8, 4>& f) {
    Bytes r;
    for (unsigned n = 0; n < 16; ++n) {
        const unsigned column = n & ~3u, row = n & 3;
        U8 sum = 0;
        for (unsigned k = 0; k < 4; ++k)
            sum ^= multiply(s[column + k], f[(k - row) & 3]);
        r[n] = sum;
    }
    return r;
}
constexpr std::array<U8, 4> kMix = {2, 3, 1, 1}, kInverseMix = {14, 11, 13, 9};

void add_key(VectorCall& call, const Bytes& s) {
    const Value v = from_lanes<U8>(s);
    call.result = {v.low ^ call.b.low, v.high ^ call.b.high};
}
Bytes encrypt(const VectorCall& call) { return substitute(shift_rows(lanes<U8>(call.a), false), kSbox); }
Bytes decrypt(const VectorCall& call) { return substitute(shift_rows(lanes<U8>(call.a), true), kInverseSbox); }

U32 substitute_word(U32 word) {
    U32 r = 0;
    for (unsigned n = 0; n < 32; n += 8)
        r |= U32{kSbox[(word >> n) & 0xff]} << n;
    return r;
}

void affine(VectorCall& call, bool inverted) {
    const Bytes a = lanes<U8>(call.a), matrix = lanes<U8>(call.b);
    Bytes r;
    for (unsigned n = 0; n < 16; ++n) {
        const U8 x = inverted ? kInverses[a[n]] : a[n];
        unsigned bits = 0;
        for (unsigned i = 0; i < 8; ++i) {
            const auto row = static_cast<U8>(matrix[(n & 8) + 7 - i] & x);
            bits |= static_cast<unsigned>(std::popcount(row) & 1) << i;
        }
        r[n] = static_cast<U8>(bits ^ call.inst.imm);
    }
    call.result = from_lanes<U8>(r);
}

U32 choose(U32 x, U32 y, U32 z) { return (x & y) ^ (~x & z); }
U32 majority(U32 x, U32 y, U32 z) { return (x & y) ^ (x & z) ^ (y & z); }
U32 sigma0(U32 x) { return std::rotr(x, 7) ^ std::rotr(x, 18) ^ x >> 3; }
U32 sigma1(U32 x) { return std::rotr(x, 17) ^ std::rotr(x, 19) ^ x >> 10; }
U32 big_sigma0(U32 x) { return std::rotr(x, 2) ^ std::rotr(x, 13) ^ std::rotr(x, 22); }
U32 big_sigma1(U32 x) { return std::rotr(x, 6) ^ std::rotr(x, 11) ^ std::rotr(x, 25); }

}  // namespace

void aesenc(VectorCall& call) { add_key(call, mix_columns(encrypt(call), kMix)); }
void aesenclast(VectorCall& call) { add_key(call, encrypt(call)); }
void aesdec(VectorCall& call) { add_key(call, mix_columns(decrypt(call), kInverseMix)); }
void aesdeclast(VectorCall& call) { add_key(call, decrypt(call)); }
void aesimc(VectorCall& call) { call.result = from_lanes<U8>(mix_columns(lanes<U8>(call.a), kInverseMix)); }
void aeskeygenassist(VectorCall& call) {
    const Words a = lanes<U32>(call.a);
    const U32 one = substitute_word(a[1]), three = substitute_word(a[3]), constant = call.inst.imm & 0xff;
    call.result = from_lanes<U32>({one, std::rotr(one, 8) ^ constant, three, std::rotr(three, 8) ^ constant});
}

void pclmulqdq(VectorCall& call) {
    const U64 x = lanes<U64>(call.a)[call.inst.imm & 1], y = lanes<U64>(call.b)[(call.inst.imm >> 4) & 1];
    Value r;
    for (unsigned n = 0; n < 64; ++n) {
        if ((y >> n) & 1) {
            r.low ^= x << n;
            r.high ^= n != 0 ? x >> (64 - n) : 0;
        }
    }
    call.result = r;
}

void gf2p8mulb(VectorCall& call) {
    const Bytes a = lanes<U8>(call.a), b = lanes<U8>(call.b);
    Bytes r;
    for (unsigned n = 0; n < 16; ++n)
        r[n] = multiply(a[n], b[n]);
    call.result = from_lanes<U8>(r);
}
void gf2p8affineqb(VectorCall& call) { affine(call, false); }
void gf2p8affineinvqb(VectorCall& call) { affine(call, true); }

// SHA: the SDM numbers words from the top of a register; here lane 3 is its first.
void sha1nexte(VectorCall& call) {
    Words r = lanes<U32>(call.b);
    r[3] += std::rotl(lanes<U32>(call.a)[3], 30);
    call.result = from_lanes<U32>(r);
}
void sha1msg1(VectorCall& call) {
    const Words a = lanes<U32>(call.a), b = lanes<U32>(call.b);
    call.result = from_lanes<U32>({b[2] ^ a[0], b[3] ^ a[1], a[0] ^ a[2], a[1] ^ a[3]});
}
void sha1msg2(VectorCall& call) {
    const Words a = lanes<U32>(call.a), b = lanes<U32>(call.b);
    Words r;
    r[3] = std::rotl(a[3] ^ b[2], 1);
    r[2] = std::rotl(a[2] ^ b[1], 1);
    r[1] = std::rotl(a[1] ^ b[0], 1);
    r[0] = std::rotl(a[0] ^ r[3], 1);
    call.result = from_lanes<U32>(r);
}
void sha1rnds4(VectorCall& call) {
    constexpr U32 kConstants[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    const unsigned function = call.inst.imm & 3;
    const Words in = lanes<U32>(call.a), w = lanes<U32>(call.b);
    U32 a = in[3], b = in[2], c = in[1], d = in[0], e = 0; // E is in the first word already
    for (unsigned n = 0; n < 4; ++n) {
        const U32 f = function == 0 ? choose(b, c, d) : function == 2 ? majority(b, c, d) : b ^ c ^ d;
        const U32 next = f + std::rotl(a, 5) + w[3 - n] + e + kConstants[function];
        e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
    }
    call.result = from_lanes<U32>({d, c, b, a});
}
void sha256msg1(VectorCall& call) {
    const Words a = lanes<U32>(call.a), b = lanes<U32>(call.b);
    call.result = from_lanes<U32>({a[0] + sigma0(a[1]), a[1] + sigma0(a[2]), a[2] + sigma0(a[3]), a[3] + sigma0(b[0])});
}
void sha256msg2(VectorCall& call) {
    const Words a = lanes<U32>(call.a), b = lanes<U32>(call.b);
    Words r;
    r[0] = a[0] + sigma1(b[2]);
    r[1] = a[1] + sigma1(b[3]);
    r[2] = a[2] + sigma1(r[0]);
    r[3] = a[3] + sigma1(r[1]);
    call.result = from_lanes<U32>(r);
}
void sha256rnds2(VectorCall& call) {
    const Words x = lanes<U32>(call.a), y = lanes<U32>(call.b), wk = lanes<U32>(call.c);
    U32 a = y[3], b = y[2], c = x[3], d = x[2], e = y[1], f = y[0], g = x[1], h = x[0];
    for (unsigned n = 0; n < 2; ++n) {
        const U32 first = choose(e, f, g) + big_sigma1(e) + wk[n] + h;
        const U32 second = majority(a, b, c) + big_sigma0(a);
        h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
    }
    call.result = from_lanes<U32>({f, e, b, a});
}

}  // namespace rhea::tcg::interp::rows
