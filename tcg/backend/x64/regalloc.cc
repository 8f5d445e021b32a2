// Places of integer values: registers, spill slots, and the guest's own slots.
#include "tcg/backend/x64/compiler.h"

#include <algorithm>
#include <cassert>
#include <bit>

namespace rhea::tcg::x64 {
namespace {

bool fits_int32(std::uint64_t v) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(v))) == v;
}

} // namespace

std::uint64_t BlockCompiler::const_of(ValueId v) const {
    const std::uint64_t imm = inst(resolve(v)).imm;
    const unsigned bits = type_bits(type_of(v));
    return bits >= 64 ? imm : imm & ((1ull << bits) - 1);
}

bool BlockCompiler::free_gpr(Gpr &out) {
    for (const Gpr r : kScratchGprs) {
        if (locked_ & bit(r))
            continue;
        const ValueId v = reg_value_[code(r)];
        if (live(v) || holds_addend(r))
            continue;
        if (v != kNoValue)
            unbind(v);
        reg_group_[code(r)] = -1;
        out = r;
        return true;
    }
    return false;
}

Gpr BlockCompiler::alloc_gpr() {
    Gpr r = Gpr::r10;
    if (cold_mode_) {
        for (const Gpr s : kScratchGprs) {
            if (cold_free_ & bit(s)) {
                cold_free_ &= ~bit(s);
                return s;
            }
        }
        fail();
        return r;
    }
    if (free_gpr(r)) {
        lock(r);
        return r;
    }
    // Evict what only keeps flags reachable, else what is wanted last; an addend before any value.
    bool found = false;
    std::uint32_t best = 0;
    for (const Gpr s : kScratchGprs) {
        if (locked_ & bit(s))
            continue;
        if (holds_addend(s)) {
            evict_addend(s);
            lock(s);
            return s;
        }
        const Value &value = val(reg_value_[code(s)]);
        const std::uint32_t score = value.last_explicit <= now_ ? ~0u : value.last_use;
        if (!found || score > best) {
            found = true;
            best = score;
            r = s;
        }
    }
    // What a safe point has described must stay: its record would name a register that holds something else by then.
    assert(described_at_ != now_);
    if (!found || described_at_ == now_) {
        fail();
        return r;
    }
    evict_gpr(r);
    lock(r);
    return r;
}

Gpr BlockCompiler::temp() { return alloc_gpr(); }

void BlockCompiler::drop_temp(Gpr r) {
    if (cold_mode_)
        cold_free_ |= bit(r);
    else
        unlock(r);
}

unsigned BlockCompiler::alloc_spill(ValueId owner) {
    for (unsigned n = 0; n < kSpills; ++n) {
        const ValueId v = spill_owner_[n];
        if (v == kNoValue || val(v).last_use < now_) {
            if (v != kNoValue) {
                Value &old = val(v);
                const auto index = static_cast<std::int8_t>(n);
                if (old.spill == index)
                    old.spill = -1;
                if (old.carry_spill == index)
                    old.carry_spill = -1;
                if (old.raw_spill == index)
                    old.raw_spill = -1;
            }
            spill_owner_[n] = owner;
            return n;
        }
    }
    fail();
    return 0;
}

void BlockCompiler::bind(ValueId v, Gpr r) {
    Value &value = val(v);
    if (value.place == Place::kGpr && value.reg != code(r) && reg_value_[value.reg] == v)
        reg_value_[value.reg] = kNoValue;
    value.place = Place::kGpr;
    value.reg = static_cast<std::uint8_t>(code(r));
    reg_value_[code(r)] = v;
    lock(r);
}

void BlockCompiler::unbind(ValueId v) {
    Value &value = val(v);
    if (value.place == Place::kGpr && reg_value_[value.reg] == v)
        reg_value_[value.reg] = kNoValue;
    value.place = inst(v).op == Op::konst ? Place::kConst : Place::kNone;
}

/// A flags value's carry leaves its register.
void BlockCompiler::spill_carry(ValueId f) {
    Value &value = val(f);
    value.carry_spill = static_cast<std::int8_t>(alloc_spill(f));
    a().mov(8, state_mem(layout_.spill(static_cast<unsigned>(value.carry_spill))), gpr(value.reg));
    value.place = Place::kNone;
}

