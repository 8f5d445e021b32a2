// Loads and stores: the inline TLB check, the access, and the slow path behind the block.
//
//     bextr t1, ea, rbp ; mov t2, ea ; sub t2, [rbp+t1*8+TAG] ; cmp t2, 4096-size ; mov t1, [rbp+t1*8+ADDEND] ; ja slow
//
// The state register's low half is BEXTR's control word. One unsigned compare covers a wrong tag and the page's end.
#include "tcg/backend/x64/compiler.h"

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
BlockCompiler::HostAccess BlockCompiler::check_access(const GuestAddress &address, unsigned bytes, bool write,
                                                      unsigned mem_flags, Gpr t1, Gpr t2, std::size_t cold) {
    Label &slow = cold_[cold].entry;
    clobber();
    Gpr ea = address.base;
    if (address.disp != 0) {
        a().lea(8, t2, ptr(address.base, address.disp));
        ea = t2;
    }
    if (mem_flags & kMemAlign16) {
        a().test(1, ea, bytes - 1);
        a().jcc(Cond::kNE, slow);
    }
    a().tlb_check(t1, t2, ea, Layout::window(write ? kWriteTagOffset : kReadTagOffset), Layout::window(kAddendOffset),
                  static_cast<std::int32_t>(4096 - bytes), slow);
    return {ptr(address.base, t1, 1, address.disp)};
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
    const GuestAddress address = guest_address(load.args[0]);
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const Gpr t1 = temp();
    const Gpr t2 = temp();
    const bool write = (load.aux & kMemWriteIntent) != 0;
    const SlowAccess slow{address.base, address.disp, t2, thunks_.load[log2][load.aux & 3]};
    const Mem data = state_mem(layout_.spill(kDataSpill));
    if (is_vector(load.type)) {
        const bool wide = load.type == Type::kV256;
        const Xmm d = dest_xmm(i);
        const SafePointPlan plan = safe_point();
        const HostAccess access = check_access(address, bytes, write, load.aux, t1, t2, cold);
        load_vector(wide, d, access.mem);
        bind_xmm(i, d);
        set_cold(cold, [=, reload = x87_reload()](BlockCompiler &c, Cold &self) {
            c.a().bind(self.entry);
            c.put_address(slow);
            c.a().call(slow.thunk);
            c.record(plan);
            c.resume_x87(reload);
            c.load_vector(wide, d, data);
            c.a().jmp(self.back);
        });
        a().bind(cold_[cold].back);
        return;
    }
    // Into the hint, the low part of a register that stays, or where the addend was.
    Gpr d = t1;
    bool part = false;
    const Value &value = val(i);
    if (value.hint >= 0 && claim(gpr(static_cast<unsigned>(value.hint)), i)) {
        d = gpr(static_cast<unsigned>(value.hint));
    } else if (value.low_hint >= 0) {
        const Gpr p = gpr(static_cast<unsigned>(value.low_hint));
        if (low_part_free(value, p)) {
            d = p;
            part = true;
        }
    }
    const auto fetch = [d, part, bytes](Assembler &a, const Mem &from) {
        if (part || bytes >= 4)
            a.mov(bytes, d, from);
        else
            a.movzx(bytes, d, from);
    };
    const SafePointPlan plan = safe_point(); // after everything that moves values
    const HostAccess access = check_access(address, bytes, write, load.aux, t1, t2, cold);
    fetch(a(), access.mem);
    low_part_ = part;
    finish(i, d);
    set_cold(cold, [=, reload = x87_reload()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_address(slow);
        c.a().call(slow.thunk);
        c.record(plan);
        c.resume_x87(reload);
        fetch(c.a(), data);
        c.a().jmp(self.back);
    });
    a().bind(cold_[cold].back);
}

void BlockCompiler::emit_st(ValueId i) {
    const Inst &store = inst(i);
    const unsigned bytes = type_bytes(store.type);
    const unsigned log2 = static_cast<unsigned>(std::countr_zero(bytes));
    const bool vector = is_vector(store.type), wide = store.type == Type::kV256;
    const ValueId v = store.args[1];
    Loc from;
    Xmm x = Xmm::xmm0;
    if (vector) {
        x = use_xmm(v);
    } else {
        from = loc_of(v);
        const bool immediate = from.kind == Loc::Kind::kImm &&
                               (bytes < 8 || static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(from.imm)}) == from.imm);
        if (from.kind != Loc::Kind::kGpr && !immediate)
            from = Loc::of(use_gpr(v));
    }
    const GuestAddress address = guest_address(store.args[0]);
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const Gpr t1 = temp();
    const Gpr t2 = temp();
    const SafePointPlan plan = safe_point();
    const HostAccess access = check_access(address, bytes, true, store.aux, t1, t2, cold);
    if (vector)
        store_vector(wide, access.mem, x);
    else if (from.kind == Loc::Kind::kGpr)
        a().mov(bytes, access.mem, from.gpr);
    else
        a().mov(bytes, access.mem, static_cast<std::int32_t>(from.imm));
    a().bind(cold_[cold].back);
    const SlowAccess slow{address.base, address.disp, t2, thunks_.store[log2][store.aux & 3]};
    set_cold(cold, [=, reload = x87_reload()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_address(slow);
        const std::int32_t data = c.layout_.spill(kDataSpill);
        if (vector)
            c.store_vector(wide, state_mem(data), x);
        else if (from.kind == Loc::Kind::kGpr)
            c.a().mov(8, state_mem(data), from.gpr);
        else
            c.a().mov(8, state_mem(data), static_cast<std::int32_t>(from.imm));
        c.a().call(slow.thunk);
        c.record(plan);
        c.resume_x87(reload);
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
    check_access(address, bytes, true, check.aux, t1, t2, cold);
    a().bind(cold_[cold].back);
    const SlowAccess slow{address.base, address.disp, t2, thunks_.probe_write};
    const unsigned flags = check.aux;
    set_cold(cold, [=, reload = x87_reload()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_address(slow);
        c.a().mov(4, state_mem(c.layout_.spill(kArgSpill + 1)), static_cast<std::int32_t>(bytes | flags << 8));
        c.a().call(slow.thunk);
        c.record(plan);
        c.resume_x87(reload);
        c.a().jmp(self.back);
    });
}

void BlockCompiler::emit_fence(ValueId) { a().mfence(); }

} // namespace rhea::tcg::x64
