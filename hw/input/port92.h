// Port 0x92, system control port A: fast A20 and fast reset ("port92"). Under the machine lock.
// Source: 82371AB section 8.7.4.
#pragma once
#include <memory>

#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/machine.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class Port92 final : public core::Device {
  public:
    Port92(core::MachineRequests& requests, core::IrqLine a20);

    void map(core::MemoryRegion& io_root) { io_root.add(0x92, *region_); }

    [[nodiscard]] std::string_view type() const override { return "port92"; }
    void reset() override;
    void serialize(core::Archive& archive) override { bank_.serialize(archive); }

  private:
    core::MachineRequests& requests_;
    core::IrqLine a20_;
    core::RegisterBank bank_;
    std::unique_ptr<core::MemoryRegion> region_;
};

}  // namespace rhea::hw
