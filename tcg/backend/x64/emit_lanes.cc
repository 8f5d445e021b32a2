// Masked loads and stores, and gathers.
//
// A masked move is one TLB check for all of its bytes, and the host's own: what it leaves out lies in the same page, so the
// host does not fault there. Where the check fails, C++ goes by element.
//
// A gather is a check and a load an element, which on most hosts costs no more than their own instruction:
//
//     mov ea, [addresses+n*8] ; <TLB check> ; vpinsr x, x, [ea+addend], n
//
// Where not all elements are wanted, cold code has the same with a test of each one's mask. Nothing is written before the last
// check, so C++ does it all anew where one of them fails.
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

/// The checks and loads of a gather, by elements; `masked`: of those whose mask in memory is set. The result's halves are
/// zero before a masked one.
void BlockCompiler::load_lanes(const GatherPlan &plan, bool masked, Label &slow) {
    const LaneAccess &access = plan.access;
    for (unsigned n = 0; n < access.count; ++n) {
        const unsigned at = n * access.bytes;
        Label skip;
        if (masked) {
            a().test(1, lane_area(offsetof(LaneArea, mask) + at + access.bytes - 1), 0x80);
            a().jcc(Cond::kE, skip);
        }
        a().mov(8, plan.ea, lane_area(offsetof(LaneArea, address) + n * 8));
        a().tlb_check(plan.t1, plan.t2, plan.ea, Layout::window(kReadTagOffset), Layout::window(kAddendOffset),
                      static_cast<std::int32_t>(4096 - access.bytes), slow);
        const Mem from = ptr(plan.ea, plan.t1, 1, 0);
        const Xmm x = plan.halves[at / 16];
        const unsigned lane = at % 16 / access.bytes;
        if (!masked && lane == 0)
            access.bytes == 8 ? a().vmovq(x, from) : a().vmovd(x, from);
        else
            a().vex_rrmi(access.bytes == 8 ? vex::vpinsrq : vex::vpinsrd, x, x, from, lane);
        a().bind(skip);
    }
}

void BlockCompiler::emit_gather(ValueId i) {
    const Inst &gather = inst(i);
    const std::uint64_t imm = gather.imm;
    GatherPlan plan{LaneAccess::unpack(imm)};
    const LaneAccess &access = plan.access;
    const bool all = (access.flags & LaneAccess::kAll) != 0, wide = gather.type == Type::kV256;
    flush_upper_slot(access.data_high); // a fault changes parts of them, in memory
    flush_upper_slot(access.mask_high);
    if (access.count == 8)
        put_in_lane_area(gather.args[1], offsetof(LaneArea, address) + 32);
    put_in_lane_area(gather.args[0], offsetof(LaneArea, address));
    const Xmm mask = all ? Xmm::xmm0 : use_xmm(gather.args[2]);
    const bool wide_mask = !all && is_wide(gather.args[2]);
    const Xmm d = dest_xmm(i, all ? 0 : 1u << code(mask));
    plan.halves[0] = code(d) < kFirstScratchXmm ? temp_xmm() : d;
    plan.halves[1] = wide ? temp_xmm() : plan.halves[0];
    plan.ea = temp();
    plan.t1 = temp();
    plan.t2 = temp();
    const std::size_t chosen = cold_.size(); // before the slow path that it goes to
    if (!all)
        cold_.emplace_back();
    const std::size_t cold = cold_.size();
    cold_.emplace_back();
    const SafePointPlan point = safe_point();
    clobber();
    if (!all) {
        // Mostly all elements are wanted after all.
        const VexOp signs = access.bytes == 8 ? vex::vmovmskpd : vex::vmovmskps;
        a().vex_rr(wide_mask ? signs.ymm() : signs, plan.ea, mask);
        a().not_(4, plan.ea);
        a().test(1, plan.ea, static_cast<std::int32_t>((1u << access.count) - 1));
        a().jcc(Cond::kNE, cold_[chosen].entry);
    }
    load_lanes(plan, false, cold_[cold].entry);
    if (!all)
        a().bind(cold_[chosen].back);
    if (wide)
        a().vex_rrri(vex::vinserti128.ymm(), d, plan.halves[0], plan.halves[1], 1);
    else if (d != plan.halves[0])
        a().vmovdqa(d, plan.halves[0]);
    bind_xmm(i, d);
    set_cold(cold, [=, reload = x87_reload(), addends = live_addends()](BlockCompiler &c, Cold &self) {
        c.a().bind(self.entry);
        if (!all)
            c.store_vector(wide_mask, c.lane_area(offsetof(LaneArea, mask)), mask);
        c.call_lanes(imm, point, reload);
        c.load_vector(wide, d, c.lane_area(offsetof(LaneArea, data)));
        c.drop_addends(addends);
        c.a().jmp(self.back);
    });
    if (!all) {
        set_cold(chosen, [=](BlockCompiler &c, Cold &self) {
            c.a().bind(self.entry);
            c.store_vector(wide_mask, c.lane_area(offsetof(LaneArea, mask)), mask);
            for (unsigned n = 0; n < (wide ? 2 : 1); ++n)
                c.a().vex_rrr(vex::vpxor, plan.halves[n], plan.halves[n], plan.halves[n]);
            c.load_lanes(plan, true, c.cold_[cold].entry);
            c.a().jmp(self.back);
        });
    }
    a().bind(cold_[cold].back);
}

} // namespace rhea::tcg::x64
