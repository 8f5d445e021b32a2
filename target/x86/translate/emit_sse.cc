// SSE and SSE2 arithmetic: one IR row an instruction (include/rhea/tcg/vector_ops.def).
#include "target/x86/translate/emitters_fpu.h"

namespace rhea::target::x86::emit {
namespace {

bool has_immediate(const Translator &t, unsigned n) { return t.op(n).kind == Operand::Kind::kImm; }

/// The legacy encodings of CMPPS and the like have eight predicates; VEX ones more.
constexpr bool is_compare(Op op) {
    return op == Op::cmpps || op == Op::cmppd || op == Op::cmpss || op == Op::cmpsd;
}

/// SHA of AMD's CPUs does not ask for alignment.
constexpr bool takes_any_address(Op op) { return op >= Op::sha1nexte && op <= Op::sha256rnds2; }

} // namespace

bool is_mmx(const Operand &operand) { return operand.kind == Operand::Kind::kMmx; }

ValueId read_vector(Translator &t, unsigned n, bool aligned) {
    const Operand &operand = t.op(n);
    switch (operand.kind) {
    case Operand::Kind::kXmm: return t.slot(kSlotXmm + operand.reg);
    case Operand::Kind::kMmx: return t.b.emit(Op::v_from_i64, Type::kV128, {t.slot(kSlotFpr + operand.reg)});
    default: break;
    }
    const ValueId address = t.mem_address(operand.size, false);
    switch (operand.size) {
    case 1:
    case 2: return t.b.emit(Op::v_from_i32, Type::kV128, {t.b.zext(t.b.load(tcg::int_type(operand.size), address), Type::kI32)});
    case 4: return t.b.emit(Op::v_from_i32, Type::kV128, {t.b.load(Type::kI32, address)});
    case 8: return t.b.emit(Op::v_from_i64, Type::kV128, {t.b.load(Type::kI64, address)});
    default: return t.b.load(Type::kV128, address, aligned ? tcg::kMemAlign16 : 0);
    }
}

void enter_mmx(Translator &t) {
    t.set_slot(kSlotFpuTop, t.b.konst(Type::kI32, 0));
    t.set_slot(kSlotFtw, t.b.konst(Type::kI16, 0));
}

void write_vector(Translator &t, unsigned n, ValueId value) {
    const Operand &operand = t.op(n);
    if (!is_mmx(operand)) {
        t.set_slot(kSlotXmm + operand.reg, value);
        return;
    }
    enter_mmx(t);
    t.set_slot(kSlotFpr + operand.reg, t.b.emit(Op::v_to_i64, Type::kI64, {value}));
    t.set_slot(kSlotFprHigh + operand.reg, t.b.konst(Type::kI16, 0xffff));
}

ValueId vector_value(Translator &t, Op op, std::initializer_list<ValueId> args, std::uint64_t imm, Type type) {
    const tcg::ir::OpInfo &info = tcg::ir::op_info(op);
    const Type result = type == Type::kNone ? info.fixed_result : type;
    const bool checked = (t.mode & kModeFpUnmasked) != 0 && (info.bits & tcg::ir::kOpMxcsr) != 0;
    if (!checked) {
        return t.b.emit(op, result, args, 0, imm);
    }
    const ValueId sticky = t.call(HelperId::simd_begin, Type::kI64);
    const ValueId value = t.b.emit(op, result, args, 0, imm);
    t.call(HelperId::simd_check, Type::kNone, {sticky});
    return value;
}

/// dst := op(dst, src), op(src), or with an immediate. A shift by an immediate has its register in ModRM.rm alone.
template <Op kOp>
void vector_op(Translator &t) {
    const tcg::ir::OpInfo &info = tcg::ir::op_info(kOp);
    const bool only_one = has_immediate(t, 1);
    const bool immediate = only_one || has_immediate(t, 2);
    const std::uint64_t imm = immediate ? t.insn.imm & (is_compare(kOp) ? 7u : 0xffu) : 0;
    const ValueId source = read_vector(t, only_one ? 0 : 1, !takes_any_address(kOp));
    const ValueId value = info.arity == 2 ? vector_value(t, kOp, {read_vector(t, 0), source}, imm)
                                          : vector_value(t, kOp, {source}, imm);
    if (t.op(0).is_reg()) {
        if (is_mmx(t.op(1))) {
            enter_mmx(t);
        }
        t.write(0, value);
    } else {
        write_vector(t, 0, value);
    }
}

/// COMISS and the like: ZF, PF, CF from the comparison, the other flags 0.
template <Op kOp>
void vector_compare(Translator &t) {
    const ValueId source = read_vector(t, 1);
    t.b.set_flags(t.flags_of(Op::f_raw, {vector_value(t, kOp, {read_vector(t, 0), source})}));
}

template <Op kOp32, Op kOp64>
void convert_from_integer(Translator &t) {
    const ValueId source = t.read(1);
    t.set_slot(kSlotXmm + t.op(0).reg,
               vector_value(t, t.op(1).size == 8 ? kOp64 : kOp32, {read_vector(t, 0), source}));
}

template <Op kOp32, Op kOp64>
void convert_to_integer(Translator &t) {
    t.write(0, vector_value(t, t.op(0).size == 8 ? kOp64 : kOp32, {read_vector(t, 1)}));
}

/// The mode word depends on MXCSR's masks, so the run loop has to look.
void ldmxcsr(Translator &t) {
    const ValueId value = t.b.zext(t.b.load(Type::kI32, t.mem_address(4, false)), Type::kI64);
    t.call(HelperId::ldmxcsr, Type::kNone, {value, t.k(t.length())});
    t.leave_state();
}

void stmxcsr(Translator &t) {
    t.b.store(t.mem_address(4, true), t.call(HelperId::stmxcsr, Type::kI32));
}

#define RHEA_IR_VOP1(name, vex, flags, meaning) template void vector_op<Op::name>(Translator &);
#define RHEA_IR_VOP2(name, vex, flags, meaning) template void vector_op<Op::name>(Translator &);
#define RHEA_IR_VOP3(name, vex, flags, meaning)
#define RHEA_IR_VOP1I(name, vex, flags, meaning) template void vector_op<Op::name>(Translator &);
#define RHEA_IR_VOP2I(name, vex, flags, meaning) template void vector_op<Op::name>(Translator &);
#define RHEA_IR_VCOUNT(name, vex, flags, meaning) template void vector_op<Op::name>(Translator &);
#define RHEA_IR_VWIDEN(name, vex, bytes, flags, meaning) template void vector_op<Op::name>(Translator &);
#define RHEA_IR_VNARROW(name, vex, flags, meaning) template void vector_op<Op::name>(Translator &);
#define RHEA_IR_VFMA(name, vex, flags, meaning)
#define RHEA_IR_VCROSS(name, vex, flags, meaning)
#define RHEA_IR_VCROSS1I(name, vex, flags, meaning)
#define RHEA_IR_VCROSS2I(name, vex, flags, meaning)
#define RHEA_IR_VSHIFT(name, group, flags, meaning) template void vector_op<Op::name>(Translator &);
#define RHEA_IR_VFROMG(name, vex, letter, flags, meaning)
#define RHEA_IR_VFROMGI(name, vex, letter, flags, meaning)
#define RHEA_IR_VTOG(name, vex, letter, flags, meaning) template void vector_op<Op::name>(Translator &);
#define RHEA_IR_VTOGI(name, vex, letter, flags, meaning)
#define RHEA_IR_VFLAGS(name, vex, flags, meaning) template void vector_compare<Op::name>(Translator &);
#define RHEA_IR_OP(name, result, args, flags, meaning)
#include "rhea/tcg/vector_ops.def"
#undef RHEA_IR_OP

template void vector_op<Op::sha1nexte>(Translator &);
template void vector_op<Op::sha1msg1>(Translator &);
template void vector_op<Op::sha1msg2>(Translator &);
template void vector_op<Op::sha1rnds4>(Translator &);
template void vector_op<Op::sha256msg1>(Translator &);
template void vector_op<Op::sha256msg2>(Translator &);

template void convert_from_integer<Op::cvtsi2ssl, Op::cvtsi2ssq>(Translator &);
template void convert_from_integer<Op::cvtsi2sdl, Op::cvtsi2sdq>(Translator &);
template void convert_to_integer<Op::cvtss2si, Op::cvtss2siq>(Translator &);
template void convert_to_integer<Op::cvttss2si, Op::cvttss2siq>(Translator &);
template void convert_to_integer<Op::cvtsd2si, Op::cvtsd2siq>(Translator &);
template void convert_to_integer<Op::cvttsd2si, Op::cvttsd2siq>(Translator &);

} // namespace rhea::target::x86::emit
