// One block's way from IR to host code: register assignment and emission in one forward pass.
//
// Invariants between IR instructions:
//   - every slot holds its IR value: pinned ones in their register, others in memory;
//   - a live value's Value::place says where it is; reg_value_ names the owner of each register;
//   - host_ says which flags value the host's flags are, if any.
// During an instruction registers that it uses are locked; end_op() unlocks them and frees what has had its last use.
// Out-of-line code (slow paths, exits) is queued and emitted behind the block with the places of that moment.
//
// One object is reused for all blocks (no malloc when warm); one thread at a time.
#pragma once
#include "tcg/backend/x64/analysis.h"
#include "tcg/backend/x64/assembler.h"
#include "tcg/backend/x64/layout.h"
#include "tcg/backend/x64/side_table.h"
#include "tcg/backend/x64/thunks.h"

#include <array>
#include <cstddef>
#include <new>
#include <type_traits>
#include <vector>

namespace rhea::tcg::x64 {

/// How to put a flags value's carry into the host's.
struct CarryPlan {
    enum class Kind : std::uint8_t { kComplex, kConstant, kBit, kBelow, kSum, kState };
    Kind kind = Kind::kComplex;
    std::uint8_t bytes = 4;  ///< operand size
    std::uint8_t index = 0;  ///< kBit: which bit of a; kConstant: the carry
    Loc a, b;                ///< kBelow: a < b; kSum: a + b carries
};

/// How to store a flags value to the state.
struct FlagsPlan {
    enum class Kind : std::uint8_t {
        kInState,
        kTriple,
        kPatchCarry, ///< the state's flags with another carry
        kPatchRotate, ///< the state's flags with carry and overflow of a rotate
        kDescriptor,
    };
    enum class Source2 : std::uint8_t { kNone, kImmediate, kCarry, kRotate };
    Kind kind = Kind::kInState;
    Source2 source2 = Source2::kNone;
    bool has_and = false;    ///< dst is dst & and_with
    bool has_shift = false;  ///< then, unless the count is 0 when masked: the triple of a shift
    std::uint8_t shift_mask = 31;
    std::uint32_t cc = 0, shift_cc = 0;
    Loc dst, src, and_with, shift_a, shift_n;
    CarryPlan carry;             ///< kRotate, kPatchRotate: bit `index` of a; OF is that and the bit below, exclusively
    std::uint64_t immediate = 0;
    std::uint32_t desc_begin = 0, desc_end = 0; ///< in desc_bytes_
    bool nothing() const { return kind == Kind::kInState && !has_shift; }
};

class BlockCompiler {
public:
    BlockCompiler(const Layout &layout, const Thunks &thunks, const GuestDescription &guest)
        : layout_(layout), thunks_(thunks), guest_(guest) {}
    /// False: the buffer is too small (or the block needs more spill slots than there are).
    bool compile(const ir::Block &block, CodeBuffer buffer, CompiledCode &out);
    /// Before a block's entry: call stale_entry, the page offset, a word of flags.
    static constexpr unsigned kHeaderBytes = 13;
    /// The call that a chainable exit's stub begins with; the address of its ExitSlot follows.
    static constexpr unsigned kStubCallBytes = 5;
    /// See CodeGenerator::count_instructions.
    void count_instructions() { count_ = true; }
    /// See CodeGenerator::one_vcpu.
    void one_vcpu(bool alone) { one_vcpu_ = alone; }

private:
    friend struct VectorEmitters;
    friend struct ImplicitRegisterRows;
    using Place = Value::Place;

