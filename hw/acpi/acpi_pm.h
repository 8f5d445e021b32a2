// The fixed ACPI hardware of a PC: PM1a event and control registers, the PM timer and GPE block 0,
// laid out as in the PIIX4 (82371AB section 7.2).
//
// SCI is a level: up while SCI_EN is set and an enabled event is pending. The PM timer is computed
// from the virtual clock; a host timer runs only while its overflow interrupt is enabled. Under the
// machine lock. Source: ACPI 6.4 section 4.8.
#pragma once
#include <cstdint>
#include <memory>

#include "rhea/core/clock.h"
#include "rhea/core/irq.h"
#include "rhea/core/machine.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class AcpiPm {
  public:
    static constexpr std::int64_t kTimerHz = 3'579'545;
    static constexpr core::hwaddr kBlockSize = 0x40;
    static constexpr core::hwaddr kGpeBlockSize = 4;

    /// SLP_TYP values, which the DSDT's _S3, _S4 and _S5 objects name.
    struct SleepTypes {
        unsigned soft_off = 0;
        unsigned suspend_to_ram = 1;
        unsigned suspend_to_disk = 2;
    };
    struct Config {
        bool timer_32_bit = false;  ///< FADT flag TMR_VAL_EXT
        SleepTypes sleep_types = {};
    };

    AcpiPm(core::Clocks& clocks, core::MachineRequests& requests, core::IrqLine sci, Config config);

    /// The PM block (64 bytes) and GPE0 (status word, enable word), to be placed by the chipset.
    [[nodiscard]] core::MemoryRegion& region() { return *region_; }
    [[nodiscard]] core::MemoryRegion& gpe_region() { return *gpe_region_; }

    /// SCI_EN: what firmware switches when the guest writes FADT's SMI command.
    void set_acpi_enabled(bool enabled);
    [[nodiscard]] bool acpi_enabled() const;
    /// The power button: PWRBTN_STS, for the guest to shut down.
    void press_power_button();
    /// Sets a status bit of GPE0 (0..15).
    void raise_gpe(unsigned bit);

    void reset();
    void serialize(core::Archive& archive);

  private:
    [[nodiscard]] std::int64_t ticks() const;
    [[nodiscard]] std::int64_t half_range() const;
    [[nodiscard]] std::uint16_t status() const;
    void write_control(std::uint16_t value);
    void update();

    core::Clocks& clocks_;
    core::MachineRequests& requests_;
    core::IrqLine sci_;
    Config config_;
    std::uint16_t status_ = 0;        ///< PM1 status but TMR_STS
    std::int64_t overflow_tick_ = 0;  ///< from this tick of the PM timer on, TMR_STS is set
    core::Timer overflow_timer_;
    core::RegisterBank registers_, gpe_;
    std::unique_ptr<core::MemoryRegion> region_, gpe_region_;
};

}  // namespace rhea::hw
