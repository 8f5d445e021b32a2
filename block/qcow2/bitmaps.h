// The persistent bitmaps of an image. This driver keeps and lists them. It does not record writes in them, so before the
// first write to the guest's disk it marks those that must follow it (flag auto) as in use, which tells every
// reader that they are not to be trusted any more; disabled ones stay as they are.
#pragma once
#include <string>
#include <vector>

#include "block/qcow2/image.h"

namespace rhea::block::qcow2 {

struct BitmapEntry {
    enum Flag : std::uint32_t { kInUse = 1, kAuto = 2, kExtraCompatible = 4 };
    std::uint64_t table_offset = 0;
    std::uint32_t table_size = 0; ///< entries
    std::uint32_t flags = 0;
    std::uint8_t type = 0, granularity_bits = 0;
    std::vector<std::uint8_t> extra;
    std::string name;
    std::uint64_t at = 0; ///< offset in the directory
};

/// Reads and checks the directory that the header names.
Task<Result<std::vector<BitmapEntry>>> read_bitmap_directory(Image &image);
/// The clusters that one bitmap's table names (offsets; bit 0 apart).
Task<Result<std::vector<std::uint64_t>>> read_bitmap_table(Image &image, const BitmapEntry &entry);
/// As `info` shows them.
std::string bitmaps_json(const std::vector<BitmapEntry> &entries);
/// Sets in_use, durably, in each bitmap that should record the writes that now begin.
Task<Result<void>> invalidate_bitmaps(Image &image);

} // namespace rhea::block::qcow2
