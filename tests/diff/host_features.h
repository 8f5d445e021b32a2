// The features of the CPU that the tests run on.
#pragma once
#include "target/x86/decode/features.h"

#include <string>

namespace rhea::target::x86::diff {

FeatureSet host_features();
/// The processor's own name, family, model and stepping, for reports.
std::string host_name();

} // namespace rhea::target::x86::diff
