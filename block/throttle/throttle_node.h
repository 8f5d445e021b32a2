// Filter `throttle`.
#pragma once
#include "rhea/block/driver.h"

namespace rhea::block {

extern const BlockDriver kThrottleDriver;

} // namespace rhea::block
