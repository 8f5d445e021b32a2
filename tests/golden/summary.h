// The ratchet of the golden guest snippets: how many host instructions each group of snippets takes on
// the hot path. tests/golden/summary.txt has one line a group; totals may only fall.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "rhea/util/result.h"

namespace rhea::golden {

struct GroupTotals {
    unsigned snippets = 0, guest = 0, host = 0;
};
/// By group: the golden file's name without its extension.
using Summary = std::map<std::string, GroupTotals>;

/// Adds a case whose text begins "# G guest, H host"; other texts are not counted.
void add_to_summary(Summary& summary, const std::string& group, std::string_view produced);

util::Result<Summary> read_summary(const std::filesystem::path& path);
std::string format_summary(const Summary& summary);

/// What is wrong with `now` against what was recorded, one line each: more host instructions for the same
/// guest code, or other snippets than recorded. Fewer host instructions are no fault.
std::string compare_summary(const Summary& recorded, const Summary& now);
/// The summary to write: `now`, but a group with the same guest code and more host instructions stays as it was.
Summary updated_summary(const Summary& recorded, const Summary& now);

}  // namespace rhea::golden
