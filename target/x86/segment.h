// Segment descriptors: reading, checking and loading them (SDM vol. 3, chapters 3 and 5).
//
// Checks throw Fault before any register has changed. vCPU thread only.
#pragma once
#include <cstdint>

#include "cpu.h"
#include "fault.h"

namespace rhea::target::x86 {

/// A descriptor as it lies in memory; `high` is the second half of a 16-byte system descriptor.
struct Descriptor {
    std::uint64_t low = 0, high = 0;

    unsigned type() const { return (low >> 40) & 15; }
    bool segment() const { return (low >> 44 & 1) != 0; }  ///< the S bit: code or data
    unsigned dpl() const { return (low >> 45) & 3; }
    bool present() const { return (low >> 47 & 1) != 0; }
    bool long_code() const { return (low >> 53 & 1) != 0; }
    bool db() const { return (low >> 54 & 1) != 0; }
    bool code() const { return segment() && (type() & 8) != 0; }
    bool data() const { return segment() && (type() & 8) == 0; }
    bool conforming() const { return code() && (type() & 4) != 0; }
    bool readable() const { return data() || (code() && (type() & 2) != 0); }
    bool writable() const { return data() && (type() & 2) != 0; }

    std::uint16_t attr() const { return static_cast<std::uint16_t>((low >> 40) & 0xf0ff); }
    std::uint32_t base() const {
        return static_cast<std::uint32_t>(((low >> 16) & 0xffffff) | (low >> 56) << 24);
    }
    std::uint64_t base64() const { return base() | high << 32; }
    std::uint32_t limit() const {
        const auto raw = static_cast<std::uint32_t>((low & 0xffff) | ((low >> 32) & 0xf0000));
        return (low >> 55 & 1) != 0 ? raw << 12 | 0xfff : raw;
    }
    // As a gate.
    std::uint16_t gate_selector() const { return static_cast<std::uint16_t>(low >> 16); }
    std::uint32_t gate_offset32() const {
        return static_cast<std::uint32_t>((low & 0xffff) | ((low >> 32) & 0xffff0000));
    }
    std::uint64_t gate_offset64() const { return gate_offset32() | high << 32; }
};

constexpr bool null_selector(std::uint16_t selector) {
    return (selector & ~3u) == 0;
}
constexpr unsigned rpl(std::uint16_t selector) {
    return selector & 3;
}

/// Linear address of a selector's descriptor; false: null table or beyond its limit (`bytes` 8 or
/// 16).
bool descriptor_address(const Cpu& cpu, std::uint16_t selector, unsigned bytes,
                        std::uint64_t& address);
/// Reads a selector's descriptor; false when the selector names none.
bool fetch_descriptor(Cpu& cpu, std::uint16_t selector, Descriptor& out);
/// As fetch_descriptor, with the second half of what in long mode is a 16-byte descriptor.
bool fetch_system_descriptor(Cpu& cpu, std::uint16_t selector, Descriptor& out);
/// Sets the accessed bit in memory and in `descriptor` where it is clear.
void mark_accessed(Cpu& cpu, std::uint16_t selector, Descriptor& descriptor);
/// Sets or clears the busy bit of a TSS descriptor in memory.
void mark_busy(Cpu& cpu, std::uint16_t selector, bool busy);

// Filling a segment register. None of these checks anything.
void install_segment(Cpu& cpu, Seg seg, std::uint16_t selector, const Descriptor& descriptor);
void install_null(Cpu& cpu, Seg seg, std::uint16_t selector);
void install_real(Cpu& cpu, Seg seg, std::uint16_t selector);  ///< real mode and VM86

/// MOV or POP to a segment register other than CS, in any mode.
void load_segment(Cpu& cpu, Seg seg, std::uint16_t selector);

/// May `size` bytes at `offset` be accessed through the segment (limit, type, null)? `protect`:
/// check the type too.
bool segment_allows(const SegmentCache& seg, std::uint32_t offset, unsigned size, bool write,
                    bool protect);

}  // namespace rhea::target::x86
