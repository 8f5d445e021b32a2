// Upper halves of the guest's 256-bit registers, which are slots of their own: where they are while they are not in memory.
//
// A pinned register whose lower half is the guest's may hold the upper half, too (full_uppers_), and memory may be behind
// it (dirty_uppers_, a subset). Whoever reads the slot's memory, and every way out of the block, stores it first; slow
// paths save 256 bits, and a fault in one takes from there what its safe point names (restore_state). So a register that is
// written again before that costs no store, and a hot loop to the block's own head carries 256 bits in the register: its
// head, behind the entry, has the registers of loop_uppers_ full and dirty, and a jump back makes them so.
#include "tcg/backend/x64/compiler.h"
#include "tcg/backend/x64/vex_ops.h"

namespace rhea::tcg::x64 {

Mem BlockCompiler::upper_mem(unsigned n) const { return state_mem(layout_.slots[layout_.upper_slot[n]].disp); }

/// The register's bits 255:128 are about to be anything else.
void BlockCompiler::lose_upper(unsigned n) {
    full_uppers_ &= ~(1u << n);
    dirty_uppers_ &= ~(1u << n);
    upper_value_[n] = kNoValue;
}

/// They are the slot's value v, which memory does not have.
void BlockCompiler::keep_upper(unsigned n, ValueId v) {
    full_uppers_ |= 1u << n;
    dirty_uppers_ |= 1u << n;
    upper_value_[n] = v;
}

/// Emits the stores only: cold code has its own idea of what is where.
void BlockCompiler::store_uppers(std::uint32_t which) {
    for (unsigned n = 0; which != 0; ++n, which >>= 1) {
        if (which & 1)
            a().vex_mri(vex::vextracti128.ymm(), upper_mem(n), xmm(n), 1);
    }
}

void BlockCompiler::flush_uppers(std::uint32_t which) {
    which &= dirty_uppers_;
    store_uppers(which);
    dirty_uppers_ &= ~which;
}

/// Before somebody reads the slot's memory.
void BlockCompiler::flush_upper_slot(Slot slot) {
    if (const int n = layout_.slots[slot].upper_of; n >= 0)
        flush_uppers(1u << n);
}

/// Before register n is written by this instruction: the upper half is wanted no more where its slot gets another value before
/// anything can look at it.
void BlockCompiler::spare_upper(unsigned n) {
    if ((dirty_uppers_ & 1u << n) == 0)
        return;
    const Slot slot = layout_.upper_slot[n];
    const ValueId held = slot_value_[slot];
    if (held == kNoValue || !live_after(held)) {
        for (ValueId k = now_ + 1; k < block_->insts.size(); ++k) {
            const Inst &later = inst(k);
            if (later.op == Op::set && later.aux == slot)
                return;
            const std::uint16_t bits = ir::op_traits(later.op).bits;
            if ((bits & (ir::kOpFaults | ir::kOpLeaves)) != 0 || later.op == Op::call || (later.op == Op::get && later.aux == slot))
                break;
        }
    }
    flush_uppers(1u << n);
}

/// The low half in `low` and the slot's value `high`: does the register hold both?
bool BlockCompiler::joined(ValueId low, ValueId high) {
    const Value &value = val(low);
    if (value.place != Place::kXmm || value.reg >= kPinnedXmms)
        return false;
    const bool full = (full_uppers_ & 1u << value.reg) != 0;
    return upper_value_[value.reg] == high || (full && slot_value_[layout_.upper_slot[value.reg]] == high);
}

/// A hot loop to the block's own head: which registers are full there?
void BlockCompiler::plan_loop_uppers() {
    loop_uppers_ = 0;
    if (!block_->hot || block_->crosses_page)
        return;
    bool loops = false;
    std::uint32_t used = 0;
    for (ValueId i = 0; i < block_->insts.size(); ++i) {
        const Inst &inst = block_->insts[i];
        switch (inst.op) {
        case Op::br_cc:
        case Op::br_nz:
        case Op::exit_direct: loops |= inst.imm == block_->page_offset; break;
        case Op::v_join:
            if (const Inst &high = this->inst(resolve(inst.args[1])); high.op == Op::get && layout_.slots[high.aux].upper_of >= 0)
                used |= 1u << layout_.slots[high.aux].upper_of;
            break;
        case Op::set:
            if (layout_.slots[inst.aux].upper_of >= 0 && this->inst(resolve(inst.args[0])).op == Op::v_high)
                used |= 1u << layout_.slots[inst.aux].upper_of;
            break;
        case Op::call: return; // helpers keep lower halves only
        default: break;
        }
    }
    if (loops)
        loop_uppers_ = used;
}

/// Behind the entry, before the loop's head.
void BlockCompiler::enter_loop() {
    fill_uppers(loop_uppers_);
    full_uppers_ = dirty_uppers_ = loop_uppers_;
}

void BlockCompiler::fill_uppers(std::uint32_t which) {
    for (unsigned n = 0; which != 0; ++n, which >>= 1) {
        if (which & 1)
            a().vex_rrmi(vex::vinserti128.ymm(), xmm(n), xmm(n), upper_mem(n), 1);
    }
}

} // namespace rhea::tcg::x64
