// What this binary can be made of: accelerators (one line each in tables.cc), machines and devices
// (those of hw/types.cc and machine none), CPU models. Nothing registers itself.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/core/accelerator.h"
#include "rhea/core/device.h"
#include "rhea/core/machine.h"
#include "rhea/util/option_list.h"
#include "rhea/util/result.h"

namespace rhea::system {

/// What an accelerator is made from.
struct AcceleratorRequest {
    const core::MachineConfig& config;      ///< cpu_model, cpus, kernel_irqchip
    util::OptionList::Pairs properties;     ///< of `-accel name,key=value`
    const std::function<void(std::string_view)>& tell;  ///< warnings
};

/// Whether an accelerator runs guest code as fast as the host runs its own, for `-accel auto`.
struct SpeedProbe {
    bool hardware_speed = false;
    std::string why;  ///< "a loop of 1000000 turns took 0.4 ms"
};

struct AcceleratorType {
    std::string_view name;
    std::string_view description;
    /// Fails with the reason when the host cannot run it: `-accel a -accel b` then goes on to b.
    util::Result<std::unique_ptr<core::Accelerator>> (*create)(const AcceleratorRequest& request);
    util::Result<SpeedProbe> (*probe_speed)();  ///< null: never chosen for its speed
};

std::vector<core::MachineType> machine_types();

/// A setting of QEMU's machines that asks for what is so anyway, and the value that does.
struct MachineSetting {
    std::string_view name, value;  ///< value: empty for any
};
std::span<const MachineSetting> machine_settings();
/// In the order in which `-accel auto` tries them; the last one always works.
std::span<const AcceleratorType> accelerator_types();
std::span<const core::DeviceType> device_types();
/// What `-cpu help` prints.
std::string cpu_help();

inline constexpr std::string_view kDefaultMachine = "pc";
inline constexpr std::string_view kDefaultAccelerator = "tcg";

/// The machine of that name or alias, or a sentence with the nearest name.
util::Result<core::MachineType> find_machine(std::string_view name);
util::Result<const core::DeviceType*> find_device(std::string_view name);

}  // namespace rhea::system
