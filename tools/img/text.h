// What people and programs read: info, snapshot lists, checks; as text and as JSON in qemu-img's shapes.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rhea/block/node.h"

namespace rhea::img {

std::string snapshot_table(const block::NodeInfo& info);
std::string info_text(const block::NodeInfo& info);
/// One object, or with `chain` an array.
std::string info_json(const std::vector<block::NodeInfo>& infos, bool chain);
std::string check_json(const block::CheckResult& result, const std::string& filename, const std::string& format);
/// `bitmaps`: bytes for copying those that the source keeps; none: it keeps none.
std::string measure_json(std::uint64_t required, std::uint64_t fully_allocated, std::optional<std::uint64_t> bitmaps);

}  // namespace rhea::img
