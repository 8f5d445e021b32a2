// The table of internal snapshots: reading and writing it whole.
#pragma once
#include <string>
#include <vector>

#include "block/qcow2/image.h"

namespace rhea::block::qcow2 {

/// Reads image.snapshots (and snapshot_table_size) from where the header says.
Task<Result<void>> load_snapshot_table(Image &image);
/// Writes `snapshots` to a new place and switches the header to it, durably; the old place is freed later. On failure
/// image and header are as before.
Task<Result<void>> store_snapshot_table(Image &image, std::vector<SnapshotEntry> snapshots);
/// By id, else by name; image.snapshots.size(): none.
std::size_t find_snapshot(const Image &image, const std::string &id_or_name);

} // namespace rhea::block::qcow2
