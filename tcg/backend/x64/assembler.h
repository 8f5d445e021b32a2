// An x86-64 assembler that writes straight into a code buffer.
//
// One call emits one instruction. Operand order is Intel's (destination first); `size` is the
// operand size in bytes (1, 2, 4, 8) and comes first. A byte operand in rsp, rbp, rsi, rdi means
// spl, bpl, sil, dil. Nothing checks the host's features.
//
// Invariants: a byte is never written outside the buffer. When fewer than kMaxInstruction bytes are
// left the assembler overflows: everything from then on goes nowhere, overflowed() is true,
// offset() stays at the capacity and labels stay harmless. Operands that cannot be encoded (a
// displacement beyond 2 GiB, a short jump that is too far, rsp as an index, ah with a REX register)
// are bugs of the caller: they assert, and a range that is found out only when a label is bound
// sets range_error().
//
// Threading: none; a buffer has one writer.
#pragma once
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "rhea/tcg/backend.h"
#include "tcg/backend/x64/operands.h"

namespace rhea::tcg::x64 {

class Assembler {
  public:
    /// Room that must be left for an instruction to be written.
    static constexpr std::size_t kMaxInstruction = 16;

    explicit Assembler(CodeBuffer buffer);
    Assembler(const Assembler&) = delete;
    Assembler& operator=(const Assembler&) = delete;

    // ---- buffer ------------------------------------------------------------------------------
    [[nodiscard]] bool overflowed() const { return overflowed_; }
    /// A short jump, rip-relative operand or label was out of range. As fatal as overflowed().
    [[nodiscard]] bool range_error() const { return range_error_; }
    [[nodiscard]] bool ok() const { return !overflowed_ && !range_error_; }
    /// Bytes written so far = offset of the next instruction.
    [[nodiscard]] std::size_t offset() const {
        return overflowed_ ? capacity_ : static_cast<std::size_t>(cursor_ - write_);
    }
    [[nodiscard]] std::size_t capacity() const { return capacity_; }
    /// Executable address of an offset, of the next instruction.
    [[nodiscard]] const std::uint8_t* exec_at(std::size_t offset) const { return exec_ + offset; }
    [[nodiscard]] const std::uint8_t* exec_here() const { return exec_ + offset(); }
    /// Writable address of an offset.
    [[nodiscard]] std::uint8_t* write_at(std::size_t offset) const { return write_ + offset; }
    /// Can rel32 reach `target` from everywhere in the buffer?
    [[nodiscard]] bool reaches(const void* target) const;

    // ---- data and alignment ------------------------------------------------------------------
    void byte(std::uint8_t value);
    void word32(std::uint32_t value);
    void word64(std::uint64_t value);
    void bytes(std::span<const std::uint8_t> data);
    /// `count` bytes of the longest recommended no-ops (up to 9 bytes each).
    void nop(unsigned count = 1);
    /// No-ops until the executable address is a multiple of `alignment` (a power of two).
    void align(unsigned alignment);
    /// int3 until the address is aligned: for places never run through.
    void align_int3(unsigned alignment);

    // ---- labels and jumps --------------------------------------------------------------------
    void bind(Label& label);
    /// To a label: rel8 when the label is bound and near, or when the caller promises kShort; else
    /// rel32.
    void jmp(Label& label, Reach reach = Reach::kNear);
    void jcc(Cond cond, Label& label, Reach reach = Reach::kNear);
    void call(Label& label);
    /// To an executable address within 2 GiB, rel32 (jmp also rel8 where it reaches).
    void jmp(const void* target);
    void jcc(Cond cond, const void* target);
    void call(const void* target);
    void jmp(Gpr target);
    void jmp(const Mem& target);
    void call(Gpr target);
    void call(const Mem& target);
    void ret();
    /// jmp/jcc rel32 whose 32-bit field lies at a multiple of 4 (no-ops before it), for exits that
    /// are patched while other threads run through them. Return the offset of the field; it holds a
    /// jump to the next instruction until patched or, in the form with a label, to the label.
    std::size_t jmp_rel32_aligned();
    std::size_t jmp_rel32_aligned(Label& label);
    std::size_t jcc_rel32_aligned(Cond cond);
    std::size_t jcc_rel32_aligned(Cond cond, Label& label);
    /// call rel32 with an aligned field.
    std::size_t call_rel32_aligned(Label& label);
    /// lea reg, [rip + label]: the address of a place in this buffer.
    void lea_label(Gpr dst, Label& label) { lea(8, dst, Mem::rip(label)); }
    /// Points the rel32 field at `field_write` (seen at `field_exec`) to `target`: one 32-bit
    /// store, atomic when the field is aligned.
    static void patch_rel32(std::uint8_t* field_write, const std::uint8_t* field_exec,
                            const void* target);

