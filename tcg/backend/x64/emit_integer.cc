// Constants, slots, width changes, arithmetic and logic, selects.
#include "tcg/backend/x64/compiler.h"

namespace rhea::tcg::x64 {
namespace {

bool fits_int32(std::uint64_t v) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(v))) == v;
}

unsigned wide(unsigned bytes) { return bytes == 8 ? 8 : 4; }

bool is_mem(const Loc &loc) { return loc.kind == Loc::Kind::kMem; }

} // namespace

void BlockCompiler::emit_insn_start(ValueId i) {
    guest_offset_ = static_cast<std::uint16_t>(inst(i).imm);
    if (out_->insn_offsets)
        out_->insn_offsets->push_back(static_cast<std::uint32_t>(a().offset()) - entry_offset_);
    if (count_due_)
        count_from(i);
}

void BlockCompiler::emit_set_flags(ValueId) {}

void BlockCompiler::emit_konst(ValueId i) { val(i).place = Place::kConst; }

void BlockCompiler::emit_get(ValueId i) {
    Value &value = val(i);
    if (value.last_use == 0)
        return;
    const Slot slot = inst(i).op == Op::pc_page ? layout_.pc_page_slot : inst(i).aux;
    const SlotPlace &place = layout_.slots[slot];
    value.home = slot;
    if (place.gpr >= 0) {
        const Gpr p = gpr(static_cast<unsigned>(place.gpr));
        evict_gpr(p);
        bind(i, p);
    } else if (place.xmm >= 0) {
        const Xmm x = xmm(static_cast<unsigned>(place.xmm));
        evict_xmm(x);
        own_xmm(i, x);
    } else {
        value.place = Place::kSlot;
        if (place.upper_of >= 0 && (full_uppers_ & 1u << place.upper_of) != 0)
            upper_value_[static_cast<unsigned>(place.upper_of)] = i;
    }
    slot_value_[slot] = i;
}

void BlockCompiler::emit_pc_page(ValueId i) { emit_get(i); }

/// Not through a TLB: the page may be one that the guest may not read, or that it watches.
void BlockCompiler::emit_code_field(ValueId i) {
    if (val(i).last_use == 0)
        return;
    const Gpr d = dest(i);
    const unsigned bytes = inst(i).aux, wide = type_bytes(inst(i).type) == 8 ? 8 : 4;
    a().mov_imm(d, inst(i).imm);
    if (bytes == wide)
        a().mov(bytes, d, ptr(d));
    else
        a().movsx(wide, bytes, d, ptr(d));
    finish(i, d);
}

void BlockCompiler::emit_set(ValueId i) {
    const Slot slot = inst(i).aux;
    const ValueId v = inst(i).args[0];
    const ValueId r = resolve(v);
    const SlotPlace &place = layout_.slots[slot];
    if (is_vector(place.type)) {
        set_vector(slot, v);
        return;
    }
    Value &value = val(r);
    if (place.gpr >= 0) {
        const Gpr p = gpr(static_cast<unsigned>(place.gpr));
        if (!in_gpr(r, p)) {
            // A lazy value may be computed from what the register holds now.
            const bool lazy = value.place == Place::kLazy;
            const bool base_here = lazy && in_gpr(resolve(inst(r).args[0]), p);
            const ValueId old = reg_value_[code(p)];
            if (old != kNoValue) {
                if (slot_value_[slot] == old)
                    slot_value_[slot] = kNoValue;
                reg_value_[code(p)] = kNoValue;
                if (live_after(old))
                    relocate(old);
                else if (!base_here)
                    val(old).place = inst(old).op == Op::konst ? Place::kConst : Place::kNone;
            }
            if (lazy && base_here) {
                a().lea(8, p, ptr(p, static_cast<std::int32_t>(const_of(inst(r).args[1]))));
                if (old != kNoValue && !live_after(old))
                    val(old).place = Place::kNone;
            } else {
                load_into(p, v, 8);
            }
            // The value now lives here when that frees a scratch register or memory place.
            const bool elsewhere_pinned = value.place == Place::kGpr && !is_scratch(gpr(value.reg));
            if (!elsewhere_pinned && value.place != Place::kConst)
                bind(r, p);
        }
        slot_value_[slot] = r;
        value.home = slot;
        return;
    }
    if (value.place == Place::kSlot && value.home == slot && slot_value_[slot] == r)
        return;
    evict_slot(slot);
    const unsigned bytes = type_bytes(place.type);
    store_loc(place.disp, loc_of(v), bytes);
    if (type_bytes(type_of(r)) <= bytes) {
        slot_value_[slot] = r;
        value.home = slot;
    }
}