    /// Queued code. `emit` gets it back with `entry` bound to the current position.
    struct Cold {
        Cold() {} // data is not to be cleared
        Label entry, back;
        void (*emit)(BlockCompiler &, Cold &) = nullptr;
        alignas(8) std::byte data[312];
    };
    /// What a safe point needs, taken when the state is as it will be there.
    struct SafePointPlan {
        std::uint32_t desc_begin = 0, desc_end = 0;
        std::uint16_t page_offset = 0;
        std::uint16_t uppers = 0; ///< dirty_uppers_
    };
    struct Uppers {
        std::uint32_t full = 0, dirty = 0;
    };
    struct HostFlags {
        ValueId value = kNoValue;
        FlagMask mask = 0;
    };
    /// Where a group's addend is (shared_checks.cc).
    struct SharedCheck {
        enum class Place : std::uint8_t { kNone, kGpr, kSpill };
        Place place = Place::kNone;
        std::uint8_t where = 0;      ///< register or spill
        std::uint8_t aligned = 0;    ///< an access of so many bytes at aligned_offset was aligned; 0: none
        std::int64_t aligned_offset = 0;
        bool in_spill(unsigned n) const { return place == Place::kSpill && where == n; }
    };
    struct LiveAddends {
        std::uint32_t registers = 0, spills = 0;
    };
    /// A guest address as a host addressing mode: [base + disp].
    struct GuestAddress {
        Gpr base = Gpr::rax;
        std::int32_t disp = 0;
    };
    /// What a slow path's cold code has to know.
    struct SlowAccess {
        Gpr base = Gpr::rax;
        std::int32_t disp = 0;
        Gpr temp = Gpr::rax;
        const std::uint8_t *thunk = nullptr;
    };
    /// A load or store before its code: its registers, and what part it has in its group.
    struct MemoryAccess {
        GuestAddress address;
        Gpr t1 = Gpr::rax;           ///< gets the addend, or has it
        Gpr t2 = Gpr::rax;           ///< for the check; free behind it
        std::uint32_t group = 0;
        unsigned bytes = 0;
        std::int64_t offset = 0;
        bool follows = false;        ///< another one's check holds
        bool leads = false;          ///< its check holds for others
    };
    /// A gather's registers; its addresses are in VcpuCold::lanes.
    struct GatherPlan {
        LaneAccess access;
        Xmm halves[2] = {}; ///< of the result, while it is made
        Gpr ea = Gpr::rax, t1 = Gpr::rax, t2 = Gpr::rax;
    };
    /// What an access's inline check leaves: [base + addend + disp].
    struct HostAccess {
        Mem mem;
    };

    // ---- compiler.cc
    void begin(const ir::Block &block);
    void emit_inst(ValueId i);
    void end_op();
    void emit_cold();
    template <class F>
    std::size_t push_cold(F f) {
        static_assert(std::is_trivially_copyable_v<F> && sizeof(F) <= sizeof(Cold::data));
        cold_.emplace_back();
        set_cold(cold_.size() - 1, f);
        return cold_.size() - 1;
    }
    template <class F>
    void set_cold(std::size_t index, F f) {
        static_assert(std::is_trivially_copyable_v<F> && sizeof(F) <= sizeof(Cold::data));
        Cold &cold = cold_[index];
        new (cold.data) F(f);
        cold.emit = [](BlockCompiler &self, Cold &c) { (*std::launder(reinterpret_cast<F *>(c.data)))(self, c); };
    }
    const Inst &inst(ValueId v) const { return block_->insts[v]; }
    Value &val(ValueId v) { return analysis_.values[v]; }
    ValueId resolve(ValueId v) const { return analysis_.resolve(v); }
    Type type_of(ValueId v) const { return block_->type_of(v); }
    Assembler &a() { return *assembler_; }
    void fail() { failed_ = true; }

    void count_from(ValueId i);         ///< the instructions from this insn_start to the next branch

