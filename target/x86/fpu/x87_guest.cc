#include "target/x86/fpu/x87_guest.h"

#include "target/x86/fpu/x87_image.h"
#include "target/x86/fpu/x87_run.h"

#include <cstring>

namespace rhea::target::x86 {
namespace {

constexpr EnvironmentLayout kLayout = {true, true};
static_assert(kLayout.size() + kRegistersSize == tcg::kX87ImageSize);

void fill_image(void *state) {
    auto &s = *static_cast<CpuState *>(state);
    make_environment(s, kLayout, s.x87_image);
    make_register_dump(s, s.x87_image + kLayout.size());
}

void take_image(void *state) {
    auto &s = *static_cast<CpuState *>(state);
    take_environment_state(s, kLayout, s.x87_image);
    take_register_dump(s, s.x87_image + kLayout.size());
}

void release(void *state) {
    auto &s = *static_cast<CpuState *>(state);
    if (s.x87_live == 0) {
        return;
    }
    asm volatile("fnsave %0" : "=m"(s.x87_image));
    s.x87_live = 0;
    take_image(state);
}

std::uint32_t run(void *state, unsigned opcode, void *operand, std::uint32_t flags) {
    auto *bytes = static_cast<std::uint8_t *>(operand);
    X87Operand memory;
    std::memcpy(&memory.low, bytes, 8);
    std::memcpy(&memory.high, bytes + 8, 2);
    const std::uint32_t after = run_x87(*static_cast<CpuState *>(state), opcode, memory, flags);
    std::memcpy(bytes, &memory.low, 8);
    std::memcpy(bytes + 8, &memory.high, 2);
    return after;
}

std::uint16_t status(const void *state) { return fpu_status(*static_cast<const CpuState *>(state)); }
std::uint16_t control(const void *state) { return static_cast<const CpuState *>(state)->fcw; }

void set_control(void *state, std::uint16_t value) {
    auto &s = *static_cast<CpuState *>(state);
    s.fcw = static_cast<std::uint16_t>((value & 0x1f7f) | 0x40);
    update_fpu_summary(s);
}

constexpr tcg::X87Guest kX87Guest = {offsetof(CpuState, x87_live), offsetof(CpuState, x87_image), fill_image, take_image,
                                     release, run, status, control, set_control};

} // namespace

const tcg::X87Guest *x87_guest() { return &kX87Guest; }

} // namespace rhea::target::x86
