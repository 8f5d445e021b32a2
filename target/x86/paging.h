// The page walk: no paging, 32-bit, PAE and 4-level (SDM vol. 3, chapter 4).
//
// Reads page tables through the memory map, sets accessed and dirty bits by compare-and-swap in
// guest RAM. Page tables in devices or nowhere read as whatever answers there; nothing that a guest
// puts into CR3 can harm the host.
#pragma once
#include <cstdint>

#include "cpu.h"

namespace rhea::target::x86 {

/// Walks for a linear address (canonical, or below 4 GiB outside long mode). False: `error` is the
/// page fault's error code.
bool walk_pages(Cpu& cpu, std::uint64_t linear, tcg::Access access, As as, tcg::Translation& out,
                std::uint32_t& error);

/// Can the address be translated at all (48-bit canonical in long mode; everything else is
/// truncated)?
bool is_canonical(const Cpu& cpu, std::uint64_t linear);
/// Does an access of `size` bytes get as far as the check of its alignment? What is not canonical, or is beyond 4 GiB of a flat
/// segment, is #GP or #SS before.
inline bool alignment_is_looked_at(const Cpu& cpu, std::uint64_t linear, unsigned size) {
    return cpu.code64() ? is_canonical(cpu, linear) : linear + size <= 0x1'0000'0000;
}
constexpr bool is_canonical48(std::uint64_t linear) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << 16) >> 16) == linear;
}

/// Loads the four PDPTEs that CR3 points at (PAE paging outside long mode). False: a reserved bit
/// is set (#GP).
bool load_pdptes(Cpu& cpu, std::uint64_t cr3);

/// Bits of a page table entry beyond the model's physical address width (below bit 52).
std::uint64_t reserved_address_bits(const Cpu& cpu);

}  // namespace rhea::target::x86