    // ---- regalloc.cc
    void lock(Gpr r) { locked_ |= bit(r); }
    void unlock(Gpr r) { locked_ &= ~bit(r); }
    bool live(ValueId v) { return v != kNoValue && val(v).last_use >= now_; }
    bool live_after(ValueId v) { return v != kNoValue && val(v).last_use > now_; }
    Gpr alloc_gpr();
    bool free_gpr(Gpr &out);            ///< one without evicting
    Gpr temp();                         ///< for the rest of this instruction
    void drop_temp(Gpr r);
    unsigned alloc_spill(ValueId owner);
    void evict_gpr(Gpr r);              ///< its value finds another place
    Loc demote(ValueId v);
    void evict_slot(Slot slot);         ///< values that lie in the slot's memory
    void relocate(ValueId v);
    void spill_carry(ValueId f);
    void bind(ValueId v, Gpr r);
    void unbind(ValueId v);
    Gpr use_gpr(ValueId v);             ///< the value in a register; upper bits are anything
    void load_into(Gpr dst, ValueId v, unsigned bytes); ///< at least `bytes` of it
    Loc loc_of(ValueId v);              ///< as an operand, without loading it; keeps its register locked
    Loc peek(ValueId v);                ///< the same without a lock: nothing may be allocated before it is used
    bool in_gpr(ValueId v, Gpr r) { return val(v).place == Place::kGpr && val(v).reg == code(r); }
    bool is_const(ValueId v) const { return inst(resolve(v)).op == Op::konst; }
    std::uint64_t const_of(ValueId v) const;
    bool claim(Gpr p, ValueId for_value);
    bool low_part_free(const Value &value, Gpr p);
    Gpr dest(ValueId i, std::uint32_t avoid = 0);
    /// A register that holds a and becomes i's; an operand that is read after it is written is in `avoid`.
    Gpr two_address(ValueId i, ValueId a, std::uint32_t avoid);
    void finish(ValueId i, Gpr r);      ///< i is in r (from dest or two_address)
    void move_imm(Gpr dst, std::uint64_t value);
    std::uint32_t mask_of(const Loc &loc) const { return loc.kind == Loc::Kind::kGpr ? bit(loc.gpr) : 0; }
    static Mem mem_of(const Loc &loc) { return state_mem(loc.disp); }
    void alu_loc(Alu op, unsigned bytes, Gpr dst, const Loc &src);
    void compare_loc(Alu op, unsigned bytes, const Loc &x, const Loc &y); ///< cmp
    void test_loc(unsigned bytes, const Loc &x, const Loc &y);
    void load_loc(Gpr dst, const Loc &loc, unsigned bytes);
    void store_loc(std::int32_t disp, const Loc &loc, unsigned bytes);
    void forget_slots();

    // ---- emit_flags.cc, flags_plan.cc
    void clobber();                     ///< the host's flags are about to change
    void save_carry();                  ///< of flags that could not be recomputed; host's flags stay
    /// In bit 0 of the flags value's register or in a spill slot.
    static bool carry_kept(const Value &value) { return value.place == Place::kGpr || value.carry_spill >= 0; }
    void produced(ValueId i, FlagMask mask = kAllFlags);
    bool wants_flags(ValueId i);
    Cond provide_cond(ValueId f, Cond cc);
    Cond provide_cond_unlocked(ValueId f, Cond cc);
    Cond cond_from_raw(const Loc &raw, Cond cc);
    Cond test_bit0(const Loc &b, bool set);
    void provide_carry(ValueId f);
    void recompute_hard(ValueId f);
    Loc raw_flags(ValueId f);           ///< RFLAGS bits in memory, by C++ if need be
    void state_to_raw();
    CarryPlan plan_carry(ValueId f);
    void emit_carry(const CarryPlan &plan);
    void emit_state_carry();
    FlagsPlan plan_flags(ValueId f);
    void emit_store_flags(const FlagsPlan &plan);
    void store_state_carry();
    void store_triple(const FlagsPlan &plan);
    void patch_state_carry(const CarryPlan &carry);
    void patch_state_rotate(const CarryPlan &carry);
    Gpr carry_in_gpr(const CarryPlan &carry);
    Gpr rotate_in_gpr(const CarryPlan &carry);
    FlagsPlan plan_bit(ValueId f);
    FlagsPlan plan_rotate(ValueId f);
    FlagsPlan plan_shift(ValueId f);
    FlagsPlan plan_descriptor(ValueId f);
    void store_flags_now();             ///< current flags to the state, inline
    void protect_state_flags();
    void describe(ValueId f, DescWriter &out);
    void describe_carry(ValueId f, DescWriter &out);
    std::uint32_t plan_mask(const FlagsPlan &plan) const;
    SafePointPlan safe_point();
    void record(const SafePointPlan &plan); ///< the return address is here
    ValueId current_flags() { return analysis_.flags_at[now_]; }

