// The generic event device of machines without the fixed ACPI hardware ("acpi-ged"), and their sleep and reset registers.
//
// kBase: a word of pending events, which a read takes; the DSDT's method _EVT reads it after the interrupt (an edge) and notifies the
// device in question. kBase + 0x200: SLEEP_CONTROL_REG, SLEEP_STATUS_REG, RESET_REG. Under the machine lock. Source: ACPI 6.4, 4.8.3.7
// (sleep registers), 4.8.3.6 (reset), 5.6.9 (event device); QEMU's docs/specs/acpi_hw_reduced_hotplug for the places.
#pragma once
#include <cstdint>
#include <memory>

#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/machine.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class GenericEvents final : public core::Device {
public:
    static constexpr std::uint32_t kBase = 0xfea00000, kRegisters = kBase + 0x200;
    static constexpr std::uint32_t kPowerButton = 2; ///< event bit
    static constexpr unsigned kSoftOff = 5;          ///< SLP_TYP
    static constexpr std::uint8_t kResetValue = 0x42;

    GenericEvents(core::MachineRequests &requests, core::IrqLine irq);
    void map(core::MemoryRegion &memory_root);
    void press_power_button();

    std::string_view type() const override { return "acpi-ged"; }
    void reset() override { pending_ = 0; }
    void serialize(core::Archive &archive) override { archive.field("pending", pending_); }

private:
    void write_sleep_control(std::uint8_t value);

    core::MachineRequests &requests_;
    core::IrqLine irq_;
    std::uint32_t pending_ = 0;
    core::RegisterBank events_{"acpi-ged events", 4}, registers_{"acpi-ged registers", 3};
    std::unique_ptr<core::MemoryRegion> events_region_, registers_region_;
};

} // namespace rhea::hw
