#include "target/x86/tsc_anchor.h"

#include "target/x86/cpu.h"

#include <cpuid.h>

#include <algorithm>

namespace rhea::target::x86 {
namespace {

constexpr std::uint64_t kSpanNs = 250'000, kShortestBaseNs = 20'000'000;
/// A look at the clock that took longer was interrupted.
constexpr std::uint64_t kMostTicksALook = 4096;
/// The rate is taken lower by 1 / 8192, and is not believed where a later one differs by 1 / 1024.
constexpr unsigned kLowerBits = 13, kDoubtBits = 10;

std::uint64_t host_tsc() { return __builtin_ia32_rdtsc(); }

/// CPUID 80000007H, EDX bit 8: the counter has the same rate in all states of the host's CPU.
bool host_tsc_is_constant() {
    static const bool constant = [] {
        unsigned a, b, c, d;
        return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & 0x100) != 0;
    }();
    return constant;
}

std::uint64_t scaled(std::uint64_t ticks, std::uint64_t scale) {
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(ticks) * scale >> TscAnchor::kScaleBits);
}

void start_measuring(TscAnchor &anchor, std::uint64_t host, std::uint64_t guest) {
    anchor = {};
    anchor.base_host = host;
    anchor.base_guest = guest;
}

/// The rate since the base, when that was long ago; false: not known.
bool measure(TscAnchor &anchor, std::uint64_t host, std::uint64_t guest) {
    const std::uint64_t ticks = host - anchor.base_host, ns = guest - anchor.base_guest;
    constexpr std::uint64_t kTooLong = 1ull << 62;
    if (anchor.base_host == 0 || ticks > kTooLong || ns > kTooLong) {
        start_measuring(anchor, host, guest);
        return false;
    }
    if (ns < kShortestBaseNs)
        return false;
    const auto rate = static_cast<std::uint64_t>((static_cast<unsigned __int128>(ns) << TscAnchor::kScaleBits) / ticks);
    const std::uint64_t lower = rate - (rate >> kLowerBits);
    const std::uint64_t difference = lower > anchor.scale ? lower - anchor.scale : anchor.scale - lower;
    // A host counts between 2^-6 and 2^6 ticks a nanosecond. What does not is not the time of this host.
    constexpr unsigned kRange = 6;
    if (rate >> (TscAnchor::kScaleBits - kRange) == 0 || rate >> (TscAnchor::kScaleBits + kRange) != 0 ||
        (anchor.scale != 0 && difference > anchor.scale >> kDoubtBits)) {
        start_measuring(anchor, host, guest);
        return false;
    }
    anchor.scale = lower;
    return true;
}

} // namespace

std::uint64_t read_tsc(Cpu &cpu) {
    if (!host_tsc_is_constant() || cpu.model.topology.count() > 1)
        return cpu.tsc();
    TscAnchor &anchor = cpu.s.tsc_anchor;
    const std::uint64_t before = host_tsc();
    std::uint64_t guest = cpu.tsc();
    const std::uint64_t took = host_tsc() - before;
    if (cpu.s.tsc_offset != anchor.offset) {
        start_measuring(anchor, before, guest);
        anchor.offset = cpu.s.tsc_offset;
        return guest;
    }
    if (anchor.span != 0) { // never back behind what a quick look may have said
        const std::uint64_t said = anchor.guest + scaled(std::min(before - anchor.host, anchor.span), anchor.scale);
        if (said - guest < kSpanNs)
            guest = said;
    }
    if (took > kMostTicksALook)
        return guest;
    const std::uint64_t host = before + took / 2;
    anchor.span = 0;
    if (!measure(anchor, host, guest)) {
        anchor.offset = cpu.s.tsc_offset;
        return guest;
    }
    anchor.host = host;
    anchor.guest = guest;
    anchor.span = (static_cast<std::uint64_t>(kSpanNs) << TscAnchor::kScaleBits) / anchor.scale;
    return guest;
}

} // namespace rhea::target::x86