    // ---- emit_integer.cc, emit_shift.cc, emit_muldiv.cc
    void emit_alu(ValueId i, Alu op, bool commutative);
    bool emit_alu_in_memory(ValueId i, Alu op, bool commutative);
    void emit_carry_alu(ValueId i, Alu op);
    void emit_shift(ValueId i, Shift op);
    void emit_rotate(ValueId i, Shift op);
    void emit_rotate_carry(ValueId i, Shift op);
    void emit_double_shift(ValueId i, bool left);
    void shift_by_cl(ValueId i, Shift op, Gpr dst, ValueId count);
    void emit_mul_pair(ValueId i);
    void emit_mul_high_narrow(ValueId i);
    void emit_divide(ValueId i, bool is_signed);
    void divide_out_of_line(ValueId i, bool is_signed, Gpr high, Gpr low, Gpr divisor);
    void emit_count(ValueId i, bool leading);
    void emit_insert(ValueId i, unsigned bytes);
    void emit_lazy(ValueId v, Gpr dst);

    // ---- shared_checks.cc
    void evict_addend(Gpr r);
    bool holds_addend(Gpr r) const;
    void forget_addend(Gpr r);
    void keep_addend(std::uint32_t group, Gpr r);
    bool use_addend(std::uint32_t group, Gpr &out);
    LiveAddends live_addends() const;
    void drop_addends(const LiveAddends &live);

    // ---- emit_memory.cc, emit_atomics.cc
    GuestAddress guest_address(ValueId v);
    HostAccess check_access(const GuestAddress &address, unsigned bytes, bool write, Gpr t1, Gpr t2, std::size_t cold);
    MemoryAccess begin_access(ValueId i, unsigned bytes);
    Mem check_member(const MemoryAccess &access, bool write, unsigned mem_flags, std::size_t cold);
    Mem check_again(const MemoryAccess &access, bool write, unsigned mem_flags, Label &slow);
    void keep_without_addend(const MemoryAccess &access, const LiveAddends &live);
    /// The access by check_again(), and back; falls through where that fails.
    template <class Access>
    void try_again(const MemoryAccess &access, bool write, unsigned mem_flags, const LiveAddends &live, Cold &self, Access &&do_access) {
        Label miss;
        do_access(check_again(access, write, mem_flags, miss));
        keep_without_addend(access, live);
        a().jmp(self.back);
        a().bind(miss);
    }
    void put_address(const SlowAccess &slow);
    void emit_atomic(ValueId i);
    void emit_compare_exchange(ValueId i);
    void put_atomic(const SlowAccess &slow, Op op, unsigned bytes, const Loc &first, const Loc &second);

    // ---- upper_halves.cc
    Mem upper_mem(unsigned n) const;
    void lose_upper(unsigned n);
    void keep_upper(unsigned n, ValueId v);
    void store_uppers(std::uint32_t which);
    void fill_uppers(std::uint32_t which);
    void flush_uppers(std::uint32_t which = ~0u);
    void flush_upper_slot(Slot slot);
    void spare_upper(unsigned n);
    bool joined(ValueId low, ValueId high);
    void plan_loop_uppers();
    void enter_loop();

    // ---- emit_lanes.cc
    Mem lane_area(std::size_t offset) const { return state_mem(layout_.cold(offsetof(VcpuCold, lanes) + offset)); }
    void put_in_lane_area(ValueId v, std::size_t offset);
    void load_lanes(const GatherPlan &plan, bool masked, Label &slow);
    void call_lanes(std::uint64_t imm, const SafePointPlan &plan, bool reload);

    // ---- emit_x87.cc
    void need_x87();
    /// Taken where a slow path may be called: has it to give the host's x87 its state back?
    bool x87_reload() const { return x87_ready_ && now_ < last_x87_; }
    void resume_x87(bool reload);       ///< cold code, behind the slow path's call

    // ---- emit_exits.cc
    void exit_to(std::int64_t page_offset, bool conditional, Cond cc);
    void emit_leave(std::int64_t page_offset, const FlagsPlan &plan, bool poll, const Uppers &uppers);
    void probe_jump_cache(Gpr pc);
    void emit_stub(std::size_t exit);
    std::size_t new_exit(std::int64_t page_offset);
    void emit_poll(Label &to);

