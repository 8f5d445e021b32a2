#include "tcg/backend/x64/compiler.h"

#include <algorithm>
#include <cstring>

namespace rhea::tcg::x64 {
namespace {

constexpr std::uint32_t kFlagsDead = 1; ///< in the word before a block's entry

} // namespace

/// By op; a scalar row without its emitter does not link, vector rows have a table of their own.
static constexpr unsigned kScalarOps = static_cast<unsigned>(Op::v_zero);

/// Frees scratch registers that have had their last use. Mostly none is in use.
inline void BlockCompiler::end_op() {
    locked_ = locked_xmm_ = 0;
    hold_flags_ = false;
    Value *const values = analysis_.values.data();
    const std::uint32_t now = now_;
    const auto release = [&](Gpr r) {
        const ValueId v = reg_value_[code(r)];
        if (v != kNoValue && values[v].last_use <= now)
            unbind(v);
    };
    static_assert(kScratchGprs == std::array{Gpr::r10, Gpr::r11, Gpr::r14, Gpr::r15});
    release(Gpr::r10);
    release(Gpr::r11);
    release(Gpr::r14);
    release(Gpr::r15);
    static_assert(kFirstScratchXmm == 12 && kXmmCount == 16 && kNoValue == ~0u);
    std::uint64_t owners[2];
    std::memcpy(owners, &xmm_value_[kFirstScratchXmm], sizeof owners);
    if ((owners[0] & owners[1]) == ~0ull) [[likely]]
        return;
    for (unsigned n = kFirstScratchXmm; n < kXmmCount; ++n) {
        const ValueId v = xmm_value_[n];
        if (v != kNoValue && values[v].last_use <= now) {
            xmm_value_[n] = kNoValue;
            values[v].place = Value::Place::kNone;
        }
    }
}

namespace {

/// Is an instruction that begins with this byte only that byte?
bool has_one_byte(std::uint8_t opcode) {
    const auto within = [opcode](unsigned first, unsigned last) { return opcode >= first && opcode <= last; };
    return within(0x50, 0x5f)    // PUSH, POP
           || within(0x90, 0x99) // NOP, XCHG, CWDE, CDQ
           || within(0x9b, 0x9f) // FWAIT, PUSHF, POPF, SAHF, LAHF
           || within(0xa4, 0xa7) || within(0xaa, 0xaf) // string instructions
           || opcode == 0xc3 || opcode == 0xcc         // RET, INT3
           || within(0xf4, 0xf5) || within(0xf8, 0xfd); // HLT, CMC; CLC to STD
}

} // namespace

bool BlockCompiler::compile(const ir::Block &block, CodeBuffer buffer, CompiledCode &out) {
    using Emit = void (BlockCompiler::*)(ValueId);
    static constexpr Emit kEmitters[] = {
#define RHEA_IR_OP(name, result, args, flags, meaning) &BlockCompiler::emit_##name,
#define RHEA_IR_SCALAR_ONLY
#include "rhea/tcg/opcodes.def"
#undef RHEA_IR_SCALAR_ONLY
#undef RHEA_IR_OP
    };
    static_assert(std::size(kEmitters) == kScalarOps);

    Assembler assembler(buffer);
    assembler_ = &assembler;
    out_ = &out;
    begin(block);
    // The entry: 16-byte aligned; before it what a retired block does, and flags of the block in the last word.
    while ((reinterpret_cast<std::uintptr_t>(assembler.exec_here()) & 15) != 16 - kHeaderBytes && assembler.ok())
        assembler.int3();
    assembler.call(thunks_.stale_entry);
    assembler.word32(block.page_offset);
    assembler.word32(analysis_.entry_flags_used ? 0 : kFlagsDead);
    entry_offset_ = static_cast<std::uint32_t>(assembler.offset());
    enter_loop();
    assembler.bind(head_);
    if (lead_nop_)
        assembler.nop(2);

    const auto count = static_cast<ValueId>(block.insts.size());
    const Inst *const insts = block.insts.data();
    const Value *const values = analysis_.values.data();
    for (ValueId i = 0; i < count; ++i) {
        const Inst &inst = insts[i];
        const Value &value = values[i];
        if (value.root != i)
            continue;
        if (inst.op == Op::insn_start) {
            now_ = i;
            emit_insn_start(i); // leaves nothing to tidy up
            continue;
        }
        if (value.last_use == 0) {
            const std::uint16_t bits = ir::op_traits(inst.op).bits;
            if ((bits & (ir::kOpPure | ir::kOpMxcsr)) == ir::kOpPure || inst.op == Op::set_flags)
                continue;
        }
        now_ = i;
        const auto op = static_cast<unsigned>(inst.op);
        if (op < kScalarOps)
            (this->*kEmitters[op])(i);
        else
            emit_vector(i);
        end_op();
        if (failed_ || !assembler.ok()) [[unlikely]]
            return false;
    }
    out.hot_size = static_cast<std::uint32_t>(assembler.offset()) - entry_offset_;
    emit_cold();
    for (std::size_t exit = 0; exit < out.exits.size(); ++exit)
        emit_stub(exit);
    assembler_ = nullptr;
    if (failed_ || !assembler.ok())
        return false;
    if (!lead_nop_ && has_one_byte(*assembler.write_at(entry_offset_))) [[unlikely]] {
        lead_nop_ = true; // retire() needs two bytes of one instruction
        const bool done = compile(block, buffer, out);
        lead_nop_ = false;
        return done;
    }

    out.entry = const_cast<std::uint8_t *>(assembler.exec_at(entry_offset_));
    out.size = static_cast<std::uint32_t>(assembler.offset());
    std::vector<std::uint8_t> &table = out.side_table.bytes;
    static_assert(sizeof(FirstJump) == 8);
    const auto exits = static_cast<std::uint32_t>(first_jumps_.size());
    table.resize(4 + exits * sizeof(FirstJump) + record_bytes_.size());
    std::uint8_t *to = table.data();
    std::memcpy(to, &exits, 4);
    if (exits != 0)
        std::memcpy(to + 4, first_jumps_.data(), exits * sizeof(FirstJump));
    if (record_bytes_.size() != 0)
        std::memcpy(to + 4 + exits * sizeof(FirstJump), record_bytes_.data(), record_bytes_.size());
    return true;
}

void BlockCompiler::begin(const ir::Block &block) {
    block_ = &block;
    analysis_.run(block, guest_, layout_);
    failed_ = false;
    cold_mode_ = false;
    hold_flags_ = false;
    low_part_ = false;
    state_raw_ = false;
    host_ = {};
    now_ = 0;
    described_at_ = kNoValue;
    locked_ = locked_xmm_ = 0;
    guest_offset_ = block.page_offset;
    head_ = Label();
    reg_value_.fill(kNoValue);
    xmm_value_.fill(kNoValue);
    spill_owner_.fill(kNoValue);
    vector_spill_owner_.fill(kNoValue);
    reg_group_.fill(-1);
    group_spill_owner_.fill(-1);
    checks_.assign(analysis_.groups.size(), {});
    fill_words(slot_value_, layout_.slots.size(), 0xff);
    full_uppers_ = dirty_uppers_ = 0;
    upper_value_.fill(kNoValue);
    plan_loop_uppers();
    cold_.clear();
    desc_bytes_.clear();
    record_bytes_.clear();
    first_jumps_.clear();
    pending_first_jump_ = {};
    out_->exits.clear();
    // Stubs hold addresses of exit slots: no more reallocation.
    x87_ready_ = false;
    count_due_ = count_;
    last_x87_ = analysis_.last_x87;
    out_->exits.reserve(analysis_.exit_count);
}

/// Flags and values stay as they are: counting must not change what other code comes out.
void BlockCompiler::count_from(ValueId i) {
    std::int32_t insns = 0;
    for (; i < block_->insts.size(); ++i) {
        const Op op = inst(i).op;
        insns += op == Op::insn_start;
        if (op == Op::br_cc || op == Op::br_nz)
            break;
    }
    const Mem count = state_mem(layout_.cold(offsetof(VcpuCold, stat_insns)));
    const Gpr t = temp();
    a().mov(8, t, count);
    a().lea(8, t, ptr(t, insns));
    a().mov(8, count, t);
    drop_temp(t);
    count_due_ = false;
}

void BlockCompiler::emit_cold() {
    for (std::size_t n = 0; n < cold_.size(); ++n) {
        cold_[n].emit(*this, cold_[n]);
        if (failed_ || !a().ok())
            return;
    }
}

} // namespace rhea::tcg::x64
