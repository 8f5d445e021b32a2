// Virtual PC disk images (VHD): the driver's row (block/drivers.cc).
#pragma once
#include "rhea/block/driver.h"

namespace rhea::block {

extern const BlockDriver kVpcDriver;

} // namespace rhea::block
