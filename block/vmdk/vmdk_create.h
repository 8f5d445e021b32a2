// Creating VMware disk images.
#pragma once
#include "rhea/block/driver.h"

namespace rhea::block {

extern const std::span<const OptionDescription> kVmdkCreateOptions;
Task<Result<void>> create_vmdk(CreateRequest request);

} // namespace rhea::block
