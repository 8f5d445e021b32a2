// The local APIC of one CPU: xAPIC registers in memory, x2APIC registers as MSRs.
//
// Invariants: `pending_` says at any time whether acknowledge() would give a vector, and the CPU's
// kRequestIntr request equals it. Threading: LocalApicPort is called from the CPU's thread and
// takes the machine lock itself; interrupt_pending(), cr8(), apic_base() and sipi_vector() are
// lock-free. Everything else runs under the machine lock.
// Source: SDM vol. 3, chapter 11 (APIC).
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

#include "hw/intc/apic_timer.h"
#include "hw/intc/isa_pic.h"
#include "hw/intc/msi.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/kernel_irqchip.h"
#include "rhea/core/local_apic_port.h"
#include "rhea/core/vcpu.h"

namespace rhea::hw {

class ApicBus;

class LocalApic final : public core::Device, public core::LocalApicPort, public core::IrqSink {
  public:
    struct Config {
        std::uint32_t id = 0;         ///< initial APIC ID
        unsigned cpu = 0;             ///< index of the vCPU
        bool bootstrap = false;       ///< IA32_APIC_BASE.BSP
        bool x2apic = true;           ///< the CPU model has x2APIC
        unsigned physical_bits = 40;  ///< MAXPHYADDR
        /// The APIC is there, and the object only stands for it: it gets no messages, is connected to
        /// no CPU, and exchanges state. Null: it is here.
        core::KernelIrqchip* kernel = nullptr;
    };

    /// Attaches itself to `bus`. `ext_int` answers ExtINT acknowledges; may be null.
    LocalApic(ApicBus& bus, core::Clocks& clocks, InterruptAcknowledge* ext_int, Config config);
    ~LocalApic() override;

    /// The CPU that this APIC belongs to: connects both ways; before the machine first runs. A CPU
    /// without a TSC port has no TSC-deadline mode here.
    void connect(core::Vcpu& vcpu);

    /// Local interrupt pins: 0 is LINT0, 1 is LINT1.
    void set_irq(int input, bool level) override;

    // LocalApicPort: from the CPU's thread.
    int acknowledge() override;
    [[nodiscard]] bool interrupt_pending() const override {
        return pending_.load(std::memory_order_acquire);
    }
    [[nodiscard]] std::uint8_t cr8() const override {
        return static_cast<std::uint8_t>(tpr_.load(std::memory_order_relaxed) >> 4);
    }
    void set_cr8(std::uint8_t value) override;
    [[nodiscard]] std::uint64_t apic_base() const override {
        return apic_base_.load(std::memory_order_relaxed);
    }
    bool set_apic_base(std::uint64_t value) override;
    bool x2apic_read(std::uint32_t msr, std::uint64_t& value) override;
    bool x2apic_write(std::uint32_t msr, std::uint64_t value) override;
    [[nodiscard]] std::uint64_t tsc_deadline() const override;
    void set_tsc_deadline(std::uint64_t tsc) override;
    void init_reset() override;
    [[nodiscard]] std::uint8_t sipi_vector() const override {
        return sipi_vector_.load(std::memory_order_relaxed);
    }

    // For the bus.
    [[nodiscard]] bool matches(const InterruptMessage& message) const;
    /// False: not accepted (disabled, or an illegal vector).
    bool receive(const InterruptMessage& message);
    [[nodiscard]] bool accepts_fixed() const;
    [[nodiscard]] std::uint8_t processor_priority() const;
    std::uint32_t mmio_read(core::hwaddr offset);
    void mmio_write(core::hwaddr offset, std::uint32_t value);

    [[nodiscard]] std::string_view type() const override { return "apic"; }
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    friend struct ApicRegisters;  ///< the register table (local_apic_registers.cc)

    enum Lvt : unsigned { kTimer, kThermal, kPerformance, kLint0, kLint1, kError, kLvtCount };
    using Bits256 = std::array<std::uint32_t, 8>;

    [[nodiscard]] bool enabled() const;
    [[nodiscard]] bool x2apic_mode() const;
    [[nodiscard]] std::uint32_t logical_id() const;
    [[nodiscard]] int deliverable_vector() const;
    [[nodiscard]] bool ext_int_pending() const;
    void reset_registers();
    /// To be called after every change of state that bears on delivery.
    void update();
    bool accept_fixed(std::uint8_t vector, bool level_triggered);
    void request(std::uint32_t bits);
    void raise_error(std::uint32_t bit);
    void raise_local(Lvt entry);
    void end_of_interrupt();
    void write_lvt(Lvt entry, std::uint32_t value);
    void write_icr(std::uint32_t high, std::uint32_t low);
    void write_spurious(std::uint32_t value);
    void self_interrupt(std::uint8_t vector);
    void fetch();
    void hand_over();

    ApicBus& bus_;
    InterruptAcknowledge* ext_int_;
    Config config_;
    core::Vcpu* vcpu_ = nullptr;
    ApicTimer timer_;

    std::atomic<bool> pending_{false};
    std::atomic<std::uint8_t> tpr_{0};
    std::atomic<std::uint64_t> apic_base_{0};
    std::atomic<std::uint8_t> sipi_vector_{0};

    Bits256 irr_{}, isr_{}, tmr_{};
    std::uint32_t ldr_ = 0;
    std::uint32_t dfr_ = 0;
    std::uint32_t svr_ = 0;
    std::uint32_t esr_ = 0;          ///< as read
    std::uint32_t esr_pending_ = 0;  ///< gathered since the last write of ESR
    std::uint32_t icr_low_ = 0, icr_high_ = 0;
    std::array<std::uint32_t, kLvtCount> lvt_{};
    std::array<bool, 2> lint_level_{};
    bool ext_int_message_ = false;  ///< an ExtINT arrived as a message (I/O APIC pin 0)
};

}  // namespace rhea::hw
