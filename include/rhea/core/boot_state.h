// Registers that a kernel loader puts in place instead of the reset state (direct kernel boot).
#pragma once
#include <cstdint>

namespace rhea::core {

/// x86 entry state of the PVH and Linux 64-bit boot protocols. Flat segments; the descriptors are in the hidden parts, and
/// a GDT that holds the same ones lies at gdt_base in guest memory when gdt_limit is not 0.
struct X86BootState {
    enum class Mode : std::uint8_t {
        kProtected32, ///< CR0.PE, paging off, CS 32-bit (PVH)
        kLong64,      ///< paging on with page tables at cr3, CS 64-bit (Linux 64-bit protocol)
    };
    Mode mode = Mode::kProtected32;
    std::uint64_t rip = 0, rsp = 0;
    std::uint64_t rbx = 0, rsi = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t gdt_base = 0;
    std::uint16_t gdt_limit = 0;
    std::uint16_t cs_selector = 0x10, data_selector = 0x18, tss_selector = 0x20;
};

} // namespace rhea::core
