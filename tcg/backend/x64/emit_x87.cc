// x87 instructions: the guest's own, on the host's x87, which holds the guest's whole x87 state while the flag "live" in the state
// structure is set. It stays there from block to block and in callbacks for memory; helpers find it in the guest's fields.
#include "tcg/backend/x64/compiler.h"

namespace rhea::tcg::x64 {
namespace {

constexpr unsigned kStoreStatus = 0x538, kMoveIfNotEqual = 0x3c8; // FNSTSW m16; FCMOVNE ST(0), ST(i)
constexpr std::int32_t kExceptionMasks = 0x3f;

} // namespace

/// The host's x87 holds the guest's state from here on.
void BlockCompiler::need_x87() {
    if (x87_ready_)
        return;
    x87_ready_ = true;
    clobber();
    const std::size_t cold = push_cold([](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.a().call(c.thunks_.x87_load);
        c.a().jmp(self.back);
    });
    a().cmp(4, state_mem(layout_.x87_live), 0);
    a().jcc(Cond::kE, cold_[cold].entry);
    a().bind(cold_[cold].back);
}

/// The callback may have needed the host's x87.
void BlockCompiler::resume_x87(bool reload) {
    if (!reload)
        return;
    Label live;
    a().cmp(4, state_mem(layout_.x87_live), 0);
    a().jcc(Cond::kNE, live);
    a().call(thunks_.x87_load);
    a().bind(live);
}

void BlockCompiler::emit_x87_run(ValueId i) {
    need_x87();
    a().x87(inst(i).aux);
}

/// The instruction comes behind everything that can fault, so that the x87 state is precise there.
void BlockCompiler::emit_x87_ld(ValueId i) {
    const unsigned opcode = inst(i).aux;
    const unsigned bytes = x87_operand_bytes(opcode);
    const GuestAddress address = guest_address(inst(i).args[0]);
    need_x87();
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const Gpr t1 = temp();
    const Gpr t2 = temp();
    const SafePointPlan plan = safe_point();
    const HostAccess access = check_access(address, bytes, false, t1, t2, cold);
    a().x87(opcode, access.mem);
    a().bind(cold_[cold].back);
    const SlowAccess slow{address.base, address.disp, t2, thunks_.x87_read};
    set_cold(cold, [=, addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_address(slow);
        c.a().mov(8, state_mem(c.layout_.spill(kArgSpill + 1)), static_cast<std::int32_t>(bytes));
        c.a().call(slow.thunk);
        c.record(plan);
        c.resume_x87(true);
        c.a().x87(opcode, state_mem(c.layout_.spill(kDataSpill)));
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
}

/// Slow: first all that may fault, then the instruction, whose result goes to a spill slot, then the store.
void BlockCompiler::emit_x87_st(ValueId i) {
    const unsigned opcode = inst(i).aux;
    const unsigned bytes = x87_operand_bytes(opcode);
    const GuestAddress address = guest_address(inst(i).args[0]);
    need_x87();
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const Gpr t1 = temp();
    const Gpr t2 = temp();
    const SafePointPlan plan = safe_point();
    const HostAccess access = check_access(address, bytes, true, t1, t2, cold);
    a().x87(opcode, access.mem);
    a().bind(cold_[cold].back);
    const SlowAccess slow{address.base, address.disp, t2, thunks_.probe_write};
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_address(slow);
        c.a().mov(8, state_mem(c.layout_.spill(kArgSpill + 1)), static_cast<std::int32_t>(bytes));
        c.a().call(slow.thunk);
        c.record(plan);
        c.resume_x87(true);
        c.a().x87(opcode, state_mem(c.layout_.spill(kDataSpill)));
        c.put_address(slow);
        c.a().call(c.thunks_.x87_write);
        c.record(plan);
        c.resume_x87(reload);
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
}

void BlockCompiler::emit_x87_test(ValueId i) {
    need_x87();
    clobber();
    const Gpr d = temp();
    a().mov(8, d, Gpr::rax);
    a().x87(inst(i).aux);
    a().lahf();
    a().movzx8(Gpr::rax, HighByte::ah);
    a().and_(4, Gpr::rax, static_cast<std::int32_t>(kZF | kPF | kCF));
    a().xchg(8, d, Gpr::rax);
    low_part_ = false;
    finish(i, d);
}

void BlockCompiler::emit_x87_move(ValueId i) {
    const Loc condition = loc_of(inst(i).args[0]);
    need_x87();
    clobber();
    if (condition.kind == Loc::Kind::kGpr) {
        a().test(1, condition.gpr, condition.gpr);
    } else if (condition.kind == Loc::Kind::kImm) {
        const Gpr t = temp();
        a().mov_imm(t, condition.imm);
        a().test(1, t, t);
    } else {
        compare_loc(Alu::cmp, 1, condition, Loc::constant(0));
    }
    a().x87(kMoveIfNotEqual | inst(i).aux);
}

void BlockCompiler::emit_x87_status(ValueId i) {
    need_x87();
    const Mem word = state_mem(layout_.spill(kDataSpill));
    a().x87(kStoreStatus, word);
    const Gpr d = dest(i);
    a().movzx(2, d, word);
    finish(i, d);
}

void BlockCompiler::emit_x87_control(ValueId i) {
    need_x87();
    const Mem word = state_mem(layout_.spill(kDataSpill));
    a().fnstcw(word);
    const Gpr d = dest(i);
    a().movzx(2, d, word);
    finish(i, d);
}

/// A word that unmasks something leaves for blocks of another mode, by the helper.
void BlockCompiler::emit_x87_set_control(ValueId i) {
    flush_uppers();
    const Loc value = loc_of(inst(i).args[0]);
    need_x87();
    clobber();
    const Gpr t = temp();
    load_loc(t, value, 2);
    const Mem word = state_mem(layout_.spill(kDataSpill));
    a().mov(2, word, t);
    a().not_(4, t);
    a().test(4, t, kExceptionMasks);
    const FlagsPlan plan = plan_flags(current_flags());
    const std::uint16_t offset = guest_offset_, helper = inst(i).aux;
    const auto length = inst(i).imm;
    const std::size_t cold = push_cold([=](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.cold_mode_ = true;
        c.cold_free_ = kScratchMask & ~c.plan_mask(plan);
        c.emit_store_flags(plan);
        c.cold_mode_ = false;
        c.a().mov(8, Gpr::r10, state_mem(Layout::head(offsetof(VcpuHead, pc_page))));
        c.a().add(8, Gpr::r10, offset);
        c.a().mov(8, state_mem(Layout::head(offsetof(VcpuHead, pc))), Gpr::r10);
        c.a().movzx(2, Gpr::r10, state_mem(c.layout_.spill(kDataSpill)));
        c.a().mov_imm(Gpr::r11, length);
        c.a().call(c.thunks_.helpers[helper]);
        c.a().jmp(c.thunks_.exit_state);
    });
    a().jcc(Cond::kNE, cold_[cold].entry);
    a().fldcw(word);
}

void BlockCompiler::emit_x87_sync(ValueId) {
    x87_ready_ = false;
    clobber();
    const std::size_t cold = push_cold([](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.a().call(c.thunks_.x87_save);
        c.a().jmp(self.back);
    });
    a().cmp(4, state_mem(layout_.x87_live), 0);
    a().jcc(Cond::kNE, cold_[cold].entry);
    a().bind(cold_[cold].back);
}

} // namespace rhea::tcg::x64
