// What emitters have in hand: the instruction, its operands as IR values, and the ways out of it.
//
// Rules (docs/translator.md): registers and flags are written after the last operation of the instruction that can
// fault. Addresses (`offset`) are i64 values already masked to the address size; linear addresses are i64. Page
// offsets are relative to the block's page base. One translator translates one block.
#pragma once
#include "rhea/target/x86/state.h"
#include "rhea/tcg/frontend.h"
#include "rhea/tcg/ir.h"
#include "target/x86/decode/decode.h"
#include "target/x86/helpers.h"
#include "target/x86/translate/translate.h"

#include <cstdint>
#include <initializer_list>
#include <utility>

namespace rhea::target::x86 {

using tcg::Cond;
using tcg::Type;
using tcg::ir::kNoValue;
using tcg::ir::Op;
using tcg::ir::ValueId;

class Translator {
public:
    Translator(tcg::ir::Block &block, const TranslateContext &context);

    tcg::ir::Builder b;
    Insn insn;
    const TranslateContext &context;
    const std::uint32_t mode;
    std::int32_t offset = 0; ///< page offset of the instruction
    std::int32_t next = 0;   ///< page offset behind it

    // ---- mode ----
    bool code64() const { return (mode & kModeCode64) != 0; }
    bool protected_mode() const { return (mode & kModeProtected) != 0; }
    bool vm86() const { return (mode & kModeVm86) != 0; }
    bool cpl3() const { return (mode & kModeCpl3) != 0; }
    bool io_allowed() const { return (mode & kModeIopl) != 0 || (!protected_mode() && !vm86()); }
    /// Bytes of the stack pointer that count.
    unsigned stack_size() const { return code64() ? 8 : (mode & kModeStack32) != 0 ? 4 : 2; }
    /// Nothing may follow this instruction in the block, and its exits go through the run loop.
    bool single() const { return single_mode_ || after_sti_; }
    DecodeMode decode_mode() const;

    // ---- values ----
    unsigned opsize() const { return insn.operand_size; }
    Type optype() const { return tcg::int_type(insn.operand_size); }
    ValueId imm(unsigned size) { return b.konst(tcg::int_type(size), insn.imm); }
    ValueId reg(unsigned number, unsigned size, bool high = false);
    /// 4 bytes clear the upper half, 1 and 2 keep the rest (SDM volume 1, 3.4.1.1).
    void set_reg(unsigned number, unsigned size, ValueId value, bool high = false);
    ValueId slot(unsigned number) { return b.get(static_cast<tcg::Slot>(number)); }
    void set_slot(unsigned number, ValueId value) { b.set(static_cast<tcg::Slot>(number), value); }
    /// Zero, one value a block.
    ValueId vector_zero() {
        zero_ = zero_ == kNoValue ? b.emit(Op::v_zero, Type::kV128) : zero_;
        return zero_;
    }
    ValueId gpr(unsigned number) { return slot(kSlotGpr + number); }
    void set_gpr(unsigned number, ValueId value) { set_slot(kSlotGpr + number, value); }
    ValueId seg_base(unsigned segment) { return slot(kSlotSegBase + segment); }
    void set_seg_base(unsigned segment, ValueId value) { set_slot(kSlotSegBase + segment, value); }
    ValueId flags_bits() { return b.emit(Op::f_bits, Type::kI32, {b.flags()}); }
    /// A flags value; the operation's type is that of its first argument.
    ValueId flags_of(Op op, std::initializer_list<ValueId> args) {
        return b.emit(op, b.block().type_of(*args.begin()), args);
    }
    ValueId cond_of(ValueId flags, Cond cc) {
        return b.emit(Op::cond, Type::kI8, {flags}, static_cast<std::uint16_t>(cc));
    }
    ValueId is_zero(ValueId value);     ///< i8: 1 when 0
    ValueId is_not_zero(ValueId value);
    ValueId msb(ValueId value);         ///< i8: the sign bit

    // ---- operands of the instruction ----
    const Operand &op(unsigned n) const { return insn.operands[n]; }
    ValueId read(unsigned n);
    ValueId read_for_update(unsigned n); ///< memory is known writable afterwards
    void write(unsigned n, ValueId value);
    ValueId read_as(unsigned n, unsigned size); ///< as read, of another size (a register's low bytes)

    // ---- fields of the instruction that are read when it runs (code_fields.cc) ----
    /// Behind decoding, where the window has `patched` bytes.
    void find_fields(const tcg::FetchWindow &fetch);

    // ---- addresses ----
    ValueId effective_offset();         ///< of insn.mem, i64, masked to the address size
    ValueId masked(ValueId offset64, unsigned size);
    ValueId linear(unsigned segment, ValueId offset64);
    /// Checked (where the mode needs it) address of `size` bytes at segment:offset.
    ValueId access(unsigned segment, ValueId offset64, unsigned size, bool write);
    ValueId mem_address(unsigned size, bool write); ///< of insn.mem; computed once an instruction
    ValueId load_at(ValueId address, unsigned size) { return b.load(tcg::int_type(size), address); }

