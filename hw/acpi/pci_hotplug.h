// The registers by which a PC's firmware (its AML) learns of PCI functions that come and go, as i440FX machines of the virtual
// platform have them at ports 0xae00 to 0xae13.
//
// A function that was plugged, or is to go, sets its slot's bit and raises GPE 1; the AML method \_GPE._E01 reads the bits
// and tells the operating system, which ejects a slot by writing its bit to the eject register. A slot that is to go keeps
// its bit until it is ejected; a reset ejects it. One bus, whose number 0 the bus select register takes. Under the machine lock.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

#include "rhea/core/archive.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw {

class PciHotplug {
public:
    static constexpr core::hwaddr kBase = 0xae00, kSize = 0x14;
    static constexpr unsigned kGpe = 1; ///< bit of GPE0

    struct Ports {
        std::function<void()> raise_gpe;
        std::function<void(unsigned slot)> eject;      ///< the guest has let go of what is there
        std::function<std::uint32_t()> removable;      ///< slots whose function may be ejected, as bits
    };
    explicit PciHotplug(Ports ports);

    core::MemoryRegion &region() { return *region_; }

    void plugged(unsigned slot);
    void ask_to_remove(unsigned slot);
    bool asked_to_remove(unsigned slot) const { return removed_ >> slot & 1; }
    /// Nothing is in that slot any more.
    void gone(unsigned slot);

    void reset();
    void serialize(core::Archive &archive);

private:
    void eject(std::uint32_t slots);
    bool first_bus() const { return bus_ == 0; }

    Ports ports_;
    std::uint32_t inserted_ = 0, removed_ = 0, bus_ = 0;
    core::RegisterBank registers_;
    std::unique_ptr<core::MemoryRegion> region_;
};

} // namespace rhea::hw
