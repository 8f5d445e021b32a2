// Requests at an instruction boundary: INIT, SIPI, SMI, NMI, INTR, A20.
#pragma once
#include "cpu.h"

namespace rhea::target::x86 {

tcg::GuestFrontend::Outcome check_requests(Cpu& cpu);
/// Would check_requests() let a halted CPU go on? Any thread.
bool has_work(const Cpu& cpu);

}  // namespace rhea::target::x86
