#include "tcg/backend/x64/analysis.h"

#include "tcg/ir/op_digest.h"

#include <algorithm>

namespace rhea::tcg::x64 {
namespace {

/// What the passes ask of each instruction: OpBits, and in the upper half what is below.
enum OpClass : std::uint32_t {
    kClobbers = 1u << 16,     ///< emitting it may change the host's flags
    kMemoryOp = 1u << 17,
    kZeroExtends = 1u << 18,  ///< a 32-bit result has zeros above it
    kAlwaysExtends = 1u << 19, ///< a result of any integer type has
    kNames = 1u << 20,        ///< name_values has something to do
    kDirectExit = 1u << 21,
    kX87 = 1u << 22,
};

constexpr bool is_memory_op(Op op) {
    switch (op) {
    case Op::ld:
    case Op::st:
    case Op::ld_mask:
    case Op::st_mask:
    case Op::check_w:
    case Op::x87_ld:
    case Op::x87_st:
    case Op::atomic_add:
    case Op::atomic_and:
    case Op::atomic_or:
    case Op::atomic_xor:
    case Op::atomic_xchg:
    case Op::atomic_cmpxchg: return true;
    default: return false;
    }
}

constexpr bool keeps_host_flags(Op op, std::uint16_t bits) {
    switch (op) {
    case Op::insn_start:
    case Op::set_flags:
    case Op::konst:
    case Op::get:
    case Op::set:
    case Op::pc_page:
    case Op::code_field:
    case Op::trunc:
    case Op::zext:
    case Op::sext:
    case Op::hi8:
    case Op::ins8:
    case Op::ins8h:
    case Op::ins16:
    case Op::not_:
    case Op::bswap:
    case Op::lea:
    case Op::cond:
    case Op::select_cc:
    case Op::br_cc:
    case Op::second:
    case Op::exit_direct: return true;
    default: return ir::is_vector_op(op) || (bits & ir::kOpFlagsResult) != 0;
    }
}

constexpr bool leaves_upper_bits(Op op) {
    switch (op) {
    case Op::trunc:
    case Op::get:
    case Op::call:
    case Op::x87_test:
    case Op::cond:
    case Op::hi8:
    case Op::divu:
    case Op::divs:
    case Op::second: return true;
    default: return false;
    }
}

constexpr bool has_name(Op op, std::uint16_t bits) {
    switch (op) {
    case Op::v_low:
    case Op::trunc:
    case Op::zext:
    case Op::pc_page:
    case Op::get:
    case Op::set:
    case Op::set_flags:
    case Op::v_from_i32:
    case Op::v_from_i64:
    case Op::br_cc:
    case Op::br_nz:
    case Op::call:
    case Op::mulhu:
    case Op::mulhs:
    case Op::mul:
    case Op::second: return true;
    default: return is_memory_op(op) || (bits & ir::kOpFlagsResult) != 0;
    }
}

constexpr std::uint32_t class_of(unsigned n) {
    const auto op = static_cast<Op>(n);
    const std::uint16_t bits = ir::kDigestedOps[n].bits;
    return bits | (keeps_host_flags(op, bits) ? 0u : kClobbers) | (is_memory_op(op) ? kMemoryOp : 0u) |
           (leaves_upper_bits(op) ? 0u : kZeroExtends) | (op == Op::konst || op == Op::ld ? kAlwaysExtends : 0u) |
           (has_name(op, bits) ? kNames : 0u) |
           (op == Op::br_cc || op == Op::br_nz || op == Op::exit_direct ? kDirectExit : 0u) |
           (op >= Op::x87_run && op <= Op::x87_set_control ? kX87 | kNames : 0u);
}
constexpr std::array<std::uint32_t, ir::kOpCount> kOpClasses = [] {
    std::array<std::uint32_t, ir::kOpCount> classes{};
    for (unsigned n = 0; n < ir::kOpCount; ++n)
        classes[n] = class_of(n);
    return classes;
}();
std::uint32_t op_class(Op op) { return kOpClasses[static_cast<unsigned>(op)]; }

bool fits_int32(std::uint64_t v) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(v))) == v;
}

