#include "watch.h"

#include <utility>

#include "cpu.h"
#include "fault.h"

namespace rhea::target::x86 {
namespace {

enum Type : unsigned { kExecute, kWrite, kPort, kAccess };

unsigned type_of(std::uint64_t dr7, unsigned n) { return (dr7 >> (16 + n * 4)) & 3; }

/// LEN: 1, 2, 8 or 4 bytes, of which DRn has the first one; lower bits do not count.
std::uint64_t length_of(std::uint64_t dr7, unsigned n) {
    constexpr std::uint8_t kLengths[] = {1, 2, 8, 4};
    return kLengths[(dr7 >> (18 + n * 4)) & 3];
}

/// Bits of DR6 for what an access hits.
std::uint8_t hits_of(const std::array<Watch::Range, 4>& ranges, unsigned count, std::uint64_t first,
                     unsigned size, bool write) {
    std::uint8_t hits = 0;
    for (unsigned n = 0; n < count; ++n) {
        const Watch::Range& range = ranges[n];
        const bool overlaps = first <= range.last && first + (size - 1) >= range.first;
        if (overlaps && (write || range.reads))
            hits |= range.dr6;
    }
    return hits;
}

bool note(Cpu& cpu, std::uint8_t hits) {
    if (hits == 0)
        return true;
    if (cpu.watch.noting)
        cpu.watch.hits |= hits;
    return cpu.watch.noting;
}

}  // namespace

void update_watch(Cpu& cpu) {
    const CpuState& s = cpu.s;
    const std::uint64_t dr7 = s.dr[7];
    Watch& watch = cpu.watch;
    Watch fresh;
    for (unsigned n = 0; n < 4; ++n) {
        const unsigned type = type_of(dr7, n);
        if (((dr7 >> (n * 2)) & 3) == 0 || type == kExecute)
            continue;
        const std::uint64_t length = length_of(dr7, n), first = s.dr[n] & ~(length - 1);
        const Watch::Range range{first, first + length - 1, static_cast<std::uint8_t>(1u << n), type == kAccess};
        if (type != kPort)
            fresh.data[fresh.data_count++] = range;
        else if (s.cr4 & kCr4DE)
            fresh.ports[fresh.port_count++] = range;
    }
    const bool same = fresh.data == watch.data && fresh.data_count == watch.data_count;
    watch.data = fresh.data;
    watch.ports = fresh.ports;
    watch.data_count = fresh.data_count;
    watch.port_count = fresh.port_count;
    if (!same) {
        cpu.linear_cache.clear();
        cpu.host.watching(watch.data_count != 0);
    }
}

bool watched_page(const Watch& watch, std::uint64_t linear) {
    for (unsigned n = 0; n < watch.data_count; ++n)
        if (((watch.data[n].first ^ linear) & core::kPageMask) == 0)
            return true;
    return false;
}

bool access_watched(Cpu& cpu, std::uint64_t linear, unsigned size, bool write) {
    if (note(cpu, hits_of(cpu.watch.data, cpu.watch.data_count, linear, size, write)))
        return true;
    cpu.s.head.exception_pending = tcg::kRestartSingle;
    return false;
}

void check_watched(Cpu& cpu, std::uint64_t linear, unsigned size, bool write) {
    if (!note(cpu, hits_of(cpu.watch.data, cpu.watch.data_count, linear, size, write)))
        throw Fault{kRestart, 0, 0};
}

void check_watched_port(Cpu& cpu, std::uint16_t port, unsigned size) {
    // An input is as much a hit as an output.
    if (!note(cpu, hits_of(cpu.watch.ports, cpu.watch.port_count, port, size, true)))
        throw Fault{kRestart, 0, 0};
}

void begin_noting(Cpu& cpu) {
    cpu.watch.noting = true;
    cpu.watch.hits = 0;
    cpu.watch.pc = cpu.s.head.pc;
}

void end_noting(Cpu& cpu) {
    CpuState& s = cpu.s;
    cpu.watch.noting = false;
    const std::uint8_t hits = std::exchange(cpu.watch.hits, std::uint8_t{0});
    if (hits == 0)
        return;
    if (s.head.exception_pending == 0) {
        raise(s, Fault{kVectorDB, 0, hits});
        s.exception_resumes = s.head.pc == cpu.watch.pc; // between two elements
    }
    else if (s.head.exception_pending == 1 && s.exception_vector == kVectorDB)
        s.exception_dr6 |= hits;
}

}  // namespace rhea::target::x86
