// The encoders, inline for the files that hold the instructions. Encoding rules: AMD64 Architecture
// Programmer's Manual, volume 3, chapter 1; Intel SDM volume 2, chapter 2.
#pragma once
#include "tcg/backend/x64/assembler.h"
#include "tcg/backend/x64/emit_bytes.h"

namespace rhea::tcg::x64 {

constexpr std::uint8_t modrm(unsigned mod, unsigned reg, unsigned rm) {
    return static_cast<std::uint8_t>(mod << 6 | (reg & 7) << 3 | (rm & 7));
}

/// Mandatory and size prefixes, REX, escape bytes and opcode.
inline std::uint8_t* put_opcode(std::uint8_t* p, std::uint32_t op, unsigned size, unsigned rex,
                                bool force_rex) {
    if (size == 2) {
        *p++ = 0x66;
    }
    if ((op >> 24) != 0) {
        *p++ = static_cast<std::uint8_t>(op >> 24);
    }
    rex |= size == 8 ? 8 : 0;
    if (rex != 0 || force_rex) {
        *p++ = static_cast<std::uint8_t>(0x40 | rex);
    }
    if ((op & 0xff0000) != 0) {
        *p++ = 0x0f;
    }
    if ((op & 0xff00) != 0) {
        *p++ = static_cast<std::uint8_t>(op >> 8);
    }
    *p++ = static_cast<std::uint8_t>(op);
    return p;
}

/// REX.X and REX.B (or their VEX counterparts) of a memory operand.
inline bool mem_x(const Mem& m) {
    return (m.form == Mem::Form::kBaseIndex || m.form == Mem::Form::kIndex) && code(m.index) >= 8;
}
inline bool mem_b(const Mem& m) {
    return (m.form == Mem::Form::kBase || m.form == Mem::Form::kBaseIndex) && code(m.base) >= 8;
}

// The most frequent forms (one opcode byte, no size prefix) go without a branch a byte: what may be there is written, and
// the next byte goes over it when it is not.
inline std::uint8_t* Assembler::encode_rr(std::uint32_t op, unsigned size, unsigned reg,
                                          unsigned rm, bool force_rex) {
    const unsigned rex = (reg >> 3) << 2 | rm >> 3;
    std::uint8_t* p = begin();
    if (op < 0x100 && size != 2) [[likely]] {
        const unsigned all = rex | (size & 8);
        *p = static_cast<std::uint8_t>(0x40 | all);
        p += (all != 0) | force_rex;
        p[0] = static_cast<std::uint8_t>(op);
        p[1] = modrm(3, reg, rm);
        return p + 2;
    }
    p = put_opcode(p, op, size, rex, force_rex);
    *p++ = modrm(3, reg, rm);
    return p;
}

inline std::uint8_t* Assembler::encode_rm(std::uint32_t op, unsigned size, unsigned reg,
                                          const Mem& m, unsigned trailing, bool force_rex) {
    if (op < 0x100 && size != 2 && m.form <= Mem::Form::kBaseIndex) [[likely]] {
        const bool indexed = m.form == Mem::Form::kBaseIndex;
        const unsigned base = code(m.base), index = code(m.index);
        const unsigned rex = (size & 8) | (reg >> 3) << 2 | base >> 3 | (indexed ? (index >> 3) << 1 : 0);
        std::uint8_t* p = begin();
        *p = static_cast<std::uint8_t>(0x40 | rex);
        p += (rex != 0) | force_rex;
        *p++ = static_cast<std::uint8_t>(op);
        const unsigned mod = m.disp == 0 && (base & 7) != 5 ? 0 : fits8(m.disp) ? 1 : 2;
        const bool sib = indexed || (base & 7) == 4;
        p[0] = modrm(mod, reg, sib ? 4 : base);
        p[1] = indexed ? modrm(m.scale_log2, index, base) : modrm(0, 4, base);
        p += sib ? 2 : 1;
        store32(p, static_cast<std::uint32_t>(m.disp));
        return p + mod * mod;  // 0, 1 or 4 bytes of displacement
    }
    return encode_rm_any(op, size, reg, m, trailing, force_rex);
}

inline std::uint8_t* Assembler::put_mem(std::uint8_t* p, unsigned reg, const Mem& m,
                                        unsigned trailing) {
    constexpr unsigned kSib = 4, kNone = 5;
    const unsigned base = code(m.base) & 7;
    const unsigned index = code(m.index) & 7;
    // Base 5 (rbp, r13) has no form without displacement: that encoding means "no base" or rip.
    const unsigned mod = m.disp == 0 && base != kNone ? 0 : fits8(m.disp) ? 1 : 2;
    switch (m.form) {
        case Mem::Form::kBase:
            *p++ = modrm(mod, reg, base);
            if (base == kSib) {
                *p++ = modrm(0, kSib, base);
            }
            break;
        case Mem::Form::kBaseIndex:
            assert(m.index != Gpr::rsp);
            *p++ = modrm(mod, reg, kSib);
            *p++ = modrm(m.scale_log2, index, base);
            break;
        case Mem::Form::kIndex:
            assert(m.index != Gpr::rsp);
            *p++ = modrm(0, reg, kSib);
            *p++ = modrm(m.scale_log2, index, kNone);
            return store32(p, static_cast<std::uint32_t>(m.disp));
        case Mem::Form::kAbsolute:
            *p++ = modrm(0, reg, kSib);
            *p++ = modrm(0, kSib, kNone);
            return store32(p, static_cast<std::uint32_t>(m.disp));
        case Mem::Form::kRip:
        case Mem::Form::kRipLabel:
            *p++ = modrm(0, reg, kNone);
            return put_rip(p, m, trailing);
    }
    if (mod == 1) {
        *p++ = static_cast<std::uint8_t>(m.disp);
    } else if (mod == 2) {
        p = store32(p, static_cast<std::uint32_t>(m.disp));
    }
    return p;
}

inline std::uint8_t* Assembler::vex_prefix(std::uint8_t* p, VexOp op, unsigned reg, unsigned vvvv,
                                           bool x, bool b) {
    const auto tail =
        static_cast<std::uint8_t>((~vvvv & 15) << 3 | op.l << 2 | static_cast<unsigned>(op.pp));
    const auto r = static_cast<std::uint8_t>(reg < 8 ? 0x80 : 0);
    if (!x && !b && op.w == 0 && op.map == VexMap::k0F) {
        *p++ = 0xc5;
        *p++ = r | tail;
    } else {
        *p++ = 0xc4;
        *p++ = static_cast<std::uint8_t>(r | (x ? 0 : 0x40) | (b ? 0 : 0x20) |
                                         static_cast<unsigned>(op.map));
        *p++ = static_cast<std::uint8_t>(op.w << 7 | tail);
    }
    *p++ = op.opcode;
    return p;
}

inline std::uint8_t* Assembler::encode_vex_rr(VexOp op, unsigned reg, unsigned vvvv, unsigned rm) {
    std::uint8_t* p = vex_prefix(begin(), op, reg, vvvv, false, rm >= 8);
    *p++ = modrm(3, reg, rm);
    return p;
}

inline std::uint8_t* Assembler::encode_vex_rm(VexOp op, unsigned reg, unsigned vvvv, const Mem& m,
                                              unsigned trailing) {
    return put_mem(vex_prefix(begin(), op, reg, vvvv, mem_x(m), mem_b(m)), reg, m, trailing);
}

}  // namespace rhea::tcg::x64
