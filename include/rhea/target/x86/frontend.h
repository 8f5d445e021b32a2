// The x86 guest for the translator's run loop.
#pragma once
#include <memory>

#include "rhea/target/x86/cpu_model.h"
#include "rhea/tcg/frontend.h"

namespace rhea::target::x86 {

/// One vCPU's frontend; `index` is also its APIC id. Index 0 is the boot processor, the others wait
/// for a start-up IPI. The guest's TSC ticks once a nanosecond of guest time (CpuModel::tsc_hz).
std::unique_ptr<tcg::GuestFrontend> make_frontend(const CpuModel& model, unsigned index);

}  // namespace rhea::target::x86
