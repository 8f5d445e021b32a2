#include "rhea/core/machine.h"

#include "rhea/core/machine_lock.h"

#include <algorithm>
#include <fmt/format.h>

namespace rhea::core {

Machine::Machine(MachineConfig config, MachineRequests &requests)
    : config_(std::move(config)), requests_(requests), memory_root_(MemoryRegion::container("system", 0)),
      io_root_(MemoryRegion::container("io", 0x10000)), memory_(std::make_unique<AddressSpace>("memory", *memory_root_)),
      io_(std::make_unique<AddressSpace>("I/O", *io_root_)), globals_used_(config_.globals.size()) {}

Machine::~Machine() {
    vcpus_.clear();
    // One transaction, and the address spaces gone before its end: nobody is told of a map that is
    // being taken apart, and nothing is flattened for nothing.
    AddressSpace::begin_transaction();
    while (!devices_.empty())
        devices_.pop_back();
    memory_.reset();
    io_.reset();
    AddressSpace::commit_transaction();
}

RamBlock *Machine::ram_block_at(ram_addr_t address) {
    for (const auto &block : ram_blocks_) {
        if (address - block->ram_base() < block->size())
            return block.get();
    }
    return nullptr;
}

RamBlock &Machine::add_ram_block(std::string name, std::uint64_t size) {
    auto block = std::make_unique<RamBlock>(std::move(name), next_ram_, size);
    // A hole between blocks: no access to one can be taken for the next.
    next_ram_ += ((block->size() + (2u << 20) - 1) & ~((std::uint64_t{2} << 20) - 1)) + (2u << 20);
    ram_blocks_.push_back(std::move(block));
    return *ram_blocks_.back();
}

MemoryRegion &Machine::own_region(std::unique_ptr<MemoryRegion> region) {
    regions_.push_back(std::move(region));
    return *regions_.back();
}

void Machine::add_device(std::string path, std::unique_ptr<Device> device) {
    device->set_path(std::move(path));
    devices_.push_back(std::move(device));
}

util::Result<void> Machine::apply_globals(Device &device) {
    for (std::size_t i = 0; i < config_.globals.size(); ++i) {
        const GlobalProperty &global = config_.globals[i];
        if (global.driver != device.type())
            continue;
        globals_used_[i] = true;
        if (auto done = device.properties().set_default(global.property, global.value); !done)
            return util::fail(done.error().within(fmt::format("-global {}.{}", global.driver, global.property)));
    }
    return {};
}

std::vector<GlobalProperty> Machine::unused_globals() const {
    std::vector<GlobalProperty> unused;
    for (std::size_t i = 0; i < config_.globals.size(); ++i) {
        if (!globals_used_[i])
            unused.push_back(config_.globals[i]);
    }
    return unused;
}

util::Result<void> Machine::realize_devices() {
    while (realized_ < devices_.size()) {
        Device &device = *devices_[realized_++];
        auto done = apply_globals(device);
        if (done)
            done = device.realize();
        if (!done)
            return util::fail(done.error().within(fmt::format("device '{}'", device.path())));
    }
    return {};
}

Device *Machine::find_device(std::string_view path) const {
    for (const auto &device : devices_) {
        if (device->path() == path)
            return device.get();
    }
    return nullptr;
}

util::Result<void> Machine::hot_plug(const DeviceOption &option) {
    return util::fail("{}: machine '{}' takes no devices while it runs", option.driver, config_.machine);
}

util::Result<void> Machine::hot_unplug(std::string_view id) {
    return util::fail("{}: machine '{}' loses no devices while it runs", id, config_.machine);
}

void Machine::start_device(Device &device) {
    device.reset();
    if (running_)
        device.set_running(true);
}

void Machine::remove_device(Device &device) {
    // A controller's bus goes with it, so what sits there goes first.
    for (bool found = true; found;) {
        found = false;
        for (const auto &each : devices_) {
            const Bus *const bus = each->parent_bus();
            if (bus && bus->owner() == &device) {
                remove_device(*each);
                found = true;
                break;
            }
        }
    }
    const auto at = std::ranges::find(devices_, &device, &std::unique_ptr<Device>::get);
    if (at == devices_.end())
        return;
    const bool was_realized = static_cast<std::size_t>(at - devices_.begin()) < realized_;
    if (was_realized) {
        if (running_)
            device.set_running(false);
        device.unrealize();
        --realized_;
    }
    if (Bus *const bus = device.parent_bus())
        bus->unplug(device);
    AddressSpace::begin_transaction();
    devices_.erase(at);
    AddressSpace::commit_transaction();
}

util::Result<Bus *> Machine::find_bus(std::string_view kind, std::string_view name) const {
    std::string known;
    for (Bus *bus : buses_) {
        if (bus->kind() != kind) {
            if (!name.empty() && bus->name() == name)
                return util::fail("bus '{}' takes {} devices, this is one for {}", name, bus->kind(), kind);
            continue;
        }
        known += (known.empty() ? "" : ", ") + bus->name();
        if (name.empty() ? !bus->full() : bus->name() == name)
            return bus;
    }
    if (known.empty())
        return util::fail("this machine has no {} bus; add a controller with -device in front of it", kind);
    if (name.empty())
        return util::fail("no {} bus has room left ({})", kind, known);
    return util::fail("there is no bus '{}'; {} buses are: {}", name, kind, known);
}

void Machine::set_running(bool running) {
    MachineLockGuard lock;
    clocks_.set_running(running);
    running_ = running;
    tell_running(running);
}

void Machine::tell_running(bool running) {
    for (const auto &device : devices_)
        device->set_running(running);
}

void Machine::reset() {
    MachineLockGuard lock;
    for (const auto &device : devices_)
        device->reset();
    for (const auto &vcpu : vcpus_)
        vcpu->reset();
    for (const auto &hook : reset_hooks_)
        hook();
}

} // namespace rhea::core
