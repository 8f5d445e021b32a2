// device_add and device_del: SCSI units by way of their controller on any machine, PCI functions by way of ACPI on `pc`.
#include "hw/option_device.h"
#include "hw/pc/pc_machine.h"
#include "hw/pci/piix4_pm.h"
#include "rhea/hw/machines.h"

#include <algorithm>
#include <fmt/format.h>

namespace rhea::hw::pc {
namespace {

/// The chipset's slots stay: host bridge, and ISA bridge with its functions.
constexpr unsigned kFirstRemovableSlot = 2;

} // namespace

// ---- any machine -----------------------------------------------------------------------------------------------------

util::Result<void> X86Machine::hot_plug(const core::DeviceOption &option) {
    const core::DeviceType *const type = find_device_type(option.driver);
    if (!type)
        return util::fail("there is no device '{}'{}", option.driver, nearest_device_hint(option.driver));
    if (!type->sits_on_bus || !hot_plugs(type->bus))
        return util::fail("{}: {} devices cannot be plugged while the machine runs; {}", option.driver, type->bus, what_hot_plugs());
    if (std::ranges::any_of(option.properties, [](const auto &pair) { return pair.first == "bootindex" && pair.second != "-1"; }))
        return util::fail("{}: bootindex= needs a device that is there from the start: firmware's boot order is fixed by then", option.driver);
    core::AddressSpace::begin_transaction();
    auto device = add_option_device(*this, option, [](core::Device &, const core::DeviceOption &) { return util::Result<void>{}; });
    auto done = device ? check_plugged(**device) : util::Result<void>(util::fail(device.error()));
    if (done) {
        start_device(**device);
        tell_plugged(**device);
    } else if (device) {
        remove_device(**device);
    }
    core::AddressSpace::commit_transaction();
    return done;
}

util::Result<void> X86Machine::hot_unplug(std::string_view id) {
    core::Device *const device = find_device(id);
    if (!device)
        return util::fail("there is no device '{}'; info qtree lists them", id);
    if (!device->parent_bus() || device->parent_bus()->kind() != "SCSI")
        return util::fail("device '{}' ({}) cannot be unplugged while the machine runs; {}", id, device->type(), what_hot_plugs());
    remove_device(*device);
    return {};
}

// ---- pc --------------------------------------------------------------------------------------------------------------

/// As bits: the slots whose function 0 may be ejected.
std::uint32_t PcMachine::removable_slots() const {
    std::uint32_t slots = 0;
    for (unsigned slot = kFirstRemovableSlot; slot < PciBus::kSlots; ++slot) {
        if (pci_bus_->at({.slot = slot}))
            slots |= 1u << slot;
    }
    return slots;
}

/// The guest has let go of a slot. A vCPU's thread, in the middle of a write: the rest is for later.
void PcMachine::slot_ejected(unsigned slot) {
    requests().request_work([this, slot] {
        for (unsigned function = PciBus::kFunctions; function-- > 0;) {
            if (PciDevice *const device = pci_bus_->at({.slot = slot, .function = function}))
                remove_device(*device);
        }
        pm_->hotplug().gone(slot);
    });
}

util::Result<void> PcMachine::check_plugged(const core::Device &device) const {
    const auto *const pci = dynamic_cast<const PciDevice *>(&device);
    if (pci && pci->address().function != 0)
        return util::fail("{}: only function 0 of a slot can be plugged while the machine runs", device.type());
    return {};
}

void PcMachine::tell_plugged(const core::Device &device) {
    if (const auto *const pci = dynamic_cast<const PciDevice *>(&device))
        pm_->hotplug().plugged(pci->address().slot);
}

util::Result<void> PcMachine::hot_unplug(std::string_view id) {
    const auto *const pci = dynamic_cast<PciDevice *>(find_device(id));
    if (!pci)
        return X86Machine::hot_unplug(id);
    const unsigned slot = pci->address().slot;
    if (slot < kFirstRemovableSlot || pci->parent_bus() == nullptr)
        return util::fail("device '{}' is part of the machine and stays", id);
    if (pm_->hotplug().asked_to_remove(slot))
        return util::fail("device '{}' is being removed already: the guest has been asked to let it go", id);
    pm_->hotplug().ask_to_remove(slot);
    return {};
}

} // namespace rhea::hw::pc
