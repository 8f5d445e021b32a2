// One backward sweep marks what is needed (and simplifies it first, in run()), one forward sweep closes the gaps.
//
// Backward, an instruction's users have all been seen, so a pure value is needed or not. For each slot the sweep knows
// whether what is written here will be overwritten before anything can look; likewise for the flags. What is not needed
// is not simplified either.
#include <bitset>
#include <cstddef>

#include "rhea/tcg/passes.h"
#include "rhea/tcg/state.h"
#include "tcg/passes/simplify_inst.h"

namespace rhea::tcg::passes {
namespace {

class Liveness {
  public:
    Liveness(ir::Block& block, const GuestDescription& guest)
        : block_(block), guest_(guest), needed_(block.scratch) {}

    /// The first instruction that is not needed, or how many there are.
    template <bool kSimplify>
    ValueId run() {
        const auto count = static_cast<ValueId>(block_.insts.size());
        needed_.assign(count, 0);
        Inst* const insts = block_.insts.data();
        std::uint32_t* const needed = needed_.data();
        ValueId first_dead = count;
        for (ValueId i = count; i-- > 0;) {
            Inst& inst = insts[i];
            const std::uint16_t bits = ir::op_traits(inst.op).bits;
            const bool pure = (bits & (ir::kOpPure | ir::kOpMxcsr)) == ir::kOpPure;
            if (pure ? needed[i] == 0 : !is_needed(needed[i] != 0, inst, bits)) {
                first_dead = i;
                continue;
            }
            needed[i] = 1;
            if constexpr (kSimplify)
                simplify_inst(block_, inst);
            for (unsigned a = 0; a < inst.arg_count; ++a)
                needed[inst.args[a]] = 1;
        }
        return first_dead;
    }

  private:
    using Slots = std::bitset<ir::kMaxSlots>;

    void everything_is_seen() {
        overwritten_.reset();
        flags_overwritten_ = false;
    }

    /// Notes what the instruction looks at and overwrites, when it stays.
    bool is_needed(bool used, const Inst& inst, std::uint16_t bits) {
        switch (inst.op) {
            case Op::insn_start:
                return true;
            case Op::set:
                if (overwritten_[inst.aux])
                    return false;
                overwritten_[inst.aux] = true;
                return true;
            case Op::set_flags:
                if (flags_overwritten_)
                    return false;
                flags_overwritten_ = true;
                return true;
            case Op::get:
                if (used)
                    overwritten_[inst.aux] = false;
                return used;
            case Op::f_load:
                if (used)
                    flags_overwritten_ = false;
                return used;
            case Op::pc_page:
            case Op::code_field:
                return used;
            case Op::call:
                note_call(guest_.helpers[inst.aux].flags);
                return true;
            default:
                break;
        }
        if (bits & ir::kOpMxcsr)
            overwritten_ &= ~slots_at(offsetof(VcpuHead, guest_mxcsr));
        if (bits & (ir::kOpFaults | ir::kOpLeaves))
            everything_is_seen();
        return true;
    }

    void note_call(std::uint16_t flags) {
        if (flags & (kHelperMayFault | kHelperMayChangePc)) {
            everything_is_seen();
            return;
        }
        // What writes slots may write a part of one only: as good as a look.
        if (flags & (kHelperReadsSlots | kHelperWritesSlots))
            overwritten_ &= vector_slots();
        if (flags & kHelperVector)
            overwritten_ &= ~vector_slots();
        if (flags & kHelperFlagsIn)
            flags_overwritten_ = false;
        else if (flags & kHelperFlagsOut)
            flags_overwritten_ = true;
    }

    // Few blocks ask.
    Slots vector_slots() const {
        Slots slots;
        for (std::size_t i = 0; i < guest_.slots.size(); ++i)
            slots[i] = is_vector(guest_.slots[i].type);
        return slots;
    }
    Slots slots_at(std::size_t offset) const {
        Slots slots;
        for (std::size_t i = 0; i < guest_.slots.size(); ++i)
            slots[i] = guest_.slots[i].offset == offset;
        return slots;
    }

    ir::Block& block_;
    const GuestDescription& guest_;
    std::vector<std::uint32_t>& needed_;
    Slots overwritten_;
    bool flags_overwritten_ = false;
};

/// Drops what is not needed, from the first such instruction on; `needed` becomes the way from old ids to new ones.
void compact(ir::Block& block, ValueId first_dead) {
    const auto count = static_cast<ValueId>(block.insts.size());
    Inst* const insts = block.insts.data();
    std::uint32_t* const map = block.scratch.data();
    ValueId next = first_dead;
    std::size_t insn = 0;
    while (insn < block.insns.size() && block.insns[insn].first_inst < first_dead)
        ++insn;
    for (ValueId i = first_dead; i < count; ++i) {
        if (map[i] == 0)
            continue;
        map[i] = next;
        Inst& inst = insts[next];
        inst = insts[i];
        for (unsigned a = 0; a < inst.arg_count; ++a) {
            if (inst.args[a] >= first_dead)
                inst.args[a] = map[inst.args[a]];
        }
        if (inst.op == Op::insn_start)
            block.insns[insn++].first_inst = next;
        ++next;
    }
    block.insts.resize(next);
}

}  // namespace

void eliminate_dead(ir::Block& block, const GuestDescription& guest) {
    const ValueId first_dead = Liveness(block, guest).run<false>();
    if (first_dead != block.insts.size())
        compact(block, first_dead);
}

void simplify_and_eliminate_dead(ir::Block& block, const GuestDescription& guest) {
    const ValueId first_dead = Liveness(block, guest).run<true>();
    if (first_dead != block.insts.size())
        compact(block, first_dead);
}

}  // namespace rhea::tcg::passes
