// The largest executable section of an ELF file: real code for tests and benchmarks.
#pragma once
#include <cstdint>
#include <vector>

namespace rhea::target::x86::test {

/// Empty when the file is no 64-bit ELF with code.
std::vector<std::uint8_t> elf_text(const char *path);

} // namespace rhea::target::x86::test
