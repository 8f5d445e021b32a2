// The ISA bridge function of the PIIX3 (82371SB): routes PCI interrupts to ISA IRQs.
//
// PIRQ inputs 0..3 (PIRQA#..PIRQD#) go to the IRQ that PIRQRC names; the outputs are wires of their
// own, to be joined with those of ISA devices (hw/intc/irq_gates.h). The reset control register is
// served by PciConfigPorts, ELCR by IsaPic. Under the machine lock.
// Source: 82371FB/82371SB datasheet (290550-002), section 2.2.
#pragma once
#include <array>
#include <cstdint>

#include "hw/pci/pci_device.h"
#include "rhea/core/irq.h"

namespace rhea::hw {

class Piix3 final : public PciDevice, public core::IrqSink {
  public:
    static constexpr unsigned kPirqs = 4;
    static constexpr unsigned kIsaIrqs = 16;

    /// `irqs` are the wires to ISA IRQ 0..15 (only those that a PIRQ may take are used).
    explicit Piix3(std::array<core::IrqLine, kIsaIrqs> irqs);

    /// PIRQ inputs, for PciBus::connect_pirqs().
    [[nodiscard]] core::IrqLine pirq(unsigned number) { return {*this, static_cast<int>(number)}; }
    [[nodiscard]] std::array<core::IrqLine, kPirqs> pirqs() {
        return {pirq(0), pirq(1), pirq(2), pirq(3)};
    }
    void set_irq(int input, bool level) override;

    [[nodiscard]] std::string_view type() const override { return "PIIX3"; }
    void serialize(core::Archive& archive) override;

  private:
    [[nodiscard]] unsigned raised_irqs();
    void update();

    std::array<core::IrqLine, kIsaIrqs> irqs_;
    std::uint8_t pirq_levels_ = 0;
    unsigned driven_ = 0;  ///< ISA IRQs that are up, a bit each
};

}  // namespace rhea::hw
