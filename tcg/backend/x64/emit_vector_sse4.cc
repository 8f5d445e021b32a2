// String comparisons, whose lengths, index and mask are in fixed registers, and SHA, which has no VEX encoding.
//
// The legacy encodings of SHA leave bits 255:128 of their destination as they are. They are given a destination that a
// VEX.128 move has just written, so those bits are zero as behind any other row; and CPUs that have SHA (Goldmont, Ice
// Lake, Zen and later) do not pay the state transitions of older ones for a legacy instruction among VEX ones, only a
// dependency on the destination, which these instructions have anyway.
#include "tcg/backend/x64/emit_vector_rows.h"
#include "tcg/backend/x64/vex_ops.h"

namespace rhea::tcg::x64 {
namespace {

unsigned imm_of(const Inst &inst) { return static_cast<unsigned>(inst.imm & 0xff); }

} // namespace

/// eax and edx := the two halves of `from`.
void ImplicitRegisterRows::load_lengths(BlockCompiler &c, Gpr from) {
    Assembler &a = c.a();
    if (from == Gpr::rdx) {
        a.mov(4, Gpr::rax, Gpr::rdx);
    } else {
        a.mov(8, Gpr::rdx, from);
        if (from != Gpr::rax)
            a.mov(4, Gpr::rax, from);
    }
    a.shr(8, Gpr::rdx, 32);
}

void ImplicitRegisterRows::string_index(BlockCompiler &c, ValueId i, bool lengths) {
    const Inst &inst = c.inst(i);
    Assembler &a = c.a();
    const Xmm x = c.use_xmm(inst.args[0]), y = c.use_xmm(inst.args[1]);
    const Gpr from = lengths ? c.use_gpr(inst.args[2]) : Gpr::rsp;
    c.clobber();
    const Gpr d = c.temp(), rcx = c.temp(), rdx = lengths ? c.temp() : Gpr::rsp;
    a.mov(8, d, Gpr::rax);
    a.mov(8, rcx, Gpr::rcx);
    if (lengths) {
        a.mov(8, rdx, Gpr::rdx);
        load_lengths(c, from);
    }
    a.vex_rri(lengths ? vex::vpcmpestri : vex::vpcmpistri, x, y, imm_of(inst));
    a.lahf(); // ah: SF ZF CF; al gets OF, to end in bit 11
    a.setcc(Cond::kO, Gpr::rax);
    a.shl(1, Gpr::rax, 3);
    a.ror(2, Gpr::rax, 8);
    a.and_(4, Gpr::rax, static_cast<std::int32_t>(kCF | kZF | kSF | kOF));
    a.shl(8, Gpr::rax, 32);
    a.mov(4, Gpr::rcx, Gpr::rcx);
    a.or_(8, Gpr::rax, Gpr::rcx);
    a.xchg(8, d, Gpr::rax);
    a.mov(8, Gpr::rcx, rcx);
    if (lengths)
        a.mov(8, Gpr::rdx, rdx);
    c.low_part_ = false;
    c.finish(i, d);
}

void ImplicitRegisterRows::string_mask(BlockCompiler &c, ValueId i, bool lengths) {
    const Inst &inst = c.inst(i);
    Assembler &a = c.a();
    const Xmm x = c.use_xmm(inst.args[0]), y = c.use_xmm(inst.args[1]);
    const Gpr from = lengths ? c.use_gpr(inst.args[2]) : Gpr::rsp;
    c.clobber();
    const Xmm d = c.dest_xmm(i);
    const bool in_place = d == Xmm::xmm0;
    const Xmm saved = in_place ? d : c.temp_xmm();
    const Gpr rax = lengths ? c.temp() : Gpr::rsp, rdx = lengths ? c.temp() : Gpr::rsp;
    if (lengths) {
        a.mov(8, rax, Gpr::rax);
        a.mov(8, rdx, Gpr::rdx);
        load_lengths(c, from);
    }
    if (!in_place)
        a.vex_rr(vex::vmovdqa.ymm(), saved, Xmm::xmm0);
    a.vex_rri(lengths ? vex::vpcmpestrm : vex::vpcmpistrm, x, y, imm_of(inst));
    if (!in_place) {
        a.vmovdqa(d, Xmm::xmm0);
        a.vex_rr(vex::vmovdqa.ymm(), Xmm::xmm0, saved);
    }
    if (lengths) {
        a.mov(8, Gpr::rax, rax);
        a.mov(8, Gpr::rdx, rdx);
    }
    c.bind_xmm(i, d);
}

void ImplicitRegisterRows::pcmpistri(BlockCompiler &c, ValueId i) { string_index(c, i, false); }
void ImplicitRegisterRows::pcmpestri(BlockCompiler &c, ValueId i) { string_index(c, i, true); }
void ImplicitRegisterRows::pcmpistrm(BlockCompiler &c, ValueId i) { string_mask(c, i, false); }
void ImplicitRegisterRows::pcmpestrm(BlockCompiler &c, ValueId i) { string_mask(c, i, true); }

/// d := a, then the instruction on d; so d may not be the second operand's register.
void ImplicitRegisterRows::sha(BlockCompiler &c, ValueId i, ShaOp op) {
    const Inst &inst = c.inst(i);
    const Xmm x = c.use_xmm(inst.args[0]), y = c.use_xmm(inst.args[1]);
    const Xmm d = c.dest_xmm(i, 1u << code(y));
    if (d != x)
        c.a().vmovdqa(d, x);
    if (op == ShaOp::sha1rnds4)
        c.a().sha1rnds4(d, y, imm_of(inst));
    else
        c.a().sha(op, d, y);
    c.bind_xmm(i, d);
}

void ImplicitRegisterRows::sha1nexte(BlockCompiler &c, ValueId i) { sha(c, i, ShaOp::sha1nexte); }
void ImplicitRegisterRows::sha1msg1(BlockCompiler &c, ValueId i) { sha(c, i, ShaOp::sha1msg1); }
void ImplicitRegisterRows::sha1msg2(BlockCompiler &c, ValueId i) { sha(c, i, ShaOp::sha1msg2); }
void ImplicitRegisterRows::sha1rnds4(BlockCompiler &c, ValueId i) { sha(c, i, ShaOp::sha1rnds4); }
void ImplicitRegisterRows::sha256msg1(BlockCompiler &c, ValueId i) { sha(c, i, ShaOp::sha256msg1); }
void ImplicitRegisterRows::sha256msg2(BlockCompiler &c, ValueId i) { sha(c, i, ShaOp::sha256msg2); }

/// The third operand is xmm0, where the guest's XMM0 is; another value changes places with it.
void ImplicitRegisterRows::sha256rnds2(BlockCompiler &c, ValueId i) {
    const Inst &inst = c.inst(i);
    Assembler &a = c.a();
    Xmm x = c.use_xmm(inst.args[0]), y = c.use_xmm(inst.args[1]);
    const Xmm z = c.use_xmm(inst.args[2]);
    const bool in_place = z == Xmm::xmm0;
    const Xmm saved = in_place ? Xmm::xmm0 : c.temp_xmm();
    const Xmm d = c.dest_xmm(i, 1u << code(Xmm::xmm0) | 1u << code(y) | 1u << code(z));
    if (!in_place) {
        a.vex_rr(vex::vmovdqa.ymm(), saved, Xmm::xmm0);
        x = x == Xmm::xmm0 ? saved : x;
        y = y == Xmm::xmm0 ? saved : y;
        a.vmovdqa(Xmm::xmm0, z);
    }
    if (d != x)
        a.vmovdqa(d, x);
    a.sha(ShaOp::sha256rnds2, d, y);
    if (!in_place)
        a.vex_rr(vex::vmovdqa.ymm(), Xmm::xmm0, saved);
    c.bind_xmm(i, d);
}

} // namespace rhea::tcg::x64
