// Helper calls. The stub of each helper stores and reloads guest registers; here is what depends on the block.
#include "tcg/backend/x64/compiler.h"

namespace rhea::tcg::x64 {

/// head.pc := linear address of the current guest instruction.
void BlockCompiler::set_guest_pc() {
    const Gpr t = temp();
    a().mov(8, t, state_mem(Layout::head(offsetof(VcpuHead, pc_page))));
    if (guest_offset_ != 0)
        a().lea(8, t, ptr(t, guest_offset_));
    a().mov(8, state_mem(Layout::head(offsetof(VcpuHead, pc))), t);
    drop_temp(t);
}

/// Values that live on keep a place that the call leaves alone.
void BlockCompiler::spill_across_call(std::uint16_t flags) {
    const bool writes_slots = (flags & kHelperWritesSlots) != 0;
    const bool writes_vectors = (flags & kHelperVector) != 0;
    const bool may_fault = (flags & kHelperMayFault) != 0;
    const auto to_spill = [&](ValueId v) {
        Value &value = val(v);
        if (inst(v).op == Op::konst) {
            value.place = Place::kConst;
            return;
        }
        if (type_of(v) == Type::kFlags) {
            spill_carry(v);
            return;
        }
        const Gpr r = gpr(value.reg);
        if (value.spill < 0) {
            value.spill = static_cast<std::int8_t>(alloc_spill(v));
            a().mov(8, state_mem(layout_.spill(static_cast<unsigned>(value.spill))), r);
        }
        value.place = Place::kSpill;
    };
    for (unsigned n = 0; n < kGprCount; ++n) {
        const ValueId v = reg_value_[n];
        if (v == kNoValue)
            continue;
        const Gpr r = gpr(n);
        const bool survives = r == Gpr::r14 || r == Gpr::r15 || (!is_scratch(r) && !writes_slots);
        if (survives)
            continue;
        reg_value_[n] = kNoValue;
        // Flags that a fault here needs may have their last use now.
        if (may_fault ? live(v) : live_after(v))
            to_spill(v);
        else
            val(v).place = inst(v).op == Op::konst ? Place::kConst : Place::kNone;
    }
    // Pinned registers come back with their low halves only.
    for (unsigned n = 0; n < kFirstScratchXmm; ++n) {
        if (writes_vectors || (xmm_value_[n] != kNoValue && is_wide(xmm_value_[n])))
            evict_xmm(xmm(n), true);
    }
    for (Slot slot = 0; slot < slot_value_.size(); ++slot) {
        const bool vector = is_vector(layout_.slots[slot].type);
        if (slot_value_[slot] == kNoValue || !(vector ? writes_vectors : writes_slots))
            continue;
        if (vector)
            evict_vector_slot(slot);
        else if (slot != layout_.pc_page_slot)
            evict_slot(slot);
        slot_value_[slot] = kNoValue;
    }
    for (unsigned n = kFirstScratchXmm; n < kXmmCount; ++n)
        evict_xmm(xmm(n), true);
    // What evict_slot put into call-clobbered registers.
    for (const Gpr r : {Gpr::r10, Gpr::r11}) {
        const ValueId v = reg_value_[code(r)];
        if (v == kNoValue)
            continue;
        reg_value_[code(r)] = kNoValue;
        if (live(v))
            to_spill(v);
    }
}

void BlockCompiler::emit_call(ValueId i) {
    const Inst &call = inst(i);
    const std::uint16_t flags = guest_.helpers[call.aux].flags;
    const bool writes_slots = (flags & kHelperWritesSlots) != 0;
    const bool may_fault = (flags & kHelperMayFault) != 0;
    flush_uppers();
    // A helper that may write slots and then fault would take the operands of lazy flags with it.
    if ((flags & kHelperFlagsIn) || (may_fault && writes_slots))
        store_flags_now();
    if (flags & kHelperFlagsOut)
        protect_state_flags();
    clobber();
    if (flags & kHelperPcIn)
        set_guest_pc();
    // Arguments: collected first, then put where the stub takes them. r10 and r11 may be sources of each other.
    std::array<Loc, 3> args{};
    for (unsigned k = 0; k < call.arg_count; ++k)
        args[k] = loc_of(call.args[k]);
    const auto zero_extended_arg = [&](Gpr to, unsigned k) {
        const unsigned bytes = type_bytes(type_of(call.args[k]));
        const Loc &from = args[k];
        if (from.kind == Loc::Kind::kImm)
            move_imm(to, from.imm);
        else if (from.kind == Loc::Kind::kMem)
            load_loc(to, from, bytes);
        else if (bytes == 8)
            a().mov(8, to, from.gpr);
        else
            a().movzx(bytes, to, from.gpr);
    };
    if (call.arg_count > 2) {
        const unsigned bytes = type_bytes(type_of(call.args[2]));
        if (args[2].kind == Loc::Kind::kGpr && bytes == 8) {
            a().mov(8, state_mem(layout_.spill(kDataSpill + 2)), args[2].gpr);
        } else {
            const Gpr t = temp();
            zero_extended_arg(t, 2);
            a().mov(8, state_mem(layout_.spill(kDataSpill + 2)), t);
            drop_temp(t);
        }
    }
    spill_across_call(flags);
    const SafePointPlan plan = may_fault ? safe_point() : SafePointPlan{};
    if (call.arg_count > 1 && args[1].kind == Loc::Kind::kGpr && args[1].gpr == Gpr::r10) {
        if (args[0].kind == Loc::Kind::kGpr && args[0].gpr == Gpr::r11) {
            a().xchg(8, Gpr::r10, Gpr::r11);
            args[0] = Loc::of(Gpr::r10);
            args[1] = Loc::of(Gpr::r11);
        }
        zero_extended_arg(Gpr::r11, 1);
        zero_extended_arg(Gpr::r10, 0);
    } else {
        if (call.arg_count > 0)
            zero_extended_arg(Gpr::r10, 0);
        if (call.arg_count > 1)
            zero_extended_arg(Gpr::r11, 1);
    }
    // Missing arguments are zero: a helper sees the same wherever it is called from.
    if (call.arg_count < 3)
        a().mov(8, state_mem(layout_.spill(kDataSpill + 2)), 0);
    if (call.arg_count < 2)
        a().xor_(4, Gpr::r11, Gpr::r11);
    if (call.arg_count < 1)
        a().xor_(4, Gpr::r10, Gpr::r10);
    host_ = {};
    full_uppers_ = 0;
    upper_value_.fill(kNoValue);
    a().call(thunks_.helpers[call.aux]);
    x87_ready_ = false;
    if (may_fault)
        record(plan);
    if (flags & kHelperFlagsOut) {
        state_raw_ = false;
        for (ValueId v = 0; v < now_; ++v)
            val(v).in_state = false;
    }
    if (call.type != Type::kNone) {
        low_part_ = false;
        finish(i, Gpr::r10);
    }
}

} // namespace rhea::tcg::x64
