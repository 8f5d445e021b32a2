#include "hw/pci/pci_bus.h"

#include <fmt/format.h>

#include <algorithm>

namespace rhea::hw {

util::Result<void> PciBus::plug(core::Device& device) {
    auto* pci = dynamic_cast<PciDevice*>(&device);
    if (!pci) {
        return util::fail("a device of type {} does not fit a PCI bus", device.type());
    }
    if (const auto wanted = pci->wanted_address()) {
        if (auto done = attach(*pci, *wanted); !done) {
            return done;
        }
    } else if (auto place = attach_anywhere(*pci); !place) {
        return util::fail(place.error());
    }
    if (device.path().empty()) {
        device.set_path(fmt::format("pci/{:02x}.{:x}", pci->address().slot, pci->address().function));
    }
    return {};
}

void PciBus::unplug(core::Device& device) {
    const auto at = std::find_if(functions_.begin(), functions_.end(), [&](PciDevice* p) { return p == &device; });
    if (at == functions_.end()) {
        return;
    }
    PciDevice& gone = **at;
    gone.detach();
    *at = nullptr;
}

util::Result<void> PciBus::attach(PciDevice& device, PciAddress address) {
    if (address.slot >= kSlots || address.function >= kFunctions) {
        return util::fail(
            "{}: PCI address {:x}.{:x} does not exist: slots are 0..1f, functions 0..7",
            device.type(), address.slot, address.function);
    }
    PciDevice*& place = functions_[address.devfn()];
    if (place) {
        return util::fail("{}: PCI address {:02x}.{:x} is taken by {}; choose another with addr=",
                          device.type(), address.slot, address.function, place->type());
    }
    // Software looks at the other functions of a slot only where function 0 says that there are some (PCI 3.0, 6.2.1).
    const auto slot = functions_.begin() + address.slot * kFunctions;
    const bool has_others = std::any_of(slot + 1, slot + kFunctions, [](PciDevice* p) { return p != nullptr; });
    const PciDevice* const first = address.function == 0 ? &device : *slot;
    if (first && !first->multifunction() && (address.function != 0 || has_others)) {
        return util::fail("{}: slot {:02x} has functions beside function 0 ({}), which must have multifunction=on",
                          device.type(), address.slot, first->type());
    }
    place = &device;
    device.attach_to(*this, address);
    return {};
}

util::Result<PciAddress> PciBus::attach_anywhere(PciDevice& device, unsigned first) {
    for (unsigned slot = first; slot < kSlots; ++slot) {
        const auto begin = functions_.begin() + slot * kFunctions;
        if (std::all_of(begin, begin + kFunctions, [](PciDevice* p) { return p == nullptr; })) {
            const PciAddress address{.slot = slot};
            if (auto done = attach(device, address); !done) {
                return util::fail(done.error());
            }
            return address;
        }
    }
    return util::fail("{}: no PCI slot is left on the bus", device.type());
}

PciDevice* PciBus::at(PciAddress address) const {
    return address.slot < kSlots && address.function < kFunctions ? functions_[address.devfn()]
                                                                  : nullptr;
}

std::uint32_t PciBus::config_read(unsigned devfn, unsigned offset, unsigned size) const {
    PciDevice* device = devfn < functions_.size() ? functions_[devfn] : nullptr;
    return device ? device->config().read(offset, size) : 0xffffffffu >> (32 - 8 * size);
}

void PciBus::config_write(unsigned devfn, unsigned offset, std::uint32_t value, unsigned size) {
    if (PciDevice* device = devfn < functions_.size() ? functions_[devfn] : nullptr) {
        device->config().write(offset, value, size);
    }
}

void PciBus::send_msi(std::uint64_t address, std::uint32_t data) {
    if (ports_.msi) {
        ports_.msi->send_msi(address, data);
    }
}

void PciBus::interrupt_changed(const PciDevice& device) {
    if (device.interrupt_pin() == 0) {
        return;
    }
    // A shared wire: up while any function on it pulls it.
    const unsigned pirq = pirq_of(device.address().slot, device.interrupt_pin());
    const bool level = std::any_of(functions_.begin(), functions_.end(), [&](const PciDevice* d) {
        return d && d->interrupt_pin() != 0 && d->intx_asserted() &&
               pirq_of(d->address().slot, d->interrupt_pin()) == pirq;
    });
    pirqs_[pirq].set(level);
}

}  // namespace rhea::hw
