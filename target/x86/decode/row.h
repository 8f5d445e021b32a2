// What a row of the decoder's tables says: opcode, selection, operands, conditions.
//
// Rows are written as in the manual, one file a part of the instruction set (rows_*.def), and expanded twice: here into
// constant descriptions, in translate/ into the parallel table of emitters. All constant data.
#pragma once
#include "target/x86/decode/features.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace rhea::target::x86 {

enum class OpcodeMap : std::uint8_t { kOneByte, k0F, k0F38, k0F3A, kCount };

/// Where an operand comes from.
enum class OperandKind : std::uint8_t {
    kNone, kRm, kRmWordMem, kRmByteMem, kMem, kReg, kSeg, kCr, kDr, kVexReg, kOpcodeReg, kFixedRax, kFixedRcx, kFixedRdx, kOne,
    kFixedEs, kFixedCs, kFixedSs, kFixedDs, kFixedFs, kFixedGs, kImm, kImmSigned8, kImmZ, kImmV, kRel8, kRelZ, kFarImm,
    kMoffs, kString, kVecReg, kVecRm, kVecVex, kVecImm, kVsib, kMmxReg, kMmxRm, kFixedSt0, kStRm,
};

/// x: 16 bytes, or 32 with VEX.L; xh, xq, xe: half, quarter, eighth of it. b w d q t(10) dq(16) qq(32): fixed. v: operand size; z: at most 32 bits; y: at least 32 bits; mode: 64 in 64-bit mode, else 32.
enum class OperandSize : std::uint8_t { kZero, kB, kW, kD, kQ, kT, kDq, kQq, kV, kZ, kY, kMode, kX, kXh, kXq, kXe };

struct OperandSpec {
    OperandKind kind;
    OperandSize size;
};

/// The notations, for use in rows.
namespace operand {
#define RHEA_X86_OPERAND(name, kind, size) \
    inline constexpr OperandSpec name{OperandKind::kind, OperandSize::size};
#include "target/x86/decode/operands.def"
#undef RHEA_X86_OPERAND
} // namespace operand

/// Which encodings of an opcode a row takes: a sum of one constant a group; a group left out takes all.
namespace sel {
inline constexpr std::uint32_t any = 0;
// Mandatory prefix. np: none of 66, F3, F2; npx: neither F3 nor F2 (66 is the operand size).
inline constexpr std::uint32_t np = 1, p66 = 2, pF3 = 3, pF2 = 4, npx = 5, prefix_mask = 7;
// ModRM.mod: memory or register form.
inline constexpr std::uint32_t mem = 1u << 3, reg = 2u << 3, mod_mask = 3u << 3;
// ModRM.reg as an opcode extension (/0 to /7), and ModRM.rm as one.
inline constexpr unsigned ext_shift = 5, rm_shift = 9;
inline constexpr std::uint32_t ext_mask = 15u << ext_shift, rm_mask = 15u << rm_shift;
inline constexpr std::uint32_t e0 = 1u << ext_shift, e1 = 2u << ext_shift, e2 = 3u << ext_shift, e3 = 4u << ext_shift,
                               e4 = 5u << ext_shift, e5 = 6u << ext_shift, e6 = 7u << ext_shift, e7 = 8u << ext_shift;
inline constexpr std::uint32_t m0 = 1u << rm_shift, m1 = 2u << rm_shift, m2 = 3u << rm_shift, m3 = 4u << rm_shift,
                               m4 = 5u << rm_shift, m5 = 6u << rm_shift, m6 = 7u << rm_shift, m7 = 8u << rm_shift;
// Only in / not in 64-bit mode.
inline constexpr std::uint32_t o64 = 1u << 13, i64 = 2u << 13, mode_mask = 3u << 13;
// VEX encodings, vector length, W.
inline constexpr std::uint32_t vex = 1u << 15, l0 = 1u << 16, l1 = 2u << 16, l_mask = 3u << 16;
inline constexpr std::uint32_t w0 = 1u << 18, w1 = 2u << 18, w_mask = 3u << 18;
// The row covers this opcode and the next 7 (register in the opcode) or 15 (condition in the opcode).
inline constexpr std::uint32_t plus_r = 1u << 20, plus_cc = 1u << 21;
} // namespace sel

enum RowFlags : std::uint16_t {
    kRowLock = 1,      ///< LOCK is allowed when the first operand is memory
    kRowD64 = 2,       ///< operand size defaults to 64 bits in 64-bit mode (66 gives 16)
    kRowPriv = 4,      ///< #GP(0) unless CPL = 0 (always in VM86)
    kRowProt = 8,      ///< #UD in real mode and VM86
    kRowFallback = 16, ///< taken where no other row is (its feature is absent)
    kRowX87 = 32,      ///< CR0.EM or TS: #NM
    kRowMmx = 64,      ///< CR0.EM: #UD; TS: #NM
    kRowSse = 128,     ///< CR0.EM or no CR4.OSFXSR: #UD; TS: #NM
    kRowFpuSave = 256, ///< FXSAVE and the like: CR0.EM or TS: #NM
    kRowRandom = 512,  ///< result differs from run to run: tests compare only what does not
    kRowXsave = 2048,  ///< no CR4.OSXSAVE: #UD; CR0.TS: #NM
    kRowAvx = 4096,    ///< no CR4.OSXSAVE or XCR0 without SSE and AVX: #UD; CR0.TS: #NM
    kRowImm8 = 8192,   ///< an imm8 follows the three operands
    kRowImmReg = 16384, ///< the fourth operand is the vector register in imm8[7:4]
    kRowNatural = 1024, ///< reads or writes what user code on a host may not: only the interpreter and unit tests run it
};

struct Row {
    OpcodeMap map;
    std::uint8_t opcode;
    std::uint16_t flags;
    std::uint32_t selection;
    Feature feature;
    std::string_view mnemonic;
    std::array<OperandSpec, 4> operands;
};

/// All rows, in file order. RowId is the index into this and into the table of emitters.
using RowId = std::uint16_t;
inline constexpr RowId kNoRow = 0xffff;
extern const Row *const kRows;
extern const RowId kRowCount;

/// A row's selection as what the decoder compares: bits of an encoding, made into one number, under a mask.
namespace match {
constexpr std::uint32_t of_modrm(std::uint8_t modrm) { return (modrm & 63u) | (modrm >= 0xc0 ? 64u : 0u); }
inline constexpr std::uint32_t rm_shift = 0, ext_shift = 3, reg = 64, vex = 1u << 7, l1 = 1u << 8, w1 = 1u << 9,
                               o64 = 1u << 10, p66 = 1u << 11, pF3 = 1u << 12, pF2 = 1u << 13;
} // namespace match
struct RowMatch {
    std::uint32_t mask, value;
    RowId id;
    Feature feature;
    bool fallback; ///< kRowFallback
};

/// The rows that cover an opcode, in file order. count may be 0.
struct RowRange {
    const RowMatch *first;
    std::uint16_t count;
    bool needs_modrm;
};
RowRange rows_for(OpcodeMap map, std::uint8_t opcode);
/// Does some row of this opcode look at a ModRM byte?
bool needs_modrm(OpcodeMap map, std::uint8_t opcode);
/// Has the row an MMX register as an operand?
bool uses_mmx(RowId row);

} // namespace rhea::target::x86
