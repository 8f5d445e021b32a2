// The NBD client: the driver's row (block/drivers.cc).
#pragma once
#include "rhea/block/driver.h"

namespace rhea::block {

extern const BlockDriver kNbdDriver;

} // namespace rhea::block
