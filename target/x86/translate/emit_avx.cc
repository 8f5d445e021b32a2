// AVX arithmetic: one IR row an instruction, as in emit_sse.cc, with operands that are told apart and results that clear what
// is above them. How a YMM register is kept: docs/translator.md, "256-bit registers".
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {
namespace {

std::uint64_t immediate_of(const Translator &t, Op op) {
    for (const Operand &operand : t.insn.operands) {
        if (operand.kind == Operand::Kind::kImm) {
            const bool compare = op == Op::cmpps || op == Op::cmppd || op == Op::cmpss || op == Op::cmpsd;
            return t.insn.imm & (compare ? 31u : 0xffu);
        }
    }
    return 0;
}

Type result_type(const Translator &t, const tcg::ir::OpInfo &info) {
    return info.result == "v" && t.op(0).size == 32 ? Type::kV256 : info.fixed_result;
}

void finish(Translator &t, ValueId value) {
    if (t.op(0).is_reg()) {
        t.write(0, value);
    } else {
        write_avx(t, t.op(0).reg, value);
    }
}

} // namespace

ValueId read_ymm(Translator &t, unsigned reg) {
    const ValueId low = t.slot(kSlotXmm + reg), high = t.slot(kSlotYmmHigh + reg);
    const ValueId both = t.b.emit(Op::v_join, Type::kV256, {low, high});
    const tcg::ir::Inst &known = t.b.block().insts[low];
    if (known.op != Op::v_low || known.args[0] != both) {
        // The same bits, which lets the back end make the value where the register is.
        t.set_slot(kSlotXmm + reg, t.b.emit(Op::v_low, Type::kV128, {both}));
    }
    return both;
}

ValueId read_avx(Translator &t, unsigned n, bool aligned) {
    const Operand &operand = t.op(n);
    if (operand.size != 32) {
        return read_vector(t, n, aligned);
    }
    if (!operand.is_mem()) {
        return read_ymm(t, operand.reg);
    }
    return t.b.load(Type::kV256, t.mem_address(32, false), aligned ? tcg::kMemAlign16 : 0);
}

void write_avx(Translator &t, unsigned reg, ValueId value) {
    if (t.b.block().type_of(value) == Type::kV256) {
        // The lower half first: the back end then finds the upper one beside it.
        t.set_slot(kSlotXmm + reg, t.b.emit(Op::v_low, Type::kV128, {value}));
        t.set_slot(kSlotYmmHigh + reg, t.b.emit(Op::v_high, Type::kV128, {value}));
    } else {
        t.set_slot(kSlotXmm + reg, value);
        t.set_slot(kSlotYmmHigh + reg, t.vector_zero());
    }
}

/// operand 0 := op(operand 1, ...), as many as the row has.
template <Op kOp>
void avx_op(Translator &t) {
    if constexpr (kOp == Op::pxor || kOp == Op::xorps) {
        if (!t.op(2).is_mem() && t.op(1).reg == t.op(2).reg) {
            write_avx(t, t.op(0).reg, t.vector_zero());
            return;
        }
    }
    const tcg::ir::OpInfo &info = tcg::ir::op_info(kOp);
    const std::uint64_t imm = immediate_of(t, kOp);
    const Type type = result_type(t, info);
    // Memory, which may fault, first: it is the last operand but for a register in the immediate.
    ValueId args[3] = {};
    for (unsigned n = info.arity; n-- > 0;) {
        args[n] = read_avx(t, n + 1);
    }
    finish(t, info.arity == 1   ? vector_value(t, kOp, {args[0]}, imm, type)
              : info.arity == 2 ? vector_value(t, kOp, {args[0], args[1]}, imm, type)
                                : vector_value(t, kOp, {args[0], args[1], args[2]}, imm, type));
}

/// FMA: the destination is the first source.
template <Op kOp>
void avx_fused(Translator &t) {
    const ValueId c = read_avx(t, 2);
    const Type type = result_type(t, tcg::ir::op_info(kOp));
    const ValueId value = vector_value(t, kOp, {read_avx(t, 0), read_avx(t, 1), c}, 0, type);
    write_avx(t, t.op(0).reg, value);
}

/// VPTEST, VTESTPS, VTESTPD.
template <Op kOp>
void avx_compare(Translator &t) {
    const ValueId source = read_avx(t, 1);
    t.b.set_flags(t.flags_of(Op::f_raw, {vector_value(t, kOp, {read_avx(t, 0), source})}));
}

template <Op kOp32, Op kOp64>
void avx_from_integer(Translator &t) {
    const ValueId source = t.read(2);
    write_avx(t, t.op(0).reg, vector_value(t, t.op(2).size == 8 ? kOp64 : kOp32, {read_vector(t, 1), source}));
}

/// VPINSRB, VPINSRW, VPINSRD, VPINSRQ.
template <Op kOp32, Op kOp64>
void avx_insert_lane(Translator &t) {
    const bool wide = t.op(2).size == 8;
    const ValueId value = wide ? t.read(2) : t.b.zext(t.read(2), Type::kI32);
    const std::uint64_t lane = t.insn.imm & (kOp32 == Op::pinsrw ? 7 : 15);
    write_avx(t, t.op(0).reg, t.b.emit(wide ? kOp64 : kOp32, Type::kV128, {read_vector(t, 1), value}, 0, lane));
}

void avx_insert_single(Translator &t) {
    const std::uint64_t imm = t.insn.imm & (t.op(2).is_mem() ? 0x3f : 0xff);
    const ValueId source = read_vector(t, 2);
    write_avx(t, t.op(0).reg, t.b.emit(Op::insertps, Type::kV128, {read_vector(t, 1), source}, 0, imm));
}

template <bool kExplicit>
void avx_string_mask(Translator &t) {
    string_mask<kExplicit>(t);
    t.set_slot(kSlotYmmHigh, t.vector_zero());
}
template void avx_string_mask<false>(Translator &);
template void avx_string_mask<true>(Translator &);

/// VCVTPS2PH: the register form clears what is above the result.
void avx_to_half_precision(Translator &t) {
    const ValueId source = read_avx(t, 1);
    const bool wide = t.op(1).size == 32;
    if (t.op(0).is_mem()) {
        // A fault comes before the conversion's sticky flags.
        t.b.emit(Op::check_w, wide ? Type::kV128 : Type::kI64, {t.mem_address(wide ? 16 : 8, true)});
    }
    const ValueId value = vector_value(t, Op::cvtps2ph, {source}, t.insn.imm & 7);
    if (!t.op(0).is_mem()) {
        write_avx(t, t.op(0).reg, value);
    } else {
        t.b.store(t.mem_address(wide ? 16 : 8, true), wide ? value : t.b.emit(Op::v_to_i64, Type::kI64, {value}));
    }
}

#define RHEA_IR_VOP1(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VOP2(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VOP3(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VOP1I(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VOP2I(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VCOUNT(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VWIDEN(name, vex, bytes, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VNARROW(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VFMA(name, vex, flags, meaning) template void avx_fused<Op::name>(Translator &);
#define RHEA_IR_VCROSS(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VCROSS1I(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VCROSS2I(name, vex, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VSHIFT(name, group, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VFROMG(name, vex, letter, flags, meaning)
#define RHEA_IR_VFROMGI(name, vex, letter, flags, meaning)
#define RHEA_IR_VTOG(name, vex, letter, flags, meaning) template void avx_op<Op::name>(Translator &);
#define RHEA_IR_VTOGI(name, vex, letter, flags, meaning)
#define RHEA_IR_VFLAGS(name, vex, flags, meaning) template void avx_compare<Op::name>(Translator &);
#define RHEA_IR_OP(name, result, args, flags, meaning)
#include "rhea/tcg/vector_ops.def"
#undef RHEA_IR_OP

template void avx_from_integer<Op::cvtsi2ssl, Op::cvtsi2ssq>(Translator &);
template void avx_from_integer<Op::cvtsi2sdl, Op::cvtsi2sdq>(Translator &);
template void avx_insert_lane<Op::pinsrb, Op::pinsrb>(Translator &);
template void avx_insert_lane<Op::pinsrw, Op::pinsrw>(Translator &);
template void avx_insert_lane<Op::pinsrd, Op::pinsrq>(Translator &);

} // namespace rhea::target::x86::emit