// ---- width changes

void BlockCompiler::emit_trunc(ValueId) {}

void BlockCompiler::emit_zext(ValueId i) {
    const ValueId v = inst(i).args[0];
    const unsigned from = type_bytes(type_of(v));
    const Loc loc = loc_of(v);
    const Gpr d = dest(i);
    if (loc.kind == Loc::Kind::kGpr)
        a().movzx(from, d, loc.gpr);
    else if (is_mem(loc))
        a().movzx(from, d, mem_of(loc));
    else
        move_imm(d, loc.imm);
    finish(i, d);
}

void BlockCompiler::emit_sext(ValueId i) {
    const ValueId v = inst(i).args[0];
    const unsigned from = type_bytes(type_of(v));
    const unsigned to = wide(type_bytes(inst(i).type));
    const Loc loc = loc_of(v);
    const Gpr d = dest(i);
    if (loc.kind == Loc::Kind::kGpr) {
        a().movsx(to, from, d, loc.gpr);
    } else if (is_mem(loc)) {
        a().movsx(to, from, d, mem_of(loc));
    } else {
        const unsigned shift = 64 - from * 8;
        const auto extended = static_cast<std::int64_t>(loc.imm << shift) >> shift;
        move_imm(d, to == 4 ? static_cast<std::uint32_t>(extended) : static_cast<std::uint64_t>(extended));
    }
    finish(i, d);
}

void BlockCompiler::emit_hi8(ValueId i) {
    const Loc loc = loc_of(inst(i).args[0]);
    const Gpr d = dest(i);
    if (loc.kind == Loc::Kind::kGpr)
        a().rorx(4, d, loc.gpr, 8);
    else if (is_mem(loc))
        a().movzx(1, d, mem_of(loc).plus(1));
    else
        move_imm(d, (loc.imm >> 8) & 0xff);
    finish(i, d);
}

void BlockCompiler::emit_insert(ValueId i, unsigned bytes) {
    const ValueId low = resolve(inst(i).args[1]);
    Value &part = val(low);
    Value &value = val(i);
    if (part.low_user == i && part.low_hint >= 0 && part.place == Place::kGpr && part.reg == part.low_hint &&
        value.hint == part.low_hint) {
        const Gpr p = gpr(part.reg);
        reg_value_[code(p)] = kNoValue;
        part.root = i;
        value.last_use = std::max(value.last_use, part.last_use);
        value.last_explicit = std::max(value.last_explicit, part.last_explicit);
        bind(i, p);
        return;
    }
    const Loc loc = loc_of(inst(i).args[1]);
    const Gpr d = two_address(i, inst(i).args[0], mask_of(loc));
    if (loc.kind == Loc::Kind::kGpr)
        a().mov(bytes, d, loc.gpr);
    else if (is_mem(loc))
        a().mov(bytes, d, mem_of(loc));
    else
        a().mov(bytes, d, static_cast<std::int64_t>(loc.imm));
    finish(i, d);
}

void BlockCompiler::emit_ins8(ValueId i) { emit_insert(i, 1); }
void BlockCompiler::emit_ins16(ValueId i) { emit_insert(i, 2); }