    // ---- sequences -----------------------------------------------------------------------------
    /// What stands before an access: bextr t1, ea, base; mov t2, ea (unless it is); sub t2, [base + t1*8 + tag];
    /// cmp t2, limit; mov t1, [base + t1*8 + addend]; ja slow. base is rbp, t2 not rax; the displacements and the
    /// limit have their 32-bit forms.
    void tlb_check(Gpr t1, Gpr t2, Gpr ea, std::int32_t tag, std::int32_t addend, std::int32_t limit, Label& slow);

    // ---- moves -------------------------------------------------------------------------------
    void mov(unsigned size, Gpr dst, Gpr src);
    void mov(unsigned size, Gpr dst, const Mem& src);
    void mov(unsigned size, const Mem& dst, Gpr src);
    /// imm is sign-extended for size 8; must fit in 32 bits then.
    void mov(unsigned size, const Mem& dst, std::int32_t imm);
    /// The low `size` bytes of the register (4: the upper half is zeroed). No flags changed.
    void mov(unsigned size, Gpr dst, std::int64_t imm);
    /// The whole register := value, by the shortest of mov r32,imm32; mov r64,simm32; movabs. No
    /// flags changed.
    void mov_imm(Gpr dst, std::uint64_t value);
    /// movabs with all 8 bytes; returns the offset of the 64-bit field.
    std::size_t movabs(Gpr dst, std::uint64_t value);
    /// Zero-extension from src_size (1, 2, 4) to the whole register.
    void movzx(unsigned src_size, Gpr dst, Gpr src);
    void movzx(unsigned src_size, Gpr dst, const Mem& src);
    /// Sign-extension from src_size (1, 2, 4) to dst_size (2, 4, 8).
    void movsx(unsigned dst_size, unsigned src_size, Gpr dst, Gpr src);
    void movsx(unsigned dst_size, unsigned src_size, Gpr dst, const Mem& src);
    void lea(unsigned size, Gpr dst, const Mem& address);
    void xchg(unsigned size, Gpr a, Gpr b);
    void xchg(unsigned size, const Mem& m, Gpr r);  ///< locked by definition
    void push(Gpr r);
    void pop(Gpr r);
    void push(const Mem& m);
    void pop(const Mem& m);
    void push_imm(std::int32_t imm);
    void bswap(unsigned size, Gpr r);                    ///< 4, 8
    void movbe(unsigned size, Gpr dst, const Mem& src);  ///< 2, 4, 8
    void movbe(unsigned size, const Mem& dst, Gpr src);
    void cmov(Cond cond, unsigned size, Gpr dst, Gpr src);  ///< 2, 4, 8
    void cmov(Cond cond, unsigned size, Gpr dst, const Mem& src);
    void setcc(Cond cond, Gpr dst);
    void setcc(Cond cond, const Mem& dst);

    // ---- second bytes of rax, rcx, rdx, rbx (see HighByte) --------------------------------------
    void mov8(Gpr dst, HighByte src);
    void mov8(HighByte dst, Gpr src);
    void mov8(HighByte dst, HighByte src);
    void mov8(HighByte dst, std::uint8_t imm);
    void mov8(HighByte dst, const Mem& src);
    void mov8(const Mem& dst, HighByte src);
    void movzx8(Gpr dst, HighByte src);  ///< dst is rax to rdi; upper bits zeroed
    void movsx8(unsigned dst_size, Gpr dst, HighByte src);
    void alu8(Alu op, HighByte dst, Gpr src);
    void alu8(Alu op, Gpr dst, HighByte src);
    void alu8(Alu op, HighByte dst, HighByte src);
    void alu8(Alu op, HighByte dst, std::int8_t imm);
    void test8(HighByte a, HighByte b);
    void test8(HighByte a, std::uint8_t imm);
    void setcc(Cond cond, HighByte dst);

