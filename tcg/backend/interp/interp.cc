// The IR interpreter: one pass over the block, values in an array by ValueId. set_flags stores the
// RFLAGS bits at once, so that state is precise wherever the block is left.
#include <atomic>
#include <cassert>
#include <cstring>

#include "rhea/tcg/backend.h"
#include "tcg/backend/interp/interp_lanes.h"
#include "tcg/backend/interp/interp_vector.h"
#include "tcg/ir/eval.h"
#include "tcg/ir/int_ops.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace rhea::tcg {
namespace interp {
namespace {

using ir::Inst;
using ir::Op;
using ir::ValueId;

using VectorRow = void (*)(VectorCall&);
constexpr VectorRow kVectorRows[] = {
#define RHEA_IR_OP(name, result, args, flags, meaning) &rows::name,
#include "rhea/tcg/vector_ops.def"
#undef RHEA_IR_OP
};

constexpr HalvesRule kHalves[] = {
#define RHEA_IR_OP(name, result, args, flags, meaning) HalvesRule{},
#define RHEA_IR_VOP1(name, vex, flags, meaning) HalvesRule{},
#define RHEA_IR_VOP2(name, vex, flags, meaning) HalvesRule{},
#define RHEA_IR_VOP3(name, vex, flags, meaning) HalvesRule{},
#define RHEA_IR_VOP1I(name, vex, flags, meaning) HalvesRule{},
#define RHEA_IR_VOP2I(name, vex, flags, meaning) HalvesRule{},
#define RHEA_IR_VCOUNT(name, vex, flags, meaning) HalvesRule{Halves::kCount, 0},
#define RHEA_IR_VWIDEN(name, vex, bytes, flags, meaning) HalvesRule{Halves::kWiden, bytes},
#define RHEA_IR_VNARROW(name, vex, flags, meaning) HalvesRule{Halves::kNarrow, 0},
#define RHEA_IR_VFMA(name, vex, flags, meaning) HalvesRule{},
#define RHEA_IR_VCROSS(name, vex, flags, meaning) HalvesRule{Halves::kCross, 0},
#define RHEA_IR_VCROSS1I(name, vex, flags, meaning) HalvesRule{Halves::kCross, 0},
#define RHEA_IR_VCROSS2I(name, vex, flags, meaning) HalvesRule{Halves::kCross, 0},
#define RHEA_IR_VSHIFT(name, group, flags, meaning) HalvesRule{},
#define RHEA_IR_VFROMG(name, vex, letter, flags, meaning) HalvesRule{},
#define RHEA_IR_VFROMGI(name, vex, letter, flags, meaning) HalvesRule{},
#define RHEA_IR_VTOG(name, vex, letter, flags, meaning) HalvesRule{},
#define RHEA_IR_VTOGI(name, vex, letter, flags, meaning) HalvesRule{},
#define RHEA_IR_VFLAGS(name, vex, flags, meaning) HalvesRule{},
#include "rhea/tcg/vector_ops.def"
#undef RHEA_IR_OP
};

std::uint64_t code_field(const Inst& inst) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, reinterpret_cast<const void*>(inst.imm), inst.aux);
    const unsigned unused = 64 - 8u * inst.aux, above = 64 - type_bits(inst.type);
    const std::int64_t value = static_cast<std::int64_t>(bytes << unused) >> unused;
    return static_cast<std::uint64_t>(value) << above >> above;
}

/// The guest's rounding and flush modes, exceptions masked; afterwards its sticky flags.
class MxcsrScope {
  public:
    explicit MxcsrScope(VcpuHead& head) : head_(head) {
#if defined(__x86_64__)
        host_ = _mm_getcsr();
        _mm_setcsr(head.guest_mxcsr | 0x1f80);
#endif
    }
    ~MxcsrScope() {
#if defined(__x86_64__)
        head_.guest_mxcsr |= _mm_getcsr() & 0x3f;
        _mm_setcsr(host_);
#endif
    }
    MxcsrScope(const MxcsrScope&) = delete;
    MxcsrScope& operator=(const MxcsrScope&) = delete;

  private:
    VcpuHead& head_;
    unsigned host_ = 0;
};

/// One execution of one block.
class Run {
  public:
    Run(const GuestDescription& guest, std::uint32_t cold_offset, const MemoryCallbacks& callbacks,
        VcpuHead& head, const ir::Block& block, std::vector<Value>& values,
        std::vector<Value>& uppers)
        : guest_(guest),
          memory_(head, cold_offset, callbacks),
          head_(head),
          block_(block),
          values_(values),
          uppers_(uppers) {}

    CodeExit run();

  private:
    /// nullopt: go on with the next instruction.
    using Left = std::optional<CodeExit>;

