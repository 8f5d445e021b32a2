// PCMPISTRI and its three relatives (SDM volume 2, 4.1), portable.
#include <algorithm>

#include "rhea/tcg/types.h"
#include "tcg/backend/interp/interp_vector.h"

namespace rhea::tcg::interp::rows {
namespace {

constexpr std::uint64_t kWords = 1, kSigned = 2, kNegative = 0x10, kMasked = 0x20, kHighest = 0x40;

/// Two strings of up to 16 elements, as the control byte says.
struct Strings {
    std::uint64_t imm;
    unsigned count;                ///< elements of a register
    unsigned length_a, length_b;
    std::array<int, 16> a, b;
};

std::array<int, 16> elements(const Value& v, std::uint64_t imm) {
    std::array<int, 16> out{};
    for (unsigned n = 0; n < ((imm & kWords) != 0 ? 8u : 16u); ++n) {
        switch (imm & (kWords | kSigned)) {
        case 0: out[n] = lanes<std::uint8_t>(v)[n]; break;
        case kWords: out[n] = lanes<std::uint16_t>(v)[n]; break;
        case kSigned: out[n] = lanes<std::int8_t>(v)[n]; break;
        default: out[n] = lanes<std::int16_t>(v)[n]; break;
        }
    }
    return out;
}

unsigned implicit_length(const std::array<int, 16>& text, unsigned count) {
    return static_cast<unsigned>(std::find(text.begin(), text.begin() + count, 0) - text.begin());
}
unsigned explicit_length(std::uint64_t value, unsigned count) {
    const auto length = static_cast<std::int32_t>(value);
    const std::uint32_t size = length < 0 ? 0u - static_cast<std::uint32_t>(length) : static_cast<std::uint32_t>(length);
    return std::min(size, count);
}

Strings strings_of(const VectorCall& call, bool with_lengths) {
    const std::uint64_t imm = call.inst.imm & 0xff;
    Strings s{imm, (imm & kWords) != 0 ? 8u : 16u, 0, 0, elements(call.a, imm), elements(call.b, imm)};
    s.length_a = with_lengths ? explicit_length(call.c.low, s.count) : implicit_length(s.a, s.count);
    s.length_b = with_lengths ? explicit_length(call.c.low >> 32, s.count) : implicit_length(s.b, s.count);
    return s;
}

/// Bit i of the result before polarity: what element i of b is found to be.
bool found(const Strings& s, unsigned i) {
    const bool valid_b = i < s.length_b;
    switch ((s.imm >> 2) & 3) {
    case 0: // equal any
        return valid_b && std::find(s.a.begin(), s.a.begin() + s.length_a, s.b[i]) != s.a.begin() + s.length_a;
    case 1: // ranges
        for (unsigned j = 0; valid_b && j + 1 < s.length_a; j += 2) {
            if (s.a[j] <= s.b[i] && s.b[i] <= s.a[j + 1])
                return true;
        }
        return false;
    case 2: // equal each
        return valid_b == (i < s.length_a) && (!valid_b || s.a[i] == s.b[i]);
    default: // equal ordered
        for (unsigned j = 0; i + j < s.count && j < s.length_a; ++j) {
            if (i + j >= s.length_b || s.a[j] != s.b[i + j])
                return false;
        }
        return true;
    }
}

std::uint32_t matches(const Strings& s) {
    std::uint32_t bits = 0;
    for (unsigned i = 0; i < s.count; ++i)
        bits |= (found(s, i) ? 1u : 0u) << i;
    const std::uint32_t all = (1u << s.count) - 1, valid = (1u << s.length_b) - 1;
    if ((s.imm & kNegative) != 0)
        bits ^= (s.imm & kMasked) != 0 ? valid : all;
    return bits & all;
}

Value index_and_flags(const Strings& s) {
    const std::uint32_t bits = matches(s);
    std::uint64_t index = s.count;
    if (bits != 0)
        index = static_cast<std::uint64_t>((s.imm & kHighest) != 0 ? std::bit_width(bits) - 1 : std::countr_zero(bits));
    const std::uint64_t flags = (bits != 0 ? kCF : 0u) | (s.length_b < s.count ? kZF : 0u) |
                                (s.length_a < s.count ? kSF : 0u) | ((bits & 1) != 0 ? kOF : 0u);
    return {index | flags << 32, 0};
}

Value mask(const Strings& s) {
    const std::uint32_t bits = matches(s);
    if ((s.imm & kHighest) == 0)
        return {bits, 0};
    Lanes<std::uint8_t> r;
    const unsigned size = 16 / s.count;
    for (unsigned n = 0; n < 16; ++n)
        r[n] = (bits >> (n / size)) & 1 ? 0xff : 0;
    return from_lanes<std::uint8_t>(r);
}

}  // namespace

void pcmpistri(VectorCall& call) { call.result = index_and_flags(strings_of(call, false)); }
void pcmpestri(VectorCall& call) { call.result = index_and_flags(strings_of(call, true)); }
void pcmpistrm(VectorCall& call) { call.result = mask(strings_of(call, false)); }
void pcmpestrm(VectorCall& call) { call.result = mask(strings_of(call, true)); }

}  // namespace rhea::tcg::interp::rows