/// Upper register bits above the type are zero wherever the value is in a register.
bool zero_extended(const Inst &inst) {
    const std::uint32_t bits = op_class(inst.op);
    if (bits & kAlwaysExtends)
        return !is_vector(inst.type);
    return inst.type == Type::kI32 && (bits & kZeroExtends) != 0;
}

} // namespace

int constant_count(const ir::Block &block, ValueId n, Type type) {
    const Inst &inst = block.insts[n];
    return inst.op == Op::konst ? static_cast<int>(inst.imm & (type == Type::kI64 ? 63 : 31)) : -1;
}

void Analysis::run(const ir::Block &block, const GuestDescription &guest, const Layout &layout) {
    block_ = &block;
    guest_ = &guest;
    layout_ = &layout;
    entry_flags_used = false;
    if (const std::size_t count = block.insts.size(); values.size() < count) {
        values.resize(count + count / 2);
        flags_at.resize(count + count / 2);
        members.resize(count + count / 2);
    }
    groups.clear();
    close_groups();
    name_values();
    mark_uses();
}

ValueId Analysis::carry_source(ValueId f) const {
    for (;;) {
        const Inst &inst = block_->insts[f];
        if (inst.op != Op::f_inc && inst.op != Op::f_dec && inst.op != Op::f_zf && inst.op != Op::f_of)
            return f;
        f = resolve(inst.args[1]);
    }
}

