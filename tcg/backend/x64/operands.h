// Operands of x86-64 instructions as the Assembler takes them: registers, memory references, labels
// and VEX opcode descriptors. Plain values; no threading.
#pragma once
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "rhea/tcg/types.h"

namespace rhea::tcg::x64 {

/// Integer registers; the value is the hardware's number.
enum class Gpr : std::uint8_t {
    // clang-format off
    rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi,
    r8, r9, r10, r11, r12, r13, r14, r15,
    // clang-format on
};

/// The second bytes of the first four registers. Only in instructions without a REX prefix: the
/// other register must be one of rax, rcx, rdx, rbx for byte operands, and none may be r8 or above.
enum class HighByte : std::uint8_t { ah = 4, ch, dh, bh };

/// Vector registers, 128 or 256 bits as the instruction says.
enum class Xmm : std::uint8_t {
    // clang-format off
    xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7,
    xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15,
    // clang-format on
};

/// The hardware's number of a register.
constexpr unsigned code(Gpr r) {
    return static_cast<unsigned>(r);
}
constexpr unsigned code(Xmm r) {
    return static_cast<unsigned>(r);
}
constexpr Gpr gpr(unsigned number) {
    return static_cast<Gpr>(number);
}
constexpr Xmm xmm(unsigned number) {
    return static_cast<Xmm>(number);
}

/// An operand of a VEX instruction that may be of either file (vmovd, andn, vpinsrd, ...).
struct AnyReg {
    std::uint8_t number;
    constexpr AnyReg(Gpr r) : number(static_cast<std::uint8_t>(r)) {}
    constexpr AnyReg(Xmm r) : number(static_cast<std::uint8_t>(r)) {}
};

/// A place in the code being written, known or not yet. Bind each label that is used exactly once.
/// It may be moved in memory while unbound, but not copied into two uses.
class Label {
  public:
    [[nodiscard]] bool bound() const { return offset_ >= 0; }
    /// Used by a jump or a memory operand, but not bound so far.
    [[nodiscard]] bool pending() const { return !bound() && (chain_ != 0 || short_count_ != 0); }
    /// Offset in the buffer; only when bound.
    [[nodiscard]] std::size_t offset() const {
        assert(bound());
        return static_cast<std::size_t>(offset_);
    }

  private:
    friend class Assembler;
    static constexpr unsigned kShortFixups = 6;
    std::int32_t offset_ = -1;
    /// Last 32-bit field that waits for this label: (offset + 1) << 3 | bytes between field and end
    /// of instruction. The field holds the same for the one before; 0 ends the chain.
    std::uint32_t chain_ = 0;
    std::array<std::uint32_t, kShortFixups> short_; ///< the first short_count_ of them
    std::uint8_t short_count_ = 0;
};

/// A memory operand. Size in bytes is the instruction's parameter.
struct Mem {
    enum class Form : std::uint8_t {
        kBase,       ///< [base + disp]
        kBaseIndex,  ///< [base + index*scale + disp]
        kIndex,      ///< [index*scale + disp32]
        kAbsolute,   ///< [disp32], sign-extended
        kRip,        ///< rip-relative to `target`, an executable address within 2 GiB of the code
        kRipLabel,   ///< rip-relative to `label`
    };
    Form form = Form::kBase;
    Gpr base = Gpr::rax;
    Gpr index = Gpr::rax;
    std::uint8_t scale_log2 = 0;
    std::int32_t disp = 0;
    union {
        const std::uint8_t* target = nullptr;
        Label* label;
    };

    /// [rip + ...] that names `target`.
    static Mem rip(const void* target, std::int32_t disp = 0) {
        Mem m;
        m.form = Form::kRip;
        m.disp = disp;
        m.target = static_cast<const std::uint8_t*>(target);
        return m;
    }
    /// [rip + ...] that names the label (bound at any time in the same buffer).
    static Mem rip(Label& label) {
        Mem m;
        m.form = Form::kRipLabel;
        m.label = &label;
        return m;
    }
    /// [disp32].
    static constexpr Mem absolute(std::int32_t disp) {
        Mem m;
        m.form = Form::kAbsolute;
        m.disp = disp;
        return m;
    }
    /// The same operand `bytes` further up.
    [[nodiscard]] constexpr Mem plus(std::int32_t bytes) const {
        Mem m = *this;
        m.disp += bytes;
        return m;
    }
};

constexpr std::uint8_t scale_log2(unsigned scale) {
    return scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
}

/// [base + disp]
constexpr Mem ptr(Gpr base, std::int32_t disp = 0) {
    Mem m;
    m.base = base;
    m.disp = disp;
    return m;
}
/// [base + index*scale + disp]; scale 1, 2, 4 or 8; index is not rsp.
constexpr Mem ptr(Gpr base, Gpr index, unsigned scale = 1, std::int32_t disp = 0) {
    Mem m;
    m.form = Mem::Form::kBaseIndex;
    m.base = base;
    m.index = index;
    m.scale_log2 = scale_log2(scale);
    m.disp = disp;
    return m;
}
/// [index*scale + disp32]; index is not rsp.
constexpr Mem ptr_index(Gpr index, unsigned scale, std::int32_t disp) {
    Mem m;
    m.form = Mem::Form::kIndex;
    m.index = index;
    m.scale_log2 = scale_log2(scale);
    m.disp = disp;
    return m;
}

/// The ALU group; the value is the /digit.
enum class Alu : std::uint8_t { add, or_, adc, sbb, and_, sub, xor_, cmp };
/// Shifts and rotates; the value is the /digit.
enum class Shift : std::uint8_t { rol, ror, rcl, rcr, shl, shr, sar = 7 };
/// Bit tests; the value is the /digit of the immediate form.
/// SHA instructions; the value is the last byte of their opcode, in map 0F 38 but for sha1rnds4 (0F 3A CC).
enum class ShaOp : std::uint8_t {
    sha1nexte = 0xc8, sha1msg1, sha1msg2, sha256rnds2, sha256msg1, sha256msg2, sha1rnds4 = 0xff
};

enum class BitTest : std::uint8_t { bt = 4, bts, btr, btc };
/// One-operand group 3; the value is the /digit.
enum class Unary : std::uint8_t { not_ = 2, neg, mul, imul, div, idiv };

/// How far a jump to a label that is not bound yet can reach.
enum class Reach : std::uint8_t { kShort, kNear };

/// Which opcode map a VEX instruction is in; the value is VEX.mmmmm.
enum class VexMap : std::uint8_t { k0F = 1, k0F38 = 2, k0F3A = 3 };
/// The implied prefix; the value is VEX.pp.
enum class VexPrefix : std::uint8_t { kNone, k66, kF3, kF2 };

/// A VEX-encoded instruction. vex_ops.h has one by name for everything from SSE to AVX2, FMA, AES,
/// BMI.
struct VexOp {
    VexPrefix pp = VexPrefix::kNone;
    VexMap map = VexMap::k0F;
    std::uint8_t opcode = 0;
    std::uint8_t w = 0;
    std::uint8_t l = 0;  ///< 0: 128 bits or scalar, 1: 256 bits

    /// The 256-bit form.
    [[nodiscard]] constexpr VexOp ymm() const { return {pp, map, opcode, w, 1}; }
    /// The same with VEX.W = 1 (64-bit integer operand, FMA double, ...).
    [[nodiscard]] constexpr VexOp w1() const { return {pp, map, opcode, 1, l}; }
};

/// A VEX instruction that is told from others of its opcode by ModRM.reg.
struct VexGroupOp {
    VexOp op;
    std::uint8_t digit = 0;
};

}  // namespace rhea::tcg::x64
