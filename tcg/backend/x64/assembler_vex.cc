// VEX-encoded vector instructions.
#include "tcg/backend/x64/assembler.h"
#include "tcg/backend/x64/encode.h"
#include "tcg/backend/x64/vex_ops.h"

namespace rhea::tcg::x64 {

namespace {

inline std::uint8_t* put_imm8(std::uint8_t* p, unsigned imm) {
    *p = static_cast<std::uint8_t>(imm);
    return p + 1;
}

}  // namespace

// ---- general forms -----------------------------------------------------------------------------

void Assembler::vex_rr(VexOp op, AnyReg dst, AnyReg src) {
    end(encode_vex_rr(op, dst.number, 0, src.number));
}
void Assembler::vex_rm(VexOp op, AnyReg dst, const Mem& src) {
    end(encode_vex_rm(op, dst.number, 0, src));
}
void Assembler::vex_rri(VexOp op, AnyReg dst, AnyReg src, unsigned imm) {
    end(put_imm8(encode_vex_rr(op, dst.number, 0, src.number), imm));
}
void Assembler::vex_rmi(VexOp op, AnyReg dst, const Mem& src, unsigned imm) {
    end(put_imm8(encode_vex_rm(op, dst.number, 0, src, 1), imm));
}
void Assembler::vex_rrr(VexOp op, AnyReg dst, AnyReg a, AnyReg b) {
    end(encode_vex_rr(op, dst.number, a.number, b.number));
}
void Assembler::vex_rrm(VexOp op, AnyReg dst, AnyReg a, const Mem& b) {
    end(encode_vex_rm(op, dst.number, a.number, b));
}
void Assembler::vex_rrri(VexOp op, AnyReg dst, AnyReg a, AnyReg b, unsigned imm) {
    end(put_imm8(encode_vex_rr(op, dst.number, a.number, b.number), imm));
}
void Assembler::vex_rrmi(VexOp op, AnyReg dst, AnyReg a, const Mem& b, unsigned imm) {
    end(put_imm8(encode_vex_rm(op, dst.number, a.number, b, 1), imm));
}
void Assembler::vex_rrrr(VexOp op, AnyReg dst, AnyReg a, AnyReg b, AnyReg c) {
    vex_rrri(op, dst, a, b, c.number << 4u);
}
void Assembler::vex_rrmr(VexOp op, AnyReg dst, AnyReg a, const Mem& b, AnyReg c) {
    vex_rrmi(op, dst, a, b, c.number << 4u);
}
void Assembler::vex_mr(VexOp op, const Mem& dst, AnyReg src) {
    vex_rm(op, src, dst);
}
void Assembler::vex_mri(VexOp op, const Mem& dst, AnyReg src, unsigned imm) {
    vex_rmi(op, src, dst, imm);
}
void Assembler::vex_rr_store(VexOp op, AnyReg dst, AnyReg src) {
    vex_rr(op, src, dst);
}
void Assembler::vex_rri_store(VexOp op, AnyReg dst, AnyReg src, unsigned imm) {
    vex_rri(op, src, dst, imm);
}
void Assembler::vex_group_rri(VexOp op, unsigned digit, AnyReg dst, AnyReg src, unsigned imm) {
    end(put_imm8(encode_vex_rr(op, digit, dst.number, src.number), imm));
}
void Assembler::vex_group_rr(VexOp op, unsigned digit, AnyReg dst, AnyReg src) {
    end(encode_vex_rr(op, digit, dst.number, src.number));
}
void Assembler::vex_group_rm(VexOp op, unsigned digit, AnyReg dst, const Mem& src) {
    end(encode_vex_rm(op, digit, dst.number, src));
}

// ---- moves -------------------------------------------------------------------------------------

void Assembler::vmovd(Xmm dst, Gpr src) {
    vex_rr(vex::vmovd, dst, src);
}
void Assembler::vmovd(Gpr dst, Xmm src) {
    vex_rr_store(vex::vmovd_store, dst, src);
}
void Assembler::vmovd(Xmm dst, const Mem& src) {
    vex_rm(vex::vmovd, dst, src);
}
void Assembler::vmovd(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovd_store, dst, src);
}
void Assembler::vmovq(Xmm dst, Gpr src) {
    vex_rr(vex::vmovd.w1(), dst, src);
}
void Assembler::vmovq(Gpr dst, Xmm src) {
    vex_rr_store(vex::vmovd_store.w1(), dst, src);
}
void Assembler::vmovq(Xmm dst, Xmm src) {
    vex_rr(vex::vmovq, dst, src);
}
void Assembler::vmovq(Xmm dst, const Mem& src) {
    vex_rm(vex::vmovq, dst, src);
}
void Assembler::vmovq(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovq_store, dst, src);
}

