// The x86 decoder: bytes to one Insn. Pure functions over constant tables; any thread.
#pragma once
#include "target/x86/decode/row.h"
#include "target/x86/helper_args.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace rhea::target::x86 {

inline constexpr unsigned kMaxInsnLength = 15;
inline constexpr std::uint8_t kNoReg = 0xff;

/// An operand of a decoded instruction.
struct Operand {
    enum class Kind : std::uint8_t { kNone, kGpr, kMem, kImm, kRel, kSeg, kCr, kDr, kXmm, kMmx, kSt, kFar, kString };
    Kind kind = Kind::kNone;
    std::uint8_t size = 0;   ///< bytes; 0 where the instruction itself knows
    std::uint8_t reg = 0;    ///< register number (GPR with `high`: 0..3 for AH, CH, DH, BH)
    bool high = false;
    bool is_mem() const { return kind == Kind::kMem; }
    bool is_reg() const { return kind == Kind::kGpr; }
};

/// The memory operand: segment:[base + index << scale + disp], or [next pc + disp].
struct MemRef {
    std::uint8_t base = kNoReg, index = kNoReg, scale = 0;
    std::uint8_t segment = 3;     ///< Seg after defaults and override
    bool rip_relative = false;
    std::int64_t disp = 0;
};

/// What the decoder must know of the CPU's mode.
struct DecodeMode {
    bool code64 = false, code32 = false;
    bool real_or_vm86 = false;    ///< VEX does not exist there
    FeatureSet features;
};

struct Insn {
    RowId row_id = kNoRow;
    OpcodeMap map = OpcodeMap::kOneByte;
    std::uint8_t opcode = 0;
    std::uint8_t length = 0;
    std::uint8_t operand_size = 4, address_size = 4;
    std::uint8_t rex = 0;
    std::uint8_t modrm = 0;
    std::uint8_t segment_override = kNoReg;
    RepKind rep = RepKind::kNone; ///< last of F3/F2
    bool lock = false, prefix66 = false, has_modrm = false, vex = false;
    std::uint8_t vex_register = 0, vex_length = 0;
    bool vex_w = false;           ///< in every mode; rex is 0 outside 64-bit code
    std::array<Operand, 4> operands;
    MemRef mem;
    std::uint64_t imm = 0;        ///< sign-extended where the notation says so; relative displacement
    std::uint64_t imm2 = 0;       ///< ENTER's level, far pointer's selector

    const Row &row() const { return kRows[row_id]; }
    bool rex_w() const { return (rex & 8) != 0; }
    bool mem_form() const { return has_modrm && modrm < 0xc0; }
    unsigned reg_field() const { return ((modrm >> 3) & 7) | ((rex & 4) << 1); }
    unsigned rm_field() const { return (modrm & 7) | ((rex & 1) << 3); }
};

enum class DecodeStatus : std::uint8_t {
    kOk,
    kInvalid,   ///< no such instruction: #UD; length covers the bytes looked at
    kTooLong,   ///< more than 15 bytes: #GP(0)
    kMoreBytes, ///< `available` bytes are not enough to tell
};

/// Decodes the instruction at `bytes`, of which `available` may be read.
DecodeStatus decode(const std::uint8_t *bytes, std::size_t available, const DecodeMode &mode, Insn &out);

} // namespace rhea::target::x86