    // ---- arithmetic and logic ------------------------------------------------------------------
    void alu(Alu op, unsigned size, Gpr dst, Gpr src);
    void alu(Alu op, unsigned size, Gpr dst, const Mem& src);
    void alu(Alu op, unsigned size, const Mem& dst, Gpr src);
    /// imm: as many low bits as the size has; sign-extended for size 8. imm8 form when it fits.
    void alu(Alu op, unsigned size, Gpr dst, std::int32_t imm);
    void alu(Alu op, unsigned size, const Mem& dst, std::int32_t imm);
    // clang-format off
    template <class D, class S> void add(unsigned z, D d, const S& s) { alu(Alu::add, z, d, s); }
    template <class D, class S> void or_(unsigned z, D d, const S& s) { alu(Alu::or_, z, d, s); }
    template <class D, class S> void adc(unsigned z, D d, const S& s) { alu(Alu::adc, z, d, s); }
    template <class D, class S> void sbb(unsigned z, D d, const S& s) { alu(Alu::sbb, z, d, s); }
    template <class D, class S> void and_(unsigned z, D d, const S& s) { alu(Alu::and_, z, d, s); }
    template <class D, class S> void sub(unsigned z, D d, const S& s) { alu(Alu::sub, z, d, s); }
    template <class D, class S> void xor_(unsigned z, D d, const S& s) { alu(Alu::xor_, z, d, s); }
    template <class D, class S> void cmp(unsigned z, D d, const S& s) { alu(Alu::cmp, z, d, s); }
    // clang-format on
    void test(unsigned size, Gpr a, Gpr b);
    void test(unsigned size, const Mem& a, Gpr b);
    void test(unsigned size, Gpr a, std::int32_t imm);
    void test(unsigned size, const Mem& a, std::int32_t imm);
    void inc(unsigned size, Gpr r);
    void inc(unsigned size, const Mem& m);
    void dec(unsigned size, Gpr r);
    void dec(unsigned size, const Mem& m);
    /// not, neg; mul, imul, div, idiv on rdx:rax (ax for bytes).
    void unary(Unary op, unsigned size, Gpr r);
    void unary(Unary op, unsigned size, const Mem& m);
    template <class O>
    void not_(unsigned z, const O& o) {
        unary(Unary::not_, z, o);
    }
    template <class O>
    void neg(unsigned z, const O& o) {
        unary(Unary::neg, z, o);
    }
    template <class O>
    void mul(unsigned z, const O& o) {
        unary(Unary::mul, z, o);
    }
    template <class O>
    void imul(unsigned z, const O& o) {
        unary(Unary::imul, z, o);
    }
    template <class O>
    void div(unsigned z, const O& o) {
        unary(Unary::div, z, o);
    }
    template <class O>
    void idiv(unsigned z, const O& o) {
        unary(Unary::idiv, z, o);
    }
    /// dst *= src; sizes 2, 4, 8.
    void imul(unsigned size, Gpr dst, Gpr src);
    void imul(unsigned size, Gpr dst, const Mem& src);
    /// dst = src * imm.
    void imul(unsigned size, Gpr dst, Gpr src, std::int32_t imm);
    void imul(unsigned size, Gpr dst, const Mem& src, std::int32_t imm);
    /// high:low = rdx * src; sizes 4, 8. No flags.
    void mulx(unsigned size, Gpr high, Gpr low, Gpr src);
    void mulx(unsigned size, Gpr high, Gpr low, const Mem& src);
    void adcx(unsigned size, Gpr dst, Gpr src);  ///< 4, 8
    void adcx(unsigned size, Gpr dst, const Mem& src);
    void adox(unsigned size, Gpr dst, Gpr src);
    void adox(unsigned size, Gpr dst, const Mem& src);
    /// Sign-extends al/ax/eax within rax: to 2 (cbw), 4 (cwde), 8 (cdqe) bytes.
    void sign_extend_rax(unsigned size);
    /// rdx := sign of rax: 2 (cwd), 4 (cdq), 8 (cqo).
    void sign_fill_rdx(unsigned size);

