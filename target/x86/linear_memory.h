// Memory as helpers see it: linear addresses, read and written as a given privilege.
//
// Throws Fault (#PF, #GP or #SS) before anything has changed. Hits the software TLB of the current
// window where the privilege is the window's own, else a cache of its own; stores to pages that
// hold translated code and to devices go through the AddressSpace, which tells the translator. vCPU
// thread only.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cpu.h"
#include "fault.h"

namespace rhea::target::x86 {

/// Where a linear address leads.
struct LinearTarget {
    std::uint8_t* host = nullptr;  ///< RAM that may be accessed by pointer up to the page's end;
                                   ///< null: go through the AddressSpace
    core::hwaddr physical = 0;
    std::size_t length = 0;  ///< bytes to the end of the page
    std::uint64_t watched = ~0ull;  ///< the linear address where the page has a data breakpoint: host is null then

    /// Is it a hit, throws what starts the instruction again. Loads and stores do this too.
    void check(Cpu& cpu, unsigned size, bool write) const {
        if (watched != ~0ull)
            check_watched(cpu, watched, size, write);
    }
};

/// Where the present window's software TLB has the page, and the access stays within it; else null. The access has the
/// window's own privilege, as most helpers' have.
inline const std::uint8_t* window_read_pointer(const CpuState& state, std::uint64_t linear,
                                               unsigned size) {
    const std::uint64_t window = state.cold.window;
    const unsigned index = tcg::tlb_index(linear);
    const auto* tags = reinterpret_cast<const std::uint64_t*>(window + tcg::kReadTagOffset);
    if (linear - tags[index] > core::kPageSize - size)
        return nullptr;
    const auto* addends = reinterpret_cast<const std::uint64_t*>(window + tcg::kAddendOffset);
    return reinterpret_cast<const std::uint8_t*>(linear + addends[index]);
}

/// Resolves without throwing; false: `fault` says why.
bool try_resolve(Cpu& cpu, std::uint64_t linear, tcg::Access access, As as, LinearTarget& out,
                 Fault& fault);
/// Resolves or throws; a non-canonical address throws `not_canonical` with error code 0.
LinearTarget resolve(Cpu& cpu, std::uint64_t linear, tcg::Access access, As as,
                     Vector not_canonical = kVectorGP);

std::uint64_t read_linear(Cpu& cpu, std::uint64_t linear, unsigned size, As as,
                          Vector not_canonical = kVectorGP);
void write_linear(Cpu& cpu, std::uint64_t linear, std::uint64_t value, unsigned size, As as,
                  Vector not_canonical = kVectorGP);
/// Faults as a store of `size` bytes would, but is none for data breakpoints.
void check_writable_linear(Cpu& cpu, std::uint64_t linear, std::size_t size, As as,
                           Vector not_canonical = kVectorGP);
/// Before a store in pieces: faults, and stops at a data breakpoint, as one of `size` bytes would.
void probe_write_linear(Cpu& cpu, std::uint64_t linear, std::size_t size, As as,
                        Vector not_canonical = kVectorGP);

/// Loads and stores of 1, 2, 4 or 8 bytes at a resolved place that does not cross its page.
std::uint64_t load_target(Cpu& cpu, const LinearTarget& target, unsigned size);
void store_target(Cpu& cpu, const LinearTarget& target, std::uint64_t value, unsigned size);

// Physical memory, little endian, for SMM state and page tables.
std::uint64_t read_physical(Cpu& cpu, core::hwaddr physical, unsigned size);
void write_physical(Cpu& cpu, core::hwaddr physical, std::uint64_t value, unsigned size);

}  // namespace rhea::target::x86