void Analysis::name_values() {
    fill_words(slot_value_, layout_->slots.size(), 0xff);
    linked_.clear();
    vector_moves_.clear();
    // Local pointers: what is stored below could otherwise be the vectors' own, for all that the compiler knows.
    const Inst *const insts = block_->insts.data();
    Value *const vals = values.data();
    ValueId *const flags_here = flags_at.data();
    ValueId *const slot_values = slot_value_.data();
    const auto count = static_cast<ValueId>(block_->insts.size());
    static constexpr Value kFresh{};
    ValueId flags = kNoValue;
    std::uint32_t exits = 0;
    last_x87 = 0;
    for (ValueId i = 0; i < count; ++i) {
        const Inst &inst = insts[i];
        Value &value = vals[i];
        value = kFresh;
        value.root = i;
        flags_here[i] = flags;
        switch (inst.arg_count) {
        case 3: ++vals[vals[inst.args[2]].root].references; [[fallthrough]];
        case 2: ++vals[vals[inst.args[1]].root].references; [[fallthrough]];
        case 1: ++vals[vals[inst.args[0]].root].references; break;
        default: break;
        }
        const std::uint32_t bits = op_class(inst.op);
        exits += (bits & kDirectExit) / kDirectExit;
        if ((bits & kNames) == 0)
            continue;
        if (bits & kX87)
            last_x87 = i;
        if (bits & kMemoryOp) {
            const ValueId a = vals[inst.args[0]].root;
            const Inst &add = insts[a];
            if (add.op == Op::add && add.type == Type::kI64 && vals[a].flags_of == kNoValue &&
                insts[add.args[1]].op == Op::konst && fits_int32(insts[add.args[1]].imm))
                vals[a].lazy = true;
            if (inst.op == Op::ld || inst.op == Op::st || inst.op == Op::ld_mask || inst.op == Op::st_mask)
                join_group(i, inst);
            if (inst.op == Op::st && (insts[vals[inst.args[1]].root].op == Op::v_to_i32 || insts[vals[inst.args[1]].root].op == Op::v_to_i64) &&
                insts[vals[inst.args[1]].root].type == inst.type)
                vector_moves_.push_back(vals[inst.args[1]].root);
            continue;
        }
        if (bits & ir::kOpFlagsResult) {
            link_flags(i, inst);
            continue;
        }
        switch (inst.op) {
        case Op::v_low: // the low half of the same register
        case Op::trunc: value.root = vals[inst.args[0]].root; break;
        case Op::zext: {
            // Free when the producer left zeros above; a root that is wider than the argument (a trunc) did not.
            const ValueId root = vals[inst.args[0]].root;
            const Inst &producer = insts[root];
            if (producer.type == insts[inst.args[0]].type && zero_extended(producer) && producer.op != Op::konst)
                value.root = root;
            break;
        }
        case Op::pc_page:
        case Op::get: {
            const Slot slot = inst.op == Op::get ? inst.aux : layout_->pc_page_slot;
            if (slot_values[slot] != kNoValue)
                value.root = slot_values[slot];
            else
                slot_values[slot] = i;
            break;
        }
        case Op::set: {
            const ValueId root = vals[inst.args[0]].root;
            slot_values[inst.aux] = root;
            if (vals[root].first_explicit == 0 && layout_->slots[inst.aux].gpr >= 0)
                vals[root].first_explicit = i;
            break;
        }
        case Op::set_flags: flags = vals[inst.args[0]].root; break;
        case Op::v_from_i32:
        case Op::v_from_i64:
            if (i != 0 && inst.args[0] == i - 1 && insts[i - 1].op == Op::ld && type_bytes(insts[i - 1].type) == (inst.op == Op::v_from_i32 ? 4 : 8))
                vector_moves_.push_back(i - 1);
            break;
        case Op::br_cc:
        case Op::br_nz: note_exit(); break;
        case Op::call: {
            close_groups();
            const std::uint16_t written = guest_->helpers[inst.aux].flags;
            if (written & (kHelperVector | kHelperWritesSlots)) {
                for (Slot slot = 0; slot < slot_value_.size(); ++slot) {
                    const bool vector = is_vector(layout_->slots[slot].type);
                    if (written & (vector ? kHelperVector : kHelperWritesSlots))
                        slot_values[slot] = kNoValue;
                }
            }
            if (written & kHelperFlagsOut)
                flags = kNoValue;
            break;
        }
        case Op::mulhu:
        case Op::mulhs:
        case Op::mul: {
            const Inst &before = insts[i == 0 ? 0 : i - 1];
            const bool high = inst.op != Op::mul;
            const bool other = high ? before.op == Op::mul : before.op == Op::mulhu || before.op == Op::mulhs;
            if (other && before.type == inst.type && before.args[0] == inst.args[0] && before.args[1] == inst.args[1]) {
                vals[i - 1].pair = i;
                value.pair = i - 1;
            }
            break;
        }
        case Op::second:
            vals[inst.args[0]].pair = i;
            value.pair = inst.args[0];
            break;
        default: break; // x87
        }
    }
    exit_count = exits;
    settle_vector_moves();
    for (const ValueId i : linked_) {
        Value &value = vals[i];
        value.lazy = false;
        if (insts[i].op == Op::and_ && value.references == 1 && insts[value.flags_of].op == Op::f_logic)
            value.test_only = true;
    }
}

/// Moves between memory and vector registers that need no integer register: nobody else wants the integer.
void Analysis::settle_vector_moves() {
    for (const ValueId i : vector_moves_) {
        Value &value = values[i];
        if (value.references != 1)
            continue;
        value.through_vector = true;
        value.lazy = block_->insts[i].op != Op::ld; // whoever uses it uses the vector
    }
}

