// How an instruction leaves its block, and what surrounds it where every instruction is on its own: TF, breakpoints,
// interrupt shadow.
#include "target/x86/translate/translator.h"

namespace rhea::target::x86 {

namespace {
constexpr std::int64_t kPageBytes = 4096;
} // namespace

void Translator::begin_insn() {
    mem_offset_ = mem_linear_ = kNoValue;
    after_sti_ = sti_;
    sti_ = together_ = false;
    const std::uint64_t what = ((mode & kModeShadow) != 0 ? 1u : 0u) | ((mode & kModeBreakpoints) != 0 ? 2u : 0u);
    if (what != 0) {
        call(HelperId::begin_single, Type::kNone, {k(what)});
    }
    if ((mode & kModeCsLimit) != 0 && protected_mode()) {
        call(HelperId::cs_limit_check, Type::kNone, {eip_of(next - 1)});
    }
}

void Translator::end_insn() {
    if (!ended_ && single()) {
        leave_direct(next);
    }
}

void Translator::trap(unsigned vector, std::uint64_t error_code) {
    b.emit(Op::trap, Type::kNone, {}, static_cast<std::uint16_t>(vector), error_code);
    set_ended();
}

void Translator::finish_single(ValueId pc, ValueId again) {
    const ValueId trap = k((mode & kModeTf) != 0 ? 1 : 0);
    if (again == kNoValue) {
        call(HelperId::finish_single, Type::kNone, {pc, trap});
    } else {
        call(HelperId::finish_single, Type::kNone, {pc, trap, b.zext(again, Type::kI64)});
    }
    b.emit(Op::exit_state, Type::kNone);
    set_ended();
}

void Translator::leave_entered() {
    b.emit(Op::exit_state, Type::kNone);
    set_ended();
}

void Translator::leave_state() {
    if (single_mode_) {
        finish_single(k(~0ull));
    } else {
        leave_entered();
    }
}

void Translator::leave_next(std::int32_t page_offset) {
    if (single_mode_) {
        finish_single(linear_of(page_offset));
        return;
    }
    b.emit(Op::exit_next, Type::kNone, {}, 0, static_cast<std::uint64_t>(std::int64_t{page_offset}));
    set_ended();
}

void Translator::leave_direct(std::int32_t page_offset) {
    if (single()) {
        leave_next(page_offset);
        return;
    }
    b.emit(Op::exit_direct, Type::kNone, {}, 0, static_cast<std::uint64_t>(std::int64_t{page_offset}));
    set_ended();
}

bool Translator::jumps_are_checked() const {
    // A 32-bit jump can leave a 16-bit segment of 64 KiB, which nothing else can.
    const bool wide_in_16 = (mode & (kModeCode32 | kModeCode64)) == 0 && opsize() == 4;
    return (mode & kModeCsLimit) != 0 || wide_in_16;
}

void Translator::check_cs_limit(ValueId eip) {
    if (jumps_are_checked()) {
        call(HelperId::cs_limit_check, Type::kNone, {eip});
    }
}

/// May the jump be one of a fixed distance? With 16-bit operands EIP wraps at 64 KiB: inside one page of 16-bit code it
/// does not, everything else is computed. 32-bit EIP and linear addresses wrap alike.
bool Translator::direct_target(std::int64_t target) const {
    const bool in_page = target >= 0 && target < kPageBytes;
    const bool code16 = (mode & (kModeCode32 | kModeCode64)) == 0;
    if (opsize() == 2 || code16) {
        return in_page && code16 && (mode & kModeCsLimit) == 0;
    }
    return target == static_cast<std::int32_t>(target) && (mode & kModeCsLimit) == 0;
}

/// Linear address of next EIP + relative, by operand size; checks the limit.
ValueId Translator::target_linear(std::int64_t relative) {
    const ValueId eip = masked(b.add_imm(eip_of(next), relative), opsize());
    check_cs_limit(eip);
    return linear_of_eip(eip);
}

/// Does another turn of the loop follow here, instead of a jump to the block's head?
bool Translator::unrolls(std::int64_t target) {
    if (turns_ <= 1 || target != b.block().page_offset || next > kPageBytes) {
        return false;
    }
    unrolling_ = true;
    turns_--;
    goes_on_at_ = static_cast<std::int32_t>(target);
    return true;
}

void Translator::jump_to(std::int64_t relative, tcg::JumpKind kind) {
    const std::int64_t target = target_of(relative);
    const bool in_page = target >= 0 && target < kPageBytes;
    if (!single() && direct_target(target) && kind == tcg::JumpKind::kJump && unrolls(target)) {
        return;
    }
    if (direct_target(target) && (in_page || kind == tcg::JumpKind::kJump)) {
        leave_direct(static_cast<std::int32_t>(target));
    } else {
        const ValueId pc = target_linear(relative);
        if (single()) {
            finish_single(pc);
            return;
        }
        b.emit(Op::exit_indirect, Type::kNone, {pc}, static_cast<std::uint16_t>(kind));
        set_ended();
    }
}

void Translator::jump_eip(ValueId eip, tcg::JumpKind kind) {
    const ValueId pc = linear_of_eip(eip);
    if (single()) {
        finish_single(pc);
        return;
    }
    b.emit(Op::exit_indirect, Type::kNone, {pc}, static_cast<std::uint16_t>(kind));
    set_ended();
}

void Translator::branch_cc(Cond cc, std::int64_t relative) {
    const std::int64_t target = target_of(relative);
    if (!single() && direct_target(target)) {
        if (unrolls(target)) {
            b.emit(Op::br_cc, Type::kNone, {b.flags()}, static_cast<std::uint16_t>(static_cast<unsigned>(cc) ^ 1u),
                   static_cast<std::uint64_t>(std::int64_t{next}));
            return;
        }
        b.emit(Op::br_cc, Type::kNone, {b.flags()}, static_cast<std::uint16_t>(cc),
               static_cast<std::uint64_t>(target));
        note_target(target);
        return;
    }
    if (single()) {
        const ValueId taken = target_linear(relative);
        finish_single(b.emit(Op::select_cc, Type::kI64, {b.flags(), taken, linear_of(next)},
                             static_cast<std::uint16_t>(cc)));
        return;
    }
    b.emit(Op::br_cc, Type::kNone, {b.flags()}, static_cast<std::uint16_t>(static_cast<unsigned>(cc) ^ 1u),
           static_cast<std::uint64_t>(std::int64_t{next}));
    jump_to(relative);
}

void Translator::branch(ValueId taken, std::int64_t relative) {
    const std::int64_t target = target_of(relative);
    if (!single() && direct_target(target)) {
        if (unrolls(target)) {
            b.emit(Op::br_nz, Type::kNone, {b.xor_(taken, b.konst(Type::kI8, 1))}, 0,
                   static_cast<std::uint64_t>(std::int64_t{next}));
            return;
        }
        b.emit(Op::br_nz, Type::kNone, {taken}, 0, static_cast<std::uint64_t>(target));
        note_target(target);
        return;
    }
    if (single()) {
        const ValueId there = target_linear(relative);
        finish_single(b.emit(Op::select, Type::kI64, {taken, there, linear_of(next)}));
        return;
    }
    b.emit(Op::br_nz, Type::kNone, {b.xor_(taken, b.konst(Type::kI8, 1))}, 0,
           static_cast<std::uint64_t>(std::int64_t{next}));
    jump_to(relative);
}

} // namespace rhea::target::x86
