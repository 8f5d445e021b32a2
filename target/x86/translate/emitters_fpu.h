// The emitters of x87, MMX, SSE and SSE2 rows, by what rows call them.
#pragma once
#include "target/x86/fpu/xsave.h"
#include "target/x86/translate/translator.h"

#include <initializer_list>

namespace rhea::target::x86::emit {

// ---- what these emitters share (emit_sse.cc) ----
/// Operand n as a v128: a register, or memory of the operand's size with the rest zero. 16 bytes are aligned unless said.
ValueId read_vector(Translator &t, unsigned n, bool aligned = true);
/// A vector register gets the value (an MMX register its low half).
void write_vector(Translator &t, unsigned n, ValueId value);
/// MMX instructions make all registers valid and TOP 0; behind the last thing that may fault.
void enter_mmx(Translator &t);
bool is_mmx(const Operand &operand);
/// Emits a vector row; where SIMD exceptions are unmasked also the check for #XM.
/// type: the row's own, or kV256.
ValueId vector_value(Translator &t, Op op, std::initializer_list<ValueId> args, std::uint64_t imm = 0,
                     Type type = Type::kNone);

// ---- SSE, SSE2 (emit_sse.cc) ----
template <Op kOp> void vector_op(Translator &t);
template <Op kOp> void vector_compare(Translator &t);
template <Op kOp32, Op kOp64> void convert_from_integer(Translator &t);
template <Op kOp32, Op kOp64> void convert_to_integer(Translator &t);
void ldmxcsr(Translator &t);
void stmxcsr(Translator &t);

// ---- moves of vectors (emit_sse_move.cc) ----
template <bool kAligned> void vector_move(Translator &t);
template <bool kHigh> void load_half(Translator &t);
template <bool kHigh> void store_half(Translator &t);
void move_scalar(Translator &t);
void move_from_integer(Translator &t);
void move_to_integer(Translator &t);
void move_quad(Translator &t);
void mask_move(Translator &t);
void insert_word(Translator &t);
void extract_word(Translator &t);

// ---- SSE3 to SSE4.2 (emit_sse4.cc) ----
template <Op kOp32, Op kOp64> void insert_lane(Translator &t);
template <Op kOp32, Op kOp64> void extract_lane(Translator &t);
void insert_single(Translator &t);
template <Op kOp> void with_xmm0(Translator &t);
template <bool kExplicit> void string_index(Translator &t);
template <bool kExplicit> void string_mask(Translator &t);

// ---- AVX, AVX2, FMA, F16C (emit_avx.cc, emit_avx_move.cc, emit_avx_memory.cc) ----
/// Operand n: v256 where it has 32 bytes, else as read_vector. Any address will do unless aligned.
ValueId read_avx(Translator &t, unsigned n, bool aligned = false);
ValueId read_ymm(Translator &t, unsigned reg);
/// A v128 clears the upper half.
void write_avx(Translator &t, unsigned reg, ValueId value);
template <Op kOp> void avx_op(Translator &t);
template <Op kOp> void avx_fused(Translator &t);
template <Op kOp> void avx_compare(Translator &t);
template <Op kOp32, Op kOp64> void avx_from_integer(Translator &t);
template <Op kOp32, Op kOp64> void avx_insert_lane(Translator &t);
template <bool kExplicit> void avx_string_mask(Translator &t);
void avx_insert_single(Translator &t);
void avx_to_half_precision(Translator &t);
template <bool kAligned> void avx_move(Translator &t);
void avx_move_scalar(Translator &t);
void avx_move_quad(Translator &t);
template <bool kHigh> void avx_load_half(Translator &t);
void avx_broadcast_half(Translator &t);
void avx_insert_half(Translator &t);
void avx_extract_half(Translator &t);
void avx_zero_upper(Translator &t);
void avx_zero_all(Translator &t);
template <unsigned kElement> void avx_mask_move(Translator &t);
template <unsigned kElement, unsigned kIndex> void avx_gather(Translator &t);

// ---- MMX (emit_mmx.cc) ----
void mmx_shuffle(Translator &t);
void mmx_align(Translator &t);
template <Op kOp> void mmx_unpack_high(Translator &t);
template <Op kOp> void mmx_pack(Translator &t);
template <Op kOp> void convert_from_mmx(Translator &t);
template <Op kOp> void convert_to_mmx(Translator &t);
void emms(Translator &t);

// ---- x87 (emit_x87.cc) ----
void x87_register(Translator &t);
template <unsigned kBytes> void x87_load(Translator &t);
template <unsigned kBytes> void x87_store(Translator &t);
void x87_move_if(Translator &t);
void x87_compare_flags(Translator &t);
void fwait(Translator &t);
void fninit(Translator &t);
void fnclex(Translator &t);
void fldcw(Translator &t);
void fnstcw(Translator &t);
void fnstsw(Translator &t);
template <bool kWhole> void x87_load_image(Translator &t);
template <bool kWhole> void x87_store_image(Translator &t);
void fxsave(Translator &t);
void fxrstor(Translator &t);

// ---- the XSAVE feature set (emit_xsave.cc) ----
template <XsaveKind kKind> void xsave(Translator &t);
void xrstor(Translator &t);

} // namespace rhea::target::x86::emit
