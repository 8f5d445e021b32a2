// The named CPU models of cpu_models.def. Constant data.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rhea::target::x86 {

/// A row of cpu_models.def: the model's first version.
struct NamedModel {
    std::string_view name, vendor;
    unsigned family, model, stepping;
    std::uint32_t level, extended_level;
    std::string_view model_id;
    std::string_view features;  ///< with spaces between
};

/// A later version.
struct NamedVersion {
    std::string_view name;
    unsigned number;
    std::string_view alias, model_id;
    std::string_view changes;  ///< as on the command line
};

struct NamedChoice {
    const NamedModel* model = nullptr;      ///< null: there is none of the name
    const NamedVersion* version = nullptr;  ///< null: the first
};

/// By "Name", "Name-v<n>" or a version's alias.
NamedChoice find_named_model(std::string_view name);

struct ModelListing {
    std::string name, description;
};
/// Every name with what it is, in the order of the table.
std::vector<ModelListing> list_named_models();

}  // namespace rhea::target::x86
