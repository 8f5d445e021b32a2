// Hyper-V disk images (VHDX): the driver's row (block/drivers.cc).
#pragma once
#include "rhea/block/driver.h"

namespace rhea::block {

extern const BlockDriver kVhdxDriver;

} // namespace rhea::block
