// The persistent bitmaps of an image. Those with the flag auto record writes: before the first write to the guest's disk their
// bits are loaded, and they are marked as in use, which tells every reader that they are not to be trusted; when the image is
// closed they are stored, and the mark goes. So a writer that is killed leaves a bitmap that says itself that it has gaps.
#pragma once
#include <string>
#include <vector>

#include "block/qcow2/bitmap_bits.h"
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
/// Bytes of the entry in the directory.
inline constexpr std::size_t kFixedSize = 24;
inline std::size_t stored_size(const BitmapEntry &entry) {
    return (kFixedSize + entry.extra.size() + entry.name.size() + 7) & ~std::size_t{7};
}

/// A bitmap that records writes.
struct RecordingBitmap {
    std::string name;
    BitmapBits bits;
};

/// Loads the bits of each bitmap that should record the writes that now begin, and sets in_use in it, durably. One that cannot be
/// loaded is marked and stays so.
Task<Result<void>> start_recording(Image &image);
/// Stores what was recorded and takes the marks away.
Task<Result<void>> stop_recording(Image &image);

// bitmap_store.cc. What is new is named by nothing until the directory is stored.
/// Without a bit set; fails when it would take too much memory.
Result<BitmapBits> empty_bitmap(const Image &image, const BitmapEntry &entry);
Task<Result<BitmapBits>> load_bitmap(Image &image, const BitmapEntry &entry);
/// To new clusters; `entry` gets their place.
Task<Result<void>> store_bitmap(Image &image, BitmapEntry &entry, const BitmapBits &bits);
/// Frees table and clusters, once a commit has made durable that nothing names them.
Task<Result<void>> free_bitmap(Image &image, const BitmapEntry &entry);
/// A new directory of these, and the header that names it.
Task<Result<void>> store_bitmap_directory(Image &image, const std::vector<BitmapEntry> &entries);

} // namespace rhea::block::qcow2
