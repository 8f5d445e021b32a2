// What translated code says of an x87 instruction to its helper: plain packed value.
#pragma once
#include <cstdint>

namespace rhea::target::x86 {

struct X87Info {
    std::uint16_t opcode = 0;   ///< as FOP has it: low three bits of the first byte, then ModRM; 11 bits
    std::uint8_t segment = 0;   ///< Seg of the memory operand
    bool memory = false;
    std::uint16_t high = 0;     ///< bits 79:64 of an 80-bit memory operand

    constexpr std::uint64_t pack() const {
        return opcode | std::uint64_t{segment} << 16 | std::uint64_t{memory} << 24 | std::uint64_t{high} << 32;
    }
    static constexpr X87Info unpack(std::uint64_t v) {
        return {static_cast<std::uint16_t>(v & 0x7ff), static_cast<std::uint8_t>((v >> 16) & 7), ((v >> 24) & 1) != 0,
                static_cast<std::uint16_t>(v >> 32)};
    }
    static constexpr unsigned kHighShift = 32;
};

} // namespace rhea::target::x86
