// Well-formedness: one instruction against its row (check_inst), then what only a look at the whole
// block shows.
#include "tcg/ir/verify.h"

#include <fmt/format.h>

#include <bit>

#include "rhea/tcg/lane_access.h"

namespace rhea::tcg::ir {
namespace {

constexpr std::uint16_t kAllMemFlags = kMemAlign16 | kMemWriteIntent;

bool is_int(Type type) {
    return type >= Type::kI8 && type <= Type::kI64;
}
bool is_value(Type type) {
    return is_int(type) || is_vector(type);
}

bool letter_fits(char letter, Type have, const Inst& inst) {
    const Type inst_type = inst.type;
    switch (letter) {
        case 'T':
            return have == inst_type;
        case 'b':
            return have == Type::kI8;
        case 'w':
            return have == Type::kI16;
        case 'd':
            return have == Type::kI32;
        case 'q':
            return have == Type::kI64;
        case 'v':
            return op_info(inst.op).result == "v" ? have == inst_type : is_vector(have);
        case 'x':
            return have == Type::kV128;
        case 'y':
            return have == Type::kV256;
        case 'f':
            return have == Type::kFlags;
        case 'i':
            return is_int(have);
        case '*':
            return is_value(have);
        default:
            return false;
    }
}

std::string check_args(const Block& block, ValueId index) {
    const Inst& inst = block.insts[index];
    const OpInfo& info = op_info(inst.op);
    if (inst.op == Op::call ? inst.arg_count > 3 : inst.arg_count != info.arity) {
        return fmt::format("{} arguments, the row has {}", inst.arg_count, info.arity);
    }
    for (unsigned i = 0; i < inst.args.size(); ++i) {
        const ValueId arg = inst.args[i];
        if (i >= inst.arg_count) {
            if (arg != kNoValue)
                return fmt::format("argument {} is set but not counted", i);
            continue;
        }
        if (arg >= index)
            return fmt::format("argument {} is no earlier value", i);
        const char letter = inst.op == Op::call ? 'i' : info.args[i];
        const Type have = block.type_of(arg);
        if (!letter_fits(letter, have, inst)) {
            return fmt::format("argument {} is {}, the row wants '{}'", i, type_name(have), letter);
        }
    }
    return {};
}

/// Inst::type against the row.
std::string check_type(const Block& block, const Inst& inst, const GuestDescription& guest) {
    const OpInfo& info = op_info(inst.op);
    const auto wrong = [&] { return fmt::format("type {} does not fit", type_name(inst.type)); };
    switch (inst.op) {
        case Op::get:
        case Op::set:
            if (inst.aux >= guest.slots.size())
                return fmt::format("slot {} of {}", inst.aux, guest.slots.size());
            if (inst.type != guest.slots[inst.aux].type)
                return wrong();
            [[fallthrough]];
        case Op::st:
        case Op::st_mask:
            if (inst.arg_count > 0 && block.type_of(inst.args[inst.arg_count - 1u]) != inst.type)
                return wrong();
            return {};
        case Op::ld:
        case Op::check_w:
            return is_value(inst.type) ? "" : wrong();
        case Op::call:
            return inst.type == Type::kNone || is_int(inst.type) ? "" : wrong();
        case Op::bswap:
            return inst.type == Type::kI32 || inst.type == Type::kI64 ? "" : wrong();
        default:
            break;
    }
    if ((info.bits & kOpTyped) == 0)
        return inst.type == info.fixed_result || (info.result == "v" && inst.type == Type::kV256) ? ""
                                                                                                  : wrong();
    if (is_vector_op(inst.op))
        return is_value(inst.type) ? "" : wrong();
    return is_int(inst.type) ? "" : wrong();
}

std::string check_lanes(const Block& block, const Inst& inst, const GuestDescription& guest) {
    const LaneAccess access = LaneAccess::unpack(inst.imm);
    const unsigned bytes = access.bytes * access.count;
    if ((access.bytes != 4 && access.bytes != 8) || (access.count != 2 && access.count != 4 && access.count != 8))
        return "no such lanes";
    if (inst.op != Op::gather)
        return bytes == type_bytes(inst.type) ? "" : "lanes do not fill the vector";
    const unsigned addresses = access.count < 4 ? 16 : 32;
    for (const ValueId v : {inst.args[0], inst.args[1]}) {
        if (!is_vector(block.type_of(v)) || type_bytes(block.type_of(v)) < addresses)
            return "no vector of addresses";
    }
    if (!is_vector(block.type_of(inst.args[2])) || bytes > type_bytes(inst.type))
        return "lanes do not fit";
    for (const unsigned slot : {access.data_low, access.data_high, access.mask_low, access.mask_high}) {
        if (slot >= guest.slots.size() || guest.slots[slot].type != Type::kV128)
            return "no vector's slot";
    }
    return {};
}

/// aux and imm, and widths that the row's letters cannot say.
std::string check_details(const Block& block, ValueId index, const GuestDescription& guest) {
    const Inst& inst = block.insts[index];
    const auto arg_bits = [&] { return type_bits(block.type_of(inst.args[0])); };
    const unsigned bits = type_bits(inst.type);
    switch (inst.op) {
        case Op::konst:
            if (bits < 64 && (inst.imm >> bits) != 0)
                return "constant is wider than its type";
            return {};
        case Op::trunc:
            return arg_bits() > bits ? "" : "does not narrow";
        case Op::zext:
        case Op::sext:
            return arg_bits() < bits ? "" : "does not widen";
        case Op::hi8:
            return arg_bits() >= 16 ? "" : "an i8 has no bits 15:8";
        case Op::cond:
        case Op::select_cc:
        case Op::br_cc:
            return inst.aux < 16 ? "" : "no such condition";
        case Op::lea:
            return inst.aux < 4 ? "" : "shift above 3";
        case Op::code_field:
            return std::has_single_bit(inst.aux) && inst.aux * 8u <= bits ? "" : "no such field";
        case Op::ld:
        case Op::st:
        case Op::check_w:
            return (inst.aux & ~kAllMemFlags) == 0 ? "" : "unknown memory flags";
        case Op::ld_mask:
        case Op::st_mask:
        case Op::gather:
            return check_lanes(block, inst, guest);
        case Op::exit_indirect:
            return inst.aux <= static_cast<unsigned>(JumpKind::kReturn) ? "" : "no such jump kind";
        case Op::trap:
        case Op::divu:
        case Op::divs:
            return inst.aux < 256 ? "" : "vector above 255";
        case Op::x87_run:
        case Op::x87_ld:
        case Op::x87_st:
        case Op::x87_test:
            return guest.x87 != nullptr && inst.aux < 0x800 ? "" : "no x87, or no opcode of it";
        case Op::call:
        case Op::x87_set_control:
            return inst.aux < guest.helpers.size()
                       ? ""
                       : fmt::format("helper {} of {}", inst.aux, guest.helpers.size());
        case Op::second: {
            const Op before = index > 0 ? block.insts[index - 1].op : Op::konst;
            const bool follows =
                (before == Op::divu || before == Op::divs) && inst.args[0] == index - 1;
            return follows ? "" : "does not directly follow its division";
        }
        default:
            return {};
    }
}

std::string at(const Block& block, ValueId index, std::string_view what) {
    const Op op = block.insts[index].op;
    const std::string_view name = op < Op::kCount ? op_info(op).name : "unknown op";
    return fmt::format("%{} ({}): {}", index, name, what);
}

/// insn_start instructions and Block::insns describe the same boundaries.
std::string check_boundaries(const Block& block) {
    std::size_t seen = 0;
    for (ValueId i = 0; i < block.insts.size(); ++i) {
        const Inst& inst = block.insts[i];
        if (inst.op != Op::insn_start)
            continue;
        if (seen == block.insns.size())
            return at(block, i, "more insn_start than guest instructions");
        const GuestInsn& insn = block.insns[seen++];
        if (insn.first_inst != i || insn.page_offset != inst.imm || insn.length != inst.aux) {
            return at(block, i, "differs from its entry in Block::insns");
        }
    }
    if (seen != block.insns.size()) {
        return fmt::format("{} guest instructions but {} insn_start", block.insns.size(), seen);
    }
    return {};
}

/// f_load means the state's triple, which is the guest's flags only until the first set_flags.
std::string check_flags_loads(const Block& block, const GuestDescription& guest) {
    bool in_state = true;
    for (ValueId i = 0; i < block.insts.size(); ++i) {
        const Inst& inst = block.insts[i];
        if (inst.op == Op::set_flags)
            in_state = false;
        if (inst.op == Op::call && (guest.helpers[inst.aux].flags & kHelperFlagsOut))
            in_state = true;
        if (inst.op == Op::f_load && !in_state)
            return at(block, i, "the state's flags are out of date here");
    }
    return {};
}

}  // namespace

std::string_view type_name(Type type) {
    constexpr std::string_view kNames[] = {"none", "i8", "i16", "i32", "i64", "flags", "v128", "v256"};
    return type <= Type::kV256 ? kNames[static_cast<unsigned>(type)] : "?";
}

std::string check_inst(const Block& block, ValueId index, const GuestDescription& guest) {
    const Inst& inst = block.insts[index];
    if (inst.op >= Op::kCount)
        return at(block, index, "no such op");
    if (inst.type > Type::kV256)
        return at(block, index, "no such type");
    // Order matters: later checks rely on arguments that exist.
    std::string problem = check_args(block, index);
    if (problem.empty())
        problem = check_type(block, inst, guest);
    if (problem.empty())
        problem = check_details(block, index, guest);
    return problem.empty() ? problem : at(block, index, problem);
}

std::string verify(const Block& block, const GuestDescription& guest) {
    const auto count = static_cast<ValueId>(block.insts.size());
    if (guest.slots.size() > kMaxSlots)
        return fmt::format("the guest has more than {} slots", kMaxSlots);
    if (count == 0)
        return "the block is empty";
    bool pc_changed = false;
    for (ValueId i = 0; i < count; ++i) {
        if (std::string problem = check_inst(block, i, guest); !problem.empty())
            return problem;
        const Inst& inst = block.insts[i];
        const bool ends = op_info(inst.op).ends_block();
        if (ends && i + 1 != count)
            return at(block, i, "ends the block, but is not the last instruction");
        if (!ends && i + 1 == count)
            return at(block, i, "is last, but does not end the block");
        if (inst.op == Op::call)
            pc_changed |= (guest.helpers[inst.aux].flags & kHelperMayChangePc) != 0;
    }
    if (block.insts.front().op != Op::insn_start)
        return at(block, 0, "a block begins with insn_start");
    if (pc_changed && block.insts.back().op != Op::exit_state) {
        return at(block, count - 1,
                  "a helper has set the pc, so only exit_state may end the block");
    }
    if (std::string problem = check_boundaries(block); !problem.empty())
        return problem;
    return check_flags_loads(block, guest);
}

}  // namespace rhea::tcg::ir
