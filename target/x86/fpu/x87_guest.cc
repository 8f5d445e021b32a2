#include "target/x86/fpu/x87_guest.h"

#include "target/x86/fpu/x87_image.h"
#include "target/x86/fpu/x87_run.h"

#include <cstring>

namespace rhea::target::x86 {
namespace {

/// The XSAVE header (SDM volume 1, 13.4.2): which components the area holds. The rest of it stays zero.
constexpr std::size_t kComponents = 512;
constexpr std::uint64_t kX87Component = 1;
static_assert(offsetof(CpuState, x87_image) % 64 == 0 && tcg::kStateOffset % 64 == 0);

void fill_image(void *state) {
    auto &s = *static_cast<CpuState *>(state);
    FxImage image;
    fill_registers(s, image);
    image.fop = 0;
    image.fip = image.fdp = 0;
    std::memcpy(s.x87_image, &image, offsetof(FxImage, mxcsr));
    std::memcpy(s.x87_image + offsetof(FxImage, st), &image.st, sizeof image.st);
    std::memcpy(s.x87_image + kComponents, &kX87Component, sizeof kX87Component);
}

void take_image(void *state) {
    auto &s = *static_cast<CpuState *>(state);
    FxImage image;
    std::memcpy(&image, s.x87_image, offsetof(FxImage, xmm));
    take_registers(s, image);
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
                                     run, status, control, set_control};

} // namespace

const tcg::X87Guest *x87_guest() { return &kX87Guest; }

} // namespace rhea::target::x86