    const Value& value(const Inst& inst, unsigned i) const { return values_[inst.args[i]]; }
    std::uint64_t low(const Inst& inst, unsigned i) const {
        return i < inst.arg_count ? values_[inst.args[i]].low : 0;
    }
    Value any(const Inst& inst, unsigned i) const {
        return i < inst.arg_count ? values_[inst.args[i]] : Value{};
    }
    std::uint8_t* slot(const Inst& inst) {
        return reinterpret_cast<std::uint8_t*>(&head_) + guest_.slots[inst.aux].offset;
    }
    bool condition(const Inst& inst) const {
        return condition_holds(static_cast<Cond>(inst.aux),
                               static_cast<std::uint32_t>(low(inst, 0)));
    }

    Left step(ValueId id, const Inst& inst);
    Left leave_to(std::uint64_t page_offset);
    CodeExit fault();
    Left unless_fault(bool ok) { return ok ? Left{} : Left{fault()}; }
    Left trap(unsigned vector, std::uint64_t error_code);
    Left divide(ValueId id, const Inst& inst);
    Left call(ValueId id, const Inst& inst);
    Left atomic(ValueId id, const Inst& inst);
    bool access_by_lane(ValueId id, const Inst& inst);
    Left x87(ValueId id, const Inst& inst);
    bool x87_memory(const Inst& inst);
    Left x87_set_control(const Inst& inst);
    void vector(ValueId id, const Inst& inst);
    void wide_vector(ValueId id, const Inst& inst, VectorRow row, HalvesRule rule);
    bool is_wide(const Inst& inst) const {
        return inst.type == Type::kV256 || (inst.arg_count > 0 && block_.type_of(inst.args[0]) == Type::kV256);
    }

    const GuestDescription& guest_;
    Memory memory_;
    VcpuHead& head_;
    const ir::Block& block_;
    std::vector<Value>& values_;
    std::vector<Value>& uppers_;     ///< upper halves of v256 values
    std::uint64_t insn_offset_ = 0;  ///< of the current guest instruction in its page
    std::uint64_t remainder_ = 0;    ///< of the last division
};

CodeExit Run::run() {
    for (ValueId id = 0; id < block_.insts.size(); ++id) {
        if (const Left left = step(id, block_.insts[id]))
            return *left;
    }
    assert(!"block without an end");
    return CodeExit::kNext;
}

Run::Left Run::step(ValueId id, const Inst& inst) {
    Value& result = values_[id];
    switch (inst.op) {
        case Op::insn_start:
            insn_offset_ = inst.imm;
            return {};
        case Op::set_flags:
            set_raw_flags(head_, static_cast<std::uint32_t>(low(inst, 0)));
            return {};
        case Op::f_load:
            result.low = compute_flags(head_);
            return {};
        case Op::konst:
            result.low = inst.imm;
            return {};
        case Op::get:
            result = {};
            std::memcpy(&result, slot(inst), type_bytes(inst.type));
            return {};
        case Op::set:
            std::memcpy(slot(inst), &value(inst, 0), type_bytes(inst.type));
            return {};
        case Op::pc_page:
            result.low = head_.pc_page;
            return {};
        case Op::code_field:
            result.low = code_field(inst);
            return {};
        case Op::divu:
        case Op::divs:
            return divide(id, inst);
        case Op::second:
            result.low = remainder_;
            return {};
        case Op::ld:
            if (inst.type == Type::kV256)
                return unless_fault(memory_.load_wide(low(inst, 0), inst.aux, result, uppers_[id]));
            return unless_fault(
                memory_.load(low(inst, 0), type_bytes(inst.type), inst.aux, result));
        case Op::st:
            if (inst.type == Type::kV256)
                return unless_fault(memory_.store_wide(low(inst, 0), inst.aux, value(inst, 1),
                                                       uppers_[inst.args[1]]));
            return unless_fault(
                memory_.store(low(inst, 0), type_bytes(inst.type), inst.aux, value(inst, 1)));
        case Op::check_w:
            return unless_fault(memory_.check_write(low(inst, 0), type_bytes(inst.type), inst.aux));
        case Op::ld_mask:
        case Op::st_mask:
        case Op::gather:
            return unless_fault(access_by_lane(id, inst));
        case Op::atomic_add:
        case Op::atomic_and:
        case Op::atomic_or:
        case Op::atomic_xor:
        case Op::atomic_xchg:
        case Op::atomic_cmpxchg:
            return atomic(id, inst);
        case Op::fence:
            std::atomic_thread_fence(std::memory_order_seq_cst);
            return {};
        case Op::call:
            return call(id, inst);
        case Op::x87_run:
        case Op::x87_ld:
        case Op::x87_st:
        case Op::x87_test:
        case Op::x87_move:
        case Op::x87_status:
        case Op::x87_control:
        case Op::x87_set_control:
        case Op::x87_sync:
            return x87(id, inst);
        case Op::trap:
            return trap(inst.aux, inst.imm);
        case Op::br_cc:
            return condition(inst) ? leave_to(inst.imm) : Left{};
        case Op::br_nz:
            return low(inst, 0) != 0 ? leave_to(inst.imm) : Left{};
        case Op::exit_direct:
        case Op::exit_next:
            return leave_to(inst.imm);
        case Op::exit_indirect:
            head_.pc = low(inst, 0);
            return CodeExit::kNext;
        case Op::exit_state:
            return CodeExit::kState;
        default:
            break;
    }
    if (ir::is_vector_op(inst.op)) {
        vector(id, inst);
    } else {
        result.low = ir::eval(block_, inst, low(inst, 0), low(inst, 1), low(inst, 2));
    }
    return {};
}

