// What the emitter has to know of a block before it starts: value identities, last uses, target hints.
//
// One forward pass resolves names (which values are the same bits: trunc, free zext, get of a known slot) and one
// backward pass finds last uses, including those that exits and safe points make of the operands of the flags current there.
// Storage is reused between blocks.
#pragma once
#include "rhea/tcg/ir.h"
#include "tcg/backend/x64/layout.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace rhea::tcg::x64 {

using ir::Inst;
using ir::kNoValue;
using ir::Op;
using ir::ValueId;

/// Sets of arithmetic flags, by RFLAGS bit masks kCF ...
using FlagMask = std::uint16_t;
inline constexpr FlagMask kZsp = kZF | kSF | kPF;
inline constexpr FlagMask kAllFlags = kArithFlags;
constexpr FlagMask cond_flags(Cond cc) {
    constexpr FlagMask kMasks[] = {kOF, kCF, kZF, kCF | kZF, kSF, kPF, kSF | kOF, kZF | kSF | kOF};
    return kMasks[static_cast<unsigned>(cc) >> 1];
}
constexpr Cond invert(Cond cc) { return static_cast<Cond>(static_cast<unsigned>(cc) ^ 1); }

struct Value {
    // ---- from the analysis
    ValueId root = kNoValue;         ///< the value whose bits these are
    ValueId flags_of = kNoValue;     ///< flags value that the instruction's host flags are
    std::uint32_t last_use = 0;      ///< IR index; 0: never used
    std::uint32_t last_explicit = 0; ///< last use that is more than keeping flags reachable
    std::uint32_t next_use = 0;      ///< during the backward pass: the nearest use so far
    std::uint32_t set_at = 0;        ///< index of the `set` that the hint is for
    std::uint32_t first_explicit = 0; ///< flags: first consumer; others: first `set` to a pinned integer register
    std::uint32_t references = 0;    ///< arguments that name it
    FlagMask marked = 0;             ///< flags: parts whose operands have been marked
    FlagMask needed = 0;             ///< flags: what consumers look at
    std::int8_t hint = -1;           ///< pinned register to compute into, or -1
    std::int8_t low_hint = -1;       ///< pinned register into whose low byte or word to compute
    Slot memory_hint = kNoSlot;      ///< unpinned slot that is set to the value
    ValueId low_base = kNoValue;     ///< with low_hint: the value whose low part is replaced
    ValueId low_user = kNoValue;     ///< with low_hint: the ins8/ins16
    ValueId pair = kNoValue;         ///< mul next to its mulh, divu/divs next to second
    bool lazy = false;               ///< i64 add of a constant used as address: computed where needed
    bool test_only = false;          ///< and_ that only its flags use
    bool eager : 1 = false;          ///< f_cmp and tests: emit the compare here
    bool carry_needed : 1 = false;   ///< hard flags: the carry is to be kept when the host's flags go
    bool through_vector : 1 = false; ///< v_to_*: its store takes the vector register; ld: for the v_from_* behind it
    // ---- while emitting
    enum class Place : std::uint8_t { kNone, kGpr, kSlot, kSpill, kConst, kLazy, kXmm, kVectorSpill };
    Place place = Place::kNone;
    std::uint8_t reg = 0;
    std::int8_t spill = -1;          ///< copy in a spill slot, or -1
    std::int8_t carry_spill = -1;    ///< flags: spill slot with the carry
    std::int8_t raw_spill = -1;      ///< flags: spill slot with RFLAGS bits
    bool in_state = false;           ///< flags: the state's lazy triple holds them
    Slot home = kNoSlot;             ///< slot last known to hold it
};

static_assert(sizeof(Value) == 64); // one cache line, written for each instruction

/// Loads and stores off one base that share one TLB check: the first one checks the whole range. See shared_checks.cc.
struct AccessGroup {
    std::int64_t low = 0, high = 0;  ///< bytes from the base, high exclusive
    std::uint32_t first = 0, last = 0; ///< IR indices of its members
    bool write = false;              ///< the check is one for writing
    bool shared() const { return first != last; }
};