/// A live value loses its register: the cheapest other place.
void BlockCompiler::relocate(ValueId v) {
    Value &value = val(v);
    const Gpr r = gpr(value.reg);
    if (inst(v).op == Op::konst) {
        value.place = Place::kConst;
        return;
    }
    if (type_of(v) == Type::kFlags) {
        spill_carry(v);
        return;
    }
    if (value.home != kNoSlot && slot_value_[value.home] == v) {
        const SlotPlace &home = layout_.slots[value.home];
        if (home.gpr < 0) {
            value.place = Place::kSlot;
            return;
        }
        if (home.gpr != static_cast<int>(code(r)) && reg_value_[static_cast<unsigned>(home.gpr)] == kNoValue) {
            value.reg = static_cast<std::uint8_t>(home.gpr);
            reg_value_[value.reg] = v;
            return;
        }
    }
    if (value.spill >= 0) {
        value.place = Place::kSpill;
        return;
    }
    Gpr other;
    if (value.last_explicit > now_ && !is_scratch(r) && free_gpr(other)) {
        a().mov(8, other, r);
        value.reg = static_cast<std::uint8_t>(code(other));
        reg_value_[value.reg] = v;
        return;
    }
    value.spill = static_cast<std::int8_t>(alloc_spill(v));
    a().mov(8, state_mem(layout_.spill(static_cast<unsigned>(value.spill))), r);
    value.place = Place::kSpill;
}

void BlockCompiler::evict_gpr(Gpr r) {
    const ValueId v = reg_value_[code(r)];
    if (v == kNoValue)
        return;
    reg_value_[code(r)] = kNoValue;
    if (live(v))
        relocate(v);
    else
        val(v).place = inst(v).op == Op::konst ? Place::kConst : Place::kNone;
}

void BlockCompiler::evict_slot(Slot slot) {
    const ValueId v = slot_value_[slot];
    if (v == kNoValue)
        return;
    slot_value_[slot] = kNoValue;
    Value &value = val(v);
    if (value.place != Place::kSlot || value.home != slot || !live_after(v))
        return;
    if (value.spill >= 0) {
        value.place = Place::kSpill;
        return;
    }
    const Gpr r = alloc_gpr();
    const SlotPlace &place = layout_.slots[slot];
    load_loc(r, Loc::mem(place.disp), type_bytes(place.type));
    bind(v, r);
    unlock(r);
}

Loc BlockCompiler::peek(ValueId v) {
    const std::uint32_t locked = locked_;
    const Loc loc = loc_of(v);
    locked_ = locked;
    return loc;
}

Loc BlockCompiler::loc_of(ValueId v) {
    const ValueId r = resolve(v);
    Value &value = val(r);
    switch (value.place) {
    case Place::kGpr: lock(gpr(value.reg)); return Loc::of(gpr(value.reg));
    case Place::kSlot: return Loc::mem(layout_.slots[value.home].disp);
    case Place::kSpill: return Loc::mem(layout_.spill(static_cast<unsigned>(value.spill)));
    case Place::kConst: return Loc::constant(const_of(v));
    case Place::kLazy: return Loc::of(use_gpr(v));
    default: break;
    }
    // A bug of ours; the block is given up and left to the interpreter, so that no guest can stop the emulator with it.
    fail();
    return Loc::constant(0);
}

void BlockCompiler::move_imm(Gpr dst, std::uint64_t value) {
    if (value == 0 && host_.value == kNoValue && !hold_flags_ && !cold_mode_)
        a().xor_(4, dst, dst);
    else
        a().mov_imm(dst, value);
}

void BlockCompiler::load_loc(Gpr dst, const Loc &loc, unsigned bytes) {
    switch (loc.kind) {
    case Loc::Kind::kGpr:
        if (loc.gpr != dst)
            a().mov(bytes == 8 ? 8 : 4, dst, loc.gpr);
        break;
    case Loc::Kind::kMem:
        if (bytes >= 4)
            a().mov(bytes, dst, mem_of(loc));
        else
            a().movzx(bytes, dst, mem_of(loc));
        break;
    default: move_imm(dst, loc.imm); break;
    }
}

void BlockCompiler::load_into(Gpr dst, ValueId v, unsigned bytes) {
    const ValueId r = resolve(v);
    if (val(r).place == Place::kLazy) {
        emit_lazy(r, dst);
        return;
    }
    load_loc(dst, peek(v), bytes);
}

/// The value out of its scratch register: an operand of an instruction that is short of them.
Loc BlockCompiler::demote(ValueId v) {
    const ValueId r = resolve(v);
    const Value &value = val(r);
    if (inst(r).op == Op::konst)
        return Loc::constant(const_of(v));
    if (value.place == Place::kGpr && is_scratch(gpr(value.reg))) {
        unlock(gpr(value.reg));
        evict_gpr(gpr(value.reg));
    }
    return loc_of(v);
}

