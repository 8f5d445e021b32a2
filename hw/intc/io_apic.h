// I/O APIC: 24 pins, each with a redirection entry that says which message it sends.
//
// An 82093AA (datasheet 290566-001) with the version 0x20 extensions: an EOI register at 0x40.
// Polarity is not looked at: an IrqLine's level is "asserted". Under the machine lock.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>

#include "hw/intc/msi.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/kernel_irqchip.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class IoApic final : public core::Device, public core::IrqSink, public EoiListener {
  public:
    static constexpr unsigned kPins = 24;
    static constexpr core::hwaddr kDefaultBase = 0xfec00000;

    /// Told of what a pin would send, whenever that changes.
    using RouteListener = std::function<void(unsigned pin, const InterruptMessage& message)>;

    /// Messages go to `port`. `kernel`: the chip is there, and the object only stands for it: it has
    /// no registers and exchanges state.
    explicit IoApic(InterruptMessagePort& port, core::KernelIrqchip* kernel = nullptr);

    void set_route_listener(RouteListener listener) { route_changed_ = std::move(listener); }

    void map(core::MemoryRegion& memory_root, core::hwaddr base = kDefaultBase);

    [[nodiscard]] core::IrqLine pin(unsigned number) { return {*this, static_cast<int>(number)}; }
    void set_irq(int input, bool level) override;
    void end_of_interrupt(std::uint8_t vector) override;

    [[nodiscard]] std::string_view type() const override { return "ioapic"; }
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    [[nodiscard]] std::uint32_t read_indirect() const;
    void write_indirect(std::uint32_t value);
    void write_entry(unsigned pin, bool high, std::uint32_t value);
    /// Sends pin's message if it has one to send.
    void service(unsigned pin);

    [[nodiscard]] InterruptMessage message(unsigned pin) const;
    void announce(unsigned pin);
    void fetch();
    void hand_over();

    InterruptMessagePort& port_;
    core::KernelIrqchip* kernel_;
    RouteListener route_changed_;
    std::uint8_t select_ = 0;  ///< IOREGSEL
    std::uint8_t id_ = 0;
    std::uint32_t lines_ = 0;    ///< levels of the pins
    std::uint32_t waiting_ = 0;  ///< edges seen whose message has not gone out
    std::array<std::uint64_t, kPins> entries_{};
    core::RegisterBank registers_;
    std::unique_ptr<core::MemoryRegion> region_;
};

}  // namespace rhea::hw
