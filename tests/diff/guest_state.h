// What a translated CPU needs to run user code as the host kernel runs it: registers, descriptors, the CPU's model.
#pragma once
#include "rhea/target/x86/cpu_model.h"
#include "rhea/target/x86/state.h"
#include "tests/diff/snapshot.h"

namespace rhea::target::x86::diff {

/// Linear addresses in the guest's memory. Each is a page.
struct GuestTables {
    std::uint64_t pml4, gdt, ldt;
};

/// User segments: the host kernel's, and those of 16 bits in the LDT.
inline constexpr std::uint16_t kUserCode64 = 0x33, kUserCode32 = 0x23, kUserData = 0x2b, kUserCode16 = 0x0f, kUserData16 = 0x17;
/// Ring 0's code segment in the descriptor table that write_descriptors() makes.
inline constexpr std::uint16_t kKernelCode = 0x10;

/// "max" for the translator. Throws when there is none.
CpuModel translator_model();
/// The descriptors that a Linux process has, with those of the 16-bit segments, which the native side makes too.
void write_descriptors(std::uint8_t *gdt, std::uint8_t *ldt);
/// 64-bit long mode, CPL 3, in the code segment of `size`. All of the user's registers are those of `before`.
void set_guest_state(CpuState &state, const Snapshot &before, CodeSize size, const GuestTables &tables);
FloatState get_float_state(const CpuState &state);
/// What the host shows of an exception, as a signal.
Ending ending_of_vector(unsigned vector);

} // namespace rhea::target::x86::diff
