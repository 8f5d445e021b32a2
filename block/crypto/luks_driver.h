// Format `luks`: a LUKS header and the disk behind it, sector by sector encrypted.
#pragma once
#include "rhea/block/driver.h"

namespace rhea::block {

extern const BlockDriver kLuksDriver;

} // namespace rhea::block
