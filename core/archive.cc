#include "rhea/core/archive.h"

#include <fmt/format.h>

namespace rhea::core {

std::string Archive::element_name(std::string_view name, std::size_t index) { return fmt::format("{}[{}]", name, index); }

void Archive::section(std::string_view name, unsigned version, const std::function<void(Archive &)> &body) {
    if (!ok())
        return;
    const unsigned outer = version_;
    unsigned stored = version;
    path_.emplace_back(name);
    begin_section(name, stored);
    if (ok() && stored > version)
        fail(fmt::format("its state has version {}, this emulator knows up to {}", stored, version));
    if (ok()) {
        version_ = stored;
        body(*this);
        end_section();
    }
    version_ = outer;
    path_.pop_back();
}

void Archive::fail(std::string reason) {
    if (!ok())
        return;
    std::string where;
    for (const std::string &part : path_)
        where += (where.empty() ? "" : "/") + part;
    status_ = util::fail("state of '{}': {}", where, reason);
}

} // namespace rhea::core