    // ---- shifts ------------------------------------------------------------------------------
    void shift(Shift op, unsigned size, Gpr r, unsigned count);  ///< the short form when count is 1
    void shift(Shift op, unsigned size, const Mem& m, unsigned count);
    void shift_cl(Shift op, unsigned size, Gpr r);
    void shift_cl(Shift op, unsigned size, const Mem& m);
    // clang-format off
    template <class D> void shl(unsigned z, const D& d, unsigned n) { shift(Shift::shl, z, d, n); }
    template <class D> void shr(unsigned z, const D& d, unsigned n) { shift(Shift::shr, z, d, n); }
    template <class D> void sar(unsigned z, const D& d, unsigned n) { shift(Shift::sar, z, d, n); }
    template <class D> void rol(unsigned z, const D& d, unsigned n) { shift(Shift::rol, z, d, n); }
    template <class D> void ror(unsigned z, const D& d, unsigned n) { shift(Shift::ror, z, d, n); }
    // clang-format on
    void shld(unsigned size, Gpr dst, Gpr src, unsigned count);  ///< 2, 4, 8
    void shrd(unsigned size, Gpr dst, Gpr src, unsigned count);
    void shld(unsigned size, const Mem& dst, Gpr src, unsigned count);
    void shrd(unsigned size, const Mem& dst, Gpr src, unsigned count);
    void shld_cl(unsigned size, Gpr dst, Gpr src);
    void shrd_cl(unsigned size, Gpr dst, Gpr src);
    void shld_cl(unsigned size, const Mem& dst, Gpr src);
    void shrd_cl(unsigned size, const Mem& dst, Gpr src);
    /// BMI2, sizes 4 and 8, no flags.
    void shlx(unsigned size, Gpr dst, Gpr src, Gpr count);
    void shrx(unsigned size, Gpr dst, Gpr src, Gpr count);
    void sarx(unsigned size, Gpr dst, Gpr src, Gpr count);
    void shlx(unsigned size, Gpr dst, const Mem& src, Gpr count);
    void shrx(unsigned size, Gpr dst, const Mem& src, Gpr count);
    void sarx(unsigned size, Gpr dst, const Mem& src, Gpr count);
    void rorx(unsigned size, Gpr dst, Gpr src, unsigned count);
    void rorx(unsigned size, Gpr dst, const Mem& src, unsigned count);

    // ---- bits ----------------------------------------------------------------------------------
    void bit_test(BitTest op, unsigned size, Gpr r, Gpr bit);  ///< 2, 4, 8
    void bit_test(BitTest op, unsigned size, const Mem& m, Gpr bit);
    void bit_test(BitTest op, unsigned size, Gpr r, unsigned bit);
    void bit_test(BitTest op, unsigned size, const Mem& m, unsigned bit);
    template <class D, class B>
    void bt(unsigned z, const D& d, B b) {
        bit_test(BitTest::bt, z, d, b);
    }
    void bsf(unsigned size, Gpr dst, Gpr src);  ///< 2, 4, 8
    void bsf(unsigned size, Gpr dst, const Mem& src);
    void bsr(unsigned size, Gpr dst, Gpr src);
    void bsr(unsigned size, Gpr dst, const Mem& src);
    void tzcnt(unsigned size, Gpr dst, Gpr src);
    void tzcnt(unsigned size, Gpr dst, const Mem& src);
    void lzcnt(unsigned size, Gpr dst, Gpr src);
    void lzcnt(unsigned size, Gpr dst, const Mem& src);
    void popcnt(unsigned size, Gpr dst, Gpr src);
    void popcnt(unsigned size, Gpr dst, const Mem& src);
    /// dst = bits of src that `control` (start | length << 8) names; 4, 8.
    void bextr(unsigned size, Gpr dst, Gpr src, Gpr control);
    void bextr(unsigned size, Gpr dst, const Mem& src, Gpr control);
    /// dst = ~a & b; 4, 8.
    void andn(unsigned size, Gpr dst, Gpr a, Gpr b);
    void andn(unsigned size, Gpr dst, Gpr a, const Mem& b);
    void bzhi(unsigned size, Gpr dst, Gpr src, Gpr index);
    void bzhi(unsigned size, Gpr dst, const Mem& src, Gpr index);
    void pdep(unsigned size, Gpr dst, Gpr src, Gpr mask);
    void pdep(unsigned size, Gpr dst, Gpr src, const Mem& mask);
    void pext(unsigned size, Gpr dst, Gpr src, Gpr mask);
    void pext(unsigned size, Gpr dst, Gpr src, const Mem& mask);
    /// CRC32C step of dst by src_size bytes of src (1, 2, 4, 8).
    void crc32(unsigned src_size, Gpr dst, Gpr src);
    void crc32(unsigned src_size, Gpr dst, const Mem& src);

