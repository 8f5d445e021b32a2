// Which vCPUs may store to a page of RAM by a pointer or TLB entry that they keep: bits of RamBlock::page_flags beside kPageHasCode.
//
// The translator marks a page (kPageHasCode) before it makes a block of it, takes these bits, and has those vCPUs forget what they
// keep. A vCPU claims the page before it keeps anything. Any thread; claims by the vCPU's own.
#pragma once
#include "rhea/core/memory.h"

#include <atomic>
#include <cstdint>

namespace rhea::core {

inline constexpr std::uint8_t kPageWriters = 0xfe;
/// One bit for every seventh vCPU.
constexpr std::uint8_t page_writer_bit(unsigned vcpu) { return static_cast<std::uint8_t>(2u << vcpu % 7); }

/// The vCPU is about to store by pointer; false: the page holds code, it must not.
inline bool claim_page(RamBlock &block, ram_addr_t offset, unsigned vcpu) {
    std::atomic<std::uint8_t> &flags = block.page_flags(offset);
    std::uint8_t before = flags.load(std::memory_order_acquire);
    // Seen together: either we see the mark, or whoever marks the page sees our bit.
    if (!(before & (page_writer_bit(vcpu) | RamBlock::kPageHasCode)))
        before = flags.fetch_or(page_writer_bit(vcpu), std::memory_order_seq_cst);
    return !(before & RamBlock::kPageHasCode);
}

} // namespace rhea::core
