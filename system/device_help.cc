#include "device_help.h"

#include <fmt/format.h>

#include "rhea/hw/none_machine.h"
#include "tables.h"

namespace rhea::system {
namespace {

class IgnoredRequests final : public core::MachineRequests {
  public:
    void request_shutdown(core::ShutdownCause, int) override {}
    void request_reset(core::ShutdownCause) override {}
    void request_work(std::function<void()>) override {}
};

}  // namespace

std::string device_list_help() {
    std::string text;
    for (const core::DeviceType& type : device_types()) {
        text += fmt::format("name \"{}\", bus {}, desc \"{}\"\n", type.name, type.bus,
                            type.description);
    }
    return text;
}

std::string device_properties_help(const core::DeviceType& type) {
    IgnoredRequests requests;
    const auto machine = hw::make_none_machine({}, requests);
    const auto device = type.create(*machine);
    if (device->properties().all().empty()) {
        return fmt::format("{} has no properties\n", type.name);
    }
    std::string text = fmt::format("{} options:\n", type.name);
    for (const core::Property& property : device->properties().all()) {
        std::string row = fmt::format("  {}=<{}>", property.name, property.type);
        if (!property.description.empty() || !property.default_text.empty()) {
            row = fmt::format("{:<24} - {}", row, property.description);
        }
        if (!property.default_text.empty()) {
            row += fmt::format(" (default: {})", property.default_text);
        }
        text += row + "\n";
    }
    return text;
}

}  // namespace rhea::system