/// Finds the arithmetic instruction whose host flags are the flags value f.
void Analysis::link_flags(ValueId f, const Inst &inst) {
    if (inst.arg_count == 0 || inst.op == Op::f_cmp)
        return;
    const auto producer_of = [&](unsigned arg) { return values[inst.args[arg]].root; };
    const ValueId r = producer_of(0);
    const Inst &producer = block_->insts[r];
    const auto same = [&](ValueId a, ValueId b) { return values[a].root == values[b].root; };
    bool match = false;
    if (producer.type == inst.type && r != f) {
        switch (inst.op) {
        case Op::f_add:
            match = producer.op == Op::add && (same(producer.args[1], inst.args[1]) || same(producer.args[0], inst.args[1]));
            break;
        case Op::f_sub:
            match = (producer.op == Op::sub && same(producer.args[1], inst.args[1])) ||
                    (producer.op == Op::neg && same(producer.args[0], inst.args[1]));
            break;
        case Op::f_logic:
            match = producer.op == Op::and_ || producer.op == Op::or_ || producer.op == Op::xor_;
            break;
        case Op::f_adc:
            match = producer.op == Op::adc && same(producer.args[1], inst.args[1]) && same(producer.args[2], inst.args[2]);
            break;
        case Op::f_sbb:
            match = producer.op == Op::sbb && same(producer.args[1], inst.args[1]) && same(producer.args[2], inst.args[2]);
            break;
        case Op::f_inc:
        case Op::f_dec: {
            const std::uint64_t ones = type_bits(inst.type) == 64 ? ~0ull : (1ull << type_bits(inst.type)) - 1;
            if (producer.op != Op::add && producer.op != Op::sub)
                break;
            const Inst &b = block_->insts[producer.args[1]];
            const bool up = (inst.op == Op::f_inc) == (producer.op == Op::add);
            match = b.op == Op::konst && b.imm == (up ? 1 : ones);
            break;
        }
        default: break;
        }
    }
    if (match && values[r].flags_of == kNoValue) {
        values[r].flags_of = f;
        linked_.push_back(r);
        return;
    }
    if (inst.op != Op::f_shl && inst.op != Op::f_shr && inst.op != Op::f_sar)
        return;
    // Shifts: f names the shifted value; the producer is the same shift just before.
    for (ValueId i = f; i-- > 0 && f - i <= 3;) {
        const Inst &shift = block_->insts[i];
        const bool op_matches = inst.op == Op::f_shl   ? shift.op == Op::shl
                                : inst.op == Op::f_shr ? shift.op == Op::shr
                                                       : shift.op == Op::sar;
        if (op_matches && shift.type == inst.type && same(shift.args[0], inst.args[0]) && same(shift.args[1], inst.args[1]) &&
            constant_count(*block_, inst.args[1], inst.type) > 0) {
            if (values[i].flags_of == kNoValue) {
                values[i].flags_of = f;
                linked_.push_back(i);
            }
            return;
        }
    }
}

// Marks come in the order of falling `at`: the first one is the last use.
inline void Analysis::mark(ValueId v, std::uint32_t at, bool is_explicit) {
    Value *const vals = values.data();
    v = vals[v].root;
    for (;;) {
        Value &value = vals[v];
        if (value.last_use == 0)
            value.last_use = at;
        value.next_use = at;
        if (!is_explicit) {
            value.lazy = false; // side tables name places, not sums
            return;
        }
        if (value.last_explicit == 0)
            value.last_explicit = at;
        // What has been set to a pinned register is there, and needs no operands any more.
        if (!value.lazy || (value.first_explicit != 0 && at > value.first_explicit))
            return;
        v = vals[block_->insts[v].args[0]].root;
    }
}

void Analysis::mark_carry(ValueId f, std::uint32_t at) {
    const ValueId c = carry_source(values[f].root);
    mark_flags(c, at, kCF, false);
}

void Analysis::mark_flags(ValueId f, std::uint32_t at, FlagMask mask, bool is_explicit) {
    if (f == kNoValue) {
        entry_flags_used = true;
        return;
    }
    f = values[f].root;
    Value &value = values[f];
    if (value.last_use == 0)
        value.last_use = at;
    if (is_explicit) {
        if (value.last_explicit == 0)
            value.last_explicit = at;
        value.first_explicit = at;
        value.needed |= mask;
    }
    if ((value.marked & mask) == mask)
        return; // a later use marked everything
    value.marked |= mask;
    mark_operands(f, at, mask);
}

