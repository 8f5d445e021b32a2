// The CPU's side of its interrupt controller: implemented in hw/intc, held by target/x86.
//
// Calls come from the vCPU's thread; the implementation takes the machine lock for itself where it must.
#pragma once
#include <cstdint>

namespace rhea::core {

class LocalApicPort {
public:
    virtual ~LocalApicPort() = default;

    /// The CPU acknowledges a maskable interrupt: the vector to deliver, or -1 when there is none any
    /// more (spurious wake-up). Includes 8259 (ExtINT) delivery.
    virtual int acknowledge() = 0;
    /// Is a maskable interrupt deliverable at the present priority?
    virtual bool interrupt_pending() const = 0;

    /// CR8, bits 3:0 of which are TPR 7:4.
    virtual std::uint8_t cr8() const = 0;
    virtual void set_cr8(std::uint8_t value) = 0;

    /// IA32_APIC_BASE; false: the write raises #GP.
    virtual std::uint64_t apic_base() const = 0;
    virtual bool set_apic_base(std::uint64_t value) = 0;
    /// x2APIC MSRs 0x800..0x8ff; false: #GP.
    virtual bool x2apic_read(std::uint32_t msr, std::uint64_t &value) = 0;
    virtual bool x2apic_write(std::uint32_t msr, std::uint64_t value) = 0;
    /// IA32_TSC_DEADLINE, in TSC ticks; 0 disarms.
    virtual std::uint64_t tsc_deadline() const = 0;
    virtual void set_tsc_deadline(std::uint64_t tsc) = 0;

    /// The CPU received INIT: the APIC's state follows (all but its id and base).
    virtual void init_reset() = 0;
    /// Start-up IPI vector last received.
    virtual std::uint8_t sipi_vector() const = 0;
};

/// Guest TSC conversion, provided by the CPU to its local APIC.
class TscPort {
public:
    virtual ~TscPort() = default;
    virtual std::uint64_t tsc_now() const = 0;
    virtual std::uint64_t tsc_hz() const = 0;
};

} // namespace rhea::core