    // ---- stack ----
    /// Address for a push of `size` bytes `below` bytes under the top; commits nothing.
    ValueId push_address(unsigned size, unsigned below = 0);
    void push(ValueId value);           ///< store, then RSP
    void set_sp(ValueId value64);       ///< by stack size
    ValueId stack_offset(std::int64_t add); ///< (RSP + add) by stack size, i64
    ValueId pop_load(unsigned size, unsigned above = 0);
    void release(std::int64_t bytes) { set_sp(stack_offset(bytes)); }

    // ---- code addresses ----
    ValueId linear_of(std::int32_t page_offset);
    ValueId eip_of(std::int32_t page_offset); ///< i64, masked to 32 bits outside 64-bit code
    ValueId linear_of_eip(ValueId eip);
    std::uint64_t length() const { return insn.length; }

    // ---- calls ----
    ValueId call(HelperId helper, Type result, std::initializer_list<ValueId> args = {});
    ValueId k(std::uint64_t value) { return b.konst(Type::kI64, value); }

    // ---- ways out; all but `branch` end the block ----
    void trap(unsigned vector, std::uint64_t error_code = ~0ull);
    void undefined() { trap(6); }
    void general_protection() { trap(13, 0); }
    /// To next EIP + relative, by operand size.
    void jump_to(std::int64_t relative, tcg::JumpKind kind = tcg::JumpKind::kJump);
    void jump_eip(ValueId eip, tcg::JumpKind kind); ///< EIP masked to the operand size already
    void branch(ValueId taken, std::int64_t relative);       ///< i8
    void branch_cc(Cond cc, std::int64_t relative);
    ValueId target_linear(std::int64_t relative);   ///< checked as a jump's
    void leave_state();                             ///< behind a helper that has set the pc
    void leave_entered();                           ///< as leave_state, without TF's #DB
    /// Sets the pc (~0: is set), raises TF's #DB, leaves for the run loop. `again` (i8): the instruction goes on, 0 where left out.
    void finish_single(ValueId linear, ValueId again = kNoValue);
    void leave_next(std::int32_t page_offset);      ///< looks at interrupts and requests
    void leave_direct(std::int32_t page_offset);
    /// Can a jump leave the code segment, so that check_cs_limit() does something?
    bool jumps_are_checked() const;
    void check_cs_limit(ValueId eip);
    bool ended() const { return ended_; }

    // ---- loops to the block's own head: in a hot block the first turns follow one another ----
    /// From the block loop, before an instruction: how many turns there may be if it ends the first one.
    void may_unroll(unsigned turns) { turns_ = unrolling_ ? turns_ : turns; }
    /// Where the first of the block's branches ahead leads to; kNowhere: none is ahead of `from`.
    std::int32_t nearest_target(std::int32_t from) const { return nearest_target_ >= from ? nearest_target_ : kNowhere; }
    static constexpr std::int32_t kNowhere = 0x7fffffff;
    /// Goes on with the head instead of `next`: where, or -1. Asked once an instruction.
    std::int32_t take_head() { return std::exchange(goes_on_at_, -1); }

    // ---- STI, MOV SS: the next instruction belongs to this block ----
    void open_after_next() { sti_ = true; }
    void keep_together() { together_ = true; }
    bool wants_next() const { return sti_ || together_; }
    /// Called by the block loop between instructions.
    void begin_insn();
    void end_insn();

    // ---- x87: how instructions run (emit_x87.cc) ----
    /// All exceptions masked: on the host's x87. Else by helpers, which look at exceptions.
    bool x87_masked() const { return (mode & kModeX87Unmasked) == 0; }
    bool x87_used = false;      ///< by an instruction before this one
    bool x87_page_known = false; ///< the slot says which page this block's x87 instructions lie in
    // ---- MMX: where the registers are, and #MF, are looked at once, until the next x87 instruction ----
    bool x87_checked = false;

    // ---- more bytes: for STI, is there a whole next instruction in this page? ----
    bool next_is_whole = false;

private:
    std::int64_t target_of(std::int64_t relative) const { return next + relative; }
    bool unrolls(std::int64_t target);
    bool direct_target(std::int64_t target) const;
    void set_ended() { ended_ = true; }
    void note_target(std::int64_t target) {
        if (target >= next && target < nearest_target(next))
            nearest_target_ = static_cast<std::int32_t>(target);
    }
    std::int32_t nearest_target_ = -1;

    ValueId sum(Type type, ValueId base, ValueId index);
    ValueId read_field(const tcg::ir::CodeField &field, Type type);
    ValueId offset_by_field(Type type);
    tcg::ir::CodeField displacement_, immediate_; ///< of the instruction, where they are patched
    const std::uint8_t *running_page_ = nullptr;

    /// The last sums of two registers: instructions that follow one another often name the same element.
    struct Sum {
        ValueId base = kNoValue, index = kNoValue, value = kNoValue;
        std::uint8_t scale = 0;
        std::int64_t disp = 0;
    };
    Sum sums_[2];

    unsigned turns_ = 1; ///< left, with this one
    bool unrolling_ = false;
    std::int32_t goes_on_at_ = -1;

    const bool single_mode_;
    bool sti_ = false, after_sti_ = false, together_ = false, ended_ = false;
    ValueId mem_offset_ = kNoValue, mem_linear_ = kNoValue, zero_ = kNoValue;
};

using Emitter = void (*)(Translator &);
/// The emitter of a row.
Emitter emitter_of(RowId row);

} // namespace rhea::target::x86
