// What the decoder knows of a CPU model: the instructions that it has.
#pragma once
#include "rhea/target/x86/cpu_model.h"
#include "target/x86/decode/features.h"

namespace rhea::target::x86 {

FeatureSet decoder_features(const CpuModel &model);

} // namespace rhea::target::x86