void BlockCompiler::emit_ins8h(ValueId i) {
    const Loc loc = loc_of(inst(i).args[1]);
    const Gpr d = two_address(i, inst(i).args[0], mask_of(loc));
    const bool has_high = code(d) < 4;
    const auto high = static_cast<HighByte>(code(d) + 4);
    if (has_high && loc.kind == Loc::Kind::kImm) {
        a().mov8(high, static_cast<std::uint8_t>(loc.imm));
    } else if (has_high && loc.kind == Loc::Kind::kGpr && code(loc.gpr) < 4) {
        a().mov8(high, loc.gpr);
    } else if (has_high && is_mem(loc)) {
        a().mov8(high, mem_of(loc));
    } else {
        a().rorx(8, d, d, 8);
        if (loc.kind == Loc::Kind::kGpr)
            a().mov(1, d, loc.gpr);
        else if (is_mem(loc))
            a().mov(1, d, mem_of(loc));
        else
            a().mov(1, d, static_cast<std::int64_t>(loc.imm));
        a().rorx(8, d, d, 56);
    }
    finish(i, d);
}

// ---- arithmetic and logic

/// slot := slot op b in one instruction, when nothing but the set wants the result in a register.
bool BlockCompiler::emit_alu_in_memory(ValueId i, Alu op, bool commutative) {
    Value &value = val(i);
    const Slot slot = value.memory_hint;
    if (slot == kNoSlot || value.last_explicit > value.set_at || layout_.slots[slot].type != inst(i).type)
        return false;
    ValueId x = resolve(inst(i).args[0]);
    ValueId y = inst(i).args[1];
    const auto here = [&](ValueId v) { return val(v).place == Place::kSlot && val(v).home == slot && slot_value_[slot] == v; };
    if (!here(x) && commutative && here(resolve(y))) {
        const ValueId other = inst(i).args[0];
        x = resolve(y);
        y = other;
    }
    if (!here(x) || resolve(y) == x)
        return false;
    const Value &old = val(x);
    if (old.last_use > now_ && old.last_use <= value.set_at && old.last_explicit > now_)
        return false;
    const unsigned bytes = type_bytes(inst(i).type);
    Loc loc = loc_of(y);
    if (is_mem(loc) || (loc.kind == Loc::Kind::kImm && bytes == 8 && !fits_int32(loc.imm)))
        loc = Loc::of(use_gpr(y));
    evict_slot(slot);
    clobber();
    const Mem m = state_mem(layout_.slots[slot].disp);
    if (loc.kind == Loc::Kind::kImm)
        a().alu(op, bytes, m, static_cast<std::int32_t>(loc.imm));
    else
        a().alu(op, bytes, m, loc.gpr);
    value.place = Place::kSlot;
    value.home = slot;
    slot_value_[slot] = i;
    produced(i);
    return true;
}

void BlockCompiler::emit_alu(ValueId i, Alu op, bool commutative) {
    if (emit_alu_in_memory(i, op, commutative))
        return;
    ValueId x = inst(i).args[0];
    ValueId y = inst(i).args[1];
    const Value &value = val(i);
    const int target = value.hint >= 0 ? value.hint : value.low_hint;
    if (commutative && resolve(x) != resolve(y)) {
        const ValueId ry = resolve(y);
        const bool y_on_target = target >= 0 && in_gpr(ry, gpr(static_cast<unsigned>(target)));
        const bool y_dies = target < 0 && val(ry).place == Place::kGpr && is_scratch(gpr(val(ry).reg)) && !live_after(ry) &&
                            live_after(resolve(x));
        if (y_on_target || y_dies || is_const(x))
            std::swap(x, y);
    }
    const unsigned bytes = type_bytes(inst(i).type);
    const bool same = resolve(x) == resolve(y);
    Loc loc = loc_of(y);
    const Gpr d = two_address(i, x, same ? 0 : mask_of(loc));
    if (same)
        loc = Loc::of(d);
    const unsigned size = low_part_ || wants_flags(i) ? bytes : wide(bytes);
    if (is_mem(loc) && size > bytes)
        alu_loc(op, (clobber(), bytes), d, loc); // no read beyond a narrow slot
    else
        alu_loc(op, (clobber(), size), d, loc);
    const bool part = size == bytes;
    finish(i, d);
    if (part)
        produced(i);
}

