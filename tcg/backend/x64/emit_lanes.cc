// Masked loads and stores, and gathers.
//
// A masked move is one TLB check for all of its bytes, and the host's own: what it leaves out lies in the same page, so the
// host does not fault there. Where the check fails, C++ goes by element.
//
// A gather is a check and a load an element, which on most hosts costs no more than their own instruction:
//
//     mov ea, [addresses+n*8] ; <TLB check> ; vpinsr x, x, [ea+addend], n
//
// with a test of the element's mask before it unless that is known to be set. Nothing is written before the last check, so
// C++ does it all anew where one of them fails.
#include "tcg/backend/x64/compiler.h"
#include "tcg/backend/x64/vex_ops.h"

namespace rhea::tcg::x64 {
namespace {

VexOp masked_move(const LaneAccess &access, bool wide) {
    const bool store = access.kind == LaneAccess::Kind::kStore;
    const VexOp op = access.bytes == 4 ? (store ? vex::vpmaskmovd_store : vex::vpmaskmovd)
                                       : (store ? vex::vpmaskmovq_store : vex::vpmaskmovq);
    return wide ? op.ymm() : op;
}

} // namespace

/// Cold code: calls the slow path, with the address, if any, in place.
void BlockCompiler::call_lanes(std::uint64_t imm, const SafePointPlan &plan, bool reload) {
    const Mem what = state_mem(layout_.spill(kArgSpill + 1));
    a().mov(4, what, static_cast<std::int32_t>(imm));
    a().mov(4, what.plus(4), static_cast<std::int32_t>(imm >> 32));
    a().call(thunks_.lanes);
    record(plan);
    resume_x87(reload);
}

void BlockCompiler::emit_ld_mask(ValueId i) {
    const Inst &load = inst(i);
    const std::uint64_t imm = load.imm;
    const bool wide = load.type == Type::kV256;
    const VexOp op = masked_move(LaneAccess::unpack(imm), wide);
    const Xmm mask = use_xmm(load.args[1]);
    const MemoryAccess access = begin_access(i, type_bytes(load.type));
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const Xmm d = dest_xmm(i);
    const SafePointPlan plan = safe_point();
    a().vex_rrm(op, d, mask, check_member(access, false, 0, cold));
    bind_xmm(i, d);
    const SlowAccess slow{access.address.base, access.address.disp, access.t2, nullptr};
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_address(slow);
        c.store_vector(wide, c.lane_area(offsetof(LaneArea, mask)), mask);
        c.call_lanes(imm, plan, reload);
        c.load_vector(wide, d, c.lane_area(offsetof(LaneArea, data)));
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
    a().bind(cold_[cold].back);
}

void BlockCompiler::emit_st_mask(ValueId i) {
    const Inst &store = inst(i);
    const std::uint64_t imm = store.imm;
    const bool wide = store.type == Type::kV256;
    const VexOp op = masked_move(LaneAccess::unpack(imm), wide);
    const Xmm x = use_xmm(store.args[1]), mask = use_xmm(store.args[2]);
    const MemoryAccess access = begin_access(i, type_bytes(store.type));
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const SafePointPlan plan = safe_point();
    a().vex_rrm(op, x, mask, check_member(access, true, 0, cold));
    a().bind(cold_[cold].back);
    const SlowAccess slow{access.address.base, access.address.disp, access.t2, nullptr};
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.put_address(slow);
        c.store_vector(wide, c.lane_area(offsetof(LaneArea, mask)), mask);
        c.store_vector(wide, c.lane_area(offsetof(LaneArea, data)), x);
        c.call_lanes(imm, plan, reload);
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
}

/// An argument to memory. Its register is free for what follows where nobody else wants it.
void BlockCompiler::put_in_lane_area(ValueId v, std::size_t offset) {
    const Xmm x = use_xmm(v);
    const ValueId r = resolve(v);
    store_vector(is_wide(r), lane_area(offset), x);
    locked_xmm_ &= ~(1u << code(x));
    if (code(x) >= kFirstScratchXmm && !live_after(r) && val(r).place == Place::kXmm) {
        xmm_value_[code(x)] = kNoValue;
        val(r).place = Place::kNone;
    }
}

void BlockCompiler::emit_gather(ValueId i) {
    const Inst &gather = inst(i);
    const std::uint64_t imm = gather.imm;
    const LaneAccess access = LaneAccess::unpack(imm);
    const bool all = (access.flags & LaneAccess::kAll) != 0, wide = gather.type == Type::kV256;
    flush_upper_slot(access.data_high); // a fault changes parts of them, in memory
    flush_upper_slot(access.mask_high);
    if (!all)
        put_in_lane_area(gather.args[2], offsetof(LaneArea, mask));
    if (access.count == 8)
        put_in_lane_area(gather.args[1], offsetof(LaneArea, address) + 32);
    put_in_lane_area(gather.args[0], offsetof(LaneArea, address));
    const Xmm d = dest_xmm(i);
    const Xmm halves[] = {code(d) < kFirstScratchXmm ? temp_xmm() : d, wide ? temp_xmm() : d};
    const Gpr ea = temp(), t1 = temp(), t2 = temp();
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const SafePointPlan plan = safe_point();
    clobber();
    if (!all) {
        a().vex_rrr(vex::vpxor, halves[0], halves[0], halves[0]);
        if (wide)
            a().vex_rrr(vex::vpxor, halves[1], halves[1], halves[1]);
    }
    for (unsigned n = 0; n < access.count; ++n) {
        const unsigned at = n * access.bytes;
        Label skip;
        if (!all) {
            a().test(1, lane_area(offsetof(LaneArea, mask) + at + access.bytes - 1), 0x80);
            a().jcc(Cond::kE, skip);
        }
        a().mov(8, ea, lane_area(offsetof(LaneArea, address) + n * 8));
        const Mem from = check_access({ea, 0}, access.bytes, false, t1, t2, cold).mem;
        const Xmm x = halves[at / 16];
        const unsigned lane = at % 16 / access.bytes;
        if (all && lane == 0)
            access.bytes == 8 ? a().vmovq(x, from) : a().vmovd(x, from);
        else
            a().vex_rrmi(access.bytes == 8 ? vex::vpinsrq : vex::vpinsrd, x, x, from, lane);
        if (!all)
            a().bind(skip);
    }
    if (wide)
        a().vex_rrri(vex::vinserti128.ymm(), d, halves[0], halves[1], 1);
    else if (d != halves[0])
        a().vmovdqa(d, halves[0]);
    bind_xmm(i, d);
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        c.call_lanes(imm, plan, reload);
        c.load_vector(wide, d, c.lane_area(offsetof(LaneArea, data)));
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
    a().bind(cold_[cold].back);
}

} // namespace rhea::tcg::x64
