// Appending instructions: slot and flags caches, calls, and the debug check. What emit() folds is
// in fold.cc.
#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>

#include "rhea/tcg/ir.h"
#include "rhea/tcg/state.h"
#include "tcg/ir/op_digest.h"
#include "tcg/ir/verify.h"

namespace rhea::tcg::ir {
namespace {

/// When fold() may have something to say of an op; the bits below it are of the op as an argument.
enum FoldWhen : std::uint8_t {
    kFoldNever,
    kFoldKnown,   ///< only when its first argument is known (all of them would have to be)
    kFoldBinary,  ///< also when the second one is constant, or the same
    kFoldWidth,   ///< also when the argument changed widths itself, or has the type already
    kFoldAlways,
    kFoldMask = 7,
    kIsKnown = 8,
    kIsWidth = 16,
};

constexpr std::uint8_t fold_when(Op op, const OpTraits& traits) {
    switch (op) {
        case Op::konst:
            return kFoldNever | kIsKnown;
        case Op::f_raw:
            return kFoldNever | kIsKnown;
        case Op::second:
            return kFoldNever;
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
            return kFoldBinary;
        case Op::trunc:
        case Op::zext:
        case Op::sext:
        case Op::ins8:
        case Op::ins8h:
        case Op::ins16:
            return kFoldWidth | kIsWidth;
        case Op::hi8:
            return kFoldWidth;
        case Op::not_:
        case Op::neg:
        case Op::rcl:
        case Op::rcr:
        case Op::shld:
        case Op::shrd:
        case Op::lea:
        case Op::select:
        case Op::select_cc:
        case Op::f_shl:
        case Op::f_shr:
        case Op::f_sar:
        case Op::f_rol:
        case Op::f_ror:
        case Op::f_rcl:
        case Op::f_rcr:
        case Op::v_join:
        case Op::v_high:
            return kFoldAlways;
        default:
            return (traits.bits & kOpPure) != 0 && !is_vector_op(op) ? kFoldKnown : kFoldNever;
    }
}
constexpr std::array<std::uint8_t, kOpCount> kFoldWhen = [] {
    std::array<std::uint8_t, kOpCount> when{};
    for (unsigned n = 0; n < kOpCount; ++n)
        when[n] = fold_when(static_cast<Op>(n), kDigestedOps[n]);
    return when;
}();

/// Can fold() find anything? Most instructions are not worth the questions that it asks.
bool may_fold(const Block& block, const Inst& inst) {
    const auto when_of = [](Op op) { return kFoldWhen[static_cast<unsigned>(op)]; };
    const unsigned when = when_of(inst.op) & kFoldMask;
    if (when == kFoldNever || when == kFoldAlways)
        return when == kFoldAlways;
    const Inst& first = block.insts[inst.args[0]];
    const unsigned source = when_of(first.op);
    if ((source & kIsKnown) != 0)
        return true;
    switch (when) {
        case kFoldBinary:
            return inst.args[0] == inst.args[1] || block.insts[inst.args[1]].op == Op::konst;
        case kFoldWidth:
            return (source & kIsWidth) != 0 || first.type == inst.type;
        default:
            return false;
    }
}

constexpr std::uint64_t type_mask(Type type) {
    return type_bits(type) >= 64 ? ~0ull : (1ull << type_bits(type)) - 1;
}

#ifdef RHEA_DEBUG
[[noreturn]] void malformed(const std::string& problem, const Block& block,
                            const GuestDescription& guest) {
    std::fprintf(stderr, "malformed IR: %s\n%s", problem.c_str(), print(block, guest).c_str());
    std::abort();
}
#endif

}  // namespace

Builder::Builder(Block& block, const GuestDescription& guest) : block_(block), guest_(guest) {
    assert(guest.slots.size() <= kMaxSlots);
    std::fill_n(slot_values_.begin(), guest.slots.size(), kNoValue);
    const_values_.fill(kNoValue);
}

void Builder::end_insn_bytes(std::size_t end) {
    if (end > block_.page_offset + std::size_t{block_.byte_length}) {
        block_.byte_length = static_cast<std::uint16_t>(end - block_.page_offset);
    }
}

inline ValueId Builder::append_here(const Inst& inst) {
    assert(!ended_);
    const auto id = static_cast<ValueId>(block_.insts.size());
    block_.insts.push_back(inst);
#ifdef RHEA_DEBUG
    if (std::string problem = check_inst(block_, id, guest_); !problem.empty())
        malformed(problem, block_, guest_);
#endif
    return id;
}

ValueId Builder::append(const Inst& inst) {
    return append_here(inst);
}

void Builder::insn_start(std::uint16_t page_offset, std::uint8_t length) {
    if (block_.insns.empty())
        block_.page_offset = page_offset;
    Inst inst{.op = Op::insn_start, .aux = length, .imm = page_offset};
    block_.insns.push_back({page_offset, length, static_cast<std::uint32_t>(block_.insts.size())});
    append_here(inst);
    end_insn_bytes(std::size_t{page_offset} + length);
}

void Builder::set_insn_length(std::uint8_t length) {
    GuestInsn& insn = block_.insns.back();
    insn.length = length;
    block_.insts[insn.first_inst].aux = length;
    end_insn_bytes(std::size_t{insn.page_offset} + length);
}

ValueId Builder::konst(Type type, std::uint64_t value) {
    value &= type_mask(type);
    const std::uint64_t mixed = (value + static_cast<unsigned>(type)) * 0x9e3779b97f4a7c15ull;
    ValueId& known = const_values_[mixed >> 60];
    if (known != kNoValue && block_.insts[known].imm == value && block_.insts[known].type == type)
        return known;
    known = append_here({.op = Op::konst, .type = type, .imm = value});
    return known;
}

ValueId Builder::get(Slot slot) {
    ValueId& known = slot_values_[slot];
    if (known == kNoValue)
        known = append_here({.op = Op::get, .type = guest_.slots[slot].type, .aux = slot});
    return known;
}

void Builder::set(Slot slot, ValueId value) {
    if (slot_values_[slot] == value)
        return;
    append_here({.op = Op::set,
            .type = guest_.slots[slot].type,
            .arg_count = 1,
            .aux = slot,
            .args = {value, kNoValue, kNoValue}});
    slot_values_[slot] = value;
}

ValueId Builder::flags() {
    if (flags_ == kNoValue)
        flags_ = append({.op = Op::f_load, .type = Type::kFlags});
    return flags_;
}

void Builder::set_flags(ValueId flags) {
    if (flags_ == flags)
        return;
    append_here({.op = Op::set_flags, .arg_count = 1, .args = {flags, kNoValue, kNoValue}});
    flags_ = flags;
}

ValueId Builder::call(std::uint16_t helper, Type result, std::initializer_list<ValueId> args) {
    assert(args.size() <= 3 && helper < guest_.helpers.size());
    Inst inst{.op = Op::call,
              .type = result,
              .arg_count = static_cast<std::uint8_t>(args.size()),
              .aux = helper};
    std::copy(args.begin(), args.end(), inst.args.begin());
    const ValueId id = append(inst);
    const std::uint16_t flags = guest_.helpers[helper].flags;
    if (flags & (kHelperWritesSlots | kHelperVector)) {
        for (std::size_t i = 0; i < guest_.slots.size(); ++i) {
            const bool vector = is_vector(guest_.slots[i].type);
            if (flags & (vector ? kHelperVector : kHelperWritesSlots))
                slot_values_[i] = kNoValue;
        }
    }
    if (flags & kHelperFlagsOut)
        flags_ = kNoValue;
    return id;
}

ValueId Builder::emit(Op op, Type type, std::initializer_list<ValueId> args, std::uint16_t aux,
                      std::uint64_t imm) {
    const OpTraits info = op_traits(op);
    switch (op) {
        case Op::konst:
            return konst(type, imm);
        case Op::get:
            return get(aux);
        case Op::set:
            set(aux, *args.begin());
            return kNoValue;
        case Op::set_flags:
            set_flags(*args.begin());
            return kNoValue;
        case Op::f_load:
            return flags();
        case Op::call:
            return call(aux, type, args);
        case Op::insn_start:
            insn_start(static_cast<std::uint16_t>(imm), static_cast<std::uint8_t>(aux));
            return kNoValue;
        default:
            break;
    }
    assert(args.size() == info.arity);
    Inst inst{.op = op,
              .type = type,
              .arg_count = static_cast<std::uint8_t>(args.size()),
              .aux = aux,
              .imm = imm};
    switch (args.size()) {  // no memcpy of a size that is not known
        case 3:
            inst.args[2] = args.begin()[2];
            [[fallthrough]];
        case 2:
            inst.args[1] = args.begin()[1];
            [[fallthrough]];
        case 1:
            inst.args[0] = args.begin()[0];
            break;
        default:
            break;
    }
    if ((info.bits & kOpTyped) == 0 && op != Op::check_w) {
        const bool wide = type == Type::kV256 && (info.bits & kOpEitherWidth) != 0;
        inst.type = op == Op::st || op == Op::st_mask ? block_.type_of(inst.args[1]) : wide ? type : info.fixed_result;
    }
    if (info.pure()) {
        if (may_fold(block_, inst)) {
            if (const ValueId known = fold(inst); known != kNoValue)
                return known;
        }
    } else if ((op == Op::br_cc || op == Op::br_nz) && never_taken(inst)) {
        return kNoValue;
    }
    const ValueId id = append_here(inst);
    ended_ = info.ends_block();
    if (info.bits & kOpMxcsr) {
        // The sticky bits may have changed in the slot that shows the head's MXCSR.
        for (std::size_t i = 0; i < guest_.slots.size(); ++i) {
            if (guest_.slots[i].offset == offsetof(VcpuHead, guest_mxcsr))
                slot_values_[i] = kNoValue;
        }
    }
    return id;
}

bool Builder::is_const(ValueId v, std::uint64_t* value) const {
    if (block_.insts[v].op != Op::konst)
        return false;
    if (value != nullptr)
        *value = block_.insts[v].imm;
    return true;
}

// ---- shorthands ---------------------------------------------------------------------------------

ValueId Builder::add(ValueId a, ValueId b) {
    return emit(Op::add, block_.type_of(a), {a, b});
}
ValueId Builder::sub(ValueId a, ValueId b) {
    return emit(Op::sub, block_.type_of(a), {a, b});
}
ValueId Builder::and_(ValueId a, ValueId b) {
    return emit(Op::and_, block_.type_of(a), {a, b});
}
ValueId Builder::or_(ValueId a, ValueId b) {
    return emit(Op::or_, block_.type_of(a), {a, b});
}
ValueId Builder::xor_(ValueId a, ValueId b) {
    return emit(Op::xor_, block_.type_of(a), {a, b});
}

ValueId Builder::add_imm(ValueId a, std::int64_t imm) {
    return imm == 0 ? a : add(a, konst(block_.type_of(a), static_cast<std::uint64_t>(imm)));
}
ValueId Builder::and_imm(ValueId a, std::uint64_t imm) {
    return and_(a, konst(block_.type_of(a), imm));
}
ValueId Builder::shl_imm(ValueId a, unsigned n) {
    return n == 0 ? a : emit(Op::shl, block_.type_of(a), {a, konst(Type::kI8, n)});
}
ValueId Builder::shr_imm(ValueId a, unsigned n) {
    return n == 0 ? a : emit(Op::shr, block_.type_of(a), {a, konst(Type::kI8, n)});
}

ValueId Builder::trunc(ValueId a, Type to) {
    return block_.type_of(a) == to ? a : emit(Op::trunc, to, {a});
}
ValueId Builder::zext(ValueId a, Type to) {
    return block_.type_of(a) == to ? a : emit(Op::zext, to, {a});
}
ValueId Builder::sext(ValueId a, Type to) {
    return block_.type_of(a) == to ? a : emit(Op::sext, to, {a});
}

ValueId Builder::load(Type type, ValueId address, std::uint16_t mem_flags) {
    return emit(Op::ld, type, {address}, mem_flags);
}
void Builder::store(ValueId address, ValueId value, std::uint16_t mem_flags) {
    emit(Op::st, block_.type_of(value), {address, value}, mem_flags);
}

ValueId Builder::cond(Cond cc) {
    return emit(Op::cond, Type::kI8, {flags()}, static_cast<std::uint16_t>(cc));
}

}  // namespace rhea::tcg::ir
