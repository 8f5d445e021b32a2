// The KVM accelerator.
#pragma once
#include "rhea/core/accelerator.h"
#include "rhea/core/clock.h"
#include "rhea/core/kvm_arch_state.h"

#include <functional>
#include <memory>
#include <string>

namespace rhea::accel {

/// kernel-irqchip=on|off|split.
enum class KernelIrqchip : std::uint8_t { kOff, kOn, kSplit };

struct KvmOptions {
    KernelIrqchip irqchip = KernelIrqchip::kOn;
    std::string device = "/dev/kvm";
};

using KvmArchFactory = std::function<std::unique_ptr<core::KvmArchState>(unsigned index, const core::Clocks &clocks)>;

/// Opens KVM and makes a VM; an error names the device, the reason and the way out.
util::Result<std::unique_ptr<core::Accelerator>> make_kvm_accelerator(const KvmOptions &options, KvmArchFactory make_arch);

/// Times a short guest loop: host nanoseconds per loop iteration, each one instruction or two. Hardware needs well under 2; a software KVM
/// hundreds. Used by `-accel auto`.
util::Result<double> measure_kvm_speed(const std::string &device = "/dev/kvm");

} // namespace rhea::accel
