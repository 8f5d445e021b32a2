// System management mode: entry, and RSM (helper_rsm). Save areas as in the APM vol. 2, 10.2.3
// (processors with long mode) and the SDM vol. 3, table 32-1 (without).
#pragma once
#include "cpu.h"

namespace rhea::target::x86 {

void enter_smm(Cpu& cpu);

}  // namespace rhea::target::x86
