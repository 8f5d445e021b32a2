#include "target/x86/fpu/x87_run.h"

#include "target/x86/fpu/x87_image.h"

#if !defined(__x86_64__)
#error "x87 needs an implementation for this host"
#endif

// One stub an instruction: 512 register forms (opcode D8 to DF, ModRM C0 to FF), then 64 memory forms (/0 to /7 with the operand at
// [rsi]); each 4 bytes, the last two a RET and a NOP. The decoder's rows decide which are ever reached.
asm(R"(
    .text
    .balign 16
rhea_x87_register_stubs:
    .set rhea_x87_escape, 0xd8
    .rept 8
        .set rhea_x87_modrm, 0xc0
        .rept 64
            .byte rhea_x87_escape, rhea_x87_modrm, 0xc3, 0x90
            .set rhea_x87_modrm, rhea_x87_modrm + 1
        .endr
        .set rhea_x87_escape, rhea_x87_escape + 1
    .endr
rhea_x87_memory_stubs:
    .set rhea_x87_escape, 0xd8
    .rept 8
        .set rhea_x87_modrm, 0x06
        .rept 8
            .byte rhea_x87_escape, rhea_x87_modrm, 0xc3, 0x90
            .set rhea_x87_modrm, rhea_x87_modrm + 8
        .endr
        .set rhea_x87_escape, rhea_x87_escape + 1
    .endr

    # uint64_t rhea_x87_run(FxImage *image, void *operand, const void *stub, uint64_t flags)
    .balign 16
    .type rhea_x87_run, @function
rhea_x87_run:
    fxrstor64 (%rdi)
    pushq %rcx
    popfq
    call *%rdx
    pushfq
    popq %rax
    fxsave64 (%rdi)
    fninit
    ret
    .size rhea_x87_run, . - rhea_x87_run
)");

extern "C" {
extern const std::uint8_t rhea_x87_register_stubs[];
extern const std::uint8_t rhea_x87_memory_stubs[];
std::uint64_t rhea_x87_run(void *image, void *operand, const void *stub, std::uint64_t flags);
}

namespace rhea::target::x86 {
namespace {

constexpr unsigned kStubSize = 4;
constexpr std::uint32_t kFlagsReserved = 2;

const std::uint8_t *stub_of(unsigned opcode) {
    const unsigned escape = opcode >> 8, modrm = opcode & 0xff;
    return modrm >= 0xc0 ? rhea_x87_register_stubs + (escape * 64 + (modrm & 63)) * kStubSize
                         : rhea_x87_memory_stubs + (escape * 8 + ((modrm >> 3) & 7)) * kStubSize;
}

} // namespace

std::uint32_t run_x87(CpuState &s, unsigned opcode, X87Operand &operand, std::uint32_t flags) {
    FxImage image;
    fill_registers(s, image);
    const bool ignored = fpu_pending(s);
    if (ignored) {
        image.fcw |= kFpuExceptions;
        image.fsw = static_cast<std::uint16_t>(image.fsw & ~kFpuSummary);
    }
    image.fop = 0;
    image.fip = image.fdp = 0;
    image.mxcsr_mask = kMxcsrMask;
    image.xmm = {};
    asm volatile("stmxcsr %0" : "=m"(image.mxcsr));
    alignas(16) X87Operand memory = operand;
    const std::uint64_t after = rhea_x87_run(&image, &memory, stub_of(opcode), (flags & tcg::kArithFlags) | kFlagsReserved);
    if (ignored) {
        image.fcw = s.fcw;
    }
    take_registers(s, image);
    operand = memory;
    return static_cast<std::uint32_t>(after) & tcg::kArithFlags;
}

} // namespace rhea::target::x86