    // ---- SHA: legacy encodings, which keep bits 255:128 of dst; sha256rnds2 reads xmm0 ----------
    void sha(ShaOp op, Xmm dst, Xmm src);
    void sha1rnds4(Xmm dst, Xmm src, unsigned function);

    // ---- atomics, flags, control ---------------------------------------------------------------
    /// Prefix of the next instruction (alu, inc, neg, bts, xadd, cmpxchg, ... with a memory
    /// destination).
    void lock();
    void xadd(unsigned size, Gpr dst, Gpr src);
    void xadd(unsigned size, const Mem& dst, Gpr src);
    void cmpxchg(unsigned size, Gpr dst, Gpr src);
    void cmpxchg(unsigned size, const Mem& dst, Gpr src);
    /// cmpxchg8b (size 8) and cmpxchg16b (size 16).
    void cmpxchg_pair(unsigned size, const Mem& m);
    void mfence();
    void lahf();
    void sahf();
    void pushf();
    void popf();
    void cld();
    void clc();
    void stc();
    void cmc();
    void int3();
    void ud2();
    /// rep movs/stos with element size 1, 2, 4, 8.
    void rep_movs(unsigned size);
    void rep_stos(unsigned size);
    void fldcw(const Mem& m);
    void fnstcw(const Mem& m);
    void fninit();
    /// Any x87 instruction, opcode as FOP has it: with register operands; with memory (mod and r/m of `opcode` do not count).
    void x87(unsigned opcode);
    void x87(unsigned opcode, const Mem& m);
    void fnsave(const Mem& m);
    void frstor(const Mem& m);
    void vldmxcsr(const Mem& m);
    void vstmxcsr(const Mem& m);

    // ---- vectors: the general forms ------------------------------------------------------------
    // Names: r a register, m memory, i an 8-bit immediate, in the order of Intel's operands. In
    // three-operand forms the second operand is VEX.vvvv. Descriptors by name: vex_ops.h.
    void vex_rr(VexOp op, AnyReg dst, AnyReg src);
    void vex_rm(VexOp op, AnyReg dst, const Mem& src);
    void vex_rri(VexOp op, AnyReg dst, AnyReg src, unsigned imm);
    void vex_rmi(VexOp op, AnyReg dst, const Mem& src, unsigned imm);
    void vex_rrr(VexOp op, AnyReg dst, AnyReg a, AnyReg b);
    void vex_rrm(VexOp op, AnyReg dst, AnyReg a, const Mem& b);
    void vex_rrri(VexOp op, AnyReg dst, AnyReg a, AnyReg b, unsigned imm);
    void vex_rrmi(VexOp op, AnyReg dst, AnyReg a, const Mem& b, unsigned imm);
    /// Fourth register in imm8[7:4] (vblendvps, vpblendvb).
    void vex_rrrr(VexOp op, AnyReg dst, AnyReg a, AnyReg b, AnyReg c);
    void vex_rrmr(VexOp op, AnyReg dst, AnyReg a, const Mem& b, AnyReg c);
    /// Stores and extracts: ModRM.rm is the destination, reg the source.
    void vex_mr(VexOp op, const Mem& dst, AnyReg src);
    void vex_mri(VexOp op, const Mem& dst, AnyReg src, unsigned imm);
    void vex_rr_store(VexOp op, AnyReg dst, AnyReg src);
    void vex_rri_store(VexOp op, AnyReg dst, AnyReg src, unsigned imm);
    /// Group forms: ModRM.reg is `digit`, vvvv the destination (vpsrldq, vpslld by imm; blsr and
    /// friends without imm).
    void vex_group_rri(VexOp op, unsigned digit, AnyReg dst, AnyReg src, unsigned imm);
    void vex_group_rr(VexOp op, unsigned digit, AnyReg dst, AnyReg src);
    void vex_group_rm(VexOp op, unsigned digit, AnyReg dst, const Mem& src);

