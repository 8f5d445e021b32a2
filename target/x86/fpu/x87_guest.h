// What the translator's back ends need to run x87 instructions for an x86 guest (tcg::X87Guest). Immutable.
#pragma once
#include "rhea/target/x86/state.h"

namespace rhea::target::x86 {

const tcg::X87Guest *x87_guest();

} // namespace rhea::target::x86
