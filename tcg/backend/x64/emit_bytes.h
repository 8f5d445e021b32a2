// Little things that the assembler's parts share: unaligned stores and range tests.
#pragma once
#include <cstdint>
#include <cstring>

namespace rhea::tcg::x64 {

inline std::uint8_t* store16(std::uint8_t* p, std::uint16_t value) {
    std::memcpy(p, &value, sizeof(value));
    return p + sizeof(value);
}
inline std::uint8_t* store32(std::uint8_t* p, std::uint32_t value) {
    std::memcpy(p, &value, sizeof(value));
    return p + sizeof(value);
}
inline std::uint8_t* store64(std::uint8_t* p, std::uint64_t value) {
    std::memcpy(p, &value, sizeof(value));
    return p + sizeof(value);
}

constexpr bool fits8(std::int64_t value) {
    return value == static_cast<std::int8_t>(value);
}
constexpr bool fits32(std::int64_t value) {
    return value == static_cast<std::int32_t>(value);
}

/// Does a byte operand in this register need a REX prefix (spl, bpl, sil, dil)?
constexpr bool byte_needs_rex(unsigned size, unsigned reg) {
    return size == 1 && reg >= 4;
}

/// The opcode for operands wider than a byte is the byte form's plus 1.
constexpr std::uint32_t sized(std::uint32_t op, unsigned size) {
    return op | (size != 1 ? 1u : 0u);
}

}  // namespace rhea::tcg::x64