    // ---- vectors: moves by name
    // ------------------------------------------------------------------
    void vmovd(Xmm dst, Gpr src);  ///< 32 bits, rest zeroed
    void vmovd(Gpr dst, Xmm src);
    void vmovd(Xmm dst, const Mem& src);
    void vmovd(const Mem& dst, Xmm src);
    void vmovq(Xmm dst, Gpr src);  ///< 64 bits, rest zeroed
    void vmovq(Gpr dst, Xmm src);
    void vmovq(Xmm dst, Xmm src);
    void vmovq(Xmm dst, const Mem& src);
    void vmovq(const Mem& dst, Xmm src);
    void vmovups(Xmm dst, const Mem& src);
    void vmovups(const Mem& dst, Xmm src);
    void vmovaps(Xmm dst, Xmm src);
    void vmovaps(Xmm dst, const Mem& src);
    void vmovaps(const Mem& dst, Xmm src);
    void vmovdqu(Xmm dst, const Mem& src);
    void vmovdqu(const Mem& dst, Xmm src);
    void vmovdqa(Xmm dst, Xmm src);
    void vmovdqa(Xmm dst, const Mem& src);
    void vmovdqa(const Mem& dst, Xmm src);
    void vmovups_ymm(Xmm dst, const Mem& src);
    void vmovups_ymm(const Mem& dst, Xmm src);
    void vmovss(Xmm dst, const Mem& src);  ///< rest zeroed
    void vmovss(const Mem& dst, Xmm src);
    void vmovss(Xmm dst, Xmm upper, Xmm low);  ///< lane 0 of `low`, the rest of `upper`
    void vmovsd(Xmm dst, const Mem& src);
    void vmovsd(const Mem& dst, Xmm src);
    void vmovsd(Xmm dst, Xmm upper, Xmm low);
    void vmovlps(Xmm dst, Xmm upper, const Mem& low);
    void vmovlps(const Mem& dst, Xmm src);
    void vmovhps(Xmm dst, Xmm low, const Mem& upper);
    void vmovhps(const Mem& dst, Xmm src);
    void vzeroupper();

  private:
    /// Where the next instruction goes: kMaxInstruction bytes may be written there.
    std::uint8_t* begin() {
        if (cursor_ > limit_) [[unlikely]] {
            overflow();
        }
        return cursor_;
    }
    void overflow();
    void end(std::uint8_t* p) { cursor_ = p; }
    void put1(std::uint8_t a);
    void put2(std::uint8_t a, std::uint8_t b);

    // Encoders: write prefixes, opcode and operands and return where the immediate goes. `op` is
    // mandatory prefix << 24 | escape bytes | opcode; `trailing` the bytes of immediate to come.
    std::uint8_t* encode_rr(std::uint32_t op, unsigned size, unsigned reg, unsigned rm,
                            bool force_rex = false);
    std::uint8_t* encode_rm(std::uint32_t op, unsigned size, unsigned reg, const Mem& m,
                            unsigned trailing = 0, bool force_rex = false);
    std::uint8_t* encode_rm_any(std::uint32_t op, unsigned size, unsigned reg, const Mem& m,
                                unsigned trailing, bool force_rex);
    std::uint8_t* put_mem(std::uint8_t* p, unsigned reg, const Mem& m, unsigned trailing);
    std::uint8_t* put_rip(std::uint8_t* p, const Mem& m, unsigned trailing);
    std::uint8_t* vex_prefix(std::uint8_t* p, VexOp op, unsigned reg, unsigned vvvv, bool x,
                             bool b);
    std::uint8_t* encode_vex_rr(VexOp op, unsigned reg, unsigned vvvv, unsigned rm);
    std::uint8_t* encode_vex_rm(VexOp op, unsigned reg, unsigned vvvv, const Mem& m,
                                unsigned trailing = 0);
    /// A byte operand in a legacy-encoded instruction that names a HighByte.
    void high_rr(std::uint32_t op, unsigned reg, unsigned rm);
    void high_rm(std::uint32_t op, unsigned reg, const Mem& m);

    /// Adds a rel32 field for a label, or fills it in; the field's value as it is to be written.
    std::uint32_t use_label(Label& label, const std::uint8_t* field, unsigned trailing);
    std::uint32_t rel32(const std::uint8_t* field, const void* target, unsigned trailing);
    /// No-ops such that a field `before` bytes after the cursor is 4-byte aligned.
    void align_field(unsigned before);

    std::uint8_t* cursor_;
    std::uint8_t* limit_;  ///< the last place where an instruction may begin
    std::uint8_t* write_;
    const std::uint8_t* exec_;
    std::size_t capacity_;
    bool overflowed_ = false;
    bool range_error_ = false;
    std::uint8_t scratch_[64];  ///< takes what is emitted after an overflow
};

}  // namespace rhea::tcg::x64
