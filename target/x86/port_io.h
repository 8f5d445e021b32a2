// Permission of port accesses (SDM vol. 1, 19.5).
#pragma once
#include "cpu.h"
#include "fault.h"

namespace rhea::target::x86 {

/// Throws #GP(0) when neither IOPL nor the TSS's bitmap allows the ports.
void check_io_permission(Cpu& cpu, std::uint16_t port, unsigned size);

std::uint64_t read_port(Cpu& cpu, std::uint16_t port, unsigned size);
void write_port(Cpu& cpu, std::uint16_t port, std::uint64_t value, unsigned size);

}  // namespace rhea::target::x86
