// What a range of the guest's disk maps to: the read side of L2 tables.
#pragma once
#include "block/qcow2/image.h"

namespace rhea::block::qcow2 {

struct Mapping {
    Kind kind = Kind::kUnallocated;
    std::uint64_t length = 0; ///< bytes of this kind, at most what was asked for, contiguous in the file where there is a cluster
    std::uint64_t host = 0;   ///< offset of the first byte, for kData, kZeroAlloc and kUnallocatedAlloc
    L2Entry entry;            ///< of the first cluster
};

/// Looks up [guest, guest + length), at most to the end of one L2 slice. `length` > 0.
Result<Need> map_range(Image &image, std::uint64_t guest, std::uint64_t length, Mapping &mapping);

} // namespace rhea::block::qcow2
