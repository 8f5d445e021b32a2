#include "tables.h"

#include <fmt/format.h>

#include <array>

#include "rhea/hw/none_machine.h"
#include "rhea/util/nearest_name.h"

namespace rhea::system {
namespace {

constexpr auto kMachines = std::to_array<core::MachineType>({
    hw::kNoneMachine,
});

/// Executes nothing: what machine 'none', which has no CPU, runs with.
class IdleAccelerator final : public core::Accelerator {
  public:
    std::string_view name() const override { return "tcg"; }
    util::Result<void> attach(core::AddressSpace&, core::AddressSpace&) override { return {}; }
    util::Result<std::unique_ptr<core::Vcpu>> create_vcpu(unsigned, core::Clocks&,
                                                          core::MachineRequests&) override {
        return util::fail("this build of Rhea has no accelerator");
    }
    std::string describe(std::string_view) const override { return {}; }
};

util::Result<std::unique_ptr<core::Accelerator>> make_idle(const AcceleratorRequest&) {
    return std::make_unique<IdleAccelerator>();
}

const auto kAccelerators = std::to_array<AcceleratorType>({
    {"tcg", "the translator", make_idle, nullptr},
});

template <typename Types>
std::string suggestion(std::string_view name, const Types& names, std::string_view otherwise) {
    if (const auto nearest = util::nearest_name(name, names)) {
        return fmt::format("did you mean '{}'?", *nearest);
    }
    return std::string(otherwise);
}

}  // namespace

std::span<const core::MachineType> machine_types() {
    return kMachines;
}

std::span<const AcceleratorType> accelerator_types() {
    return kAccelerators;
}

std::vector<core::DeviceType> device_types() {
    return {};
}

std::string cpu_help() {
    return "Available CPUs:\n";
}

util::Result<const core::MachineType*> find_machine(std::string_view name) {
    std::vector<std::string_view> names;
    for (const core::MachineType& type : kMachines) {
        if (type.name == name || (!type.alias.empty() && type.alias == name)) {
            return &type;
        }
        names.push_back(type.name);
        if (!type.alias.empty()) {
            names.push_back(type.alias);
        }
    }
    return util::fail("unsupported machine type '{}'; {}", name,
                      suggestion(name, names, "-machine help lists the machines"));
}

util::Result<const core::DeviceType*> find_device(std::string_view name,
                                                  std::span<const core::DeviceType> types) {
    std::vector<std::string_view> names;
    for (const core::DeviceType& type : types) {
        if (type.name == name) {
            return &type;
        }
        names.push_back(type.name);
    }
    return util::fail("'{}' is not a device of this version; {}", name,
                      suggestion(name, names, "-device help lists the devices"));
}

}  // namespace rhea::system
