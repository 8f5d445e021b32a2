// The rules that one instruction must keep by itself; the builder checks them at each emit in debug
// builds.
#pragma once
#include "rhea/tcg/ir.h"

namespace rhea::tcg::ir {

/// Empty when instruction `index` fits its row and the guest, and refers only to what is before it.
std::string check_inst(const Block& block, ValueId index, const GuestDescription& guest);

/// "i32", "flags", …
std::string_view type_name(Type type);

}  // namespace rhea::tcg::ir
