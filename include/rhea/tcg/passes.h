// What makes IR better before a back end sees it: a backward sweep that finds what nobody looks at
// and simplifies the rest, and a forward one that closes the gaps. No malloc once the block's storage
// is warm. Not thread-safe per block.
#pragma once
#include "rhea/tcg/ir.h"

namespace rhea::tcg::passes {

/// All passes. The block must be well formed (ir::verify); with RHEA_DEBUG that is checked
/// before and after them.
void run(ir::Block& block, const GuestDescription& guest);

/// Rewires flags users past flags values that cannot matter to them (a carry through f_inc, ZF
/// through f_bit, …), and fuses cond into the select or branch that uses it.
void simplify(ir::Block& block);

/// Removes pure values without users, `set` and `set_flags` that are overwritten before anything
/// could look: a faulting or leaving op, a helper that reads them, or a get. Renumbers values.
void eliminate_dead(ir::Block& block, const GuestDescription& guest);

/// Both in one sweep.
void simplify_and_eliminate_dead(ir::Block& block, const GuestDescription& guest);

}  // namespace rhea::tcg::passes
