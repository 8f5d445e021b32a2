// One backward sweep marks what is needed, one forward sweep closes the gaps.
//
// Backward, an instruction's users have all been seen, so a pure value is needed or not. For each
// slot the sweep knows whether what is written here will be overwritten before anything can look;
// likewise for the flags.
#include <bitset>
#include <cstddef>

#include "rhea/tcg/passes.h"
#include "rhea/tcg/state.h"

namespace rhea::tcg::passes {
namespace {

using ir::Inst;
using ir::Op;
using ir::ValueId;

class Liveness {
  public:
    Liveness(ir::Block& block, const GuestDescription& guest)
        : block_(block), guest_(guest), needed_(block.scratch) {
        for (std::size_t i = 0; i < guest.slots.size(); ++i) {
            if (is_vector(guest.slots[i].type))
                vector_slots_.set(i);
            if (guest.slots[i].offset == offsetof(VcpuHead, guest_mxcsr))
                mxcsr_slots_.set(i);
        }
    }

    void run() {
        needed_.assign(block_.insts.size(), 0);
        for (std::size_t i = block_.insts.size(); i-- > 0;) {
            const Inst& inst = block_.insts[i];
            if (!is_needed(i, inst))
                continue;
            needed_[i] = 1;
            for (unsigned a = 0; a < inst.arg_count; ++a)
                needed_[inst.args[a]] = 1;
        }
    }

  private:
    using Slots = std::bitset<ir::kMaxSlots>;

    void everything_is_seen() {
        overwritten_.reset();
        flags_overwritten_ = false;
    }

    /// Notes what the instruction looks at and overwrites, when it stays.
    bool is_needed(std::size_t index, const Inst& inst) {
        const std::uint16_t bits = ir::op_info(inst.op).bits;
        const bool used = needed_[index] != 0;
        if ((bits & (ir::kOpPure | ir::kOpMxcsr)) == ir::kOpPure)
            return used;
        switch (inst.op) {
            case Op::set:
                if (overwritten_[inst.aux])
                    return false;
                overwritten_.set(inst.aux);
                return true;
            case Op::set_flags:
                if (flags_overwritten_)
                    return false;
                flags_overwritten_ = true;
                return true;
            case Op::get:
                if (used)
                    overwritten_.reset(inst.aux);
                return used;
            case Op::f_load:
                if (used)
                    flags_overwritten_ = false;
                return used;
            case Op::pc_page:
                return used;
            case Op::call:
                note_call(guest_.helpers[inst.aux].flags);
                return true;
            default:
                break;
        }
        if (bits & ir::kOpMxcsr)
            overwritten_ &= ~mxcsr_slots_;
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
            overwritten_ &= vector_slots_;
        if (flags & kHelperVector)
            overwritten_ &= ~vector_slots_;
        if (flags & kHelperFlagsIn)
            flags_overwritten_ = false;
        else if (flags & kHelperFlagsOut)
            flags_overwritten_ = true;
    }

    ir::Block& block_;
    const GuestDescription& guest_;
    std::vector<std::uint32_t>& needed_;
    Slots vector_slots_, mxcsr_slots_, overwritten_;
    bool flags_overwritten_ = false;
};

/// Drops what is not needed; `map` goes from "needed" to the new ids.
void compact(ir::Block& block, std::vector<std::uint32_t>& map) {
    ValueId next = 0;
    std::size_t insn = 0;
    for (ValueId i = 0; i < block.insts.size(); ++i) {
        if (map[i] == 0)
            continue;
        map[i] = next;
        Inst& inst = block.insts[next];
        inst = block.insts[i];
        for (unsigned a = 0; a < inst.arg_count; ++a)
            inst.args[a] = map[inst.args[a]];
        if (inst.op == Op::insn_start)
            block.insns[insn++].first_inst = next;
        ++next;
    }
    block.insts.resize(next);
}

}  // namespace

void eliminate_dead(ir::Block& block, const GuestDescription& guest) {
    Liveness(block, guest).run();
    compact(block, block.scratch);
}

}  // namespace rhea::tcg::passes
