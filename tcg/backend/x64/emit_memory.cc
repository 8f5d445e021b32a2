// Loads and stores: the inline TLB check, the access, and the slow path behind the block.
//
//     bextr t1, ea, rbp ; mov t2, ea ; sub t2, [rbp+t1*8+TAG] ; cmp t2, 4096-size ; mov t1, [rbp+t1*8+ADDEND] ; ja slow
//
// The state register's low half is BEXTR's control word. One unsigned compare covers a wrong tag and the page's end.
#include "tcg/backend/x64/compiler.h"

#include <algorithm>
#include <bit>

namespace rhea::tcg::x64 {

/// The address as [base + disp]; a lazy value is not computed for it.
BlockCompiler::GuestAddress BlockCompiler::guest_address(ValueId v) {
    const ValueId r = resolve(v);
    if (val(r).place == Place::kLazy)
        return {use_gpr(inst(r).args[0]), static_cast<std::int32_t>(const_of(inst(r).args[1]))};
    return {use_gpr(v), 0};
}

/// Afterwards t1 holds the addend. Nothing is emitted here that the slow path would have to do too.
BlockCompiler::HostAccess BlockCompiler::check_access(const GuestAddress &address, unsigned bytes, bool write, Gpr t1, Gpr t2,
                                                      std::size_t cold) {
    clobber();
    Gpr ea = address.base;
    if (address.disp != 0) {
        a().lea(8, t2, ptr(address.base, address.disp));
        ea = t2;
    }
    a().tlb_check(t1, t2, ea, Layout::window(write ? kWriteTagOffset : kReadTagOffset), Layout::window(kAddendOffset),
                  static_cast<std::int32_t>(4096 - bytes), cold_[cold].entry);
    return {ptr(address.base, t1, 1, address.disp)};
}

/// Registers for a load or store; nothing may move values between this and the access's safe point.
BlockCompiler::MemoryAccess BlockCompiler::begin_access(ValueId i, unsigned bytes) {
    MemoryAccess access;
    access.address = guest_address(inst(i).args[0]);
    access.bytes = bytes;
    access.group = analysis_.members[i].group;
    access.offset = analysis_.members[i].offset;
    const AccessGroup &group = analysis_.groups[access.group];
    access.follows = group.first != i && use_addend(access.group, access.t1);
    if (!access.follows)
        access.t1 = temp();
    access.leads = !access.follows && group.last > i;
    const SharedCheck &check = checks_[access.group];
    const bool aligned = check.aligned >= bytes && (access.offset - check.aligned_offset) % bytes == 0;
    const bool test = (inst(i).aux & kMemAlign16) != 0 && !aligned && access.address.disp % static_cast<std::int32_t>(bytes) != 0;
    access.t2 = access.follows && !test ? access.t1 : temp();
    return access;
}

/// The inline check of a load or store, and where memory is then.
Mem BlockCompiler::check_member(const MemoryAccess &access, bool write, unsigned mem_flags, std::size_t cold) {
    Label &slow = cold_[cold].entry;
    const GuestAddress &address = access.address;
    SharedCheck &check = checks_[access.group];
    clobber();
    if ((mem_flags & kMemAlign16) != 0) {
        const unsigned bytes = access.bytes;
        if (!(check.aligned >= bytes && (access.offset - check.aligned_offset) % bytes == 0)) {
            Gpr ea = address.base;
            if (address.disp % static_cast<std::int32_t>(bytes) != 0) {
                a().lea(8, access.t2, ptr(address.base, address.disp));
                ea = access.t2;
            }
            a().test(1, ea, bytes - 1);
            a().jcc(Cond::kNE, slow);
        }
        // The slow path of one that is not does not come back.
        check.aligned = static_cast<std::uint8_t>(bytes);
        check.aligned_offset = access.offset;
    }
    const Mem mem = ptr(address.base, access.t1, 1, address.disp);
    if (access.follows) {
        a().test(8, access.t1, access.t1);
        a().jcc(Cond::kE, slow);
        return mem;
    }
    if (!access.leads) {
        check_access(address, access.bytes, write, access.t1, access.t2, cold);
        return mem;
    }
    const AccessGroup &group = analysis_.groups[access.group];
    const auto to_low = static_cast<std::int32_t>(group.low - access.offset);
    check_access({address.base, address.disp + to_low}, static_cast<unsigned>(group.high - group.low), group.write,
                 access.t1, access.t2, cold);
    keep_addend(access.group, access.t1);
    return mem;
}

/// Cold code of a hot block's access whose group's check failed, mostly because the group crosses a page: a check of its own. The
/// addend's register, and another one until it is behind.
Mem BlockCompiler::check_again(const MemoryAccess &access, bool write, unsigned mem_flags, Label &slow) {
    const Gpr base = access.address.base, addend = access.t1;
    const bool has_temp = access.t2 != addend && access.t2 != base;
    const Gpr t = has_temp ? access.t2 : *std::find_if(kScratchGprs.begin(), kScratchGprs.end(), [&](Gpr r) { return r != base && r != addend; });
    if ((mem_flags & kMemAlign16) != 0) {
        a().lea(8, addend, ptr(base, access.address.disp));
        a().test(1, addend, access.bytes - 1);
        a().jcc(Cond::kNE, slow);
    }
    if (!has_temp)
        a().push(t);
    a().lea(8, t, ptr(base, access.address.disp));
    a().bextr(8, addend, t, kStateReg);
    a().sub(8, t, ptr(kStateReg, addend, 8, Layout::window(write ? kWriteTagOffset : kReadTagOffset)));
    a().cmp(8, t, static_cast<std::int32_t>(4096 - access.bytes));
    a().mov(8, addend, ptr(kStateReg, addend, 8, Layout::window(kAddendOffset)));
    if (!has_temp)
        a().pop(t);
    a().jcc(Cond::kA, slow);
    return ptr(base, addend, 1, access.address.disp);
}

/// Behind it: the group goes on without an addend.
void BlockCompiler::keep_without_addend(const MemoryAccess &access, const LiveAddends &live) {
    if (live.registers & bit(access.t1))
        a().xor_(4, access.t1, access.t1);
}

void BlockCompiler::put_address(const SlowAccess &slow) {
    const Mem to = state_mem(layout_.spill(kArgSpill));
    if (slow.disp == 0) {
        a().mov(8, to, slow.base);
    } else {
        a().lea(8, slow.temp, ptr(slow.base, slow.disp));
        a().mov(8, to, slow.temp);
    }
}

void BlockCompiler::emit_ld(ValueId i) {
    const Inst &load = inst(i);
    const unsigned bytes = type_bytes(load.type);
    const unsigned log2 = static_cast<unsigned>(std::countr_zero(bytes));
    const MemoryAccess access = begin_access(i, bytes);
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const bool write = (load.aux & kMemWriteIntent) != 0;
    const SlowAccess slow{access.address.base, access.address.disp, access.t2, thunks_.load[log2][load.aux & 3]};
    const Mem data = state_mem(layout_.spill(kDataSpill));
    const bool through_vector = val(i).through_vector;
    const bool again = block_->hot && (access.follows || access.leads);
    const unsigned mem_flags = load.aux;
    if (is_vector(load.type) || through_vector) {
        const ValueId v = through_vector ? i + 1 : i;
        const Xmm d = dest_xmm(v);
        const auto fetch = [d, bytes](BlockCompiler &c, const Mem &from) {
            if (bytes == 8)
                c.a().vmovq(d, from);
            else if (bytes == 4)
                c.a().vmovd(d, from);
            else
                c.load_vector(bytes == 32, d, from);
        };
        const SafePointPlan plan = safe_point();
        fetch(*this, check_member(access, write, load.aux, cold));
        bind_xmm(v, d);
        set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
            c.a().bind(self.entry);
            if (again)
                c.try_again(access, write, mem_flags, addends, self, [&](const Mem &from) { fetch(c, from); });
            c.put_address(slow);
            c.a().call(slow.thunk);
            c.record(plan);
            c.resume_x87(reload);
            fetch(c, data);
            c.drop_addends(addends);
            c.a().jmp(self.back);
        });
        a().bind(cold_[cold].back);
        return;
    }
    // Into the hint, the low part of a register that stays, or a register of the check's.
    Gpr d = access.leads ? access.t2 : access.t1;
    bool part = false;
    const Value &value = val(i);
    if (value.hint >= 0 && claim(gpr(static_cast<unsigned>(value.hint)), i)) {
        d = gpr(static_cast<unsigned>(value.hint));
    } else if (value.low_hint >= 0 && low_part_free(value, gpr(static_cast<unsigned>(value.low_hint)))) {
        d = gpr(static_cast<unsigned>(value.low_hint));
        part = true;
    } else if (access.follows && analysis_.groups[access.group].last > i) {
        d = alloc_gpr();
    } else if (access.follows) {
        forget_addend(access.t1);
    }
    const auto fetch = [d, part, bytes](Assembler &a, const Mem &from) {
        if (part || bytes >= 4)
            a.mov(bytes, d, from);
        else
            a.movzx(bytes, d, from);
    };
    const SafePointPlan plan = safe_point(); // after everything that moves values
    fetch(a(), check_member(access, write, load.aux, cold));
    low_part_ = part;
    finish(i, d);
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        if (again)
            c.try_again(access, write, mem_flags, addends, self, [&](const Mem &from) { fetch(c.a(), from); });
        c.put_address(slow);
        c.a().call(slow.thunk);
        c.record(plan);
        c.resume_x87(reload);
        fetch(c.a(), data);
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
    a().bind(cold_[cold].back);
}

