// Refusing options that a format does not know, by the table that lists those it knows.
#pragma once
#include <span>
#include <vector>

#include "rhea/block/driver.h"

namespace rhea::block {

inline Result<void> finish_options(const NodeOptions &options, std::span<const OptionDescription> known = {}) {
    std::vector<std::string_view> names;
    for (const OptionDescription &each : known)
        names.push_back(each.name);
    return options.finish(names);
}

} // namespace rhea::block
