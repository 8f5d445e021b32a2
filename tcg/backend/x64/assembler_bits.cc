// Bit operations, BMI, second-byte registers, atomics and control.
#include "tcg/backend/x64/assembler.h"
#include "tcg/backend/x64/encode.h"
#include "tcg/backend/x64/vex_ops.h"

namespace rhea::tcg::x64 {

namespace {

constexpr unsigned code(HighByte r) {
    return static_cast<unsigned>(r);
}

/// A BMI instruction with the operand size in VEX.W.
constexpr VexOp with_size(VexOp op, unsigned size) {
    assert(size == 4 || size == 8);
    return size == 8 ? op.w1() : op;
}

}  // namespace

// ---- bits --------------------------------------------------------------------------------------

void Assembler::bit_test(BitTest op, unsigned size, Gpr r, Gpr bit) {
    end(encode_rr(0x0f83 + static_cast<unsigned>(op) * 8, size, x64::code(bit), x64::code(r)));
}

void Assembler::bit_test(BitTest op, unsigned size, const Mem& m, Gpr bit) {
    end(encode_rm(0x0f83 + static_cast<unsigned>(op) * 8, size, x64::code(bit), m));
}

void Assembler::bit_test(BitTest op, unsigned size, Gpr r, unsigned bit) {
    std::uint8_t* p = encode_rr(0x0fba, size, static_cast<unsigned>(op), x64::code(r));
    *p++ = static_cast<std::uint8_t>(bit);
    end(p);
}

void Assembler::bit_test(BitTest op, unsigned size, const Mem& m, unsigned bit) {
    std::uint8_t* p = encode_rm(0x0fba, size, static_cast<unsigned>(op), m, 1);
    *p++ = static_cast<std::uint8_t>(bit);
    end(p);
}

void Assembler::bsf(unsigned size, Gpr dst, Gpr src) {
    end(encode_rr(0x0fbc, size, x64::code(dst), x64::code(src)));
}
void Assembler::bsf(unsigned size, Gpr dst, const Mem& src) {
    end(encode_rm(0x0fbc, size, x64::code(dst), src));
}
void Assembler::bsr(unsigned size, Gpr dst, Gpr src) {
    end(encode_rr(0x0fbd, size, x64::code(dst), x64::code(src)));
}
void Assembler::bsr(unsigned size, Gpr dst, const Mem& src) {
    end(encode_rm(0x0fbd, size, x64::code(dst), src));
}
void Assembler::tzcnt(unsigned size, Gpr dst, Gpr src) {
    end(encode_rr(0xf3000fbc, size, x64::code(dst), x64::code(src)));
}
void Assembler::tzcnt(unsigned size, Gpr dst, const Mem& src) {
    end(encode_rm(0xf3000fbc, size, x64::code(dst), src));
}
void Assembler::lzcnt(unsigned size, Gpr dst, Gpr src) {
    end(encode_rr(0xf3000fbd, size, x64::code(dst), x64::code(src)));
}
void Assembler::lzcnt(unsigned size, Gpr dst, const Mem& src) {
    end(encode_rm(0xf3000fbd, size, x64::code(dst), src));
}
void Assembler::popcnt(unsigned size, Gpr dst, Gpr src) {
    end(encode_rr(0xf3000fb8, size, x64::code(dst), x64::code(src)));
}
void Assembler::popcnt(unsigned size, Gpr dst, const Mem& src) {
    end(encode_rm(0xf3000fb8, size, x64::code(dst), src));
}

void Assembler::crc32(unsigned src_size, Gpr dst, Gpr src) {
    end(encode_rr(sized(0xf20f38f0, src_size), src_size, x64::code(dst), x64::code(src),
                  byte_needs_rex(src_size, x64::code(src))));
}
void Assembler::crc32(unsigned src_size, Gpr dst, const Mem& src) {
    end(encode_rm(sized(0xf20f38f0, src_size), src_size, x64::code(dst), src));
}

void Assembler::sha(ShaOp op, Xmm dst, Xmm src) {
    end(encode_rr(0x0f3800u | static_cast<unsigned>(op), 4, x64::code(dst), x64::code(src)));
}
void Assembler::sha1rnds4(Xmm dst, Xmm src, unsigned function) {
    std::uint8_t* p = encode_rr(0x0f3acc, 4, x64::code(dst), x64::code(src));
    *p++ = static_cast<std::uint8_t>(function & 3);
    end(p);
}

// ---- BMI1, BMI2: shifts and the like have their count or control in VEX.vvvv --------------------

void Assembler::mulx(unsigned size, Gpr high, Gpr low, Gpr src) {
    vex_rrr(with_size(vex::mulx, size), high, low, src);
}
void Assembler::mulx(unsigned size, Gpr high, Gpr low, const Mem& src) {
    vex_rrm(with_size(vex::mulx, size), high, low, src);
}

void Assembler::shlx(unsigned size, Gpr dst, Gpr src, Gpr count) {
    vex_rrr(with_size(vex::shlx, size), dst, count, src);
}
void Assembler::shrx(unsigned size, Gpr dst, Gpr src, Gpr count) {
    vex_rrr(with_size(vex::shrx, size), dst, count, src);
}
void Assembler::sarx(unsigned size, Gpr dst, Gpr src, Gpr count) {
    vex_rrr(with_size(vex::sarx, size), dst, count, src);
}
void Assembler::shlx(unsigned size, Gpr dst, const Mem& src, Gpr count) {
    vex_rrm(with_size(vex::shlx, size), dst, count, src);
}
void Assembler::shrx(unsigned size, Gpr dst, const Mem& src, Gpr count) {
    vex_rrm(with_size(vex::shrx, size), dst, count, src);
}
void Assembler::sarx(unsigned size, Gpr dst, const Mem& src, Gpr count) {
    vex_rrm(with_size(vex::sarx, size), dst, count, src);
}
void Assembler::rorx(unsigned size, Gpr dst, Gpr src, unsigned count) {
    vex_rri(with_size(vex::rorx, size), dst, src, count);
}
void Assembler::rorx(unsigned size, Gpr dst, const Mem& src, unsigned count) {
    vex_rmi(with_size(vex::rorx, size), dst, src, count);
}
void Assembler::bextr(unsigned size, Gpr dst, Gpr src, Gpr control) {
    vex_rrr(with_size(vex::bextr, size), dst, control, src);
}
void Assembler::bextr(unsigned size, Gpr dst, const Mem& src, Gpr control) {
    vex_rrm(with_size(vex::bextr, size), dst, control, src);
}
void Assembler::bzhi(unsigned size, Gpr dst, Gpr src, Gpr index) {
    vex_rrr(with_size(vex::bzhi, size), dst, index, src);
}
void Assembler::bzhi(unsigned size, Gpr dst, const Mem& src, Gpr index) {
    vex_rrm(with_size(vex::bzhi, size), dst, index, src);
}
void Assembler::andn(unsigned size, Gpr dst, Gpr a, Gpr b) {
    vex_rrr(with_size(vex::andn, size), dst, a, b);
}
void Assembler::andn(unsigned size, Gpr dst, Gpr a, const Mem& b) {
    vex_rrm(with_size(vex::andn, size), dst, a, b);
}
void Assembler::pdep(unsigned size, Gpr dst, Gpr src, Gpr mask) {
    vex_rrr(with_size(vex::pdep, size), dst, src, mask);
}
void Assembler::pdep(unsigned size, Gpr dst, Gpr src, const Mem& mask) {
    vex_rrm(with_size(vex::pdep, size), dst, src, mask);
}
void Assembler::pext(unsigned size, Gpr dst, Gpr src, Gpr mask) {
    vex_rrr(with_size(vex::pext, size), dst, src, mask);
}
void Assembler::pext(unsigned size, Gpr dst, Gpr src, const Mem& mask) {
    vex_rrm(with_size(vex::pext, size), dst, src, mask);
}

// ---- second bytes: numbers 4 to 7 without REX mean ah, ch, dh, bh ------------------------------

void Assembler::high_rr(std::uint32_t op, unsigned reg, unsigned rm) {
    assert(reg < 8 && rm < 8);
    end(encode_rr(op, 1, reg, rm));
}

void Assembler::high_rm(std::uint32_t op, unsigned reg, const Mem& m) {
    [[maybe_unused]] const std::uint8_t* start = cursor_;
    end(encode_rm(op, 1, reg, m));
    assert(overflowed_ || (*start & 0xf0) != 0x40);
}

namespace {
unsigned low_byte(Gpr r) {
    assert(x64::code(r) < 4);
    return x64::code(r);
}
}  // namespace

void Assembler::mov8(Gpr dst, HighByte src) {
    high_rr(0x88, code(src), low_byte(dst));
}
void Assembler::mov8(HighByte dst, Gpr src) {
    high_rr(0x88, low_byte(src), code(dst));
}
void Assembler::mov8(HighByte dst, HighByte src) {
    high_rr(0x88, code(src), code(dst));
}
void Assembler::mov8(HighByte dst, std::uint8_t imm) {
    put2(static_cast<std::uint8_t>(0xb0 | code(dst)), imm);
}
void Assembler::mov8(HighByte dst, const Mem& src) {
    high_rm(0x8a, code(dst), src);
}
void Assembler::mov8(const Mem& dst, HighByte src) {
    high_rm(0x88, code(src), dst);
}

void Assembler::movzx8(Gpr dst, HighByte src) {
    assert(x64::code(dst) < 8);
    end(encode_rr(0x0fb6, 4, x64::code(dst), code(src)));
}

void Assembler::movsx8(unsigned dst_size, Gpr dst, HighByte src) {
    assert(x64::code(dst) < 8 && (dst_size == 2 || dst_size == 4));
    end(encode_rr(0x0fbe, dst_size, x64::code(dst), code(src)));
}

void Assembler::alu8(Alu op, HighByte dst, Gpr src) {
    high_rr(static_cast<unsigned>(op) << 3, low_byte(src), code(dst));
}
void Assembler::alu8(Alu op, Gpr dst, HighByte src) {
    high_rr(static_cast<unsigned>(op) << 3, code(src), low_byte(dst));
}
void Assembler::alu8(Alu op, HighByte dst, HighByte src) {
    high_rr(static_cast<unsigned>(op) << 3, code(src), code(dst));
}
void Assembler::alu8(Alu op, HighByte dst, std::int8_t imm) {
    std::uint8_t* p = encode_rr(0x80, 1, static_cast<unsigned>(op), code(dst));
    *p++ = static_cast<std::uint8_t>(imm);
    end(p);
}
void Assembler::test8(HighByte a, HighByte b) {
    high_rr(0x84, code(b), code(a));
}
void Assembler::test8(HighByte a, std::uint8_t imm) {
    std::uint8_t* p = encode_rr(0xf6, 1, 0, code(a));
    *p++ = imm;
    end(p);
}
void Assembler::setcc(Cond cond, HighByte dst) {
    high_rr(0x0f90 | static_cast<unsigned>(cond), 0, code(dst));
}

// ---- atomics -----------------------------------------------------------------------------------

void Assembler::lock() {
    put1(0xf0);
}

void Assembler::xadd(unsigned size, Gpr dst, Gpr src) {
    const unsigned d = x64::code(dst), s = x64::code(src);
    end(encode_rr(sized(0x0fc0, size), size, s, d,
                  byte_needs_rex(size, s) || byte_needs_rex(size, d)));
}
void Assembler::xadd(unsigned size, const Mem& dst, Gpr src) {
    const unsigned s = x64::code(src);
    end(encode_rm(sized(0x0fc0, size), size, s, dst, 0, byte_needs_rex(size, s)));
}
void Assembler::cmpxchg(unsigned size, Gpr dst, Gpr src) {
    const unsigned d = x64::code(dst), s = x64::code(src);
    end(encode_rr(sized(0x0fb0, size), size, s, d,
                  byte_needs_rex(size, s) || byte_needs_rex(size, d)));
}
void Assembler::cmpxchg(unsigned size, const Mem& dst, Gpr src) {
    const unsigned s = x64::code(src);
    end(encode_rm(sized(0x0fb0, size), size, s, dst, 0, byte_needs_rex(size, s)));
}
void Assembler::cmpxchg_pair(unsigned size, const Mem& m) {
    assert(size == 8 || size == 16);
    end(encode_rm(0x0fc7, size == 16 ? 8 : 4, 1, m));
}

// ---- flags and control -------------------------------------------------------------------------

void Assembler::mfence() {
    put2(0x0f, 0xae);
    put1(0xf0);
}
void Assembler::lahf() {
    put1(0x9f);
}
void Assembler::sahf() {
    put1(0x9e);
}
void Assembler::pushf() {
    put1(0x9c);
}
void Assembler::popf() {
    put1(0x9d);
}
void Assembler::cld() {
    put1(0xfc);
}
void Assembler::clc() {
    put1(0xf8);
}
void Assembler::stc() {
    put1(0xf9);
}
void Assembler::cmc() {
    put1(0xf5);
}
void Assembler::int3() {
    put1(0xcc);
}
void Assembler::ud2() {
    put2(0x0f, 0x0b);
}

namespace {

std::uint8_t* rep_string(std::uint8_t* p, unsigned size, std::uint8_t op) {
    *p++ = 0xf3;
    if (size == 2) {
        *p++ = 0x66;
    } else if (size == 8) {
        *p++ = 0x48;
    }
    *p++ = static_cast<std::uint8_t>(sized(op, size));
    return p;
}

}  // namespace

void Assembler::rep_movs(unsigned size) {
    end(rep_string(begin(), size, 0xa4));
}
void Assembler::rep_stos(unsigned size) {
    end(rep_string(begin(), size, 0xaa));
}

void Assembler::fldcw(const Mem& m) {
    end(encode_rm(0xd9, 4, 5, m));
}
void Assembler::fnstcw(const Mem& m) {
    end(encode_rm(0xd9, 4, 7, m));
}
void Assembler::fninit() {
    put2(0xdb, 0xe3);
}

void Assembler::x87(unsigned opcode) {
    assert((opcode & 0xc0) == 0xc0);
    put2(static_cast<std::uint8_t>(0xd8 | ((opcode >> 8) & 7)), static_cast<std::uint8_t>(opcode));
}
void Assembler::x87(unsigned opcode, const Mem& m) {
    end(encode_rm(0xd8 | ((opcode >> 8) & 7), 4, (opcode >> 3) & 7, m));
}
void Assembler::fnsave(const Mem& m) {
    end(encode_rm(0xdd, 4, 6, m));
}
void Assembler::frstor(const Mem& m) {
    end(encode_rm(0xdd, 4, 4, m));
}

void Assembler::vldmxcsr(const Mem& m) {
    end(encode_vex_rm({VexPrefix::kNone, VexMap::k0F, 0xae}, 2, 0, m));
}
void Assembler::vstmxcsr(const Mem& m) {
    end(encode_vex_rm({VexPrefix::kNone, VexMap::k0F, 0xae}, 3, 0, m));
}

}  // namespace rhea::tcg::x64
