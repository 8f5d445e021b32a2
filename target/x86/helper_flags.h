// The one-letter flags of helpers.def rows. For the files that expand them only.
#pragma once
#include "rhea/tcg/types.h"

#include <cstdint>

namespace rhea::target::x86::helper_letters {

inline constexpr std::uint16_t W = tcg::kHelperWritesSlots, R = tcg::kHelperReadsSlots, V = tcg::kHelperVector,
                               I = tcg::kHelperFlagsIn, O = tcg::kHelperFlagsOut, F = tcg::kHelperMayFault,
                               P = tcg::kHelperPcIn, J = tcg::kHelperMayChangePc, C = J | P;

} // namespace rhea::target::x86::helper_letters
