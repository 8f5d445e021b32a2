#include "hw/acpi/pci_hotplug.h"

#include <bit>
#include <utility>

namespace rhea::hw {

PciHotplug::PciHotplug(Ports ports) : ports_(std::move(ports)), registers_("acpi-pci-hotplug", kSize) {
    using Value = std::uint64_t;
    // Reading what was inserted tells it once.
    registers_.add({.offset = 0x00, .size = 4, .name = "PCIU", .write_mask = 0, .on_read = [this](Value) -> Value {
                        return first_bus() ? std::exchange(inserted_, 0u) : 0;
                    }});
    registers_.add({.offset = 0x04, .size = 4, .name = "PCID", .write_mask = 0, .on_read = [this](Value) -> Value {
                        return first_bus() ? removed_ : 0;
                    }});
    registers_.add({.offset = 0x08,
                    .size = 4,
                    .name = "B0EJ",
                    .on_read = [](Value) -> Value { return 0; },
                    .write_value = [this](Value, Value slots) -> Value {
                        if (first_bus())
                            eject(static_cast<std::uint32_t>(slots));
                        return 0;
                    }});
    registers_.add({.offset = 0x0c, .size = 4, .name = "PCRM", .write_mask = 0, .on_read = [this](Value) -> Value {
                        return first_bus() ? ports_.removable() : 0;
                    }});
    registers_.add({.offset = 0x10,
                    .size = 4,
                    .name = "BNUM",
                    .on_read = [this](Value) -> Value { return bus_; },
                    .write_value = [this](Value, Value value) -> Value { return bus_ = static_cast<std::uint32_t>(value); }});
    region_ = core::MemoryRegion::io("acpi-pci-hotplug", kSize, registers_);
}

void PciHotplug::plugged(unsigned slot) {
    inserted_ |= 1u << slot;
    ports_.raise_gpe();
}

void PciHotplug::ask_to_remove(unsigned slot) {
    removed_ |= 1u << slot;
    ports_.raise_gpe();
}

void PciHotplug::gone(unsigned slot) {
    inserted_ &= ~(1u << slot);
    removed_ &= ~(1u << slot);
}

void PciHotplug::eject(std::uint32_t slots) {
    for (slots &= ports_.removable(); slots != 0; slots &= slots - 1)
        ports_.eject(static_cast<unsigned>(std::countr_zero(slots)));
}

void PciHotplug::reset() {
    inserted_ = 0; // a machine that starts looks at all slots anyway
    bus_ = 0;
    eject(removed_);
}

void PciHotplug::serialize(core::Archive &archive) {
    archive.field("inserted", inserted_);
    archive.field("removed", removed_);
    archive.field("bus", bus_);
}

} // namespace rhea::hw