Run::Left Run::leave_to(std::uint64_t page_offset) {
    head_.pc = head_.pc_page + page_offset;
    return CodeExit::kNext;
}

/// Slots and flags are as at the boundary already (the frontend's rule); the pc is what is left to
/// say.
CodeExit Run::fault() {
    head_.pc = head_.pc_page + insn_offset_;
    return CodeExit::kException;
}

Run::Left Run::trap(unsigned vector, std::uint64_t error_code) {
    assert(guest_.raise != nullptr);
    head_.pc = head_.pc_page + insn_offset_;
    guest_.raise(&head_, vector, error_code);
    return fault();
}

Run::Left Run::divide(ValueId id, const Inst& inst) {
    const ir::Division d = ir::divide(inst.op == Op::divs, type_bits(inst.type), low(inst, 0),
                                      low(inst, 1), low(inst, 2));
    if (!d.fits)
        return trap(inst.aux, ~0ull);
    values_[id].low = d.quotient;
    remainder_ = d.remainder;
    return {};
}

Run::Left Run::call(ValueId id, const Inst& inst) {
    using Function = std::uint64_t (*)(void*, std::uint64_t, std::uint64_t, std::uint64_t);
    const HelperInfo& helper = guest_.helpers[inst.aux];
    if (helper.flags & kHelperPcIn)
        head_.pc = head_.pc_page + insn_offset_;
    const std::uint64_t result = reinterpret_cast<Function>(helper.function)(
        &head_, low(inst, 0), low(inst, 1), low(inst, 2));
    if ((helper.flags & kHelperMayFault) && head_.exception_pending != 0)
        return fault();
    if (inst.type != Type::kNone)
        values_[id].low = ir::low_bits(result, type_bits(inst.type));
    return {};
}

Run::Left Run::atomic(ValueId id, const Inst& inst) {
    std::uint64_t old = 0;
    const bool ok = memory_.atomic(inst.op, low(inst, 0), type_bytes(inst.type), low(inst, 1),
                                   low(inst, 2), old);
    values_[id].low = ir::low_bits(old, type_bits(inst.type));
    return unless_fault(ok);
}

bool Run::access_by_lane(ValueId id, const Inst& inst) {
    const LaneAccess access = LaneAccess::unpack(inst.imm);
    const bool gathers = inst.op == Op::gather;
    LaneArea area;
    const auto put = [&](void* to, unsigned arg) {
        const std::array halves{values_[inst.args[arg]], uppers_[inst.args[arg]]};
        std::memcpy(to, halves.data(), type_bytes(block_.type_of(inst.args[arg])));
    };
    LaneSlots slots;
    if (gathers) {
        put(area.address, 0);
        put(area.address + 4, access.count == 8 ? 1 : 0);
        const auto at = [&](unsigned n) { return reinterpret_cast<std::uint8_t*>(&head_) + guest_.slots[n].offset; };
        slots = {{at(access.data_low), at(access.data_high)}, {at(access.mask_low), at(access.mask_high)}};
    }
    if (inst.op == Op::st_mask)
        put(area.data, 1);
    put(area.mask, inst.op == Op::ld_mask ? 1 : 2);
    if (!access_lanes(memory_, access, gathers ? 0 : low(inst, 0), area, slots))
        return false;
    if (inst.op != Op::st_mask) {
        std::memcpy(&values_[id], area.data, 16);
        std::memcpy(&uppers_[id], area.data + 16, 16);
    }
    return true;
}

Run::Left Run::x87(ValueId id, const Inst& inst) {
    constexpr unsigned kMoveIfBelow = 0x2c0;  // FCMOVB ST(0), ST(0)
    const X87Guest& guest = *guest_.x87;
    std::uint8_t none[16] = {};
    switch (inst.op) {
        case Op::x87_run:
            guest.run(&head_, inst.aux, none, 0);
            return {};
        case Op::x87_test:
            values_[id].low = guest.run(&head_, inst.aux, none, 0) & (kZF | kPF | kCF);
            return {};
        case Op::x87_move:
            guest.run(&head_, kMoveIfBelow | inst.aux, none, low(inst, 0) != 0 ? kCF : 0);
            return {};
        case Op::x87_status:
            values_[id].low = guest.status(&head_);
            return {};
        case Op::x87_control:
            values_[id].low = guest.control(&head_);
            return {};
        case Op::x87_set_control:
            return x87_set_control(inst);
        case Op::x87_sync:
            return {};
        default:
            return unless_fault(x87_memory(inst));
    }
}

