// The op tables: opcodes.def's rows, and what they say digested.
#include "tcg/ir/op_digest.h"

namespace rhea::tcg::ir {

constexpr std::array<OpTraits, kOpCount> kOpTraits = kDigestedOps;

constexpr std::array<OpInfo, kOpCount> kOpTable = {
#define RHEA_IR_OP(name, result, args, flags, meaning) OpInfo{digest_row(#result, args, flags), #name, #result, args, flags, meaning},
#include "rhea/tcg/opcodes.def"
#undef RHEA_IR_OP
};

static_assert(sizeof(Inst) == 32);  // translation time is memory traffic

void Block::clear() {
    insts.clear();
    insns.clear();
    fields.clear();
    mode = 0;
    page_offset = 0;
    byte_length = 0;
    crosses_page = hot = false;
}

}  // namespace rhea::tcg::ir
