// The x86 side of KVM: registers to and from the kernel, CPUID.
#pragma once
#include "rhea/core/clock.h"
#include "rhea/core/kvm_arch_state.h"
#include "rhea/target/x86/cpu_model.h"

#include <memory>

namespace rhea::target::x86 {

/// What this host's KVM can show to a guest. Fails when `device` cannot be opened. `in_kernel_apic`: x2APIC and the TSC deadline need
/// the local APIC there, since KVM handles their MSRs itself.
util::Result<CpuAvailability> kvm_availability(const std::string &device = "/dev/kvm", bool in_kernel_apic = true);

/// One vCPU's registers for accel/kvm. `in_kernel_apic`: MP state is the kernel's to keep. `clocks` is the time that the TSC is kept
/// relative to, so that a saved guest finds its TSC where it was.
std::unique_ptr<core::KvmArchState> make_kvm_state(const CpuModel &model, unsigned index, bool in_kernel_apic,
                                                   const core::Clocks &clocks);

} // namespace rhea::target::x86