/// Additions that need no flags and have no operand where the result goes.
void BlockCompiler::emit_add(ValueId i) {
    Value &value = val(i);
    if (value.lazy) {
        value.place = Place::kLazy;
        return;
    }
    const Inst &add = inst(i);
    const unsigned bytes = type_bytes(add.type);
    ValueId x = add.args[0];
    ValueId y = add.args[1];
    if (is_const(x))
        std::swap(x, y);
    const ValueId rx = resolve(x);
    const ValueId ry = resolve(y);
    const auto on_target = [&](ValueId v) {
        return value.hint >= 0 ? in_gpr(v, gpr(static_cast<unsigned>(value.hint)))
                               : val(v).place == Place::kGpr && is_scratch(gpr(val(v).reg)) && !live_after(v);
    };
    const bool in_place = on_target(rx) || on_target(ry);
    const bool use_lea = bytes >= 4 && !wants_flags(i) && !in_place && value.memory_hint == kNoSlot &&
                         (!is_const(y) || fits_int32(const_of(y)) || bytes == 4) && !is_const(x);
    if (!use_lea) {
        emit_alu(i, Alu::add, true);
        return;
    }
    const Gpr gx = use_gpr(x);
    if (is_const(y)) {
        const Gpr d = dest(i);
        a().lea(bytes, d, ptr(gx, static_cast<std::int32_t>(const_of(y))));
        finish(i, d);
        return;
    }
    const Gpr gy = use_gpr(y);
    const Gpr d = dest(i);
    a().lea(bytes, d, ptr(gx, gy));
    finish(i, d);
}

void BlockCompiler::emit_sub(ValueId i) {
    // x - constant without flags: lea where the result goes elsewhere.
    const Inst &sub = inst(i);
    const unsigned bytes = type_bytes(sub.type);
    if (bytes == 8 && is_const(sub.args[1]) && !wants_flags(i) && fits_int32(-const_of(sub.args[1])) && !is_const(sub.args[0]) &&
        val(i).memory_hint == kNoSlot) {
        const ValueId x = resolve(sub.args[0]);
        const bool in_place = val(i).hint >= 0 && in_gpr(x, gpr(static_cast<unsigned>(val(i).hint)));
        if (!in_place) {
            const Gpr gx = use_gpr(sub.args[0]);
            const Gpr d = dest(i);
            a().lea(8, d, ptr(gx, static_cast<std::int32_t>(-const_of(sub.args[1]))));
            finish(i, d);
            return;
        }
    }
    emit_alu(i, Alu::sub, false);
}

void BlockCompiler::emit_and_(ValueId i) {
    if (val(i).test_only)
        return;
    emit_alu(i, Alu::and_, true);
}
void BlockCompiler::emit_or_(ValueId i) { emit_alu(i, Alu::or_, true); }
void BlockCompiler::emit_xor_(ValueId i) { emit_alu(i, Alu::xor_, true); }

void BlockCompiler::emit_carry_alu(ValueId i, Alu op) {
    const Inst &adc = inst(i);
    const unsigned bytes = type_bytes(adc.type);
    const bool same = resolve(adc.args[0]) == resolve(adc.args[1]);
    Loc loc = loc_of(adc.args[1]);
    if (loc.kind == Loc::Kind::kImm && bytes == 8 && !fits_int32(loc.imm))
        loc = Loc::of(use_gpr(adc.args[1]));
    provide_carry(resolve(adc.args[2])); // before an operand of the flags can be overwritten
    clobber();
    const Gpr d = two_address(i, adc.args[0], same ? 0 : mask_of(loc));
    if (same)
        loc = Loc::of(d);
    alu_loc(op, bytes, d, loc);
    finish(i, d);
    produced(i);
}

void BlockCompiler::emit_adc(ValueId i) { emit_carry_alu(i, Alu::adc); }
void BlockCompiler::emit_sbb(ValueId i) { emit_carry_alu(i, Alu::sbb); }

void BlockCompiler::emit_andn(ValueId i) {
    const unsigned size = wide(type_bytes(inst(i).type));
    const Gpr x = use_gpr(inst(i).args[0]);
    const Gpr y = use_gpr(inst(i).args[1]);
    const Gpr d = dest(i);
    clobber();
    a().andn(size, d, x, y);
    finish(i, d);
}

