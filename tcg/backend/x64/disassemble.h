// Host code as text, for -d out_asm and golden tests. Loads capstone when first used; without it, hex bytes.
// Any thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace rhea::tcg::x64 {

/// One instruction a line: offset, bytes are left out, mnemonic and operands (Intel syntax).
std::string disassemble(const std::uint8_t *code, std::size_t size);

} // namespace rhea::tcg::x64
