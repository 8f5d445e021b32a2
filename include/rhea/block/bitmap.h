// What can be done to the dirty bitmaps that an image keeps (rhea-img bitmap, convert --bitmaps).
#pragma once
#include <cstdint>
#include <string>

namespace rhea::block {

class BlockNode;

/// One step on the bitmap `name`. One that is in use (its writer was killed, so that it has gaps) can only be removed.
struct BitmapChange {
    enum class Kind : std::uint8_t {
        kAdd,     ///< a new one without a bit set, enabled; `granularity`
        kRemove,
        kClear,   ///< no bit is set
        kEnable,  ///< records writes from now on
        kDisable,
        kMerge,   ///< sets all bits that `source_name` of `source` has
    };
    Kind kind = Kind::kAdd;
    std::string name;
    std::uint64_t granularity = 65536; ///< bytes, a power of two
    BlockNode *source = nullptr;       ///< null: the same image
    std::string source_name;
};

} // namespace rhea::block
