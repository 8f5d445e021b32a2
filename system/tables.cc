#include "tables.h"

#include <fmt/format.h>

#include <array>

#include "accelerators.h"
#include "rhea/hw/machines.h"
#include "rhea/hw/none_machine.h"
#include "rhea/target/x86/cpu_model.h"
#include "rhea/util/nearest_name.h"

namespace rhea::system {
namespace {

constexpr auto kAccelerators = std::to_array<AcceleratorType>({
    {"kvm", "the host's hardware virtualization", make_kvm, probe_kvm},
    {"tcg", "the translator", make_tcg, nullptr},
});

constexpr auto kMachineSettings = std::to_array<MachineSetting>({
    {"usb", "off"},
    {"vmport", "off"},
    {"hpet", "off"},
    {"smm", "off"},
    {"nvdimm", "off"},
    {"pcie", "off"},
    {"x-option-roms", "off"},
    {"graphics", ""},         // firmware's choice of console: there is only the serial one
    {"dump-guest-core", ""},  // core dumps are the host's to configure
    {"mem-merge", "on"},
});

template <typename Types>
std::string suggestion(std::string_view name, const Types& names, std::string_view otherwise) {
    if (const auto nearest = util::nearest_name(name, names)) {
        return fmt::format("did you mean '{}'?", *nearest);
    }
    return std::string(otherwise);
}

}  // namespace

std::vector<core::MachineType> machine_types() {
    const auto types = hw::machine_types();
    std::vector<core::MachineType> all(types.begin(), types.end());
    all.push_back(hw::kNoneMachine);
    return all;
}

std::span<const MachineSetting> machine_settings() {
    return kMachineSettings;
}

std::span<const AcceleratorType> accelerator_types() {
    return kAccelerators;
}

std::span<const core::DeviceType> device_types() {
    return hw::device_types();
}

std::string cpu_help() {
    return target::x86::list_cpu_models();
}

util::Result<core::MachineType> find_machine(std::string_view name) {
    std::vector<std::string_view> names;
    for (const core::MachineType& type : machine_types()) {
        if (type.name == name || (!type.alias.empty() && type.alias == name)) {
            return type;
        }
        names.push_back(type.name);
        if (!type.alias.empty()) {
            names.push_back(type.alias);
        }
    }
    return util::fail("unsupported machine type '{}'; {}", name,
                      suggestion(name, names, "-machine help lists the machines"));
}

util::Result<const core::DeviceType*> find_device(std::string_view name) {
    std::vector<std::string_view> names;
    for (const core::DeviceType& type : device_types()) {
        if (type.name == name) {
            return &type;
        }
        names.push_back(type.name);
    }
    return util::fail("'{}' is not a device of this version; {}", name,
                      suggestion(name, names, "-device help lists the devices"));
}

}  // namespace rhea::system
