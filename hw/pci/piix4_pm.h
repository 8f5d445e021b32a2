// The power management function of the PIIX4 (82371AB, function 3): where the ACPI registers and
// the SMBus host appear, and the APM ports by which the guest asks firmware to switch ACPI on.
//
// No system management mode: what firmware's SMI handler would do on a write to port 0xb2 is done
// here. Under the machine lock. Source: 82371AB datasheet (290562-001), chapter 7.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include "hw/acpi/acpi_pm.h"
#include "hw/acpi/pci_hotplug.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/piix4_smbus.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class Piix4Pm final : public PciDevice {
  public:
    struct Config {
        /// Where the PM block is before anybody programs PMBASE; 0: nowhere. For machines that
        /// start a kernel without firmware.
        std::uint16_t pm_base = 0;
        /// Where GPE block 0 is (FADT's GPE0_BLK).
        std::uint16_t gpe_base = 0xafe0;
        /// FADT's SMI_CMD values, written to port 0xb2.
        std::uint8_t acpi_enable = 0xf1, acpi_disable = 0xf0;
        AcpiPm::Config pm = {};
        /// Slots that guests may eject, as bits; and what happens when one does. Empty: no slot, nothing.
        std::function<std::uint32_t()> removable_slots = {};
        std::function<void(unsigned slot)> eject_slot = {};
    };

    /// `sci` is the wire to IRQ 9.
    Piix4Pm(core::Clocks& clocks, core::MachineRequests& requests, core::IrqLine sci,
            core::MemoryRegion& io_root, const Config& config);

    /// The power button, GPEs.
    [[nodiscard]] AcpiPm& pm() { return pm_; }
    [[nodiscard]] PciHotplug& hotplug() { return hotplug_; }

    [[nodiscard]] std::string_view type() const override { return "PIIX4_PM"; }
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    void add_config_registers();
    void update_mappings();

    Config settings_;
    AcpiPm pm_;
    Piix4Smbus smbus_;
    PciHotplug hotplug_;
    core::RegisterBank apm_;
    std::unique_ptr<core::MemoryRegion> apm_region_;
};

}  // namespace rhea::hw
