// The SMBus host controller of the PIIX4 with nothing on its bus: each transaction ends in a device
// error, as when no slave acknowledges. Under the machine lock. Source: 82371AB section 7.3.
#pragma once
#include <memory>

#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class Piix4Smbus {
  public:
    static constexpr core::hwaddr kSize = 0x10;

    Piix4Smbus();
    [[nodiscard]] core::MemoryRegion& region() { return *region_; }
    void reset() { registers_.reset(); }
    void serialize(core::Archive& archive) { registers_.serialize(archive); }

  private:
    core::RegisterBank registers_;
    std::unique_ptr<core::MemoryRegion> region_;
};

}  // namespace rhea::hw