    // ---- emit_calls.cc
    void spill_across_call(std::uint16_t helper_flags);
    void set_guest_pc();

    // ---- emit_vector.cc, vector_alloc.cc
    void emit_vector(ValueId i);
    bool is_wide(ValueId v) const { return inst(resolve(v)).type == Type::kV256; } ///< 256 bits of its register count
    void load_vector(bool wide, Xmm dst, const Mem &src);
    void store_vector(bool wide, const Mem &dst, Xmm src);
    Xmm use_xmm(ValueId v);
    Xmm dest_xmm(ValueId i, std::uint32_t avoid = 0);
    Xmm alloc_xmm();
    Xmm temp_xmm();
    void bind_xmm(ValueId v, Xmm x);
    void own_xmm(ValueId v, Xmm x);
    void evict_xmm(Xmm x, bool for_call = false);
    bool xmm_mem(ValueId v, Mem &out);
    void set_vector(Slot slot, ValueId v);
    void evict_vector_slot(Slot slot);
    unsigned alloc_vector_spill(ValueId owner);

#define RHEA_IR_OP(name, result, args, flags, meaning) void emit_##name(ValueId i);
#define RHEA_IR_SCALAR_ONLY
#include "rhea/tcg/opcodes.def"
#undef RHEA_IR_SCALAR_ONLY
#undef RHEA_IR_OP

    const Layout &layout_;
    const Thunks &thunks_;
    const GuestDescription &guest_;
    Analysis analysis_;
    const ir::Block *block_ = nullptr;
    Assembler *assembler_ = nullptr;
    CompiledCode *out_ = nullptr;
    bool failed_ = false;
    bool count_ = false;                ///< guest instructions are counted
    bool count_due_ = false;            ///< at the next insn_start
    bool one_vcpu_ = false;             ///< atomic operations need no LOCK
    bool cold_mode_ = false;
    std::uint32_t cold_free_ = 0;       ///< scratch registers that cold code may use
    std::uint32_t cold_keep_ = 0;       ///< and what they must leave alone in any case
    std::uint32_t now_ = 0;
    std::uint32_t described_at_ = kNoValue; ///< the instruction that has taken its safe point: values stay where they are
    std::uint32_t locked_ = 0, locked_xmm_ = 0;
    std::uint16_t guest_offset_ = 0;    ///< page offset of the current guest instruction
    std::uint32_t entry_offset_ = 0;
    Label head_;
    bool lead_nop_ = false; ///< the first instruction has one byte: a NOP of two before it
    HostFlags host_;
    bool state_raw_ = false;            ///< the state's triple is known to be kRaw
    bool hold_flags_ = false;           ///< the host's flags are wanted for the rest of this instruction
    bool x87_ready_ = false;            ///< the host's x87 is known to hold the guest's state
    std::uint32_t last_x87_ = 0;        ///< index of the block's last x87_* op
    bool low_part_ = false;             ///< two_address gave a register whose rest must stay
    std::array<ValueId, kGprCount> reg_value_{};
    std::array<ValueId, kXmmCount> xmm_value_{};
    std::uint32_t full_uppers_ = 0, dirty_uppers_ = 0, loop_uppers_ = 0; ///< by pinned vector register
    std::array<ValueId, kXmmCount> upper_value_{}; ///< what its upper half is, where that is known: a v128, or the v256 that it is the upper half of
    std::array<ValueId, kSpills> spill_owner_{};
    std::array<ValueId, kVectorSpills> vector_spill_owner_{};
    std::array<std::int32_t, kGprCount> reg_group_{}; ///< whose addend a register holds, or -1
    std::array<std::int32_t, kGroupSpills> group_spill_owner_{};
    std::vector<SharedCheck> checks_;   ///< by group
    std::vector<ValueId> slot_value_;   ///< value that a slot is known to hold
    std::vector<Cold> cold_;
    ByteBuffer desc_bytes_, record_bytes_;
    std::vector<FirstJump> first_jumps_; ///< by exit
    FirstJump pending_first_jump_;
};

} // namespace rhea::tcg::x64