/// Keeps reachable what the flags value is computed from.
void Analysis::mark_operands(ValueId f, std::uint32_t at, FlagMask mask) {
    const Inst &inst = block_->insts[f];
    const auto arg = [&](unsigned n) { mark(inst.args[n], at, false); };
    switch (inst.op) {
    case Op::f_load: entry_flags_used = true; break;
    case Op::f_logic: {
        const ValueId r = values[inst.args[0]].root;
        if (values[r].test_only) {
            mark(block_->insts[r].args[0], at, false);
            mark(block_->insts[r].args[1], at, false);
            values[r].last_use = std::max(values[r].last_use, at);
        } else {
            arg(0);
        }
        break;
    }
    case Op::f_adc:
    case Op::f_sbb:
        if (mask & kCF)
            values[f].carry_needed = true;
        if (mask == kCF)
            break; // kept in a spill slot from the moment the host's flags go
        arg(0);
        arg(1);
        mark_carry(inst.args[2], at);
        break;
    case Op::f_inc:
    case Op::f_dec:
        arg(0);
        if (mask & kCF)
            mark_carry(inst.args[1], at);
        break;
    case Op::f_shl:
    case Op::f_shr:
    case Op::f_sar:
        arg(0);
        arg(1);
        if (constant_count(*block_, inst.args[1], inst.type) <= 0)
            mark_flags(inst.args[2], at, kAllFlags, false);
        break;
    case Op::f_rol:
    case Op::f_ror:
    case Op::f_rcl:
    case Op::f_rcr:
        arg(0);
        arg(1);
        mark_flags(inst.args[2], at, kAllFlags, false);
        break;
    case Op::f_bit:
    case Op::f_zf:
    case Op::f_of:
        arg(0);
        mark_flags(inst.args[1], at, kAllFlags, false);
        break;
    default: // f_raw, f_add, f_sub, f_cmp, f_mulo
        for (unsigned k = 0; k < inst.arg_count; ++k)
            arg(k);
        break;
    }
}

void Analysis::mark_arguments(const Inst &inst, std::uint32_t bits, std::uint32_t at) {
    if ((bits & ir::kOpTakesFlags) == 0) {
        switch (inst.arg_count) {
        case 3: mark(inst.args[2], at, true); [[fallthrough]];
        case 2: mark(inst.args[1], at, true); [[fallthrough]];
        case 1: mark(inst.args[0], at, true); break;
        default: break;
        }
        return;
    }
    for (unsigned k = 0; k < inst.arg_count; ++k) {
        const ValueId v = inst.args[k];
        if ((op_class(block_->insts[v].op) & ir::kOpFlagsResult) == 0) {
            mark(v, at, true);
            continue;
        }
        FlagMask mask = kAllFlags;
        if (inst.op == Op::cond || inst.op == Op::select_cc || inst.op == Op::br_cc)
            mask = cond_flags(static_cast<Cond>(inst.aux));
        else if (inst.op == Op::adc || inst.op == Op::sbb || inst.op == Op::rcl || inst.op == Op::rcr)
            mask = kCF;
        mark_flags(v, at, mask, true);
    }
}

void Analysis::hint_set(const Inst &inst, std::uint32_t at) {
    const SlotPlace &place = layout_->slots[inst.aux];
    Value &value = values[values[inst.args[0]].root];
    value.set_at = at;
    value.hint = place.gpr >= 0 ? place.gpr : place.xmm;
    value.memory_hint = place.pinned() ? kNoSlot : inst.aux;
    next_touch_[inst.aux] = at;
}

