// Copying the dirty bitmaps that an image keeps: convert --bitmaps.
#pragma once
#include <string>
#include <vector>

#include "tools/img/image.h"

namespace rhea::img {

struct StoredBitmap {
    std::string name;
    std::uint64_t granularity = 0;  ///< bytes
    bool enabled = false;
    bool broken = false;  ///< in use: whoever recorded in it did not store it
};

/// Those of the image itself, not of its backing files.
Result<std::vector<StoredBitmap>> stored_bitmaps(Run& run, Image& image);
/// Broken ones are left out with a warning.
Result<void> copy_bitmaps(Run& run, Image& source, Image& target, const std::vector<StoredBitmap>& bitmaps);

}  // namespace rhea::img
