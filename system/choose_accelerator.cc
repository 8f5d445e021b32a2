#include "choose_accelerator.h"

#include <fmt/format.h>

namespace rhea::system {
namespace {

using Made = util::Result<std::unique_ptr<core::Accelerator>>;

const AcceleratorType* find(std::span<const AcceleratorType> types, std::string_view name) {
    for (const AcceleratorType& type : types) {
        if (type.name == name) {
            return &type;
        }
    }
    return nullptr;
}

/// `auto`: the first type that runs at hardware speed, else the default one.
Made choose_fastest(const AcceleratorOption& option, const core::MachineConfig& config,
                    std::span<const AcceleratorType> types,
                    const std::function<void(std::string_view)>& tell) {
    std::string why_not;
    for (const AcceleratorType& type : types) {
        if (!type.probe_speed) {
            continue;
        }
        const auto probe = type.probe_speed();
        const std::string why = probe ? probe->why : probe.error().message();
        if (probe && probe->hardware_speed) {
            auto made = type.create({config, option.properties, tell});
            if (made) {
                tell(fmt::format("accelerator {} chosen: {}", type.name, why));
                return made;
            }
            why_not += fmt::format("; not {}: {}", type.name, made.error().message());
            continue;
        }
        why_not += fmt::format("; not {}: {}", type.name, why);
    }
    const AcceleratorType* fallback = find(types, kDefaultAccelerator);
    tell(fmt::format("accelerator {} chosen{}", fallback->name, why_not));
    return fallback->create({config, option.properties, tell});
}

Made make_one(const AcceleratorOption& option, const core::MachineConfig& config,
              std::span<const AcceleratorType> types,
              const std::function<void(std::string_view)>& tell) {
    if (option.name == "auto") {
        return choose_fastest(option, config, types, tell);
    }
    if (const AcceleratorType* type = find(types, option.name)) {
        return type->create({config, option.properties, tell});
    }
    return util::fail("this build of Rhea has no accelerator {}", option.name);
}

}  // namespace

Made choose_accelerator(std::span<const AcceleratorOption> wanted,
                        const core::MachineConfig& config, std::span<const AcceleratorType> types,
                        const std::function<void(std::string_view)>& tell) {
    const AcceleratorOption standard{std::string(kDefaultAccelerator), {}};
    if (wanted.empty()) {
        wanted = {&standard, 1};
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const AcceleratorOption& option = wanted[i];
        Made made = make_one(option, config, types, tell);
        if (made) {
            return made;
        }
        if (i + 1 == wanted.size()) {
            return util::fail(made.error().within(fmt::format("-accel {}", option.name)));
        }
        tell(fmt::format("-accel {}: {}; falling back to {}", option.name, made.error().message(),
                         wanted[i + 1].name));
    }
    return util::fail("no accelerator");
}

}  // namespace rhea::system
