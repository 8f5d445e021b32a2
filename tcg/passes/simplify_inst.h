// What one instruction is rewired to: users of flags past values that cannot matter to them, conditions into what tests
// them. Looks only at earlier instructions, as the frontend made them or simplified: chains are walked to their end, so
// the order in which a sweep goes through the block makes no difference.
//
// Flags: each f_ op defines some of the six bits and takes the others from an older flags value; each user needs some
// bits. A user is moved past every flags value that defines none of the bits it needs.
#pragma once
#include "rhea/tcg/ir.h"

namespace rhea::tcg::passes {

using ir::Inst;
using ir::Op;
using ir::ValueId;

inline std::uint32_t bits_of_condition(std::uint16_t aux) {
    switch (static_cast<Cond>(aux & 0xe)) {
        case Cond::kO:
            return kOF;
        case Cond::kB:
            return kCF;
        case Cond::kE:
            return kZF;
        case Cond::kBE:
            return kCF | kZF;
        case Cond::kS:
            return kSF;
        case Cond::kP:
            return kPF;
        case Cond::kL:
            return kSF | kOF;
        default:
            return kSF | kOF | kZF;
    }
}

/// Index of the older flags value that the op keeps bits of (as they are), and the bits that it
/// defines itself.
struct Passthrough {
    unsigned arg;
    std::uint32_t defines;
};
inline Passthrough passthrough(const Inst& inst) {
    switch (inst.op) {
        case Op::f_inc:
        case Op::f_dec:
            return {1, kArithFlags & ~kCF};
        case Op::f_bit:
            return {1, kCF};
        case Op::f_zf:
            return {1, kZF};
        case Op::f_of:
            return {1, kOF};
        case Op::f_rol:
        case Op::f_ror:
        case Op::f_rcl:
        case Op::f_rcr:
            return {2, kCF | kOF};
        default:
            return {0, kArithFlags};
    }
}

/// The count is a constant that x86's masking leaves above zero, so that the op defines its bits
/// for sure.
inline bool rotates_for_sure(const ir::Block& block, const Inst& inst) {
    const Inst& count = block.insts[inst.args[1]];
    return count.op == Op::konst && (count.imm & (inst.type == Type::kI64 ? 63 : 31)) != 0;
}

/// Bits that `inst` needs of its flags argument number `arg`.
inline std::uint32_t needed_bits(const ir::Block& block, const Inst& inst) {
    switch (inst.op) {
        case Op::adc:
        case Op::sbb:
        case Op::rcl:
        case Op::rcr:
        case Op::f_adc:
        case Op::f_sbb:
        case Op::f_inc:
        case Op::f_dec:
            return kCF;
        case Op::f_bit:
            return kArithFlags & ~kCF;
        case Op::f_zf:
            return kArithFlags & ~kZF;
        case Op::f_of:
            return kArithFlags & ~kOF;
        case Op::f_rol:
        case Op::f_ror:
            return rotates_for_sure(block, inst) ? kArithFlags & ~(kCF | kOF) : kArithFlags;
        case Op::f_rcl:
        case Op::f_rcr:
            return rotates_for_sure(block, inst) ? kArithFlags & ~kOF : kArithFlags;
        case Op::cond:
        case Op::select_cc:
        case Op::br_cc:
            return bits_of_condition(inst.aux);
        default:
            return kArithFlags;
    }
}

inline void skip_flags(ir::Block& block, Inst& inst) {
    for (unsigned i = 0; i < inst.arg_count; ++i) {
        if (block.type_of(inst.args[i]) != Type::kFlags)
            continue;
        const std::uint32_t needed = needed_bits(block, inst);
        for (;;) {
            const Inst& source = block.insts[inst.args[i]];
            const Passthrough p = passthrough(source);
            if ((p.defines & needed) != 0)
                break;
            inst.args[i] = source.args[p.arg];
        }
    }
}

/// br_nz and select of a condition: test the flags themselves.
inline void fuse_condition(const ir::Block& block, Inst& inst) {
    const Inst& source = block.insts[inst.args[0]];
    if (source.op != Op::cond)
        return;
    inst.op = inst.op == Op::br_nz ? Op::br_cc : Op::select_cc;
    inst.aux = source.aux;
    inst.args[0] = source.args[0];
}

inline void simplify_inst(ir::Block& block, Inst& inst) {
    if (inst.op == Op::br_nz || inst.op == Op::select)
        fuse_condition(block, inst);
    if (ir::op_traits(inst.op).bits & ir::kOpTakesFlags)
        skip_flags(block, inst);
}

}  // namespace rhea::tcg::passes
