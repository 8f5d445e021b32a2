// MXCSR and what SSE needs of C++.
#include "target/x86/cpu.h"
#include "target/x86/fault.h"
#include "target/x86/fpu/x87_image.h"
#include "target/x86/helpers.h"
#include "target/x86/linear_memory.h"

namespace rhea::target::x86 {
namespace {

constexpr std::uint32_t kSticky = 0x3f, kBeforeResult = 7 /* IE DE ZE */;
constexpr unsigned kMaskShift = 7;

} // namespace

std::uint64_t helper_ldmxcsr(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        if ((a & ~std::uint64_t{kMxcsrMask}) != 0) {
            throw_gp(0);
        }
        state->head.guest_mxcsr = static_cast<std::uint32_t>(a);
        state->head.pc += b;
        update_mode(cpu);
        return 0;
    });
}

std::uint64_t helper_stmxcsr(CpuState *state, std::uint64_t, std::uint64_t, std::uint64_t) {
    return state->head.guest_mxcsr;
}

std::uint64_t helper_simd_begin(CpuState *state, std::uint64_t, std::uint64_t, std::uint64_t) {
    const std::uint32_t sticky = state->head.guest_mxcsr & kSticky;
    state->head.guest_mxcsr &= ~kSticky;
    return sticky;
}

/// The instruction ran with everything masked; its result is dropped when an exception is not (SDM volume 1, 11.5).
std::uint64_t helper_simd_check(CpuState *state, std::uint64_t a, std::uint64_t, std::uint64_t) {
    std::uint32_t &mxcsr = state->head.guest_mxcsr;
    std::uint32_t raised = mxcsr & kSticky;
    const std::uint32_t unmasked = raised & ~(mxcsr >> kMaskShift);
    if ((unmasked & kBeforeResult) != 0) {
        raised &= kBeforeResult; // there was no result to be inexact
    }
    mxcsr = (mxcsr & ~kSticky) | raised | static_cast<std::uint32_t>(a);
    if (unmasked != 0) {
        raise(*state, Fault{(state->cr4 & kCr4OSXMMEXCPT) != 0 ? kVectorXM : kVectorUD, 0, 0});
    }
    return 0;
}

/// Also with a mask that stores nothing: CPUs differ, this is what AMD's do.
std::uint64_t helper_mask_probe(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        check_writable_linear(cpu, a, b, cpu.as_current());
        return 0;
    });
}

std::uint64_t helper_mask_move(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        for (unsigned n = 0; n < 8; n++) {
            if ((c >> (8 * n + 7) & 1) != 0) {
                write_linear(cpu, a + n, b >> (8 * n) & 0xff, 1, cpu.as_current());
            }
        }
        return 0;
    });
}

} // namespace rhea::target::x86