void BlockCompiler::emit_st(ValueId i) {
    const Inst &store = inst(i);
    const unsigned bytes = type_bytes(store.type);
    const unsigned log2 = static_cast<unsigned>(std::countr_zero(bytes));
    const ValueId v = store.args[1];
    const bool through_vector = val(resolve(v)).through_vector;
    const bool vector = is_vector(store.type) || through_vector;
    Loc from;
    Xmm x = Xmm::xmm0;
    if (vector) {
        x = use_xmm(through_vector ? inst(resolve(v)).args[0] : v);
    } else {
        from = loc_of(v);
        const bool immediate = from.kind == Loc::Kind::kImm &&
                               (bytes < 8 || static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(from.imm)}) == from.imm);
        if (from.kind != Loc::Kind::kGpr && !immediate)
            from = Loc::of(use_gpr(v));
    }
    const MemoryAccess access = begin_access(i, bytes);
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const SafePointPlan plan = safe_point();
    const auto put_vector = [x, bytes](BlockCompiler &c, const Mem &to) {
        if (bytes == 8)
            c.a().vmovq(to, x);
        else if (bytes == 4)
            c.a().vmovd(to, x);
        else
            c.store_vector(bytes == 32, to, x);
    };
    const auto put = [=](BlockCompiler &c, const Mem &to) {
        if (vector)
            put_vector(c, to);
        else if (from.kind == Loc::Kind::kGpr)
            c.a().mov(bytes, to, from.gpr);
        else
            c.a().mov(bytes, to, static_cast<std::int32_t>(from.imm));
    };
    put(*this, check_member(access, true, store.aux, cold));
    a().bind(cold_[cold].back);
    const SlowAccess slow{access.address.base, access.address.disp, access.t2, thunks_.store[log2][store.aux & 3]};
    const bool again = block_->hot && (access.follows || access.leads);
    const unsigned mem_flags = store.aux;
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        if (again)
            c.try_again(access, true, mem_flags, addends, self, [&](const Mem &to) { put(c, to); });
        c.put_address(slow);
        const std::int32_t data = c.layout_.spill(kDataSpill);
        if (vector)
            put_vector(c, state_mem(data));
        else if (from.kind == Loc::Kind::kGpr)
            c.a().mov(8, state_mem(data), from.gpr);
        else
            c.a().mov(8, state_mem(data), static_cast<std::int32_t>(from.imm));
        c.a().call(slow.thunk);
        c.record(plan);
        c.resume_x87(reload);
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
}

void BlockCompiler::emit_check_w(ValueId i) {
    const Inst &check = inst(i);
    const unsigned bytes = type_bytes(check.type);
    const GuestAddress address = guest_address(check.args[0]);
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const Gpr t1 = temp();
    const Gpr t2 = temp();
    const SafePointPlan plan = safe_point();
    check_access(address, bytes, true, t1, t2, cold);
    a().bind(cold_[cold].back);
    const SlowAccess slow{address.base, address.disp, t2, thunks_.probe_write};
    const unsigned flags = check.aux;
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_address(slow);
        c.a().mov(4, state_mem(c.layout_.spill(kArgSpill + 1)), static_cast<std::int32_t>(bytes | flags << 8));
        c.a().call(slow.thunk);
        c.record(plan);
        c.resume_x87(reload);
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
}

void BlockCompiler::emit_fence(ValueId) { a().mfence(); }

} // namespace rhea::tcg::x64