void BlockCompiler::emit_lazy(ValueId v, Gpr dst) {
    const Inst &add = inst(v);
    const std::uint32_t locked = locked_;
    const Gpr base = use_gpr(add.args[0]);
    a().lea(8, dst, ptr(base, static_cast<std::int32_t>(const_of(add.args[1]))));
    locked_ = locked; // the instruction wants the sum only
}

Gpr BlockCompiler::use_gpr(ValueId v) {
    const ValueId r = resolve(v);
    Value &value = val(r);
    if (value.place == Place::kGpr) {
        lock(gpr(value.reg));
        return gpr(value.reg);
    }
    const Gpr reg = alloc_gpr();
    switch (value.place) {
    case Place::kSlot: {
        const SlotPlace &place = layout_.slots[value.home];
        load_loc(reg, Loc::mem(place.disp), type_bytes(place.type));
        break;
    }
    case Place::kSpill: a().mov(8, reg, state_mem(layout_.spill(static_cast<unsigned>(value.spill)))); break;
    case Place::kConst: move_imm(reg, inst(r).imm); break;
    case Place::kLazy: emit_lazy(r, reg); break;
    default:
        fail();
        break;
    }
    bind(r, reg);
    return reg;
}

/// May pinned register p be overwritten early for a value whose slot is set later? Moves an old value away.
bool BlockCompiler::claim(Gpr p, ValueId for_value) {
    const ValueId old = reg_value_[code(p)];
    if (old != kNoValue && old != for_value) {
        const Value &value = val(old);
        if (value.last_use > now_ && value.last_use <= val(for_value).set_at && value.last_explicit > now_)
            return false;
        reg_value_[code(p)] = kNoValue;
        if (live_after(old)) {
            const Slot slot = layout_.gpr_slot[code(p)];
            if (slot_value_[slot] == old)
                slot_value_[slot] = kNoValue;
            relocate(old);
        } else if (value.last_use < now_) {
            val(old).place = inst(old).op == Op::konst ? Place::kConst : Place::kNone;
        }
        // else it ends with this very instruction, whose safe point may still have to describe it: until the result is
        // written, the register holds it.
    }
    const Slot slot = layout_.gpr_slot[code(p)];
    slot_value_[slot] = kNoValue;
    return true;
}

Gpr BlockCompiler::dest(ValueId i, std::uint32_t avoid) {
    low_part_ = false;
    const Value &value = val(i);
    if (value.hint >= 0) {
        const Gpr p = gpr(static_cast<unsigned>(value.hint));
        if (!(avoid & bit(p)) && claim(p, i))
            return p;
    }
    return alloc_gpr();
}

/// Does p hold the whole whose low part is to be replaced, wanted by nothing else any more? (Values that were computed
/// into its low part count as uses of it.)
bool BlockCompiler::low_part_free(const Value &value, Gpr p) {
    const ValueId base = resolve(value.low_base);
    return in_gpr(base, p) && reg_value_[code(p)] == base && val(base).last_use <= value.low_user;
}

Gpr BlockCompiler::two_address(ValueId i, ValueId a_value, std::uint32_t avoid) {
    const ValueId source = resolve(a_value);
    const unsigned bytes = type_bytes(inst(i).type);
    const Value &value = val(i);
    low_part_ = false;
    if (value.hint >= 0) {
        const Gpr p = gpr(static_cast<unsigned>(value.hint));
        const bool here = in_gpr(source, p);
        if (here || !(avoid & bit(p))) {
            if (here)
                lock(p);
            if (claim(p, i)) {
                if (!here)
                    load_into(p, a_value, bytes);
                return p;
            }
        }
    }
    if (value.low_hint >= 0) {
        const Gpr p = gpr(static_cast<unsigned>(value.low_hint));
        const bool here = in_gpr(source, p);
        if (low_part_free(value, p) && (here || !(avoid & bit(p)))) {
            if (!here) {
                const Loc loc = loc_of(a_value);
                if (loc.kind == Loc::Kind::kGpr)
                    a().mov(bytes, p, loc.gpr);
                else if (loc.kind == Loc::Kind::kMem)
                    a().mov(bytes, p, mem_of(loc));
                else
                    a().mov(bytes, p, static_cast<std::int64_t>(loc.imm));
            }
            low_part_ = true;
            return p;
        }
    }
    const Value &from = val(source);
    if (from.place == Place::kGpr && is_scratch(gpr(from.reg)) && from.last_use <= now_ &&
        inst(source).op != Op::konst && (!(avoid & bit(gpr(from.reg))))) {
        const Gpr r = gpr(from.reg);
        unbind(source);
        lock(r);
        return r;
    }
    const Gpr r = alloc_gpr();
    load_into(r, a_value, bytes);
    return r;
}

