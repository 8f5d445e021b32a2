// Flattening of a region tree into a FlatView, and the publishing of views.
#pragma once
#include "rhea/core/memory.h"

namespace rhea::core {

/// The visible ranges of `root`, sorted.
std::unique_ptr<FlatView> flatten(MemoryRegion &root);

/// Hands a view that is no longer current to the reclaimer: it is freed once no ViewGuard can hold it.
void retire_view(const FlatView *view);

} // namespace rhea::core