/// At the definition of v: do its hints hold? `barrier` is the nearest one behind.
void Analysis::settle_hints(const Inst &inst, ValueId v, std::uint32_t barrier) {
    Value &value = values[v];
    const auto slot_of = [&](int reg) {
        return is_vector(inst.type) ? layout_->xmm_slot[static_cast<unsigned>(reg)]
                                        : layout_->gpr_slot[static_cast<unsigned>(reg)];
    };
    if (value.set_at != 0 && value.low_hint < 0) {
        const Slot slot = value.memory_hint != kNoSlot ? value.memory_hint : slot_of(value.hint);
        if (barrier <= value.set_at || next_touch_[slot] != value.set_at) {
            value.hint = -1;
            value.memory_hint = kNoSlot;
        }
    }
    if (value.low_hint >= 0) {
        const ValueId base = values[value.low_base].root;
        const Slot slot = slot_of(value.low_hint);
        if (barrier <= value.set_at || next_touch_[slot] != value.set_at || values[base].next_use != value.low_user)
            value.low_hint = -1;
        value.hint = -1;
        value.memory_hint = kNoSlot;
    }
    // Computing into the low part of a register whose rest stays: ins8(x, v), set to where x lives.
    if (value.hint >= 0 && (inst.op == Op::ins8 || inst.op == Op::ins16)) {
        const ValueId base = values[inst.args[0]].root;
        const ValueId low = values[inst.args[1]].root;
        const bool exact = block_->insts[low].type == (inst.op == Op::ins8 ? Type::kI8 : Type::kI16);
        if (exact && values[base].last_use == 0 && values[low].set_at == 0 && block_->insts[low].op != Op::konst) {
            Value &part = values[low];
            part.low_hint = value.hint;
            part.low_base = base;
            part.low_user = v;
            part.set_at = value.set_at;
        }
    }
}

void Analysis::mark_uses() {
    fill_words(next_touch_, layout_->slots.size(), 0);
    const Inst *const insts = block_->insts.data();
    Value *const vals = values.data();
    std::uint32_t barrier = ~0u;
    std::uint32_t clobber = ~0u;
    for (auto i = static_cast<ValueId>(block_->insts.size()); i-- > 0;) {
        const Inst &inst = insts[i];
        const std::uint32_t bits = op_class(inst.op);
        Value &value = vals[i];
        if (inst.op == Op::get)
            next_touch_[inst.aux] = i;
        if (value.root != i || inst.op == Op::insn_start || inst.op == Op::set_flags)
            continue;
        if (inst.op == Op::set) {
            mark(inst.args[0], i, true);
            hint_set(inst, i);
            continue;
        }
        if (bits & ir::kOpFlagsResult) {
            const bool compare = inst.op == Op::f_cmp ||
                                 (inst.op == Op::f_logic && vals[vals[inst.args[0]].root].test_only);
            value.eager = compare && value.last_explicit != 0 && clobber >= value.first_explicit;
            // What it is made from exists at least until here.
            if (value.last_use != 0)
                mark_operands(i, i, hard_flags(inst.op) ? kAllFlags : value.marked);
            continue;
        }
        if ((bits & (ir::kOpPure | ir::kOpMxcsr)) == ir::kOpPure && value.last_use == 0)
            continue; // dead
        if (value.set_at != 0)
            settle_hints(inst, i, barrier);
        // Is execution possibly left, or state looked at, at this instruction? Does somebody look at the flags?
        bool barrier_here = true;
        if (inst.op == Op::call) {
            if (guest_->helpers[inst.aux].flags & (kHelperMayFault | kHelperFlagsIn))
                mark_flags(flags_at[i], i, kAllFlags, false);
        } else if (bits & (ir::kOpFaults | ir::kOpLeaves)) {
            mark_flags(flags_at[i], i, kAllFlags, false);
        } else {
            barrier_here = false;
        }
        if (!value.lazy && !value.test_only)
            mark_arguments(inst, bits, i);
        if (barrier_here)
            barrier = i;
        if ((bits & kClobbers) && !value.test_only)
            clobber = i;
    }
}

} // namespace rhea::tcg::x64
