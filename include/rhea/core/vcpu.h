// The vCPU contract: what the machine and the run loop know of a virtual CPU, whatever executes it.
//
// One host thread runs each vCPU: it calls run() until told to stop. run() executes guest code and
// comes back with a typed exit. Interrupt requests may come from any thread: they set bits and kick.
#pragma once
#include "rhea/core/archive.h"
#include "rhea/core/boot_state.h"
#include "rhea/core/local_apic_port.h"
#include "rhea/core/types.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace rhea::core {

/// Reasons for which run() comes back.
namespace vcpu_exit {
struct Interrupted {};                 ///< kicked: look at requests and call again
struct Halted {};                      ///< HLT with interrupts possible: wait for a wake-up
struct Shutdown {};                    ///< triple fault
struct Reset {};                       ///< the guest asked for a reset through the CPU
struct Debug { std::uint64_t pc = 0; }; ///< breakpoint or single step of a debugger
struct InternalError { std::string text; }; ///< the accelerator cannot go on: registers and bytes in text
} // namespace vcpu_exit
using VcpuExit = std::variant<vcpu_exit::Interrupted, vcpu_exit::Halted, vcpu_exit::Shutdown, vcpu_exit::Reset,
                              vcpu_exit::Debug, vcpu_exit::InternalError>;

/// Interrupt request bits of a vCPU (level-like: the source clears what it set).
enum VcpuRequest : std::uint32_t {
    kRequestIntr = 1u << 0,  ///< the interrupt controller has a maskable interrupt to deliver
    kRequestNmi = 1u << 1,
    kRequestSmi = 1u << 2,
    kRequestInit = 1u << 3,
    kRequestSipi = 1u << 4,
    kRequestExit = 1u << 5,  ///< leave run() with Interrupted (stop, snapshot, state access)
    kRequestTlbFlush = 1u << 6,
    kRequestA20 = 1u << 7,
};

class Vcpu {
public:
    virtual ~Vcpu() = default;
    unsigned index() const { return index_; }

    /// The vCPU whose guest code the calling thread runs; null in other threads. Devices that each CPU
    /// sees as its own (the local APIC's page) ask it. An accelerator sets it when a vCPU's thread
    /// starts.
    static Vcpu *current() { return current_; }
    static void set_current(Vcpu *vcpu) { current_ = vcpu; }

    /// Executes guest code until there is something to report. Only in the vCPU's own thread, without
    /// the machine lock.
    virtual VcpuExit run() = 0;

    /// Sets request bits and makes run() notice soon; ends with wake(). Any thread.
    virtual void request(std::uint32_t bits) = 0;
    virtual void clear_request(std::uint32_t bits) = 0;
    /// May a halted vCPU go on (an enabled interrupt, NMI, … is pending)? Called in the vCPU's own thread.
    virtual bool has_work() = 0;
    /// Whom request() tells, so that a thread that waits because run() said Halted looks again. Set by the run loop before the
    /// thread starts.
    void set_waker(std::function<void()> waker) { waker_ = std::move(waker); }

    // The following only while the vCPU is not inside run().

    /// Power-on reset state (SDM vol. 3, table 10-1 "Processor states following power-up, reset or INIT").
    virtual void reset() = 0;
    /// Pending PIO/MMIO completed, registers readable (KVM: immediate_exit re-entry, KVM_GET_*).
    virtual void synchronize() = 0;
    /// All architectural state, in a form that does not depend on the accelerator.
    virtual void serialize(Archive &archive) = 0;
    /// Connects the interrupt controller; before the first run().
    virtual void connect_apic(LocalApicPort *apic) = 0;
    /// This CPU's TSC, for its local APIC's deadline timer; null when the accelerator keeps the timer itself.
    virtual TscPort *tsc_port() = 0;
    /// Replaces the reset state for a direct kernel boot; after reset().
    virtual void set_boot_state(const X86BootState &state) = 0;
    /// The physical address of a linear one by the present page tables, for debuggers: raises nothing.
    /// While the vCPU is not inside run().
    virtual std::optional<std::uint64_t> debug_translate(std::uint64_t) { return std::nullopt; }
    /// As `info registers` prints it.
    virtual std::string describe_registers() = 0;

protected:
    explicit Vcpu(unsigned index) : index_(index) {}
    void wake() const {
        if (waker_)
            waker_();
    }

private:
    std::function<void()> waker_;
    static inline constinit thread_local Vcpu *current_ = nullptr;
    unsigned index_;
};

} // namespace rhea::core
