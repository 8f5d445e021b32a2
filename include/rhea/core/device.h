// A device: properties, realize, reset, one serialize.
//
// Devices get what they need (ports: an IrqLine, an AddressSpace for DMA, a character back end, a
// Clocks) at construction or through typed setters before realize(), so that a unit test needs no
// machine. The machine owns them (unique_ptr); everything else holds references. Unless it says
// otherwise, a device's methods run under the machine lock.
#pragma once
#include "rhea/core/archive.h"
#include "rhea/core/property.h"
#include "rhea/util/result.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace rhea::core {

class Bus;
class Machine;

class Device {
public:
    virtual ~Device() = default;
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    /// The device's type as `-device` spells it ("isa-serial").
    virtual std::string_view type() const = 0;
    /// A stable name for snapshots and `info qtree`: user-given id or bus address ("isa/serial0").
    const std::string &path() const { return path_; }
    void set_path(std::string path) { path_ = std::move(path); }

    PropertySet &properties() { return properties_; }
    const PropertySet &properties() const { return properties_; }
    /// The core::Bus that it is plugged into; null: wired by its machine.
    Bus *parent_bus() const { return parent_bus_; }
    void set_parent_bus(Bus *bus) { parent_bus_ = bus; }

    /// Checks the properties and connects the device; called once, before the guest can see it.
    virtual util::Result<void> realize() { return {}; }
    /// A realized device is taken out of a machine that lives on (device_del): ends what is under way and gives back what
    /// realize() claimed (drives); also after a realize() that failed. The destructor comes next. Main thread, under the machine lock, no vCPU runs.
    virtual void unrealize() {}
    /// Back to power-on state. Keeps properties and connections.
    virtual void reset() {}
    /// The machine goes on or stops (also for the time that its state is saved); at first it is stopped. A device that
    /// works on its own accord (disk requests, network packets) ends what is under way before this returns from a
    /// stop, and changes nothing that the guest can see until the machine goes on.
    virtual void set_running(bool) {}
    /// Saves, restores or prints all guest-visible and internal state.
    virtual void serialize(Archive &archive) = 0;
    virtual unsigned serialize_version() const { return 1; }

protected:
    Device() = default;
    PropertySet properties_;

private:
    std::string path_;
    Bus *parent_bus_ = nullptr;
};

/// A device type that `-device` can make. Types are listed in explicit tables (hw/<kind>/types.cc),
/// not registered by static constructors.
struct DeviceType {
    std::string_view name;
    std::string_view bus;         ///< "ISA", "PCI", "System", …
    std::string_view description;
    std::unique_ptr<Device> (*create)(Machine &machine);
    bool sits_on_bus = false;     ///< on a core::Bus of kind `bus`; else the machine wires it
};

} // namespace rhea::core