/// x87_ld and x87_st: everything that may fault comes before the instruction.
bool Run::x87_memory(const Inst& inst) {
    const unsigned bytes = x87_operand_bytes(inst.aux);
    const std::uint64_t address = low(inst, 0);
    const bool loads = inst.op == Op::x87_ld;
    Value operand;
    if (!(loads ? memory_.load(address, bytes, 0, operand) : memory_.check_write(address, bytes, 0)))
        return false;
    guest_.x87->run(&head_, inst.aux, &operand, 0);
    return loads || memory_.store(address, bytes, 0, operand);
}

Run::Left Run::x87_set_control(const Inst& inst) {
    using Function = std::uint64_t (*)(void*, std::uint64_t, std::uint64_t, std::uint64_t);
    constexpr std::uint64_t kMasks = 0x3f;
    if ((low(inst, 0) & kMasks) == kMasks) {
        guest_.x87->set_control(&head_, static_cast<std::uint16_t>(low(inst, 0)));
        return {};
    }
    head_.pc = head_.pc_page + insn_offset_;
    reinterpret_cast<Function>(guest_.helpers[inst.aux].function)(&head_, low(inst, 0), inst.imm,
                                                                  0);
    return CodeExit::kState;
}

void Run::vector(ValueId id, const Inst& inst) {
    VectorCall call{inst, any(inst, 0), any(inst, 1), any(inst, 2), {}, {}, {}, {}, {}, false};
    const unsigned number = static_cast<unsigned>(inst.op) - static_cast<unsigned>(Op::v_zero);
    const VectorRow row = kVectorRows[number];
    if (is_wide(inst)) {
        wide_vector(id, inst, row, kHalves[number]);
        return;
    }
    if (ir::op_traits(inst.op).bits & ir::kOpMxcsr) {
        const MxcsrScope scope(head_);
        row(call);
    } else {
        row(call);
    }
    if (!is_vector(block_.type_of(id))) {
        call.result = {ir::low_bits(call.result.low, type_bits(block_.type_of(id))), 0};
    }
    values_[id] = call.result;
}

void Run::wide_vector(ValueId id, const Inst& inst, VectorRow row, HalvesRule rule) {
    const auto upper = [&](unsigned i) {
        return i < inst.arg_count ? uppers_[inst.args[i]] : Value{};
    };
    switch (inst.op) {
        case Op::v_join:
            values_[id] = value(inst, 0);
            uppers_[id] = value(inst, 1);
            return;
        case Op::v_low:
            values_[id] = value(inst, 0);
            return;
        case Op::v_high:
            values_[id] = upper(0);
            return;
        default:
            break;
    }
    VectorCall call{inst, any(inst, 0), any(inst, 1), any(inst, 2), {},
                    upper(0), upper(1), upper(2), {}, true};
    const bool sticky = (ir::op_info(inst.op).bits & ir::kOpMxcsr) != 0;
    if (sticky) {
        const MxcsrScope scope(head_);
        run_wide(call, rule, row);
    } else {
        run_wide(call, rule, row);
    }
    const Type type = block_.type_of(id);
    if (!is_vector(type))
        call.result = {ir::low_bits(call.result.low, type_bits(type)), 0};
    values_[id] = call.result;
    uppers_[id] = call.result_upper;
}

}  // namespace
}  // namespace interp

struct Interpreter::Impl {
    const GuestDescription& guest;
    std::uint32_t cold_offset;
    MemoryCallbacks memory;
    std::vector<interp::Value> values;  ///< by ValueId; grows to the largest block
    std::vector<interp::Value> uppers;  ///< the same of upper halves
};

Interpreter::Interpreter(const GuestDescription& guest, std::uint32_t cold_offset,
                         const MemoryCallbacks& memory)
    : impl_(std::make_unique<Impl>(Impl{guest, cold_offset, memory, {}, {}})) {}
Interpreter::~Interpreter() = default;

CodeExit Interpreter::run(VcpuHead* state, const ir::Block& block) {
    if (impl_->values.size() < block.insts.size())
        impl_->values.resize(block.insts.size());
    if (impl_->uppers.size() < block.insts.size())
        impl_->uppers.resize(block.insts.size());
    return interp::Run(impl_->guest, impl_->cold_offset, impl_->memory, *state, block,
                       impl_->values, impl_->uppers)
        .run();
}

}  // namespace rhea::tcg