void BlockCompiler::emit_not_(ValueId i) {
    const unsigned bytes = type_bytes(inst(i).type);
    const Gpr d = two_address(i, inst(i).args[0], 0);
    a().not_(low_part_ ? bytes : wide(bytes), d);
    finish(i, d);
}

void BlockCompiler::emit_neg(ValueId i) {
    const unsigned bytes = type_bytes(inst(i).type);
    const Gpr d = two_address(i, inst(i).args[0], 0);
    const bool exact = low_part_ || wants_flags(i) || bytes >= 4;
    clobber();
    a().neg(exact ? bytes : 4, d);
    finish(i, d);
    if (exact)
        produced(i);
}

void BlockCompiler::emit_lea(ValueId i) {
    const Inst &lea = inst(i);
    const unsigned size = wide(type_bytes(lea.type));
    const auto disp = static_cast<std::int32_t>(lea.imm);
    const Gpr x = use_gpr(lea.args[0]);
    if (is_const(lea.args[1])) {
        const std::uint64_t total = (const_of(lea.args[1]) << lea.aux) + static_cast<std::uint64_t>(std::int64_t{disp});
        if (fits_int32(total)) {
            const Gpr d = dest(i);
            a().lea(size, d, ptr(x, static_cast<std::int32_t>(total)));
            finish(i, d);
            return;
        }
    }
    const Gpr y = use_gpr(lea.args[1]);
    const Gpr d = dest(i);
    a().lea(size, d, ptr(x, y, 1u << lea.aux, disp));
    finish(i, d);
}

void BlockCompiler::emit_bswap(ValueId i) {
    const Gpr d = two_address(i, inst(i).args[0], 0);
    a().bswap(type_bytes(inst(i).type) == 8 ? 8 : 4, d);
    finish(i, d);
}

// ---- bits

/// tzcnt and lzcnt of any width.
void BlockCompiler::emit_count(ValueId i, bool leading) {
    const unsigned bytes = type_bytes(inst(i).type);
    const ValueId v = inst(i).args[0];
    if (bytes >= 4) {
        const Gpr x = use_gpr(v);
        const Gpr d = dest(i);
        clobber();
        if (leading)
            a().lzcnt(bytes, d, x);
        else
            a().tzcnt(bytes, d, x);
        finish(i, d);
        return;
    }
    const Gpr t = temp();
    load_into(t, v, bytes);
    clobber();
    if (leading) {
        a().movzx(bytes, t, t);
        a().lzcnt(4, t, t);
        a().sub(4, t, static_cast<std::int32_t>(32 - bytes * 8));
    } else {
        a().or_(4, t, static_cast<std::int32_t>(1u << (bytes * 8)));
        a().tzcnt(4, t, t);
    }
    low_part_ = false;
    finish(i, t);
}

void BlockCompiler::emit_ctz(ValueId i) { emit_count(i, false); }
void BlockCompiler::emit_clz(ValueId i) { emit_count(i, true); }

void BlockCompiler::emit_popcnt(ValueId i) {
    const unsigned bytes = type_bytes(inst(i).type);
    const Gpr x = use_gpr(inst(i).args[0]);
    const Gpr d = dest(i);
    clobber();
    if (bytes >= 4) {
        a().popcnt(bytes, d, x);
    } else {
        a().movzx(bytes, d, x);
        a().popcnt(4, d, d);
    }
    finish(i, d);
}

void BlockCompiler::emit_bzhi(ValueId i) {
    const unsigned size = wide(type_bytes(inst(i).type));
    const Gpr x = use_gpr(inst(i).args[0]);
    const Gpr n = use_gpr(inst(i).args[1]);
    const Gpr d = dest(i);
    clobber();
    a().bzhi(size, d, x, n);
    finish(i, d);
}

void BlockCompiler::emit_bextr(ValueId i) {
    const unsigned size = wide(type_bytes(inst(i).type));
    const Gpr x = use_gpr(inst(i).args[0]);
    const Gpr control = use_gpr(inst(i).args[1]);
    const Gpr d = dest(i);
    clobber();
    a().bextr(size, d, x, control);
    finish(i, d);
}

