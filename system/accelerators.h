// How the command line's accelerators are made of accel/ and the guest architecture.
#pragma once
#include <memory>
#include <string>

#include "rhea/util/result.h"
#include "tables.h"

namespace rhea::system {

util::Result<std::unique_ptr<core::Accelerator>> make_tcg(const AcceleratorRequest& request);
util::Result<std::unique_ptr<core::Accelerator>> make_kvm(const AcceleratorRequest& request);
/// Times a loop under KVM.
util::Result<SpeedProbe> probe_kvm();

}  // namespace rhea::system
