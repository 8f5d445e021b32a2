// References that an L1 table holds: to L2 tables and, through them, to clusters. Snapshots add and drop them as a whole.
//
// All of this runs with the gate closed and the caches committed, and reads and writes L2 tables in the file directly.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "block/qcow2/image.h"

namespace rhea::block::qcow2 {

/// Reads an L1 table of a snapshot, checked: every entry can be an L2 table.
Task<Result<std::vector<std::uint64_t>>> read_l1(Image &image, std::uint64_t offset, std::uint32_t entries);

/// One more reference to each L2 table and cluster that `l1` names; clears kCopied in the tables. `l1` itself is
/// changed (kCopied cleared). On failure all counts are as before.
Task<Result<void>> add_references(Image &image, std::vector<std::uint64_t> &l1);
/// One less; clusters that nothing names any more are freed. What names them is durably gone already.
Task<Result<void>> drop_references(Image &image, const std::vector<std::uint64_t> &l1);
/// Sets kCopied in the active tables wherever a count has become one.
Task<Result<void>> restore_copied(Image &image);

/// The clusters of one L2 entry as runs of the image file.
void append_clusters(const Image &image, const L2Entry &entry, FreeReason reason, std::vector<FreedRun> &runs);

} // namespace rhea::block::qcow2
