// PCI configuration mechanism #1: CONFADD at port 0xcf8, CONFDATA at 0xcfc..0xcff. The reset
// control register at 0xcf9, which lies inside CONFADD's ports and answers byte accesses, is served
// here too, since the two share their addresses. Under the machine lock. Source: PCI 3.0
// section 3.2.2.3.2; 82441FX 3.1; 82371AB 8.7.3.
#pragma once
#include <memory>

#include "hw/pci/pci_bus.h"
#include "rhea/core/archive.h"
#include "rhea/core/machine.h"
#include "rhea/core/memory.h"

namespace rhea::hw {

class PciConfigPorts final : private core::IoHandler {
  public:
    PciConfigPorts(PciBus& bus, core::MachineRequests& requests);

    void map(core::MemoryRegion& io_root);
    void reset();
    void serialize(core::Archive& archive);

  private:
    std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;
    void write_reset_control(std::uint8_t value);

    PciBus& bus_;
    core::MachineRequests& requests_;
    std::uint32_t address_ = 0;       ///< CONFADD
    std::uint8_t reset_control_ = 0;  ///< RCR
    std::unique_ptr<core::MemoryRegion> region_;
};

}  // namespace rhea::hw
