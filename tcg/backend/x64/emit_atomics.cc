// Atomic operations: the host's LOCK forms on the host address behind a write-tag check. Where one vCPU runs alone they
// need no LOCK, which costs some 20 cycles: nobody else runs guest code, and drivers do not use atomic operations on what
// they share with a device. What serves as a fence towards device threads stays one: an addition of 0, and XCHG, which
// Linux's virtio_store_mb() is.
#include "tcg/backend/x64/compiler.h"

namespace rhea::tcg::x64 {
namespace {

unsigned wide(unsigned bytes) { return bytes == 8 ? 8 : 4; }

} // namespace

/// Cold: everything to C++, which leaves the old value in kDataSpill.
void BlockCompiler::put_atomic(const SlowAccess &slow, Op op, unsigned bytes, const Loc &first, const Loc &second) {
    put_address(slow);
    cold_mode_ = true;
    cold_free_ = bit(slow.temp) & kScratchMask;
    store_loc(layout_.spill(kDataSpill), first, 8);
    if (second.kind != Loc::Kind::kNone)
        store_loc(layout_.spill(kDataSpill + 1), second, 8);
    cold_mode_ = false;
    a().mov(8, state_mem(layout_.spill(kArgSpill + 1)), static_cast<std::int32_t>(bytes));
    a().mov(8, state_mem(layout_.spill(kDataSpill + 2)), static_cast<std::int32_t>(op));
    a().call(slow.thunk);
}

void BlockCompiler::emit_atomic(ValueId i) {
    const Inst &atomic = inst(i);
    const Op op = atomic.op;
    const unsigned bytes = type_bytes(atomic.type);
    const bool wanted = val(i).last_use != 0;
    const bool direct = op == Op::atomic_add || op == Op::atomic_xchg;
    GuestAddress address = guest_address(atomic.args[0]);
    Loc operand = loc_of(atomic.args[1]);
    if (operand.kind == Loc::Kind::kImm)
        operand = Loc::of(use_gpr(atomic.args[1]));
    if (!direct && wanted && operand.kind == Loc::Kind::kGpr && is_scratch(operand.gpr) && is_scratch(address.base) &&
        operand.gpr != address.base) {
        // One register too many: the operand can be in memory.
        unlock(operand.gpr);
        operand = demote(atomic.args[1]);
    }
    const bool locked =
        !one_vcpu_ || op == Op::atomic_xchg || (is_const(atomic.args[1]) && const_of(atomic.args[1]) == 0);
    const Gpr t1 = temp();
    const Gpr t2 = temp();
    const Gpr old = direct || !wanted ? t2 : temp();
    const auto lock_prefix = [&] {
        if (locked)
            a().lock();
    };
    const auto load_old = [&](Gpr to, const Mem &from) {
        if (bytes >= 4)
            a().mov(bytes, to, from);
        else
            a().movzx(bytes, to, from);
    };
    if (!direct && wanted && bytes == 8 && operand.kind == Loc::Kind::kImm &&
        static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(operand.imm)}) != operand.imm) {
        a().mov_imm(t2, operand.imm);
        operand = Loc::mem(layout_.spill(kDataSpill + 1));
        a().mov(8, mem_of(operand), t2);
    }
    const SafePointPlan plan = safe_point();
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const SlowAccess slow{address.base, address.disp, t2, thunks_.atomic};
    const HostAccess access = check_access(address, bytes, true, t1, t2, cold);
    if (direct) {
        load_loc(t2, operand, bytes);
        if (op == Op::atomic_add) {
            lock_prefix();
            a().xadd(bytes, access.mem, t2);
        } else {
            a().xchg(bytes, access.mem, t2);
        }
    } else {
        const Alu alu = op == Op::atomic_and ? Alu::and_ : op == Op::atomic_or ? Alu::or_ : Alu::xor_;
        if (!wanted) {
            Gpr by = t2;
            if (operand.kind == Loc::Kind::kGpr)
                by = operand.gpr;
            else
                load_loc(t2, operand, bytes);
            lock_prefix();
            a().alu(alu, bytes, access.mem, by);
        } else if (!locked) {
            load_old(old, access.mem);
            a().mov(8, t2, old);
            alu_loc(alu, bytes, t2, operand);
            a().mov(bytes, access.mem, t2);
        } else {
            // t1: host address; rax holds what memory is expected to have; t2 what it shall have.
            a().lea(8, t1, access.mem);
            a().mov(8, old, Gpr::rax);
            const bool from_rax = operand.kind == Loc::Kind::kGpr && operand.gpr == Gpr::rax;
            load_old(Gpr::rax, ptr(t1));
            Label again;
            a().bind(again);
            a().mov(8, t2, Gpr::rax);
            if (from_rax)
                a().alu(alu, bytes, t2, old);
            else
                alu_loc(alu, bytes, t2, operand);
            a().lock();
            a().cmpxchg(bytes, ptr(t1), t2);
            a().jcc(Cond::kNE, again);
            a().xchg(8, Gpr::rax, old);
        }
    }
    a().bind(cold_[cold].back);
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_atomic(slow, op, bytes, operand, {});
        c.record(plan);
        c.resume_x87(reload);
        if (wanted)
            c.a().mov(8, old, state_mem(c.layout_.spill(kDataSpill)));
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
    low_part_ = false;
    if (wanted)
        finish(i, old);
}

