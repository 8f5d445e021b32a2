// Format `raw`: the file is the disk, or a part of it (offset=, size=).
#pragma once
#include "rhea/block/driver.h"

namespace rhea::block {

/// Tells a raw node that its format was guessed: it then refuses writes that would make it look like another one.
void mark_probed(BlockNode &raw);

extern const BlockDriver kRawDriver;

} // namespace rhea::block
