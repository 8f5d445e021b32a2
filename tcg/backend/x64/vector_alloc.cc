// Places of vector values: pinned and scratch vector registers, spill slots, the guest's slots.
//
// Bits 255:128 of a register that holds a v128 value are anything; a v256 value is in a register or a spill slot, never in
// a guest's slot. Zeros are made again rather than spilled.
#include "tcg/backend/x64/compiler.h"
#include "tcg/backend/x64/vex_ops.h"

namespace rhea::tcg::x64 {

void BlockCompiler::load_vector(bool wide, Xmm dst, const Mem &src) {
    if (wide)
        a().vmovups_ymm(dst, src);
    else
        a().vmovdqu(dst, src);
}

void BlockCompiler::store_vector(bool wide, const Mem &dst, Xmm src) {
    if (wide)
        a().vmovups_ymm(dst, src);
    else
        a().vmovdqu(dst, src);
}

Xmm BlockCompiler::alloc_xmm() {
    unsigned best = kXmmCount;
    for (unsigned n = kFirstScratchXmm; n < kXmmCount; ++n) {
        if (locked_xmm_ & (1u << n))
            continue;
        if (!live(xmm_value_[n])) {
            best = n;
            break;
        }
        if (best == kXmmCount || val(xmm_value_[n]).last_use > val(xmm_value_[best]).last_use)
            best = n;
    }
    if (best == kXmmCount) {
        fail();
        best = kFirstScratchXmm;
    }
    evict_xmm(xmm(best));
    locked_xmm_ |= 1u << best;
    return xmm(best);
}

Xmm BlockCompiler::temp_xmm() { return alloc_xmm(); }

unsigned BlockCompiler::alloc_vector_spill(ValueId owner) {
    for (unsigned n = 0; n < kVectorSpills; ++n) {
        const ValueId v = vector_spill_owner_[n];
        if (v != kNoValue && val(v).last_use >= now_)
            continue;
        if (v != kNoValue)
            val(v).spill = -1;
        vector_spill_owner_[n] = owner;
        return n;
    }
    fail();
    return 0;
}

/// v has just been computed into x.
void BlockCompiler::bind_xmm(ValueId v, Xmm x) {
    lose_upper(code(x));
    own_xmm(v, x);
}

/// x is known to hold v.
void BlockCompiler::own_xmm(ValueId v, Xmm x) {
    Value &value = val(v);
    if (value.place == Place::kXmm && value.reg != code(x) && xmm_value_[value.reg] == v)
        xmm_value_[value.reg] = kNoValue;
    value.place = Place::kXmm;
    value.reg = static_cast<std::uint8_t>(code(x));
    xmm_value_[code(x)] = v;
    locked_xmm_ |= 1u << code(x);
}

/// The register's value finds another place. for_call: one that a call which changes slots leaves alone.
void BlockCompiler::evict_xmm(Xmm x, bool for_call) {
    const ValueId v = xmm_value_[code(x)];
    if (v == kNoValue)
        return;
    xmm_value_[code(x)] = kNoValue;
    Value &value = val(v);
    if (!(for_call ? live_after(v) : live(v))) {
        value.place = Place::kNone;
        return;
    }
    if (inst(v).op == Op::v_zero) {
        value.place = Place::kNone;
        return;
    }
    const bool wide = is_wide(v);
    if (!for_call && !wide && value.home != kNoSlot && slot_value_[value.home] == v) {
        const SlotPlace &home = layout_.slots[value.home];
        if (home.xmm < 0) {
            value.place = Place::kSlot;
            return;
        }
        if (home.xmm != static_cast<int>(code(x)) && xmm_value_[static_cast<unsigned>(home.xmm)] == kNoValue) {
            value.reg = static_cast<std::uint8_t>(home.xmm);
            xmm_value_[value.reg] = v;
            return;
        }
    }
    if (value.spill < 0) {
        value.spill = static_cast<std::int8_t>(alloc_vector_spill(v));
        store_vector(wide, state_mem(layout_.vector_spill(static_cast<unsigned>(value.spill))), x);
    }
    value.place = Place::kVectorSpill;
}

/// The memory of an unpinned slot is about to change.
void BlockCompiler::evict_vector_slot(Slot slot) {
    const ValueId v = slot_value_[slot];
    if (v == kNoValue)
        return;
    slot_value_[slot] = kNoValue;
    Value &value = val(v);
    if (value.place != Place::kSlot || value.home != slot || !live_after(v))
        return;
    if (value.spill >= 0) {
        value.place = Place::kVectorSpill;
        return;
    }
    flush_upper_slot(slot);
    const Xmm x = alloc_xmm();
    a().vmovdqu(x, state_mem(layout_.slots[slot].disp));
    bind_xmm(v, x);
}

/// The value's memory operand, when it has one and is in no register.
bool BlockCompiler::xmm_mem(ValueId v, Mem &out) {
    const ValueId r = resolve(v);
    const Value &value = val(r);
    if (value.place == Place::kSlot) {
        flush_upper_slot(value.home);
        out = state_mem(layout_.slots[value.home].disp);
    } else if (value.place == Place::kVectorSpill)
        out = state_mem(layout_.vector_spill(static_cast<unsigned>(value.spill)));
    else
        return false;
    return true;
}

Xmm BlockCompiler::use_xmm(ValueId v) {
    const ValueId r = resolve(v);
    Value &value = val(r);
    if (value.place == Place::kXmm) {
        locked_xmm_ |= 1u << value.reg;
        return xmm(value.reg);
    }
    const Xmm x = alloc_xmm();
    Mem m;
    if (inst(r).op == Op::v_zero) {
        a().vex_rrr(vex::vpxor, x, x, x);
        bind_xmm(r, x);
        return x;
    }
    if (!xmm_mem(v, m)) {
        assert(!"a vector without a place");
        fail();
        return x;
    }
    load_vector(is_wide(r), x, m);
    bind_xmm(r, x);
    return x;
}

/// Where i is computed: the register of the slot that it is set to, when that may be written already. Operands stay
/// readable until the result is written: VEX forms read all before.
Xmm BlockCompiler::dest_xmm(ValueId i, std::uint32_t avoid) {
    const Value &value = val(i);
    if (value.hint >= 0 && !(avoid & (1u << value.hint))) {
        const Xmm p = xmm(static_cast<unsigned>(value.hint));
        const ValueId old = xmm_value_[code(p)];
        const bool wanted = live_after(old);
        if (!wanted || val(old).last_use > value.set_at) {
            const Slot slot = layout_.xmm_slot[code(p)];
            slot_value_[slot] = kNoValue;
            if (wanted)
                evict_xmm(p);
            else if (old != kNoValue) {
                xmm_value_[code(p)] = kNoValue;
                val(old).place = Place::kNone;
            }
            spare_upper(code(p));
            return p;
        }
    }
    return alloc_xmm();
}

void BlockCompiler::set_vector(Slot slot, ValueId v) {
    const ValueId r = resolve(v);
    Value &value = val(r);
    const SlotPlace &place = layout_.slots[slot];
    if (place.xmm >= 0) {
        const Xmm p = xmm(static_cast<unsigned>(place.xmm));
        if (!(value.place == Place::kXmm && value.reg == code(p))) {
            const ValueId old = xmm_value_[code(p)];
            if (slot_value_[slot] == old)
                slot_value_[slot] = kNoValue;
            if (old != kNoValue) {
                if (live_after(old)) {
                    evict_xmm(p);
                } else {
                    xmm_value_[code(p)] = kNoValue;
                    val(old).place = Place::kNone;
                }
            }
            Mem m;
            const bool in_memory = xmm_mem(v, m); // before the register's upper half goes, which it may be
            spare_upper(code(p));
            lose_upper(code(p));
            if (value.place == Place::kXmm && is_wide(r)) {
                a().vex_rr(vex::vmovdqa.ymm(), p, xmm(value.reg));
                upper_value_[code(p)] = upper_value_[value.reg] != kNoValue ? upper_value_[value.reg] : r;
            }
            else if (value.place == Place::kXmm)
                a().vmovdqa(p, xmm(value.reg));
            else if (in_memory)
                load_vector(is_wide(r), p, m);
            else
                a().vex_rrr(vex::vpxor, p, p, p);
            const bool elsewhere_pinned = value.place == Place::kXmm && value.reg < kFirstScratchXmm;
            if (!elsewhere_pinned)
                own_xmm(r, p);
        }
    } else {
        if (value.place == Place::kSlot && value.home == slot && slot_value_[slot] == r)
            return;
        const int n = place.upper_of;
        if (n >= 0 && upper_value_[static_cast<unsigned>(n)] == r) {
            evict_vector_slot(slot);
            keep_upper(static_cast<unsigned>(n), r);
            slot_value_[slot] = r;
            return; // where it was before stays its place
        }
        const Xmm x = use_xmm(v);
        evict_vector_slot(slot);
        a().vmovdqu(state_mem(place.disp), x);
        if (n >= 0) {
            full_uppers_ &= ~(1u << n);
            dirty_uppers_ &= ~(1u << n);
        }
    }
    slot_value_[slot] = r;
    value.home = slot;
}

} // namespace rhea::tcg::x64
