// The interrupt controller pair of a PC: two cascaded 8259As and the ELCR ("isa-pic").
//
// Ports 0x20/0x21 (master), 0xa0/0xa1 (slave on IR2), 0x4d0/0x4d1 (ELCR). Inputs 0..15 are the ISA
// IRQs; input 2 is the cascade and ignored. INT goes to an IrqLine, INTA cycles come through
// acknowledge(). With a kernel's chips behind it the object only stands for them: it has no ports and
// exchanges state. Under the machine lock.
#pragma once
#include <memory>

#include "hw/intc/i8259.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

/// Who answers an INTA cycle: what a local APIC asks for the vector of an ExtINT.
class InterruptAcknowledge {
  public:
    virtual ~InterruptAcknowledge() = default;
    /// The level of INT.
    [[nodiscard]] virtual bool interrupt_asserted() const = 0;
    /// An INTA cycle; always gives a vector (the spurious one when nothing is requested any more).
    virtual std::uint8_t acknowledge_interrupt() = 0;
};

class IsaPic final : public core::Device, public core::IrqSink, public InterruptAcknowledge {
  public:
    /// `kernel`: the chips are there; null: they are here.
    explicit IsaPic(core::KernelIrqchip* kernel = nullptr);

    /// Where INT goes; before realize().
    void connect_output(core::IrqLine line) { output_ = line; }
    /// Places the ports.
    void map(core::MemoryRegion& io_root);

    [[nodiscard]] core::IrqLine irq(unsigned number) { return {*this, static_cast<int>(number)}; }
    void set_irq(int input, bool level) override;

    [[nodiscard]] bool interrupt_asserted() const override { return output_level_; }
    std::uint8_t acknowledge_interrupt() override;

    [[nodiscard]] std::string_view type() const override { return "isa-pic"; }
    void reset() override;
    void serialize(core::Archive& archive) override;

    [[nodiscard]] const I8259& master() const { return master_; }
    [[nodiscard]] const I8259& slave() const { return slave_; }

  private:
    void add_chip_ports(core::RegisterBank& bank, I8259& chip);
    void add_elcr_port(core::hwaddr offset, std::string_view name, I8259& chip);
    void update();

    void fetch();
    void hand_over();

    core::KernelIrqchip* kernel_;
    I8259 master_, slave_;
    bool output_level_ = false;
    core::IrqLine output_;
    core::RegisterBank master_ports_, slave_ports_, elcr_ports_;
    std::unique_ptr<core::MemoryRegion> master_region_, slave_region_, elcr_region_;
};

}  // namespace rhea::hw
