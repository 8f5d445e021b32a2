// An accelerator executes guest code: KVM or the translator.
#pragma once
#include "rhea/core/clock.h"
#include "rhea/core/irq.h"
#include "rhea/core/kernel_irqchip.h"
#include "rhea/core/memory.h"
#include "rhea/core/vcpu.h"
#include "rhea/util/result.h"

#include <memory>
#include <string>
#include <string_view>

namespace rhea::core {

class MachineRequests;

class Accelerator {
public:
    virtual ~Accelerator() = default;
    virtual std::string_view name() const = 0; ///< "kvm", "tcg"

    /// Connects to the machine's memory and I/O maps. Called once, after the machine's regions exist and
    /// before vCPUs are made.
    virtual util::Result<void> attach(AddressSpace &memory, AddressSpace &io) = 0;

    /// Makes a vCPU of the CPU model that the accelerator was made with; after attach().
    virtual util::Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned index, Clocks &clocks, MachineRequests &requests) = 0;

    /// Interrupt controllers that live in the kernel: the sink of GSI lines 0 to 23. Null: the machine brings its own
    /// 8259s, I/O APIC and PIT.
    virtual IrqSink *kernel_interrupts() { return nullptr; }
    /// Chips in the kernel: all of them (then kernel_interrupts() is there too), or only local APICs. Null: none.
    virtual KernelIrqchip *kernel_irqchip() { return nullptr; }

    /// `info kvm`, `info jit`: counters for people; empty when the accelerator has none by that name.
    virtual std::string describe(std::string_view what) const = 0;
};

} // namespace rhea::core
