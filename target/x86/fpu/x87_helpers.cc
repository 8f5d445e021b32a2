// What translated x87 instructions call: #MF first, then the instruction, then where it was.
#include "target/x86/cpu.h"
#include "target/x86/fault.h"
#include "target/x86/fpu/x87_image.h"
#include "target/x86/fpu/x87_info.h"
#include "target/x86/fpu/x87_run.h"
#include "target/x86/helpers.h"

namespace rhea::target::x86 {
namespace {

/// A waiting instruction reports what is pending. With CR0.NE = 0 the report goes to an interrupt controller that no machine of
/// ours wires up: the exception is ignored, as IGNNE# has it.
bool report_pending(CpuState &s) {
    if (!fpu_pending(s) || (s.cr0 & kCr0NE) == 0) {
        return false;
    }
    raise(s, Fault{kVectorMF, 0, 0});
    return true;
}

void note_place(CpuState &s, const X87Info &info, std::uint64_t data_offset) {
    set_fpu_place(s, Cpu::of(&s).eip(), info.opcode);
    s.fcs = s.seg[kCs].selector;
    if (info.memory) {
        s.fdp = data_offset;
        s.fds = s.seg[info.segment].selector;
    }
}

} // namespace

std::uint64_t helper_x87_register(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    if (report_pending(*state)) {
        return 0;
    }
    const X87Info info = X87Info::unpack(a);
    X87Operand none;
    run_x87(*state, info.opcode, none);
    note_place(*state, info, 0);
    return 0;
}

std::uint64_t helper_x87_load(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    if (report_pending(*state)) {
        return 0;
    }
    const X87Info info = X87Info::unpack(a);
    X87Operand operand{b, info.high};
    run_x87(*state, info.opcode, operand);
    note_place(*state, info, c);
    return 0;
}

std::uint64_t helper_x87_store(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    if (report_pending(*state)) {
        return b;
    }
    const X87Info info = X87Info::unpack(a);
    X87Operand operand{b, 0};
    run_x87(*state, info.opcode, operand);
    note_place(*state, info, c);
    return operand.low;
}

std::uint64_t helper_x87_store_high(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    if (report_pending(*state)) {
        return b;
    }
    const X87Info info = X87Info::unpack(a);
    if (info.opcode >> 8 == 3 && (state->ftw >> (state->fpu_top & 7) & 1) == 0) {
        return state->fpr[state->fpu_top & 7].sign_exponent; // FSTP of a register that is not empty: as it is
    }
    CpuState copy;
    copy.fcw = state->fcw;
    copy.fsw = state->fsw;
    copy.ftw = state->ftw;
    copy.fpu_top = state->fpu_top;
    for (unsigned n = 0; n < 8; n++) {
        copy.fpr[n] = state->fpr[n];
    }
    X87Operand operand{0, static_cast<std::uint16_t>(b)};
    run_x87(copy, info.opcode, operand);
    return operand.high;
}

std::uint64_t helper_x87_flags(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    if (report_pending(*state)) {
        return b;
    }
    const X87Info info = X87Info::unpack(a);
    X87Operand none;
    const std::uint32_t flags = run_x87(*state, info.opcode, none, static_cast<std::uint32_t>(b));
    note_place(*state, info, 0);
    return flags;
}

std::uint64_t helper_fwait(CpuState *state, std::uint64_t, std::uint64_t, std::uint64_t) {
    constexpr std::uint64_t kBoth = kCr0MP | kCr0TS;
    if ((state->cr0 & kBoth) == kBoth) {
        raise(*state, Fault{kVectorNM, 0, 0});
    } else {
        report_pending(*state);
    }
    return 0;
}

std::uint64_t helper_fldcw(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    if (!report_pending(*state)) {
        state->fcw = static_cast<std::uint16_t>((a & 0x1f7f) | 0x40);
        update_fpu_summary(*state);
    }
    return 0;
}

/// FLDCW where all exceptions were masked and the new value unmasks some: another mode.
std::uint64_t helper_fldcw_unmask(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    helper_fldcw(state, a, 0, 0);
    return helper_x87_leave(state, b, 0, 0);
}

std::uint64_t helper_x87_leave(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    state->head.pc += a;
    update_mode(Cpu::of(state));
    return 0;
}

std::uint64_t helper_x87_sync(CpuState *, std::uint64_t, std::uint64_t, std::uint64_t) { return 0; }

std::uint64_t helper_fninit(CpuState *state, std::uint64_t, std::uint64_t, std::uint64_t) {
    init_fpu(*state);
    return 0;
}

std::uint64_t helper_fnclex(CpuState *state, std::uint64_t, std::uint64_t, std::uint64_t) {
    state->fsw &= static_cast<std::uint16_t>(~(kFpuExceptions | kFpuSummary | 0x40));
    return 0;
}

} // namespace rhea::target::x86
