// Loads and stores that share a TLB check: which do, and the code of those behind the first.
//
// Accesses off one base value within kMaxSpan bytes form a group. The first checks the whole range, so that one page holds
// it, and leaves the page's addend in a register; those behind it only test that register:
//
//     test addend, addend ; jz slow ; op [ea + addend]
//
// It is 0 where the check failed, or where anything has run since then that could have changed the TLB or the memory
// map: cold code puts 0 into all of the block's addends behind its call of a slow path. A helper call ends all groups. A
// register that is needed otherwise is stored (kGroupSpills) and loaded again.
#include "tcg/backend/x64/compiler.h"

#include <algorithm>

namespace rhea::tcg::x64 {
namespace {

/// Wider groups would cross a page, and then take slow paths, too often.
constexpr std::int64_t kMaxSpan = 256;

} // namespace

// ---- who shares

/// Sums with constants and LEA are looked through.
Analysis::Base Analysis::base_of(ValueId address, std::int64_t &offset) const {
    const Inst *const insts = block_->insts.data();
    ValueId v = values[address].root;
    offset = 0;
    for (;;) {
        const Inst &inst = insts[v];
        if (inst.type != Type::kI64)
            break;
        const bool sum = inst.op == Op::lea || (inst.op == Op::add && insts[inst.args[1]].op != Op::konst);
        if (sum) {
            const unsigned scale = inst.op == Op::lea ? inst.aux : 0;
            std::int64_t base = 0, index = 0;
            const Base found{without_constants(inst.args[0], base), without_constants(inst.args[1], index), scale};
            offset += base + (index << scale) + (inst.op == Op::lea ? static_cast<std::int32_t>(inst.imm) : 0);
            return found;
        }
        const ValueId before = v;
        v = without_constants(v, offset);
        if (v == before)
            break;
    }
    return {v, kNoValue, 0};
}

/// What constants are added to, and their sum.
ValueId Analysis::without_constants(ValueId value, std::int64_t &offset) const {
    const Inst *const insts = block_->insts.data();
    ValueId v = values[value].root;
    for (;;) {
        const Inst &inst = insts[v];
        if (inst.type != Type::kI64 || (inst.op != Op::add && inst.op != Op::sub) || insts[inst.args[1]].op != Op::konst)
            return v;
        const auto distance = static_cast<std::int64_t>(insts[inst.args[1]].imm);
        if (distance != static_cast<std::int32_t>(distance))
            return v;
        offset += inst.op == Op::add ? distance : -distance;
        v = values[inst.args[0]].root;
    }
}

void Analysis::note_exit() {
    for (unsigned n = 0; n < open_count_; ++n)
        open_[n].left_since = true;
}

void Analysis::join_group(ValueId i, const Inst &inst) {
    std::int64_t offset = 0;
    const Base base = base_of(inst.args[0], offset);
    const std::int64_t end = offset + type_bytes(inst.type);
    const bool write = inst.op == Op::st || inst.op == Op::st_mask || (inst.aux & kMemWriteIntent) != 0;
    unsigned n = 0;
    while (n < open_count_ && open_[n].base != base)
        ++n;
    if (n < open_count_) {
        AccessGroup &group = groups[open_[n].group];
        const std::int64_t low = std::min(group.low, offset), high = std::max(group.high, end);
        // Where the block may be left in between, a check for writing would be one of a store that is not made.
        if (high - low <= kMaxSpan && (!write || group.write || !open_[n].left_since)) {
            group.low = low;
            group.high = high;
            group.last = i;
            group.write |= write;
            members[i] = {open_[n].group, offset};
            return;
        }
    } else if (open_count_ < kOpenGroups) {
        ++open_count_;
    } else {
        n = 0; // the oldest goes
    }
    for (; n + 1 < open_count_; ++n)
        open_[n] = open_[n + 1];
    const auto number = static_cast<std::uint32_t>(groups.size());
    open_[n] = {base, number, false};
    groups.push_back({offset, end, i, i, write});
    members[i] = {number, offset};
}

// ---- while emitting

/// The register that holds an addend, which may be needed for something else now.
void BlockCompiler::evict_addend(Gpr r) {
    const std::int32_t g = reg_group_[code(r)];
    reg_group_[code(r)] = -1;
    SharedCheck &check = checks_[static_cast<std::uint32_t>(g)];
    check.place = SharedCheck::Place::kNone;
    if (analysis_.groups[static_cast<std::uint32_t>(g)].last < now_)
        return;
    for (unsigned n = 0; n < kGroupSpills; ++n) {
        const std::int32_t owner = group_spill_owner_[n];
        if (owner >= 0 && checks_[static_cast<std::uint32_t>(owner)].in_spill(n) &&
            analysis_.groups[static_cast<std::uint32_t>(owner)].last >= now_)
            continue;
        group_spill_owner_[n] = g;
        check.place = SharedCheck::Place::kSpill;
        check.where = static_cast<std::uint8_t>(n);
        a().mov(8, state_mem(layout_.spill(kFirstGroupSpill + n)), r);
        return;
    }
}

bool BlockCompiler::holds_addend(Gpr r) const {
    const std::int32_t g = reg_group_[code(r)];
    return g >= 0 && analysis_.groups[static_cast<std::uint32_t>(g)].last >= now_;
}

/// The last of a group takes its register.
void BlockCompiler::forget_addend(Gpr r) {
    checks_[static_cast<std::uint32_t>(reg_group_[code(r)])].place = SharedCheck::Place::kNone;
    reg_group_[code(r)] = -1;
}

/// The first of a group has left its addend in r.
void BlockCompiler::keep_addend(std::uint32_t group, Gpr r) {
    checks_[group].place = SharedCheck::Place::kGpr;
    checks_[group].where = static_cast<std::uint8_t>(code(r));
    reg_group_[code(r)] = static_cast<std::int32_t>(group);
}

/// The group's addend in a register, or false: there is none, and the access has to check for itself.
bool BlockCompiler::use_addend(std::uint32_t group, Gpr &out) {
    SharedCheck &check = checks_[group];
    if (check.place == SharedCheck::Place::kGpr) {
        out = gpr(check.where);
        lock(out);
        return true;
    }
    if (check.place != SharedCheck::Place::kSpill)
        return false;
    const unsigned n = check.where;
    out = alloc_gpr();
    a().mov(8, out, state_mem(layout_.spill(kFirstGroupSpill + n)));
    keep_addend(group, out);
    return true;
}

/// Where addends that somebody still wants are now.
BlockCompiler::LiveAddends BlockCompiler::live_addends() const {
    LiveAddends live;
    for (const Gpr r : kScratchGprs) {
        const std::int32_t g = reg_group_[code(r)];
        if (g >= 0 && analysis_.groups[static_cast<std::uint32_t>(g)].last > now_)
            live.registers |= bit(r);
    }
    for (unsigned n = 0; n < kGroupSpills; ++n) {
        const std::int32_t g = group_spill_owner_[n];
        if (g >= 0 && checks_[static_cast<std::uint32_t>(g)].in_spill(n) &&
            analysis_.groups[static_cast<std::uint32_t>(g)].last > now_)
            live.spills |= 1u << n;
    }
    return live;
}

/// Cold code, behind a slow path's call.
void BlockCompiler::drop_addends(const LiveAddends &live) {
    for (const Gpr r : kScratchGprs) {
        if (live.registers & bit(r))
            a().xor_(4, r, r);
    }
    for (unsigned n = 0; n < kGroupSpills; ++n) {
        if (live.spills & (1u << n))
            a().mov(8, state_mem(layout_.spill(kFirstGroupSpill + n)), 0);
    }
}

} // namespace rhea::tcg::x64
