// The translator's intermediate representation: SSA values in one superblock.
//
// A Block is a flat list of instructions; an instruction's value is named by its index (ValueId). No phis: state
// that lives across blocks or around a loop is guest state, in named slots. Side exits (br_cc, br_nz, faults) leave
// in the middle; the last instruction, and only it, has flag E. Storage is reused between blocks (no malloc while
// translating once warm). Not thread-safe: one Block per translating thread.
#pragma once
#include "rhea/tcg/types.h"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rhea::tcg::ir {

enum class Op : std::uint16_t {
#define RHEA_IR_OP(name, result, args, flags, meaning) name,
#include "rhea/tcg/opcodes.def"
#undef RHEA_IR_OP
    kCount
};

inline constexpr unsigned kOpCount = static_cast<unsigned>(Op::kCount);

/// The vector rows come last.
constexpr bool is_vector_op(Op op) { return op >= Op::v_zero; }

/// The letters of a row's flags column, and what its result column says, as bits.
enum OpBits : std::uint16_t {
    kOpPure = 1,
    kOpReads = 2,       ///< guest memory
    kOpWrites = 4,      ///< guest memory
    kOpFaults = 8,      ///< may fault (call: only when its helper may)
    kOpLeaves = 16,     ///< may or must leave the block
    kOpEnds = 32,
    kOpState = 64,      ///< reads or writes guest state
    kOpMxcsr = 128,     ///< sets sticky flags in MXCSR: not to be removed
    kOpTyped = 256,     ///< the row has a T: Inst::type is the emitter's choice
    kOpNoResult = 512,
    kOpFlagsResult = 1024,
    kOpTakesFlags = 2048, ///< some argument is flags
    kOpEitherWidth = 4096, ///< the result is a v128 or a v256, by Inst::type
};

/// What sweeps over a block look at for each instruction, 4 bytes an op.
struct OpTraits {
    std::uint16_t bits;  ///< OpBits
    std::uint8_t arity;  ///< number of arguments (call: 0 to 3 whatever this says)
    Type fixed_result;   ///< what the result column names; kNone for T and none
    bool pure() const { return (bits & kOpPure) != 0; }
    bool may_fault() const { return (bits & kOpFaults) != 0; }
    bool leaves() const { return (bits & kOpLeaves) != 0; }
    bool ends_block() const { return (bits & kOpEnds) != 0; }
    bool has_result() const { return (bits & kOpNoResult) == 0; }
};
extern const std::array<OpTraits, kOpCount> kOpTraits;
inline const OpTraits &op_traits(Op op) { return kOpTraits[static_cast<unsigned>(op)]; }

/// The row's columns as opcodes.def has them as well, for texts and checks.
struct OpInfo : OpTraits {
    std::string_view name, result, args, flags, meaning;
};
extern const std::array<OpInfo, kOpCount> kOpTable;
inline const OpInfo &op_info(Op op) { return kOpTable[static_cast<unsigned>(op)]; }

using ValueId = std::uint32_t;
inline constexpr ValueId kNoValue = ~0u;

struct Inst {
    Op op;
    /// The T of the row where it has one (for most f_*: the operand type); else the type that the result column names
    /// (f_load, f_raw, f_bit, f_zf, f_of: kFlags); st, set: type of the value; check_w: type of the access; else kNone.
    Type type = Type::kNone;
    std::uint8_t arg_count = 0;
    std::uint16_t aux = 0;    ///< slot, condition, memory flags, helper, … (see the row)
    std::array<ValueId, 3> args{kNoValue, kNoValue, kNoValue};
    std::uint64_t imm = 0;
};

/// Where in guest code an instruction came from: index into Block::insns.
struct GuestInsn {
    std::uint16_t page_offset = 0; ///< of its first byte, from the block's page base
    std::uint8_t length = 0;
    std::uint32_t first_inst = 0;  ///< IR index of its insn_start
};

/// Bytes of guest code that may change under a block: the immediate or displacement of one of its instructions, which
/// code_field reads each time that it runs.
struct CodeField {
    std::uint16_t page_offset = 0;
    std::uint8_t length = 0;
    bool operator==(const CodeField &) const = default;
};

struct Block {
    std::vector<Inst> insts;
    std::vector<GuestInsn> insns;
    std::vector<CodeField> fields;   ///< what code_field reads, each once; all in the block's first page
    std::uint32_t mode = 0;          ///< the block key's mode word
    std::uint16_t page_offset = 0;   ///< entry offset in the page
    std::uint16_t byte_length = 0;   ///< guest bytes covered from page_offset on (may reach over the page end by < 16)
    bool crosses_page = false;       ///< one instruction that crosses into the next page
    bool hot = false;                ///< translated for the second time: loops to its head are not counted any more
    std::vector<std::uint32_t> scratch; ///< working storage of passes, kept for its capacity