void BlockCompiler::emit_pdep(ValueId i) {
    const unsigned size = wide(type_bytes(inst(i).type));
    const Gpr x = use_gpr(inst(i).args[0]);
    const Gpr y = use_gpr(inst(i).args[1]);
    const Gpr d = dest(i);
    a().pdep(size, d, x, y);
    finish(i, d);
}

void BlockCompiler::emit_pext(ValueId i) {
    const unsigned bytes = type_bytes(inst(i).type);
    const Gpr x = use_gpr(inst(i).args[0]);
    Gpr y = use_gpr(inst(i).args[1]);
    if (bytes < 4) { // bits above the type in the mask would be gathered too
        const Gpr t = temp();
        a().movzx(bytes, t, y);
        y = t;
    }
    const Gpr d = dest(i);
    a().pext(wide(bytes), d, x, y);
    finish(i, d);
}

void BlockCompiler::emit_crc32(ValueId i) {
    const ValueId data = inst(i).args[1];
    const Gpr y = use_gpr(data);
    const Gpr d = two_address(i, inst(i).args[0], bit(y));
    a().crc32(type_bytes(type_of(data)), d, y);
    finish(i, d);
}

// ---- selects

void BlockCompiler::emit_select(ValueId i) {
    const Inst &select = inst(i);
    const unsigned size = wide(type_bytes(select.type));
    const Loc condition = loc_of(select.args[0]);
    const Gpr x = use_gpr(select.args[1]);
    const Gpr d = two_address(i, select.args[2], bit(x) | mask_of(condition));
    const bool part = low_part_;
    clobber();
    if (condition.kind == Loc::Kind::kGpr)
        a().test(1, condition.gpr, condition.gpr);
    else
        compare_loc(Alu::cmp, 1, condition, Loc::constant(0));
    if (part) { // cmov has no byte form and a word must keep what is above
        Label skip;
        a().jcc(Cond::kE, skip, Reach::kShort);
        a().mov(type_bytes(select.type), d, x);
        a().bind(skip);
    } else {
        a().cmov(Cond::kNE, size, d, x);
    }
    low_part_ = part;
    finish(i, d);
}

void BlockCompiler::emit_select_cc(ValueId i) {
    const Inst &select = inst(i);
    const unsigned bytes = type_bytes(select.type);
    auto cc = static_cast<Cond>(select.aux);
    ValueId yes = select.args[1];
    ValueId no = select.args[2];
    const int target = val(i).hint >= 0 ? val(i).hint : val(i).low_hint;
    if (target >= 0 && in_gpr(resolve(yes), gpr(static_cast<unsigned>(target))) && resolve(yes) != resolve(no)) {
        std::swap(yes, no);
        cc = invert(cc);
    }
    cc = provide_cond(resolve(select.args[0]), cc); // before an operand of the flags can be overwritten
    const Gpr x = use_gpr(yes);
    const Gpr d = two_address(i, no, resolve(yes) == resolve(no) ? 0 : bit(x));
    const bool part = low_part_;
    if (part) {
        Label skip;
        a().jcc(invert(cc), skip, Reach::kShort);
        a().mov(bytes, d, x);
        a().bind(skip);
    } else {
        a().cmov(cc, wide(bytes), d, x);
    }
    low_part_ = part;
    finish(i, d);
}

void BlockCompiler::emit_cond(ValueId i) {
    const Cond cc = provide_cond(resolve(inst(i).args[0]), static_cast<Cond>(inst(i).aux));
    const Value &value = val(i);
    if (value.low_hint >= 0) {
        const Gpr p = gpr(static_cast<unsigned>(value.low_hint));
        if (low_part_free(value, p)) {
            a().setcc(cc, p);
            low_part_ = true;
            finish(i, p);
            return;
        }
    }
    const Gpr d = alloc_gpr();
    a().setcc(cc, d);
    low_part_ = false;
    finish(i, d);
}

} // namespace rhea::tcg::x64
