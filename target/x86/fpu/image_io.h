// Blocks of up to a page between helpers and guest memory, with the privilege of the current instruction.
// Throws Fault; nothing is written when it does. vCPU thread only.
#pragma once
#include "target/x86/cpu.h"

#include <cstddef>
#include <cstdint>

namespace rhea::target::x86 {

void read_image(Cpu &cpu, std::uint64_t linear, std::uint8_t *to, std::size_t size);
void write_image(Cpu &cpu, std::uint64_t linear, const std::uint8_t *from, std::size_t size);

} // namespace rhea::target::x86