void BlockCompiler::emit_compare_exchange(ValueId i) {
    const Inst &atomic = inst(i);
    const unsigned bytes = type_bytes(atomic.type);
    const GuestAddress address = guest_address(atomic.args[0]);
    Loc desired = loc_of(atomic.args[2]);
    if (desired.kind != Loc::Kind::kGpr)
        desired = Loc::of(use_gpr(atomic.args[2]));
    // Read once, into rax: any place but one of the four that the rest may need. The address and the new value stay.
    const ValueId old_value = resolve(atomic.args[1]);
    const bool shared = old_value == resolve(atomic.args[2]) || in_gpr(old_value, address.base);
    const Loc expected = shared ? loc_of(atomic.args[1]) : demote(atomic.args[1]);
    const Gpr t1 = temp();
    const Gpr t2 = temp();
    // The guest's own form: the accumulator is rax and takes the old value.
    const bool in_rax = expected.kind == Loc::Kind::kGpr && expected.gpr == Gpr::rax;
    const bool to_rax = in_rax && val(i).hint == 0 && desired.gpr != Gpr::rax && claim(Gpr::rax, i);
    const SafePointPlan plan = safe_point();
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const SlowAccess slow{address.base, address.disp, t2, thunks_.atomic};
    const HostAccess access = check_access(address, bytes, true, t1, t2, cold);
    const Gpr d = to_rax ? Gpr::rax : t2;
    if (to_rax) {
        if (!one_vcpu_)
            a().lock();
        a().cmpxchg(bytes, access.mem, desired.gpr);
        if (bytes == 4)
            a().mov(4, Gpr::rax, Gpr::rax);
    } else {
        a().lea(8, t1, access.mem);
        a().mov(8, t2, Gpr::rax);
        if (!in_rax)
            load_loc(Gpr::rax, expected, bytes);
        if (!one_vcpu_)
            a().lock();
        a().cmpxchg(bytes, ptr(t1), desired.gpr == Gpr::rax ? t2 : desired.gpr);
        a().xchg(8, Gpr::rax, t2);
        if (bytes == 4)
            a().mov(wide(bytes), t2, t2);
    }
    a().bind(cold_[cold].back);
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_atomic(slow, Op::atomic_cmpxchg, bytes, expected, desired);
        c.record(plan);
        c.resume_x87(reload);
        c.a().mov(8, d, state_mem(c.layout_.spill(kDataSpill)));
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
    low_part_ = false;
    finish(i, d);
}

void BlockCompiler::emit_atomic_add(ValueId i) { emit_atomic(i); }
void BlockCompiler::emit_atomic_and(ValueId i) { emit_atomic(i); }
void BlockCompiler::emit_atomic_or(ValueId i) { emit_atomic(i); }
void BlockCompiler::emit_atomic_xor(ValueId i) { emit_atomic(i); }
void BlockCompiler::emit_atomic_xchg(ValueId i) { emit_atomic(i); }
void BlockCompiler::emit_atomic_cmpxchg(ValueId i) { emit_compare_exchange(i); }

} // namespace rhea::tcg::x64
