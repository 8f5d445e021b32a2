#include "rhea/tcg/passes.h"
#include "tcg/passes/simplify_inst.h"

namespace rhea::tcg::passes {

void simplify(ir::Block& block) {
    for (Inst& inst : block.insts)
        simplify_inst(block, inst);
}

}  // namespace rhea::tcg::passes
