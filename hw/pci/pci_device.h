// A PCI function: configuration space, BARs that appear in the bus's windows, INTx, DMA.
//
// A device derives from it: its constructor names its identity and adds BARs, capabilities and own
// registers to config(); PciBus::attach() gives it an address. reset() and serialize() of a derived
// device call PciDevice's. What depends on properties it adds in realize(), which then ends with
// PciDevice::realize(). Invariant: a BAR's region is visible exactly while its decoding is
// enabled and its address makes sense. Under the machine lock.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "hw/pci/pci_config_space.h"
#include "rhea/core/device.h"
#include "rhea/core/memory.h"

namespace rhea::hw {

class PciBus;

/// A place on a bus.
struct PciAddress {
    unsigned slot = 0;      ///< 0..31
    unsigned function = 0;  ///< 0..7
    [[nodiscard]] unsigned devfn() const { return slot << 3 | function; }
    friend bool operator==(const PciAddress&, const PciAddress&) = default;
};

struct PciIdentity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint32_t class_code = 0;  ///< base class, subclass, programming interface: 0x020000
    std::uint8_t revision = 0;
    /// Firmware and drivers know the virtual platform by these.
    std::uint16_t subsystem_vendor = 0x1af4;
    std::uint16_t subsystem = 0x1100;
    std::uint8_t interrupt_pin = 0;  ///< 1: INTA# … 4: INTD#, 0: none
    bool multifunction = false;
};

enum class PciBarKind : std::uint8_t { kIo, kMemory32, kMemory64, kMemory64Prefetchable };

class PciDevice : public core::Device {
  public:
    [[nodiscard]] PciConfigSpace& config() { return config_; }
    [[nodiscard]] PciBus& bus() const { return *bus_; }
    [[nodiscard]] PciAddress address() const { return address_; }
    [[nodiscard]] bool attached() const { return bus_ != nullptr; }
    /// Where the property addr= wants it.
    [[nodiscard]] std::optional<PciAddress> wanted_address() const { return wanted_address_; }
    [[nodiscard]] bool multifunction() const { return multifunction_; }

    [[nodiscard]] bool bus_master() const {
        return config_.get16(pci_reg::kCommand) & pci_reg::kCommandBusMaster;
    }
    /// The level of the interrupt pin as the bus sees it.
    [[nodiscard]] bool intx_asserted() const;
    [[nodiscard]] unsigned interrupt_pin() const { return config_.get8(pci_reg::kInterruptPin); }

    /// What the configuration space holds now is what a reset goes back to.
    [[nodiscard]] util::Result<void> realize() override;
    void reset() override;
    void serialize(core::Archive& archive) override;

  protected:
    explicit PciDevice(const PciIdentity& identity);

    /// Makes `region`, whose size is a power of two, BAR `index` (0..5; a 64-bit BAR takes two).
    /// The region must live as long as the device.
    void add_bar(unsigned index, core::MemoryRegion& region, PciBarKind kind);
    /// The expansion ROM.
    void add_rom(core::MemoryRegion& region);
    /// Drives the interrupt pin.
    void set_intx(bool level);

    /// Memory accesses by the device; kAccessError while bus mastering is off.
    core::MemTxResult dma_read(core::hwaddr addr, void* to, std::size_t length);
    core::MemTxResult dma_write(core::hwaddr addr, const void* from, std::size_t length);
    [[nodiscard]] core::AddressSpace& dma_space() const;

  private:
    friend class PciBus;
    friend class PciMsi;
    friend class PciMsix;

    struct Bar {
        core::MemoryRegion* region = nullptr;
        PciBarKind kind = PciBarKind::kMemory32;
        unsigned offset = 0;  ///< in configuration space
        bool is_rom = false;
    };

    void add_properties();
    void attach_to(PciBus& bus, PciAddress address);
    void detach();
    void place_bars();
    void place_bar(const Bar& bar);
    [[nodiscard]] bool decodes(const Bar& bar, core::hwaddr& base) const;
    void interrupt_changed();
    void add_bar_region(const Bar& bar);

    PciConfigSpace config_;
    PciBus* bus_ = nullptr;
    PciAddress address_;
    std::optional<PciAddress> wanted_address_;
    bool multifunction_;
    bool intx_level_ = false;
    std::array<Bar, 7> bars_{};  ///< six BARs and the ROM
};

}  // namespace rhea::hw
