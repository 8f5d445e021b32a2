#include "tests/golden/summary.h"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <sstream>

namespace rhea::golden {

namespace {

constexpr const char* kHead =
    "# Host instructions on the hot path of the golden guest snippets, by file. They may only fall:\n"
    "# scripts/golden --update writes lower numbers; a rise that is wanted is written here by hand.\n"
    "# group            snippets   guest    host  host/guest\n";

bool same_guest_code(const GroupTotals& a, const GroupTotals& b) {
    return a.snippets == b.snippets && a.guest == b.guest;
}

}  // namespace

void add_to_summary(Summary& summary, const std::string& group, std::string_view produced) {
    unsigned guest = 0, host = 0;
    if (std::sscanf(std::string(produced.substr(0, produced.find('\n'))).c_str(),
                    "# %u guest, %u host", &guest, &host) != 2) {
        return;
    }
    GroupTotals& totals = summary[group];
    totals.snippets += 1;
    totals.guest += guest;
    totals.host += host;
}

util::Result<Summary> read_summary(const std::filesystem::path& path) {
    std::ifstream file(path);
    if (!file) {
        return util::fail("cannot read {}", path.string());
    }
    Summary summary;
    std::string line;
    while (std::getline(file, line)) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        std::istringstream fields(line);
        std::string group;
        GroupTotals totals;
        if (!(fields >> group >> totals.snippets >> totals.guest >> totals.host)) {
            return util::fail("{}: not a line of a summary: \"{}\"", path.string(), line);
        }
        summary[group] = totals;
    }
    return summary;
}

std::string format_summary(const Summary& summary) {
    std::string text = kHead;
    GroupTotals all;
    const auto put = [&text](std::string_view name, const GroupTotals& t) {
        text += fmt::format("{:<18} {:8} {:7} {:7} {:11.2f}\n", name, t.snippets, t.guest, t.host,
                            t.guest == 0 ? 0.0 : static_cast<double>(t.host) / t.guest);
    };
    for (const auto& [group, totals] : summary) {
        put(group, totals);
        all.snippets += totals.snippets;
        all.guest += totals.guest;
        all.host += totals.host;
    }
    put("# all", all);
    return text;
}

std::string compare_summary(const Summary& recorded, const Summary& now) {
    std::string faults;
    for (const auto& [group, totals] : now) {
        const auto old = recorded.find(group);
        if (old == recorded.end() || !same_guest_code(old->second, totals)) {
            faults += fmt::format("{}: other snippets than recorded; scripts/golden --update\n", group);
        } else if (totals.host > old->second.host) {
            faults += fmt::format("{}: {} host instructions, {} more than recorded\n", group,
                                  totals.host, totals.host - old->second.host);
        }
    }
    for (const auto& [group, totals] : recorded) {
        if (!now.contains(group)) {
            faults += fmt::format("{}: recorded, but no such group; scripts/golden --update\n", group);
        }
    }
    return faults;
}

Summary updated_summary(const Summary& recorded, const Summary& now) {
    Summary result = now;
    for (auto& [group, totals] : result) {
        const auto old = recorded.find(group);
        if (old != recorded.end() && same_guest_code(old->second, totals) &&
            totals.host > old->second.host) {
            totals.host = old->second.host;
        }
    }
    return result;
}

}  // namespace rhea::golden
