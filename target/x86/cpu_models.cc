#include "target/x86/cpu_models.h"

#include <algorithm>

#include "rhea/util/result.h"

namespace rhea::target::x86 {
namespace {

constexpr NamedModel kModels[] = {
#define RHEA_X86_CPU_MODEL(...) NamedModel{__VA_ARGS__},
#define RHEA_X86_CPU_VERSION(...)
#include "target/x86/cpu_models.def"
#undef RHEA_X86_CPU_MODEL
#undef RHEA_X86_CPU_VERSION
};

constexpr NamedVersion kVersions[] = {
#define RHEA_X86_CPU_MODEL(...)
#define RHEA_X86_CPU_VERSION(...) NamedVersion{__VA_ARGS__},
#include "target/x86/cpu_models.def"
#undef RHEA_X86_CPU_MODEL
#undef RHEA_X86_CPU_VERSION
};

std::string versioned(std::string_view name, unsigned number) {
    return fmt::format("{}-v{}", name, number);
}

const NamedModel* model_named(std::string_view name) {
    const auto found = std::find_if(std::begin(kModels), std::end(kModels),
                                    [name](const NamedModel& m) { return m.name == name; });
    return found != std::end(kModels) ? found : nullptr;
}

}  // namespace

NamedChoice find_named_model(std::string_view name) {
    for (const NamedModel& m : kModels)
        if (m.name == name || versioned(m.name, 1) == name)
            return {&m, nullptr};
    for (const NamedVersion& v : kVersions)
        if (v.alias == name || versioned(v.name, v.number) == name)
            return {model_named(v.name), &v};
    return {};
}

std::vector<ModelListing> list_named_models() {
    std::vector<ModelListing> list;
    for (const NamedModel& m : kModels) {
        list.push_back({std::string(m.name), fmt::format("(alias of {})", versioned(m.name, 1))});
        list.push_back({versioned(m.name, 1), std::string(m.model_id)});
        for (const NamedVersion& v : kVersions) {
            if (v.name != m.name)
                continue;
            const std::string name = versioned(v.name, v.number);
            if (!v.alias.empty())
                list.push_back({std::string(v.alias), fmt::format("(alias of {})", name)});
            list.push_back({name, std::string(v.model_id.empty() ? m.model_id : v.model_id)});
        }
    }
    return list;
}

}  // namespace rhea::target::x86
