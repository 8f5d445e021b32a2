// VEX instruction descriptors by name: vex::vaddps, vex::vpshufd, ... (rows: vex_ops.def).
//
// Which Assembler::vex_* form goes with a descriptor follows from the row's operands: "vVx" is
// vex_rrr or vex_rrm, "vx" vex_rr or vex_rm, a trailing "i" adds imm8; rows that begin with x, y or
// m are the
// *_store/_mr forms; "gyG" (shlx, bextr) takes its last operand as the second argument of vex_rrr.
// Shifts by an immediate: vex_shift_imm() below.
#pragma once
#include "tcg/backend/x64/assembler.h"
#include "tcg/backend/x64/operands.h"

namespace rhea::tcg::x64 {

namespace vex {

#define RHEA_VEX_OP(name, pp, map, opcode, w, operands, bytes, bytes256) \
    inline constexpr VexOp name{VexPrefix::pp, VexMap::map, opcode, w, 0};
#define RHEA_VEX_GROUP(name, pp, opcode, digit) \
    inline constexpr VexGroupOp name{{VexPrefix::pp, VexMap::k0F, opcode, 0, 0}, digit};
#include "tcg/backend/x64/vex_ops.def"
#undef RHEA_VEX_OP
#undef RHEA_VEX_GROUP

}  // namespace vex

/// dst := src shifted by `count`: vex_shift_imm(a, vex::vpslld_imm, dst, src, 3).
inline void vex_shift_imm(Assembler& a, VexGroupOp group, Xmm dst, Xmm src, unsigned count) {
    a.vex_group_rri(group.op, group.digit, dst, src, count);
}

}  // namespace rhea::tcg::x64
