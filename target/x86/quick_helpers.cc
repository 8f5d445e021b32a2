// String instructions and CMPXCHG16B on pages that the window has; the time stamp counter.
#include "target/x86/quick_helpers.h"

#include "target/x86/cpu.h"
#include "rhea/tcg/backend.h"
#include "target/x86/helper_args.h"
#include "target/x86/tsc_anchor.h"

#include <algorithm>

namespace rhea::target::x86 {
namespace {

constexpr std::uint64_t kPage = 4096;
/// Runs up to this many bytes are done without the host's REP, which takes a while to start.
constexpr std::uint64_t kShort = 64;

/// 64-bit code, forward, more than one element at a time.
bool simple(const CpuState &s, const StringInfo &info) {
    return info.code64 && info.address_size == 8 && !info.one && info.rep != RepKind::kNone && s.df == 1 &&
           info.segment != kFs && info.segment != kGs && (s.cold.mode_word & kModeAlignCheck) == 0;
}

/// Elements from here to the end of the page, at most `wanted`.
std::uint64_t run_length(std::uint64_t linear, unsigned size, std::uint64_t wanted) {
    return std::min((kPage - (linear & (kPage - 1))) / size, wanted);
}

bool stop_wanted(const CpuState &s) { return __atomic_load_n(&s.head.exit_request, __ATOMIC_RELAXED) != 0; }

void fill(std::uint8_t *to, std::uint64_t value, std::uint64_t n, unsigned size) {
    std::uint64_t bytes = n * size;
    if (size == 8 && bytes <= kShort) {
        for (auto *at = reinterpret_cast<volatile GuestQuad *>(to); n != 0; --n)
            (at++)->value = value;
        return;
    }
    if (size == 1)
        asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
    else if (size == 2)
        asm volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    else if (size == 4)
        asm volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(value) : "memory");
    else
        asm volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(value) : "memory");
}

void copy(std::uint8_t *to, const std::uint8_t *from, std::uint64_t n, unsigned size) {
    std::uint64_t bytes = n * size;
    const bool apart = to + bytes <= from || from + bytes <= to;
    if (size == 8 && bytes <= kShort) { // in order: that is what overlapping means
        auto *out = reinterpret_cast<volatile GuestQuad *>(to);
        for (const auto *in = reinterpret_cast<const volatile GuestQuad *>(from); n != 0; --n)
            (out++)->value = (in++)->value;
        return;
    }
    if (size == 1 || apart) // far enough apart, the element size makes no difference
        asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
    else if (size == 2)
        asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    else if (size == 4)
        asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    else
        asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}

tcg::QuickResult quick_rep_stos(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    CpuState &s = *state;
    const StringInfo info = StringInfo::unpack(a);
    if (!simple(s, info))
        return kNotQuick;
    while (const std::uint64_t left = s.gpr[kRcx]) {
        const std::uint64_t n = run_length(s.gpr[kRdi], info.size, left);
        std::uint8_t *to = quick_lookup(s, s.gpr[kRdi], true);
        if (n == 0 || to == nullptr)
            return kNotQuick; // the registers say what is left
        fill(to, s.gpr[kRax], n, info.size);
        s.gpr[kRdi] += n * info.size;
        s.gpr[kRcx] -= n;
        if (s.gpr[kRcx] != 0 && stop_wanted(s))
            return quick_done(1);
    }
    return quick_done();
}

tcg::QuickResult quick_rep_movs(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    CpuState &s = *state;
    const StringInfo info = StringInfo::unpack(a);
    if (!simple(s, info))
        return kNotQuick;
    while (const std::uint64_t left = s.gpr[kRcx]) {
        const std::uint64_t n = run_length(s.gpr[kRdi], info.size, run_length(s.gpr[kRsi], info.size, left));
        const std::uint8_t *from = quick_lookup(s, s.gpr[kRsi], false);
        std::uint8_t *to = quick_lookup(s, s.gpr[kRdi], true);
        if (n == 0 || from == nullptr || to == nullptr)
            return kNotQuick;
        copy(to, from, n, info.size);
        s.gpr[kRsi] += n * info.size;
        s.gpr[kRdi] += n * info.size;
        s.gpr[kRcx] -= n;
        if (s.gpr[kRcx] != 0 && stop_wanted(s))
            return quick_done(1);
    }
    return quick_done();
}

tcg::QuickResult quick_cmpxchg16b(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    CpuState &s = *state;
    std::uint8_t *at = (a & 15) == 0 ? quick_lookup(s, a, true) : nullptr;
    if (at == nullptr)
        return kNotQuick;
    bool equal;
    asm volatile("lock cmpxchg16b %1"
                 : "=@ccz"(equal), "+m"(*reinterpret_cast<unsigned __int128 *>(at)), "+a"(s.gpr[kRax]), "+d"(s.gpr[kRdx])
                 : "b"(s.gpr[kRbx]), "c"(s.gpr[kRcx])
                 : "memory");
    const std::uint32_t flags = tcg::compute_flags(s.head) & ~tcg::kZF;
    tcg::set_raw_flags(s.head, flags | (equal ? tcg::kZF : 0));
    return quick_done();
}

void put_tsc(CpuState &s, std::uint64_t value) {
    s.gpr[kRax] = value & 0xffffffff;
    s.gpr[kRdx] = value >> 32;
}

tcg::QuickResult quick_rdtsc(CpuState *state, std::uint64_t, std::uint64_t, std::uint64_t) {
    std::uint64_t value;
    if ((state->cr4 & kCr4TSD) != 0 || !quick_tsc(*state, value))
        return kNotQuick;
    put_tsc(*state, value);
    return quick_done();
}

tcg::QuickResult quick_rdtscp(CpuState *state, std::uint64_t, std::uint64_t, std::uint64_t) {
    std::uint64_t value;
    if ((state->cr4 & kCr4TSD) != 0 || !quick_tsc(*state, value))
        return kNotQuick;
    put_tsc(*state, value);
    state->gpr[kRcx] = state->tsc_aux & 0xffffffff;
    return quick_done();
}

} // namespace

bool quick_tsc(const CpuState &s, std::uint64_t &value) {
    const TscAnchor &anchor = s.tsc_anchor;
    const std::uint64_t ticks = __builtin_ia32_rdtsc() - anchor.host;
    if (ticks >= anchor.span || anchor.offset != s.tsc_offset)
        return false;
    value = anchor.guest + (ticks * anchor.scale >> TscAnchor::kScaleBits);
    return true;
}

std::span<const QuickHelper> quick_helpers() {
    static constexpr QuickHelper kAll[] = {
        {HelperId::rep_stos, &quick_rep_stos}, {HelperId::rep_movs, &quick_rep_movs}, {HelperId::cmpxchg16b, &quick_cmpxchg16b},
        {HelperId::syscall, &quick_syscall},   {HelperId::sysret, &quick_sysret},     {HelperId::finish_single, &quick_finish_single},
        {HelperId::iret, &quick_iret},         {HelperId::rdtsc, &quick_rdtsc},       {HelperId::rdtscp, &quick_rdtscp},
    };
    return kAll;
}

} // namespace rhea::target::x86
