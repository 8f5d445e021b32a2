// What Builder::emit knows about values before it adds an instruction: constants, identities, width
// changes of width changes, flags whose inputs do not matter. Sums are not reassociated: r = x + b
// is what f_add(r, b) refers to, and an address off a value that was just computed beats one that
// keeps its predecessor alive.
#include <utility>

#include "rhea/tcg/backend.h"
#include "rhea/tcg/ir.h"
#include "tcg/ir/eval.h"
#include "tcg/ir/int_ops.h"

namespace rhea::tcg::ir {

/// A flags value for arguments that cannot matter: evaluates to no code.
ValueId Builder::any_flags() {
    if (any_flags_ == kNoValue) {
        any_flags_ = append({.op = Op::f_raw,
                             .type = Type::kFlags,
                             .arg_count = 1,
                             .args = {konst(Type::kI32, 0), kNoValue, kNoValue}});
    }
    return any_flags_;
}

bool Builder::known_bits(ValueId v, std::uint64_t& value) const {
    const Inst& inst = block_.insts[v];
    if (inst.op == Op::f_raw && is_const(inst.args[0], &value)) {
        value &= kArithFlags;
        return true;
    }
    return is_const(v, &value);
}

bool Builder::never_taken(const Inst& inst) const {
    std::uint64_t value = 0;
    if (!known_bits(inst.args[0], value))
        return false;
    if (inst.op == Op::br_nz)
        return value == 0;
    return !condition_holds(static_cast<Cond>(inst.aux), static_cast<std::uint32_t>(value));
}

/// The halves of a 256-bit value and their union.
ValueId Builder::fold_halves(const Inst& inst) const {
    const auto of = [this](ValueId v, Op op) -> const Inst* {
        return block_.insts[v].op == op ? &block_.insts[v] : nullptr;
    };
    if (inst.op == Op::v_high) {
        const Inst* join = of(inst.args[0], Op::v_join);
        return join ? join->args[1] : kNoValue;
    }
    const Inst* low = inst.op == Op::v_join ? of(inst.args[0], Op::v_low) : nullptr;
    if (!low)
        return kNoValue;
    const Inst* high = of(inst.args[1], Op::v_high);
    if (high && high->args[0] == low->args[0])
        return low->args[0];
    const Inst* join = of(low->args[0], Op::v_join);
    return join && join->args[1] == inst.args[1] ? low->args[0] : kNoValue;
}

ValueId Builder::fold(Inst& inst) {
    if (is_vector_op(inst.op))
        return fold_halves(inst);
    if (!can_eval(inst.op))
        return kNoValue;
    switch (inst.op) {
        case Op::add:
        case Op::and_:
        case Op::or_:
        case Op::xor_:
        case Op::mul:
        case Op::mulhu:
        case Op::mulhs:
            if (is_const(inst.args[0]) && !is_const(inst.args[1]))
                std::swap(inst.args[0], inst.args[1]);
            break;
        default:
            break;
    }
    if (const ValueId v = fold_constants(inst); v != kNoValue)
        return v;
    return fold_identity(inst);
}

ValueId Builder::fold_constants(const Inst& inst) {
    if (inst.op == Op::f_raw)
        return kNoValue;  // its own normal form
    std::uint64_t args[3] = {};
    for (unsigned i = 0; i < inst.arg_count; ++i) {
        if (!known_bits(inst.args[i], args[i]))
            return kNoValue;
    }
    const std::uint64_t value = eval(block_, inst, args[0], args[1], args[2]);
    if ((op_traits(inst.op).bits & kOpFlagsResult) == 0)
        return konst(inst.type, value);
    return append({.op = Op::f_raw,
                   .type = Type::kFlags,
                   .arg_count = 1,
                   .args = {konst(Type::kI32, value), kNoValue, kNoValue}});
}

/// `x op constant` and `x op x`.
ValueId Builder::fold_binary(const Inst& inst) {
    const ValueId a = inst.args[0], b = inst.args[1];
    if (a == b) {
        if (inst.op == Op::sub || inst.op == Op::xor_ || inst.op == Op::andn)
            return konst(inst.type, 0);
        if (inst.op == Op::and_ || inst.op == Op::or_)
            return a;
        return kNoValue;
    }
    std::uint64_t k = 0;
    if (!is_const(b, &k))
        return kNoValue;
    const bool ones = k == low_bits(~0ull, type_bits(inst.type));
    switch (inst.op) {
        case Op::add:
        case Op::sub:
        case Op::xor_:
            return k == 0 ? a : kNoValue;
        case Op::or_:
            return k == 0 ? a : ones ? b : kNoValue;
        case Op::and_:
            return ones ? a : k == 0 ? b : kNoValue;
        case Op::andn:
            return k == 0 ? b : kNoValue;
        case Op::mul:
            return k == 1 ? a : k == 0 ? b : kNoValue;
        case Op::shl:
        case Op::shr:
        case Op::sar:
            return masked_count(k, type_bits(inst.type)) == 0 ? a : kNoValue;
        case Op::rol:
        case Op::ror:
            return k % type_bits(inst.type) == 0 ? a : kNoValue;
        default:
            return kNoValue;
    }
}

/// trunc, zext, sext, hi8 and the ins ops: looks through what only changed bits that do not matter.
ValueId Builder::fold_width(Inst& inst) {
    for (;;) {
        const ValueId arg = inst.args[0];
        const Inst& source = block_.insts[arg];
        if (block_.type_of(arg) == inst.type &&
            (inst.op == Op::trunc || inst.op == Op::zext || inst.op == Op::sext)) {
            return arg;
        }
        const bool extends = source.op == Op::zext || source.op == Op::sext;
        switch (inst.op) {
            case Op::trunc:
                if (source.op == Op::trunc ||
                    (extends &&
                     type_bits(block_.type_of(source.args[0])) >= type_bits(inst.type))) {
                    inst.args[0] = source.args[0];
                    continue;
                }
                if (extends) {  // of something narrower than the result
                    inst.op = source.op;
                    inst.args[0] = source.args[0];
                    continue;
                }
                if ((source.op == Op::ins8 && inst.type == Type::kI8) ||
                    (source.op == Op::ins16 && inst.type <= Type::kI16)) {
                    inst.args[0] = source.args[1];
                    continue;
                }
                if (source.op == Op::ins8h && inst.type == Type::kI8) {
                    inst.args[0] = source.args[0];
                    continue;
                }
                return kNoValue;
            case Op::sext:
                if (extends) {
                    inst.op = source.op;
                    inst.args[0] = source.args[0];
                    continue;
                }
                return kNoValue;
            case Op::zext:
                if (source.op != Op::zext)
                    return kNoValue;
                inst.args[0] = source.args[0];
                continue;
            case Op::hi8:
                if (source.op == Op::ins8h)
                    return source.args[1];
                if (source.op != Op::ins8)
                    return kNoValue;
                inst.args[0] = source.args[0];
                continue;
            default:  // the ins ops: an older insertion into the same bits is lost
                if (source.op != inst.op &&
                    !(inst.op == Op::ins16 && (source.op == Op::ins8 || source.op == Op::ins8h))) {
                    return kNoValue;
                }
                inst.args[0] = source.args[0];
                continue;
        }
    }
}

/// Shifts and rotates by a constant.
ValueId Builder::fold_flags(Inst& inst) {
    std::uint64_t n = 0;
    if (!is_const(inst.args[1], &n))
        return kNoValue;
    if (masked_count(n, type_bits(inst.type)) == 0)
        return inst.args[2];
    if (inst.op == Op::f_shl || inst.op == Op::f_shr || inst.op == Op::f_sar)
        inst.args[2] = any_flags();
    return kNoValue;
}

ValueId Builder::fold_identity(Inst& inst) {
    std::uint64_t k = 0;
    switch (inst.op) {
        case Op::add:
        case Op::sub:
        case Op::and_:
        case Op::or_:
        case Op::xor_:
        case Op::andn:
        case Op::mul:
        case Op::shl:
        case Op::shr:
        case Op::sar:
        case Op::rol:
        case Op::ror:
            return fold_binary(inst);
        case Op::trunc:
        case Op::zext:
        case Op::sext:
        case Op::hi8:
        case Op::ins8:
        case Op::ins8h:
        case Op::ins16:
            return fold_width(inst);
        case Op::not_:
        case Op::neg:
            return block_.insts[inst.args[0]].op == inst.op ? block_.insts[inst.args[0]].args[0]
                                                            : kNoValue;
        case Op::rcl:
        case Op::rcr:
        case Op::shld:
        case Op::shrd: {
            const bool through_carry = inst.op == Op::rcl || inst.op == Op::rcr;
            const bool constant = is_const(inst.args[through_carry ? 1 : 2], &k);
            return constant && masked_count(k, type_bits(inst.type)) == 0 ? inst.args[0] : kNoValue;
        }
        case Op::lea:
            if (is_const(inst.args[1], &k)) {
                const std::uint64_t displacement = sign_extend(inst.imm, 32);
                return add_imm(inst.args[0],
                               static_cast<std::int64_t>((k << inst.aux) + displacement));
            }
            if (inst.imm == 0 && inst.aux == 0)
                return add(inst.args[0], inst.args[1]);
            return kNoValue;
        case Op::select:
            if (inst.args[1] == inst.args[2])
                return inst.args[1];
            return is_const(inst.args[0], &k) ? inst.args[k != 0 ? 1 : 2] : kNoValue;
        case Op::select_cc:
            if (inst.args[1] == inst.args[2])
                return inst.args[1];
            if (!known_bits(inst.args[0], k))
                return kNoValue;
            return inst
                .args[condition_holds(static_cast<Cond>(inst.aux), static_cast<std::uint32_t>(k))
                          ? 1
                          : 2];
        case Op::f_shl:
        case Op::f_shr:
        case Op::f_sar:
        case Op::f_rol:
        case Op::f_ror:
        case Op::f_rcl:
        case Op::f_rcr:
            return fold_flags(inst);
        default:
            return kNoValue;
    }
}

}  // namespace rhea::tcg::ir
