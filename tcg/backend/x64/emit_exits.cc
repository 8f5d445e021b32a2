// Leaving the block: chained jumps in the page, the jump cache elsewhere, the run loop at last.
//
// A chainable exit has two jumps. The first goes to code that stores the lazy flags and ends in the second, which goes
// to a stub that leaves with kChain. Chaining patches the second; when the target is known to set the flags before
// anything can look at them (kFlagsDead in the word before its entry), the first is patched instead. Without flags to
// store they are one jump.
#include "tcg/backend/x64/compiler.h"

namespace rhea::tcg::x64 {
namespace {

Mem head_mem(std::size_t offset) { return state_mem(Layout::head(offset)); }

} // namespace

std::size_t BlockCompiler::new_exit(std::int64_t page_offset) {
    ExitSlot slot;
    slot.target_offset = static_cast<std::int32_t>(page_offset);
    out_->exits.push_back(slot);
    first_jumps_.push_back({});
    return out_->exits.size() - 1;
}

void BlockCompiler::emit_poll(Label &to) {
    a().cmp(4, head_mem(offsetof(VcpuHead, exit_request)), 0);
    a().jcc(Cond::kNE, to);
}

/// r10 = linear pc, r11 and r14 free: to the block there, by the window's jump cache.
void BlockCompiler::probe_jump_cache(Gpr pc) {
    const Gpr t = pc == Gpr::r11 ? Gpr::r14 : Gpr::r11;
    a().rorx(4, t, pc, kJumpCacheBits); // what comes in above is masked away
    a().xor_(4, t, pc);
    a().and_(4, t, kJumpIndexMask);
    a().cmp(8, ptr(kStateReg, t, 8, Layout::window(kJumpOffset)), pc);
    a().jcc(Cond::kNE, thunks_.find_block);
    a().and_(8, pc, -4096);
    a().mov(8, head_mem(offsetof(VcpuHead, pc_page)), pc);
    a().jmp(ptr(kStateReg, t, 8, Layout::window(kJumpOffset) + 8));
}

/// The code of an exit to a page offset from its first jump's target on: flags, then away.
void BlockCompiler::emit_leave(std::int64_t page_offset, const FlagsPlan &plan, bool poll, const Uppers &uppers) {
    cold_mode_ = true;
    cold_free_ = kScratchMask & ~plan_mask(plan);
    const auto offset = static_cast<std::int32_t>(page_offset);
    const bool in_page = page_offset >= 0 && page_offset < 4096;
    const bool self = in_page && page_offset == block_->page_offset && !block_->crosses_page;
    const bool counted = self && poll && !block_->hot;
    const bool carries = self && loop_uppers_ != 0;
    Label leave, hot;
    if (!carries)
        store_uppers(uppers.dirty);
    if (poll)
        emit_poll(leave);
    if (carries) {
        // The head is not the entry, whose first byte says whether the block has been retired.
        constexpr std::int8_t kJump = -0x15;
        a().cmp(1, Mem::rip(a().exec_at(entry_offset_)), kJump);
        a().jcc(Cond::kE, leave);
        store_uppers(uppers.dirty & ~loop_uppers_);
        fill_uppers(loop_uppers_ & ~uppers.full);
    }
    if (self) {
        if (analysis_.entry_flags_used)
            emit_store_flags(plan);
        if (counted) {
            const auto heat = static_cast<std::int32_t>(page_offset % VcpuCold::kLoopHeats * sizeof(std::uint32_t));
            a().add(4, state_mem(layout_.cold(offsetof(VcpuCold, loop_heat)) + heat),
                    static_cast<std::int32_t>(VcpuCold::kLoopHeat));
            a().jcc(Cond::kB, hot);
        }
        a().jmp(head_);
    } else if (in_page) {
        const std::size_t exit = new_exit(page_offset);
        FirstJump first = pending_first_jump_;
        if (!plan.nothing() && poll) {
            Label store;
            first.field = static_cast<std::int32_t>(a().jmp_rel32_aligned(store) - entry_offset_);
            a().bind(store);
        }
        first.target = static_cast<std::int32_t>(a().offset() - entry_offset_);
        emit_store_flags(plan);
        out_->exits[exit].patch_offset = static_cast<std::uint32_t>(a().jmp_rel32_aligned() - entry_offset_);
        first_jumps_[exit] = first;
    } else {
        emit_store_flags(plan);
        a().mov(8, Gpr::r10, head_mem(offsetof(VcpuHead, pc_page)));
        a().add(8, Gpr::r10, offset);
        probe_jump_cache(Gpr::r10);
    }
    pending_first_jump_ = {};
    if (poll) {
        a().bind(leave);
        if (carries)
            store_uppers(uppers.dirty);
        cold_free_ = kScratchMask & ~plan_mask(plan);
        emit_store_flags(plan);
        a().call(thunks_.exit_next_at);
        a().word32(static_cast<std::uint32_t>(offset));
    }
    if (counted) {
        a().bind(hot);
        cold_free_ = kScratchMask & ~plan_mask(plan);
        if (!analysis_.entry_flags_used)
            emit_store_flags(plan);
        a().call(thunks_.exit_hot);
        a().word32(static_cast<std::uint32_t>(offset));
    }
    cold_mode_ = false;
}

/// Stubs of chainable exits, behind everything else.
void BlockCompiler::emit_stub(std::size_t exit) {
    ExitSlot &slot = out_->exits[exit];
    slot.stub_offset = static_cast<std::uint32_t>(a().offset()) - entry_offset_;
    a().call(thunks_.exit_chain);
    a().word64(reinterpret_cast<std::uint64_t>(&slot));
    a().word32(static_cast<std::uint32_t>(slot.target_offset));
    if (!a().ok())
        return;
    const std::size_t field = slot.patch_offset + entry_offset_;
    Assembler::patch_rel32(a().write_at(field), a().exec_at(field), a().exec_at(slot.stub_offset + entry_offset_));
}

/// cc: jump there when it holds, else go on; otherwise go there in any case.
void BlockCompiler::exit_to(std::int64_t page_offset, bool conditional, Cond cc) {
    const bool in_page = page_offset >= 0 && page_offset < 4096;
    const bool poll = !in_page || page_offset <= guest_offset_;
    const FlagsPlan plan = plan_flags(current_flags());
    const Uppers uppers{full_uppers_, dirty_uppers_};
    count_due_ = count_;
    if (!conditional) {
        emit_leave(page_offset, plan, poll, uppers);
        return;
    }
    const bool self = in_page && page_offset == block_->page_offset && !block_->crosses_page;
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    FirstJump first;
    if (in_page && !self && !poll && !plan.nothing() && uppers.dirty == 0)
        first.field = static_cast<std::int32_t>(a().jcc_rel32_aligned(cc, cold_[cold].entry) - entry_offset_);
    else
        a().jcc(cc, cold_[cold].entry);
    set_cold(cold, [=](BlockCompiler &c, Cold &self_cold) {
        c.a().bind(self_cold.entry);
        c.pending_first_jump_ = first;
        c.emit_leave(page_offset, plan, poll, uppers);
    });
}

void BlockCompiler::emit_br_cc(ValueId i) {
    const Cond cc = provide_cond(resolve(inst(i).args[0]), static_cast<Cond>(inst(i).aux));
    exit_to(static_cast<std::int64_t>(inst(i).imm), true, cc);
}

void BlockCompiler::emit_br_nz(ValueId i) {
    const Loc condition = loc_of(inst(i).args[0]);
    clobber();
    if (condition.kind == Loc::Kind::kGpr)
        a().test(1, condition.gpr, condition.gpr);
    else
        compare_loc(Alu::cmp, 1, condition, Loc::constant(0));
    hold_flags_ = true;
    exit_to(static_cast<std::int64_t>(inst(i).imm), true, Cond::kNE);
}

void BlockCompiler::emit_exit_direct(ValueId i) {
    exit_to(static_cast<std::int64_t>(inst(i).imm), false, Cond::kE);
}

void BlockCompiler::emit_exit_indirect(ValueId i) {
    flush_uppers();
    const Loc target = loc_of(inst(i).args[0]);
    const FlagsPlan plan = plan_flags(current_flags());
    cold_mode_ = true;
    cold_free_ = kScratchMask & ~(plan_mask(plan) | mask_of(target));
    if (plan.kind == FlagsPlan::Kind::kDescriptor)
        cold_free_ = 0; // the call keeps registers
    cold_keep_ = mask_of(target);
    emit_store_flags(plan);
    cold_keep_ = 0;
    cold_mode_ = false;
    load_loc(Gpr::r10, target, 8);
    const std::size_t cold = push_cold([](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.a().jmp(c.thunks_.exit_next_r10);
    });
    emit_poll(cold_[cold].entry);
    probe_jump_cache(Gpr::r10);
}

void BlockCompiler::emit_exit_state(ValueId) {
    flush_uppers();
    store_flags_now();
    a().jmp(thunks_.exit_state);
}

void BlockCompiler::emit_exit_next(ValueId i) {
    flush_uppers();
    store_flags_now();
    a().call(thunks_.exit_next_at);
    a().word32(static_cast<std::uint32_t>(inst(i).imm));
}

void BlockCompiler::emit_trap(ValueId i) {
    const Inst &trap = inst(i);
    flush_uppers();
    a().mov(8, state_mem(layout_.spill(kArgSpill)), static_cast<std::int32_t>(trap.aux));
    store_loc(layout_.spill(kArgSpill + 1), Loc::constant(trap.imm), 8);
    const SafePointPlan plan = safe_point();
    a().call(thunks_.raise);
    record(plan);
}

} // namespace rhea::tcg::x64
