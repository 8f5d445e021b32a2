// Hardware task switches through 16-bit and 32-bit TSSs (SDM vol. 3, chapter 8).
#pragma once
#include <cstdint>

#include "segment.h"

namespace rhea::target::x86 {

enum class TaskSwitch : std::uint8_t { kJump, kCall, kReturn, kInterrupt };

/// Switches to the task whose TSS descriptor is given (type checked by the caller). `next_ip` is
/// stored in the old TSS as where it goes on. Faults before the switch leave the old task; later
/// ones are in the context of the new one.
void switch_task(Cpu& cpu, std::uint16_t selector, const Descriptor& tss, TaskSwitch why,
                 std::uint64_t next_ip);

/// IRET with NT set: back to the task that the present TSS links to.
void return_from_task(Cpu& cpu, std::uint64_t next_ip);

}  // namespace rhea::target::x86
