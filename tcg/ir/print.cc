// IR as text for -d op and for people in a debugger.
#include <fmt/format.h>

#include <iterator>

#include "rhea/tcg/lane_access.h"
#include "tcg/ir/verify.h"

namespace rhea::tcg::ir {
namespace {

constexpr std::string_view kConditions[] = {"o", "no", "b", "ae", "e", "ne", "be", "a",
                                            "s", "ns", "p", "np", "l", "ge", "le", "g"};

using Out = std::back_insert_iterator<std::string>;

std::string_view op_name(Op op) {
    std::string_view name = op_info(op).name;
    if (name.ends_with('_'))
        name.remove_suffix(1);  // and_, or_, …: C++ keywords
    return name;
}

void print_aux(Out out, const Inst& inst, const GuestDescription& guest) {
    switch (inst.op) {
        case Op::get:
        case Op::set:
            if (inst.aux < guest.slots.size())
                fmt::format_to(out, " {}", guest.slots[inst.aux].name);
            else
                fmt::format_to(out, " slot{}", inst.aux);
            return;
        case Op::call:
            if (inst.aux < guest.helpers.size())
                fmt::format_to(out, " {}", guest.helpers[inst.aux].name);
            else
                fmt::format_to(out, " helper{}", inst.aux);
            return;
        case Op::cond:
        case Op::select_cc:
        case Op::br_cc:
            fmt::format_to(out, " {}", kConditions[inst.aux & 15]);
            return;
        case Op::trap:
            fmt::format_to(out, " #{}", inst.aux);
            return;
        case Op::exit_indirect: {
            constexpr std::string_view kKinds[] = {"jump", "call", "return"};
            fmt::format_to(out, " {}", kKinds[inst.aux % 3]);
            return;
        }
        default:
            return;
    }
}

void print_tail(Out out, const Inst& inst) {
    const auto offset = static_cast<std::int64_t>(inst.imm);
    switch (inst.op) {
        case Op::konst:
            fmt::format_to(out, " {:#x}", inst.imm);
            return;
        case Op::code_field:
            fmt::format_to(out, " {} bytes at page+{:#05x}", inst.aux, inst.imm & 0xfff);
            return;
        case Op::lea:
            fmt::format_to(out, " << {}, {:+}", inst.aux, static_cast<std::int32_t>(inst.imm));
            return;
        case Op::br_cc:
        case Op::br_nz:
        case Op::exit_direct:
        case Op::exit_next:
            fmt::format_to(out, " -> page{}{:#x}", offset < 0 ? "-" : "+",
                           offset < 0 ? 0 - inst.imm : inst.imm);
            return;
        case Op::trap:
            if (inst.imm != ~0ull)
                fmt::format_to(out, " error {:#x}", inst.imm);
            return;
        case Op::ld:
        case Op::st:
        case Op::check_w:
            if (inst.aux & kMemAlign16)
                fmt::format_to(out, " align16");
            if (inst.aux & kMemWriteIntent)
                fmt::format_to(out, " write-intent");
            return;
        case Op::ld_mask:
        case Op::st_mask:
        case Op::gather: {
            const LaneAccess access = LaneAccess::unpack(inst.imm);
            fmt::format_to(out, " {} x {}", access.count, access.bytes);
            if (access.flags & LaneAccess::kAll)
                fmt::format_to(out, " all");
            return;
        }
        case Op::divu:
        case Op::divs:
            fmt::format_to(out, " else trap #{}", inst.aux);
            return;
        default:
            if (is_vector_op(inst.op)) {
                if (inst.aux != 0)
                    fmt::format_to(out, " aux {:#x}", inst.aux);
                if (inst.imm != 0)
                    fmt::format_to(out, " imm {:#x}", inst.imm);
            }
    }
}

}  // namespace

std::string print(const Block& block, const GuestDescription& guest) {
    std::string text;
    const Out out(text);
    for (ValueId i = 0; i < block.insts.size(); ++i) {
        const Inst& inst = block.insts[i];
        if (inst.op >= Op::kCount) {
            fmt::format_to(out, "    ?{}\n", static_cast<unsigned>(inst.op));
            continue;
        }
        if (inst.op == Op::insn_start) {
            fmt::format_to(out, "---- page+{:#05x}, {} bytes\n", inst.imm, inst.aux);
            continue;
        }
        const OpInfo& info = op_info(inst.op);
        const Type result = block.type_of(i);
        text += "    ";
        if (result != Type::kNone)
            fmt::format_to(out, "%{}:{} = ", i, type_name(result));
        text += op_name(inst.op);
        // The operand type, where the result does not show it.
        const bool typed =
            (info.bits & kOpTyped) != 0 || inst.op == Op::st || inst.op == Op::st_mask || inst.op == Op::check_w;
        if (typed && result != inst.type && inst.type != Type::kNone)
            fmt::format_to(out, ".{}", type_name(inst.type));
        print_aux(out, inst, guest);
        for (unsigned a = 0; a < inst.arg_count && a < 3; ++a)
            fmt::format_to(out, "{}%{}", a ? ", " : " ", inst.args[a]);
        print_tail(out, inst);
        text += '\n';
    }
    return text;
}

}  // namespace rhea::tcg::ir
