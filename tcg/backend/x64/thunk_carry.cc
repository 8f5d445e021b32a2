#include "tcg/backend/x64/thunk_carry.h"

#include "tcg/backend/x64/layout.h"

namespace rhea::tcg::x64 {
namespace {

Mem head_mem(std::size_t offset) { return state_mem(Layout::head(offset)); }

} // namespace

const std::uint8_t *emit_carry_to_src2(Assembler &out, const std::uint8_t *others) {
    const Mem op = head_mem(offsetof(VcpuHead, cc_op)), dst = head_mem(offsetof(VcpuHead, cc_dst));
    const Mem source2 = head_mem(offsetof(VcpuHead, cc_src2));
    const Gpr kind = Gpr::r10, a = Gpr::r11, b = Gpr::rcx;
    Label harder, there, raw, logic, sum, store;
    const std::uint8_t *const at = out.exec_here();
    for (const Gpr r : {kind, a, b})
        out.push(r);
    out.mov(4, kind, op);
    out.test(4, kind, static_cast<std::int32_t>(kCarryOverride | kOverflowOverride));
    out.jcc(Cond::kNE, there);
    out.cmp(4, kind, static_cast<std::int32_t>(cc_op(FlagsKind::kAdc, 1)));
    out.jcc(Cond::kAE, harder);
    out.cmp(4, kind, static_cast<std::int32_t>(cc_op(FlagsKind::kAdd, 1)));
    out.jcc(Cond::kB, raw);
    out.cmp(4, kind, static_cast<std::int32_t>(cc_op(FlagsKind::kLogic, 1)));
    out.jcc(Cond::kAE, logic);
    // Operands moved up to bit 63: a carries or borrows there.
    out.mov(4, b, kind);
    out.and_(4, b, 3);
    out.mov(4, a, 8);
    out.shlx(4, a, a, b);
    out.mov(4, b, 64);
    out.sub(4, b, a);
    out.shlx(8, a, dst, b);
    out.shlx(8, b, head_mem(offsetof(VcpuHead, cc_src)), b);
    out.and_(4, kind, -4);
    out.cmp(4, kind, static_cast<std::int32_t>(cc_op(FlagsKind::kSub, 1)));
    out.jcc(Cond::kE, sum);
    out.cmp(8, a, b); // the sum below its operand; a below b
    out.jmp(store);
    out.bind(sum);
    out.add(8, a, b); // the difference and what was subtracted
    out.bind(store);
    out.setcc(Cond::kB, a);
    out.movzx(1, a, a);
    out.mov(8, source2, a);
    out.jmp(there);
    out.bind(raw);
    out.mov(4, a, dst);
    out.and_(4, a, 1);
    out.mov(8, source2, a);
    out.jmp(there);
    out.bind(logic);
    out.mov(8, source2, 0);
    out.bind(there);
    for (const Gpr r : {b, a, kind})
        out.pop(r);
    out.ret();
    out.bind(harder);
    for (const Gpr r : {b, a, kind})
        out.pop(r);
    out.jmp(others);
    return at;
}

} // namespace rhea::tcg::x64
