// The emitters of integer and system instructions, by what rows call them. One function translates one instruction.
#pragma once
#include "target/x86/translate/translator.h"

namespace rhea::target::x86::emit {

enum class AluOp : std::uint8_t { kAdd, kOr, kAdc, kSbb, kAnd, kSub, kXor, kCmp };
enum class ShiftOp : std::uint8_t { kRol, kRor, kRcl, kRcr, kShl, kShr, kSar };
enum class BitOp : std::uint8_t { kTest, kSet, kReset, kComplement };
enum class LowestBitOp : std::uint8_t { kReset, kMask, kIsolate };
enum class StringOp : std::uint8_t { kMovs, kCmps, kStos, kLods, kScas };
enum class CarryOp : std::uint8_t { kClear, kSet, kComplement };

// ---- arithmetic (emit_alu.cc, emit_multiply.cc, emit_bcd.cc) ----
template <AluOp kOp> void alu(Translator &t);
template <int kStep> void inc_dec(Translator &t);
void not_(Translator &t);
void neg(Translator &t);
void test(Translator &t);
template <bool kSigned> void mul(Translator &t);
template <bool kSigned> void div(Translator &t);
void imul_reg(Translator &t);
template <bool kOverflow> void add_carry_extended(Translator &t);
void mulx(Translator &t);
void daa(Translator &t);
void das(Translator &t);
void aaa(Translator &t);
void aas(Translator &t);
void aam(Translator &t);
void aad(Translator &t);
template <CarryOp kOp> void set_carry(Translator &t);
void salc(Translator &t);
void sahf(Translator &t);
void lahf(Translator &t);

// ---- shifts and bits (emit_shift.cc, emit_bits.cc) ----
template <ShiftOp kOp> void shift(Translator &t);
template <ShiftOp kOp> void shift_plain(Translator &t);
template <bool kLeft> void shift_double(Translator &t);
template <BitOp kOp> void bit_test(Translator &t);
template <bool kReverse> void bit_scan(Translator &t);
template <bool kLeading> void count_zeros(Translator &t);
void popcnt(Translator &t);
void bswap(Translator &t);
void movbe(Translator &t);
void crc32(Translator &t);
void andn(Translator &t);
template <LowestBitOp kOp> void lowest_bit(Translator &t);
void bzhi(Translator &t);
void bextr(Translator &t);
template <bool kDeposit> void deposit(Translator &t);

// ---- moves and stack (emit_move.cc, emit_exchange.cc, emit_stack.cc) ----
void mov(Translator &t);
void movzx(Translator &t);
void movsx(Translator &t);
void lea(Translator &t);
void xlat(Translator &t);
void cbw(Translator &t);
void cwd(Translator &t);
void cmov(Translator &t);
void setcc(Translator &t);
void xchg(Translator &t);
void xchg_rax(Translator &t);
void xadd(Translator &t);
void cmpxchg(Translator &t);
void cmpxchg_wide(Translator &t);
void push(Translator &t);
void pop(Translator &t);
void pusha(Translator &t);
void popa(Translator &t);
void enter(Translator &t);
void leave(Translator &t);
void pushf(Translator &t);
void popf(Translator &t);

// ---- strings and ports (emit_string.cc) ----
template <StringOp kOp> void string_op(Translator &t);
template <bool kIn> void string_io(Translator &t);
template <int kStep> void set_direction(Translator &t);
void in(Translator &t);
void out(Translator &t);

// ---- control (emit_control.cc) ----
void nop(Translator &t);
void undefined(Translator &t);
void jcc(Translator &t);
void loop(Translator &t);
void jmp_rel(Translator &t);
void jmp_indirect(Translator &t);
void call_rel(Translator &t);
void call_indirect(Translator &t);
void ret(Translator &t);
template <bool kCall> void far_imm(Translator &t);
template <bool kCall> void far_mem(Translator &t);
void far_ret(Translator &t);
void iret(Translator &t);
void int3(Translator &t);
void int1(Translator &t);
void int_n(Translator &t);
void into(Translator &t);
void bound(Translator &t);
void syscall(Translator &t);
void sysret(Translator &t);
void sysenter(Translator &t);
void sysexit(Translator &t);
void rsm(Translator &t);
void hlt(Translator &t);
void cli(Translator &t);
void sti(Translator &t);

// ---- segments (emit_segment.cc) ----
void mov_from_seg(Translator &t);
void mov_to_seg(Translator &t);
void push_seg(Translator &t);
void pop_seg(Translator &t);
template <Seg kSeg> void load_far_pointer(Translator &t);
void arpl(Translator &t);
template <bool kLimit> void load_access_rights(Translator &t);
template <bool kWrite> void verify_segment(Translator &t);
template <bool kTask> void store_system_selector(Translator &t);
template <bool kTask> void load_system_selector(Translator &t);
template <bool kInterrupts> void store_table(Translator &t);
template <bool kInterrupts> void load_table(Translator &t);
void swapgs(Translator &t);
template <Seg kSeg, bool kWrite> void base_register(Translator &t);

// ---- the rest of the system (emit_system.cc) ----
void smsw(Translator &t);
void lmsw(Translator &t);
void clts(Translator &t);
void mov_from_cr(Translator &t);
void mov_to_cr(Translator &t);
void mov_from_dr(Translator &t);
void mov_to_dr(Translator &t);
void invlpg(Translator &t);
void invpcid(Translator &t);
void rdmsr(Translator &t);
void wrmsr(Translator &t);
void rdtsc(Translator &t);
void rdtscp(Translator &t);
void rdpmc(Translator &t);
void rdpid(Translator &t);
void cpuid(Translator &t);
void random(Translator &t);
void monitor(Translator &t);
void mwait(Translator &t);
void xgetbv(Translator &t);
void xsetbv(Translator &t);
template <bool kSet> void set_ac(Translator &t);
void fence(Translator &t);
void cache_line(Translator &t);

} // namespace rhea::target::x86::emit
