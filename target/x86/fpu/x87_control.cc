// x87, MMX and SSE state to and from guest memory: FNSTENV, FNSAVE, FXSAVE and their counterparts.
#include "target/x86/cpu.h"
#include "target/x86/fault.h"
#include "target/x86/fpu/image_io.h"
#include "target/x86/fpu/x87_image.h"
#include "target/x86/helpers.h"

#include <cstring>

namespace rhea::target::x86 {
namespace {

EnvironmentLayout layout_of(const Cpu &cpu, std::uint64_t operand_size) {
    return {operand_size != 2, cpu.protected_mode() && !cpu.vm86()};
}

/// FLDENV and FRSTOR are waiting instructions.
void throw_pending(const CpuState &s) {
    if (fpu_pending(s) && (s.cr0 & kCr0NE) != 0) {
        throw Fault{kVectorMF, 0, 0};
    }
}

void check_alignment(std::uint64_t linear) {
    if ((linear & 15) != 0) {
        throw_gp(0);
    }
}

/// What FXSAVE writes and FXRSTOR reads: up to the last register that the mode has.
std::size_t fxsave_size(const Cpu &cpu) {
    return cpu.code64() ? offsetof(FxImage, unused) : offsetof(FxImage, xmm) + 8 * 16;
}

} // namespace

std::uint64_t helper_fnstenv(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        const EnvironmentLayout layout = layout_of(cpu, b);
        std::uint8_t bytes[kMaxEnvironment];
        make_environment(*state, layout, bytes);
        write_image(cpu, a, bytes, layout.size());
        state->fcw |= kFpuExceptions;
        update_fpu_summary(*state);
        return 0;
    });
}

std::uint64_t helper_fldenv(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        throw_pending(*state);
        const EnvironmentLayout layout = layout_of(cpu, b);
        std::uint8_t bytes[kMaxEnvironment];
        read_image(cpu, a, bytes, layout.size());
        take_environment(*state, layout, bytes);
        return 0;
    });
}

std::uint64_t helper_fnsave(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        const EnvironmentLayout layout = layout_of(cpu, b);
        std::uint8_t bytes[kMaxEnvironment + kRegistersSize];
        make_environment(*state, layout, bytes);
        make_register_dump(*state, bytes + layout.size());
        write_image(cpu, a, bytes, layout.size() + kRegistersSize);
        init_fpu(*state);
        return 0;
    });
}

std::uint64_t helper_frstor(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        throw_pending(*state);
        const EnvironmentLayout layout = layout_of(cpu, b);
        std::uint8_t bytes[kMaxEnvironment + kRegistersSize];
        read_image(cpu, a, bytes, layout.size() + kRegistersSize);
        take_environment(*state, layout, bytes);
        take_register_dump(*state, bytes + layout.size());
        return 0;
    });
}

std::uint64_t helper_fxsave(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        check_alignment(a);
        FxImage image;
        make_fxsave(*state, b != 0, cpu.code64(), image);
        write_image(cpu, a, reinterpret_cast<const std::uint8_t *>(&image), fxsave_size(cpu));
        return 0;
    });
}

std::uint64_t helper_fxrstor(CpuState *state, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    return guarded(state, [&](Cpu &cpu) -> std::uint64_t {
        check_alignment(a);
        FxImage image;
        read_image(cpu, a, reinterpret_cast<std::uint8_t *>(&image), fxsave_size(cpu));
        if ((image.mxcsr & ~kMxcsrMask) != 0) {
            throw_gp(0);
        }
        take_fxsave(*state, b != 0, cpu.code64(), image);
        state->head.pc += c;
        update_mode(cpu);
        return 0;
    });
}

} // namespace rhea::target::x86