void BlockCompiler::finish(ValueId i, Gpr r) {
    Value &value = val(i);
    if (low_part_) {
        // The register now is what the insert will be; the old whole is gone.
        const ValueId base = resolve(value.low_base);
        if (val(base).place == Place::kGpr && val(base).reg == code(r))
            unbind(base);
        slot_value_[layout_.gpr_slot[code(r)]] = kNoValue;
        low_part_ = false;
    }
    bind(i, r);
}

void BlockCompiler::forget_slots() { std::fill(slot_value_.begin(), slot_value_.end(), kNoValue); }

void BlockCompiler::alu_loc(Alu op, unsigned bytes, Gpr dst, const Loc &src) {
    switch (src.kind) {
    case Loc::Kind::kGpr: a().alu(op, bytes, dst, src.gpr); break;
    case Loc::Kind::kMem: a().alu(op, bytes, dst, mem_of(src)); break;
    default:
        if (bytes == 8 && !fits_int32(src.imm)) {
            const Gpr t = temp();
            a().mov_imm(t, src.imm);
            a().alu(op, bytes, dst, t);
            drop_temp(t);
        } else {
            a().alu(op, bytes, dst, static_cast<std::int32_t>(src.imm));
        }
        break;
    }
}

void BlockCompiler::compare_loc(Alu op, unsigned bytes, const Loc &x, const Loc &y) {
    if (x.kind == Loc::Kind::kGpr) {
        if (op == Alu::cmp && y.kind == Loc::Kind::kImm && y.imm == 0)
            a().test(bytes, x.gpr, x.gpr);
        else
            alu_loc(op, bytes, x.gpr, y);
        return;
    }
    if (x.kind == Loc::Kind::kMem && y.kind == Loc::Kind::kGpr) {
        a().alu(op, bytes, mem_of(x), y.gpr);
        return;
    }
    if (x.kind == Loc::Kind::kMem && y.kind == Loc::Kind::kImm && (bytes < 8 || fits_int32(y.imm))) {
        a().alu(op, bytes, mem_of(x), static_cast<std::int32_t>(y.imm));
        return;
    }
    const Gpr t = temp();
    if (x.kind == Loc::Kind::kMem)
        a().mov(bytes == 8 ? 8 : bytes, t, mem_of(x));
    else
        a().mov_imm(t, x.imm);
    alu_loc(op, bytes, t, y);
    drop_temp(t);
}

void BlockCompiler::test_loc(unsigned bytes, const Loc &x, const Loc &y) {
    if (x.kind != Loc::Kind::kGpr && (y.kind == Loc::Kind::kGpr || x.kind == Loc::Kind::kImm)) {
        if (y.kind == Loc::Kind::kGpr && x.kind == Loc::Kind::kMem) {
            a().test(bytes, mem_of(x), y.gpr);
            return;
        }
        if (y.kind != Loc::Kind::kImm) {
            test_loc(bytes, y, x);
            return;
        }
    }
    if (x.kind == Loc::Kind::kGpr && y.kind == Loc::Kind::kGpr) {
        a().test(bytes, x.gpr, y.gpr);
    } else if (x.kind == Loc::Kind::kGpr && y.kind == Loc::Kind::kMem) {
        a().test(bytes, mem_of(y), x.gpr);
    } else if (y.kind == Loc::Kind::kImm && x.kind != Loc::Kind::kImm && (bytes < 8 || fits_int32(y.imm))) {
        if (x.kind == Loc::Kind::kGpr)
            a().test(bytes, x.gpr, static_cast<std::int32_t>(y.imm));
        else
            a().test(bytes, mem_of(x), static_cast<std::int32_t>(y.imm));
    } else {
        const Gpr t = temp();
        load_loc(t, x.kind == Loc::Kind::kImm ? x : y, bytes);
        test_loc(bytes, x.kind == Loc::Kind::kImm ? y : x, Loc::of(t));
        drop_temp(t);
    }
}

void BlockCompiler::store_loc(std::int32_t disp, const Loc &loc, unsigned bytes) {
    const Mem to = state_mem(disp);
    if (loc.kind == Loc::Kind::kGpr) {
        a().mov(bytes, to, loc.gpr);
    } else if (loc.kind != Loc::Kind::kMem && (bytes < 8 || fits_int32(loc.imm))) {
        a().mov(bytes, to, static_cast<std::int32_t>(loc.imm));
    } else {
        const Gpr t = temp();
        if (loc.kind == Loc::Kind::kMem)
            load_loc(t, loc, bytes);
        else
            a().mov_imm(t, loc.imm);
        a().mov(bytes, to, t);
        drop_temp(t);
    }
}

} // namespace rhea::tcg::x64