/// A load's or store's place in its group.
struct GroupMember {
    std::uint32_t group;
    std::int64_t offset;             ///< from the group's base
};

/// `count` words of this byte only (kNoValue: 0xff). Once a block or more, and assign() is a loop of words.
inline void fill_words(std::vector<std::uint32_t> &words, std::size_t count, std::uint8_t byte) {
    static_assert(kNoValue == ~0u);
    words.resize(count);
    std::memset(words.data(), byte, count * sizeof(std::uint32_t));
}

struct Analysis {
    std::vector<Value> values;       ///< these three may be longer than the block
    std::vector<ValueId> flags_at;   ///< by instruction: the guest's flags there (kNoValue: as the state has them)
    std::vector<GroupMember> members; ///< by instruction, of loads and stores only
    std::vector<AccessGroup> groups;
    std::uint32_t exit_count = 0;    ///< direct exits
    std::uint32_t last_x87 = 0;      ///< index of the last op on the host's x87 registers
    bool entry_flags_used = false;   ///< someone looks at the flags that the block was entered with

    void run(const ir::Block &block, const GuestDescription &guest, const Layout &layout);

    ValueId resolve(ValueId v) const {
        while (values[v].root != v)
            v = values[v].root;
        return v;
    }
    /// The value whose carry is that of `f` (inc, dec, f_zf and f_of pass it on).
    ValueId carry_source(ValueId f) const;

private:
    /// What addresses are told apart by: a value, or two with a scale; and a distance from it.
    struct Base {
        ValueId value = kNoValue, index = kNoValue;
        unsigned scale = 0;
        bool operator==(const Base &) const = default;
    };
    struct OpenGroup {
        Base base;
        std::uint32_t group = 0;
        bool left_since = false;     ///< the block may have been left since the group's first access
    };
    void settle_vector_moves();
    ValueId without_constants(ValueId value, std::int64_t &offset) const;
    Base base_of(ValueId address, std::int64_t &offset) const;
    void join_group(ValueId i, const Inst &inst);
    void close_groups() { open_count_ = 0; }
    void note_exit();

    void name_values();
    void mark_uses();
    void link_flags(ValueId f, const Inst &inst);
    void mark(ValueId v, std::uint32_t at, bool is_explicit);
    void mark_flags(ValueId f, std::uint32_t at, FlagMask mask, bool is_explicit);
    void mark_carry(ValueId f, std::uint32_t at);
    void mark_arguments(const Inst &inst, std::uint32_t bits, std::uint32_t at);
    void mark_operands(ValueId f, std::uint32_t at, FlagMask mask);
    void hint_set(const Inst &inst, std::uint32_t at);
    void settle_hints(const Inst &inst, ValueId v, std::uint32_t barrier);
    bool is_constant(ValueId v) const { return block_->insts[resolve(v)].op == Op::konst; }

    const ir::Block *block_ = nullptr;
    const GuestDescription *guest_ = nullptr;
    const Layout *layout_ = nullptr;
    std::vector<ValueId> slot_value_;
    std::vector<std::uint32_t> next_touch_;
    std::vector<ValueId> linked_;    ///< whose flags_of is set
    std::vector<ValueId> vector_moves_; ///< loads and v_to_* that may be through_vector
    static constexpr unsigned kOpenGroups = 4;
    std::array<OpenGroup, kOpenGroups> open_{}; ///< the newest last
    unsigned open_count_ = 0;
};

/// Flags that cannot be recomputed from their operands without another flags value's carry.
constexpr bool hard_flags(Op op) { return op == Op::f_adc || op == Op::f_sbb; }
/// Can the vector row be done on v256 by one instruction? Else compile() refuses it.
bool has_wide_form(Op op);
/// The count of a shift or rotate masked as x86 does; nullopt-like -1 when it is not constant.
int constant_count(const ir::Block &block, ValueId n, Type type);

} // namespace rhea::tcg::x64
