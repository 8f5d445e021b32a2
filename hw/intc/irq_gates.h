// Joints between interrupt wires: one line to several sinks, several lines to one sink, and the
// routing of a PC's interrupts to both the 8259 pair and the I/O APIC. Under the machine lock.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "rhea/core/archive.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"

namespace rhea::hw {

/// One wire in, several wires out; every input number means the same wire.
class IrqSplitter final : public core::IrqSink {
  public:
    explicit IrqSplitter(std::vector<core::IrqLine> outputs) : outputs_(std::move(outputs)) {}
    [[nodiscard]] core::IrqLine line() { return {*this, 0}; }
    void set_irq(int, bool level) override {
        for (const core::IrqLine& output : outputs_) {
            output.set(level);
        }
    }

  private:
    std::vector<core::IrqLine> outputs_;
};

/// Who drives a global system interrupt; each source has a wire of its own, and an interrupt is
/// raised while any of them is high (level interrupts share).
enum class IrqSource : std::uint8_t {
    kIsa = 0,   ///< ISA devices
    kPirq = 1,  ///< PCI interrupts through the ISA bridge's PIRQ router
    kSci = 2,   ///< ACPI
};

/// Takes the interrupts of a PC to the 8259 pair (IRQ 0..15) and to the I/O APIC, where IRQ 0 is
/// wired to pin 2 (the override that ACPI's MADT tells of).
class GsiRouter final : public core::Device, public core::IrqSink {
  public:
    static constexpr unsigned kSources = 3;
    static constexpr unsigned kInterrupts = 24;

    /// Either sink may be null (a machine without that controller).
    GsiRouter(core::IrqSink* pic, core::IrqSink* io_apic) : pic_(pic), io_apic_(io_apic) {}
    /// Controllers in the kernel, which share `interrupts` among themselves.
    explicit GsiRouter(core::IrqSink& interrupts) : all_(&interrupts) {}

    /// The wire of `source` to interrupt `number` (0..23).
    [[nodiscard]] core::IrqLine line(IrqSource source, unsigned number) {
        return {*this, static_cast<int>(static_cast<unsigned>(source) * kInterrupts + number)};
    }
    [[nodiscard]] core::IrqLine isa(unsigned number) { return line(IrqSource::kIsa, number); }
    void set_irq(int input, bool level) override;

    [[nodiscard]] std::string_view type() const override { return "gsi-router"; }
    void serialize(core::Archive& archive) override;

  private:
    core::IrqSink* pic_ = nullptr;
    core::IrqSink* io_apic_ = nullptr;
    core::IrqSink* all_ = nullptr;
    std::array<std::uint32_t, kSources> levels_{};  ///< a bit an interrupt
};

}  // namespace rhea::hw
