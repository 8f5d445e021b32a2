// A PCI bus: its functions, the windows in which their BARs appear, and how INTx reaches the
// chipset.
//
// One bus, number 0: there are no PCI-to-PCI bridges. Under the machine lock.
#pragma once
#include <array>
#include <memory>
#include <optional>

#include "hw/intc/msi.h"
#include "hw/pci/pci_device.h"
#include "rhea/core/bus.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"
#include "rhea/util/result.h"

namespace rhea::hw {

class PciBus final : public core::Bus {
  public:
    static constexpr unsigned kSlots = 32;
    static constexpr unsigned kFunctions = 8;
    static constexpr unsigned kPirqs = 4;

    struct Ports {
        core::MemoryRegion& memory;  ///< the window for memory BARs (addresses are absolute)
        core::MemoryRegion& io;      ///< the window for I/O BARs
        core::AddressSpace& dma;     ///< what devices read and write
        MsiSink* msi = nullptr;      ///< null: MSI writes go nowhere
    };

    explicit PciBus(const Ports& ports) : Bus("pci.0", "PCI"), ports_(ports) {}

    /// A device of the command line: at its property addr=, else in the first free slot.
    [[nodiscard]] util::Result<void> plug(core::Device& device) override;
    void unplug(core::Device& device) override;

    /// The chipset's PIRQ inputs 0..3. A function's pin p in slot s drives PIRQ (s + p - 2) mod 4
    /// for p = 1..4, as boards with a 440FX are wired and their firmware expects.
    void connect_pirqs(std::array<core::IrqLine, kPirqs> lines) { pirqs_ = lines; }
    /// The PIRQ that pin `pin` (1..4) of slot `slot` drives.
    [[nodiscard]] static unsigned pirq_of(unsigned slot, unsigned pin) {
        return (slot + pin + kPirqs - 2) % kPirqs;
    }

    /// Puts a function on the bus; before the machine first runs.
    [[nodiscard]] util::Result<void> attach(PciDevice& device, PciAddress address);
    /// The same at function 0 of the first free slot from `first` on.
    [[nodiscard]] util::Result<PciAddress> attach_anywhere(PciDevice& device, unsigned first = 2);
    [[nodiscard]] PciDevice* at(PciAddress address) const;
    /// Every function, by address; entries may be null.
    [[nodiscard]] const std::array<PciDevice*, kSlots * kFunctions>& functions() const {
        return functions_;
    }

    /// Configuration accesses on bus 0 (type 0); nobody there: ones.
    [[nodiscard]] std::uint32_t config_read(unsigned devfn, unsigned offset, unsigned size) const;
    void config_write(unsigned devfn, unsigned offset, std::uint32_t value, unsigned size);

    [[nodiscard]] core::MemoryRegion& memory_window() const { return ports_.memory; }
    [[nodiscard]] core::MemoryRegion& io_window() const { return ports_.io; }
    [[nodiscard]] core::AddressSpace& dma_space() const { return ports_.dma; }
    void send_msi(std::uint64_t address, std::uint32_t data);
    /// Where MSIs go; null: nowhere.
    [[nodiscard]] MsiSink* msi() const { return ports_.msi; }

    /// For PciDevice: its interrupt pin may have changed.
    void interrupt_changed(const PciDevice& device);

  private:
    Ports ports_;
    std::array<PciDevice*, kSlots * kFunctions> functions_{};
    std::array<core::IrqLine, kPirqs> pirqs_{};
};

}  // namespace rhea::hw
