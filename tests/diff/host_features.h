// The features of the CPU that the tests run on.
#pragma once
#include "target/x86/decode/features.h"

namespace rhea::target::x86::diff {

FeatureSet host_features();

} // namespace rhea::target::x86::diff
