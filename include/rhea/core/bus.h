// A bus: where devices of one kind find their place ("pci.0", "scsi0.0", "ide.0").
//
// `-device x,bus=NAME` names one; without it a device goes to the first bus of its type's kind that has room. A bus
// belongs to the machine or to the device that makes it (a controller, in realize()), which adds it to the machine's
// list with Machine::add_bus(). Under the machine lock.
#pragma once
#include "rhea/util/result.h"

#include <string>
#include <string_view>
#include <utility>

namespace rhea::core {

class Device;

class Bus {
public:
    /// `kind` is what DeviceType::bus says: "PCI", "SCSI", "IDE".
    Bus(std::string name, std::string_view kind) : name_(std::move(name)), kind_(kind) {}
    virtual ~Bus() = default;
    Bus(const Bus &) = delete;
    Bus &operator=(const Bus &) = delete;

    const std::string &name() const { return name_; }
    std::string_view kind() const { return kind_; }
    /// The controller that made the bus; null: the machine did.
    const Device *owner() const { return owner_; }
    void set_owner(const Device *owner) { owner_ = owner; }

    /// Gives `device`, whose properties are set and which is not realized yet, the place that they ask for (addr=, unit=,
    /// scsi-id=) or a free one, and names that place with set_path() when the device has no path.
    virtual util::Result<void> plug(Device &device) = 0;
    /// Takes `device`, which plug() gave its place, off the bus; before it is destroyed while the machine lives on.
    virtual void unplug(Device &device) = 0;
    /// No place is left.
    virtual bool full() const { return false; }

private:
    std::string name_;
    std::string_view kind_;
    const Device *owner_ = nullptr;
};

} // namespace rhea::core
