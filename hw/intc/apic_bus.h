// What joins the local APICs of a machine: interrupt messages, EOI broadcasts, MSI writes, the wire
// from the 8259 pair's INT to every LINT0, and the 0xfee00000 window.
//
// Each CPU sees its own local APIC at the same address; which one an access means follows from
// core::Vcpu::current(). An access from a thread that runs no vCPU (a debugger, a loader) means the
// boot processor's. Under the machine lock.
#pragma once
#include <memory>
#include <vector>

#include "hw/intc/msi.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"

namespace rhea::hw {

class LocalApic;

class ApicBus final : public InterruptMessagePort,
                      public MsiSink,
                      public core::IrqSink,
                      private core::IoHandler {
  public:
    ApicBus();

    /// In the order of vCPU indices; each must outlive the bus's last use.
    void attach(LocalApic& apic) { apics_.push_back(&apic); }
    void detach(LocalApic& apic) { std::erase(apics_, &apic); }
    void add_eoi_listener(EoiListener& listener) { eoi_listeners_.push_back(&listener); }
    /// Places the local APIC and MSI window.
    void map(core::MemoryRegion& memory_root);

    /// The wire that carries the 8259's INT to LINT0 of every local APIC.
    [[nodiscard]] core::IrqLine lint0() { return {*this, 0}; }
    /// The NMI wire: LINT1 of every local APIC.
    [[nodiscard]] core::IrqLine lint1() { return {*this, 1}; }
    void set_irq(int input, bool level) override;

    bool deliver(const InterruptMessage& message) override;
    void send_msi(std::uint64_t address, std::uint32_t data) override;

    /// For local APICs.
    void broadcast_eoi(std::uint8_t vector);
    /// To every local APIC but `except` (null: to all).
    void deliver_to_all(const InterruptMessage& message, const LocalApic* except);
    [[nodiscard]] const std::vector<LocalApic*>& apics() const { return apics_; }

  private:
    std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;
    [[nodiscard]] LocalApic* current() const;
    LocalApic* arbitrate(const std::vector<LocalApic*>& candidates);

    std::vector<LocalApic*> apics_;
    std::vector<EoiListener*> eoi_listeners_;
    unsigned last_winner_ = 0;  ///< lowest priority: ties go round
    std::unique_ptr<core::MemoryRegion> window_;
};

}  // namespace rhea::hw
