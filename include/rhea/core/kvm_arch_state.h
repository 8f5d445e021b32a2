// What KVM's run loop needs of a guest architecture: registers to and from KVM, CPUID, printing, saving.
//
// Implemented in target/<arch>/kvm, held by accel/kvm. All calls come from the vCPU's thread or while it is outside KVM_RUN.
#pragma once
#include "rhea/core/archive.h"
#include "rhea/core/boot_state.h"
#include "rhea/core/local_apic_port.h"
#include "rhea/util/result.h"

#include <cstdint>
#include <string>

namespace rhea::core {

class KvmArchState {
public:
    virtual ~KvmArchState() = default;

    /// Once a vCPU: tells KVM what the CPU is (CPUID). `system_fd` is /dev/kvm.
    virtual util::Result<void> setup(int system_fd, int vcpu_fd) = 0;
    /// All registers to KVM, in the order that KVM wants; with an in-kernel local APIC its MP state too.
    virtual util::Result<void> put(int vcpu_fd) = 0;
    virtual util::Result<void> get(int vcpu_fd) = 0;

    virtual void reset() = 0;
    virtual void set_boot_state(const X86BootState &state) = 0;
    virtual void serialize(Archive &archive) = 0;
    virtual std::string describe_registers() const = 0;
    /// Waits for an interrupt (HLT): kept by the run loop when the local APIC is not in the kernel.
    virtual bool halted() const = 0;
    virtual void set_halted(bool halted) = 0;
    /// INIT and start-up messages (kRequestInit, kRequestSipi) of a local APIC outside the kernel; `apic` is told of INIT and has the
    /// start-up vector. All registers as after get() or put().
    virtual void take_startup(std::uint32_t requests, LocalApicPort *apic) = 0;
    /// Has had INIT (or is no boot processor), and no start-up message since.
    virtual bool waits_for_startup() const = 0;
    /// Linear address of the next instruction, as of the last get().
    virtual std::uint64_t pc() const = 0;
};

} // namespace rhea::core