    void clear(); ///< empties everything; keeps capacity
    /// Type of a value: kFlags for flags (Inst::type is then the operand type), kNone for what has no result.
    Type type_of(ValueId value) const {
        const Inst &inst = insts[value];
        const std::uint16_t bits = op_traits(inst.op).bits;
        return (bits & kOpFlagsResult) ? Type::kFlags : (bits & kOpNoResult) ? Type::kNone : inst.type;
    }
};

inline constexpr unsigned kMaxSlots = 128; ///< of a GuestDescription

/// Appends instructions to a Block; folds constants and trivial identities on the way. The frontend's one tool.
/// What an emit returns may therefore be an older value, and no instruction may have been added.
class Builder {
public:
    /// Goes on with an empty block (Block::clear) or behind what is there (nothing is known of slots then).
    Builder(Block &block, const GuestDescription &guest);
    Block &block() { return block_; }
    const GuestDescription &guest() const { return guest_; }

    /// `length` 0: not known yet, see set_insn_length. Block::byte_length follows.
    void insn_start(std::uint16_t page_offset, std::uint8_t length = 0);
    /// The current instruction's length, once known.
    void set_insn_length(std::uint8_t length);

    ValueId konst(Type type, std::uint64_t value);
    ValueId get(Slot slot);              ///< repeated gets of an unchanged slot give the same value
    void set(Slot slot, ValueId value);  ///< nothing when the slot is known to hold the value
    /// `type` is the row's T; rows without T get their type by themselves. Folds; set, get, set_flags and call
    /// have functions of their own (emit forwards to them). Ops without a result: the returned id means nothing.
    ValueId emit(Op op, Type type, std::initializer_list<ValueId> args = {}, std::uint16_t aux = 0,
                 std::uint64_t imm = 0);

    // Shorthands: the type is that of the first argument.
    ValueId add(ValueId a, ValueId b);
    ValueId sub(ValueId a, ValueId b);
    ValueId and_(ValueId a, ValueId b);
    ValueId or_(ValueId a, ValueId b);
    ValueId xor_(ValueId a, ValueId b);
    ValueId add_imm(ValueId a, std::int64_t imm);
    ValueId and_imm(ValueId a, std::uint64_t imm);
    ValueId shl_imm(ValueId a, unsigned n);
    ValueId shr_imm(ValueId a, unsigned n);
    ValueId trunc(ValueId a, Type to);   ///< no-op when already that type; likewise below
    ValueId zext(ValueId a, Type to);
    ValueId sext(ValueId a, Type to);

    ValueId load(Type type, ValueId address, std::uint16_t mem_flags = 0);
    void store(ValueId address, ValueId value, std::uint16_t mem_flags = 0);

    ValueId flags();                     ///< the guest's flags value now (f_load at first)
    void set_flags(ValueId flags);
    ValueId cond(Cond cc);               ///< of the present flags, i8
    /// Forgets cached slots and flags where the helper's HelperFlags say that it writes them.
    ValueId call(std::uint16_t helper, Type result, std::initializer_list<ValueId> args = {});

    bool is_const(ValueId v, std::uint64_t *value = nullptr) const;
    bool ended() const { return ended_; }

private:
    ValueId append(const Inst &inst);
    ValueId append_here(const Inst &inst); ///< the same, inline in builder.cc
    ValueId fold(Inst &inst); ///< the value that a pure instruction equals, or kNoValue; may change it to a simpler one
    ValueId fold_constants(const Inst &inst);
    ValueId fold_identity(Inst &inst);
    ValueId fold_binary(const Inst &inst);
    ValueId fold_width(Inst &inst);
    ValueId fold_flags(Inst &inst);
    ValueId fold_halves(const Inst &inst) const;
    bool never_taken(const Inst &inst) const;
    bool known_bits(ValueId v, std::uint64_t &value) const; ///< constant integer or constant flags
    ValueId any_flags();
    void end_insn_bytes(std::size_t end);

    static constexpr unsigned kConstCache = 16;
    Block &block_;
    const GuestDescription &guest_;
    std::array<ValueId, kMaxSlots> slot_values_;
    std::array<ValueId, kConstCache> const_values_;
    ValueId flags_ = kNoValue;
    ValueId any_flags_ = kNoValue;           ///< a flags value for where it does not matter
    bool ended_ = false;
};

/// The block as text, one instruction a line, slots by name.
std::string print(const Block &block, const GuestDescription &guest);
/// Empty when the block is well formed, else what is wrong and where.
std::string verify(const Block &block, const GuestDescription &guest);

} // namespace rhea::tcg::ir