namespace {

constexpr bool store_form_is_shorter(Xmm dst, Xmm src) {
    return code(src) >= 8 && code(dst) < 8;
}

}  // namespace

void Assembler::vmovaps(Xmm dst, Xmm src) {
    if (store_form_is_shorter(dst, src)) {
        vex_rr_store(vex::vmovaps_store, dst, src);
    } else {
        vex_rr(vex::vmovaps, dst, src);
    }
}

void Assembler::vmovdqa(Xmm dst, Xmm src) {
    if (store_form_is_shorter(dst, src)) {
        vex_rr_store(vex::vmovdqa_store, dst, src);
    } else {
        vex_rr(vex::vmovdqa, dst, src);
    }
}

void Assembler::vmovups(Xmm dst, const Mem& src) {
    vex_rm(vex::vmovups, dst, src);
}
void Assembler::vmovups(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovups_store, dst, src);
}
void Assembler::vmovaps(Xmm dst, const Mem& src) {
    vex_rm(vex::vmovaps, dst, src);
}
void Assembler::vmovaps(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovaps_store, dst, src);
}
void Assembler::vmovdqu(Xmm dst, const Mem& src) {
    vex_rm(vex::vmovdqu, dst, src);
}
void Assembler::vmovdqu(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovdqu_store, dst, src);
}
void Assembler::vmovdqa(Xmm dst, const Mem& src) {
    vex_rm(vex::vmovdqa, dst, src);
}
void Assembler::vmovdqa(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovdqa_store, dst, src);
}
void Assembler::vmovups_ymm(Xmm dst, const Mem& src) {
    vex_rm(vex::vmovups.ymm(), dst, src);
}
void Assembler::vmovups_ymm(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovups_store.ymm(), dst, src);
}
void Assembler::vmovss(Xmm dst, const Mem& src) {
    vex_rm(vex::vmovss, dst, src);
}
void Assembler::vmovss(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovss_store, dst, src);
}
void Assembler::vmovss(Xmm dst, Xmm upper, Xmm low) {
    vex_rrr(vex::vmovss, dst, upper, low);
}
void Assembler::vmovsd(Xmm dst, const Mem& src) {
    vex_rm(vex::vmovsd, dst, src);
}
void Assembler::vmovsd(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovsd_store, dst, src);
}
void Assembler::vmovsd(Xmm dst, Xmm upper, Xmm low) {
    vex_rrr(vex::vmovsd, dst, upper, low);
}
void Assembler::vmovlps(Xmm dst, Xmm upper, const Mem& low) {
    vex_rrm(vex::vmovlps, dst, upper, low);
}
void Assembler::vmovlps(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovlps_store, dst, src);
}
void Assembler::vmovhps(Xmm dst, Xmm low, const Mem& upper) {
    vex_rrm(vex::vmovhps, dst, low, upper);
}
void Assembler::vmovhps(const Mem& dst, Xmm src) {
    vex_mr(vex::vmovhps_store, dst, src);
}

void Assembler::vzeroupper() {
    put2(0xc5, 0xf8);
    put1(0x77);
}

}  // namespace rhea::tcg::x64
