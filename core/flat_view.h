// Flattening of a memory tree into the ranges of a FlatView. Under the machine lock.
#pragma once
#include <vector>

#include "rhea/core/memory.h"

namespace rhea::core {

/// What a reader at each address of `root` sees: sorted, not overlapping, and merged where
/// neighbours continue each other.
std::vector<FlatRange> flatten(const MemoryRegion& root);

/// Where an address lies in a view.
struct Location {
    const FlatRange* range;  ///< null: nothing there
    std::uint64_t run;       ///< bytes from the address to the end of the range or gap; 0: 2^64
};
Location locate(const FlatView& view, hwaddr addr);

}  // namespace rhea::core
