// Moves, arithmetic, logic and shifts.
#include "tcg/backend/x64/assembler.h"
#include "tcg/backend/x64/encode.h"

namespace rhea::tcg::x64 {

namespace {

constexpr bool valid_size(unsigned size) {
    return size == 1 || size == 2 || size == 4 || size == 8;
}
constexpr bool wide_size(unsigned size) {
    return size == 2 || size == 4 || size == 8;
}

/// The immediate as the hardware will sign-extend it, so that equal operands take the same short
/// form.
constexpr std::int32_t canonical_imm(unsigned size, std::int32_t imm) {
    return size == 1   ? static_cast<std::int8_t>(imm)
           : size == 2 ? static_cast<std::int16_t>(imm)
                       : imm;
}

constexpr unsigned imm_bytes(unsigned size) {
    return size == 8 ? 4 : size;
}

inline std::uint8_t* put_imm(std::uint8_t* p, unsigned bytes, std::int32_t imm) {
    switch (bytes) {
        case 1:
            *p = static_cast<std::uint8_t>(imm);
            return p + 1;
        case 2:
            return store16(p, static_cast<std::uint16_t>(imm));
        default:
            return store32(p, static_cast<std::uint32_t>(imm));
    }
}

constexpr std::uint32_t alu_op(Alu op) {
    return static_cast<std::uint32_t>(op) << 3;
}
constexpr unsigned digit(Alu op) {
    return static_cast<unsigned>(op);
}
constexpr unsigned digit(Shift op) {
    return static_cast<unsigned>(op);
}
constexpr unsigned digit(Unary op) {
    return static_cast<unsigned>(op);
}

}  // namespace

// ---- moves -------------------------------------------------------------------------------------

void Assembler::mov(unsigned size, Gpr dst, Gpr src) {
    assert(valid_size(size));
    end(encode_rr(sized(0x88, size), size, code(src), code(dst),
                  byte_needs_rex(size, code(src)) || byte_needs_rex(size, code(dst))));
}

void Assembler::mov(unsigned size, Gpr dst, const Mem& src) {
    assert(valid_size(size));
    end(encode_rm(sized(0x8a, size), size, code(dst), src, 0, byte_needs_rex(size, code(dst))));
}

void Assembler::mov(unsigned size, const Mem& dst, Gpr src) {
    assert(valid_size(size));
    end(encode_rm(sized(0x88, size), size, code(src), dst, 0, byte_needs_rex(size, code(src))));
}

void Assembler::mov(unsigned size, const Mem& dst, std::int32_t imm) {
    assert(valid_size(size));
    std::uint8_t* p = encode_rm(sized(0xc6, size), size, 0, dst, imm_bytes(size));
    end(put_imm(p, imm_bytes(size), imm));
}

void Assembler::mov(unsigned size, Gpr dst, std::int64_t imm) {
    assert(valid_size(size));
    if (size == 8) {
        mov_imm(dst, static_cast<std::uint64_t>(imm));
        return;
    }
    std::uint8_t* p = begin();
    const unsigned r = code(dst);
    if (size == 2) {
        *p++ = 0x66;
    }
    if (r >= 8 || byte_needs_rex(size, r)) {
        *p++ = static_cast<std::uint8_t>(0x40 | r >> 3);
    }
    *p++ = static_cast<std::uint8_t>((size == 1 ? 0xb0 : 0xb8) | (r & 7));
    end(put_imm(p, size, static_cast<std::int32_t>(imm)));
}

void Assembler::mov_imm(Gpr dst, std::uint64_t value) {
    const unsigned r = code(dst);
    if (value <= 0xffffffff) {
        std::uint8_t* p = begin();
        if (r >= 8) {
            *p++ = 0x41;
        }
        *p++ = static_cast<std::uint8_t>(0xb8 | (r & 7));
        end(store32(p, static_cast<std::uint32_t>(value)));
    } else if (fits32(static_cast<std::int64_t>(value))) {
        end(store32(encode_rr(0xc7, 8, 0, r), static_cast<std::uint32_t>(value)));
    } else {
        movabs(dst, value);
    }
}

std::size_t Assembler::movabs(Gpr dst, std::uint64_t value) {
    const unsigned r = code(dst);
    std::uint8_t* p = begin();
    *p++ = static_cast<std::uint8_t>(0x48 | r >> 3);
    *p++ = static_cast<std::uint8_t>(0xb8 | (r & 7));
    end(store64(p, value));
    return overflowed_ ? capacity_ : offset() - 8;
}

void Assembler::movzx(unsigned src_size, Gpr dst, Gpr src) {
    if (src_size == 4) {
        mov(4, dst, src);
        return;
    }
    assert(src_size == 1 || src_size == 2);
    end(encode_rr(sized(0x0fb6, src_size), 4, code(dst), code(src),
                  byte_needs_rex(src_size, code(src))));
}

void Assembler::movzx(unsigned src_size, Gpr dst, const Mem& src) {
    if (src_size == 4) {
        mov(4, dst, src);
        return;
    }
    assert(src_size == 1 || src_size == 2);
    end(encode_rm(sized(0x0fb6, src_size), 4, code(dst), src));
}

void Assembler::movsx(unsigned dst_size, unsigned src_size, Gpr dst, Gpr src) {
    assert(wide_size(dst_size) && src_size < dst_size);
    const std::uint32_t op = src_size == 4 ? 0x63 : sized(0x0fbe, src_size);
    end(encode_rr(op, dst_size, code(dst), code(src), byte_needs_rex(src_size, code(src))));
}

void Assembler::movsx(unsigned dst_size, unsigned src_size, Gpr dst, const Mem& src) {
    assert(wide_size(dst_size) && src_size < dst_size);
    const std::uint32_t op = src_size == 4 ? 0x63 : sized(0x0fbe, src_size);
    end(encode_rm(op, dst_size, code(dst), src));
}

void Assembler::lea(unsigned size, Gpr dst, const Mem& address) {
    assert(wide_size(size));
    end(encode_rm(0x8d, size, code(dst), address));
}

void Assembler::xchg(unsigned size, Gpr a, Gpr b) {
    end(encode_rr(sized(0x86, size), size, code(b), code(a),
                  byte_needs_rex(size, code(a)) || byte_needs_rex(size, code(b))));
}

void Assembler::xchg(unsigned size, const Mem& m, Gpr r) {
    end(encode_rm(sized(0x86, size), size, code(r), m, 0, byte_needs_rex(size, code(r))));
}

void Assembler::push(Gpr r) {
    std::uint8_t* p = begin();
    if (code(r) >= 8) {
        *p++ = 0x41;
    }
    *p++ = static_cast<std::uint8_t>(0x50 | (code(r) & 7));
    end(p);
}

void Assembler::pop(Gpr r) {
    std::uint8_t* p = begin();
    if (code(r) >= 8) {
        *p++ = 0x41;
    }
    *p++ = static_cast<std::uint8_t>(0x58 | (code(r) & 7));
    end(p);
}

void Assembler::push(const Mem& m) {
    end(encode_rm(0xff, 4, 6, m));
}
void Assembler::pop(const Mem& m) {
    end(encode_rm(0x8f, 4, 0, m));
}

void Assembler::push_imm(std::int32_t imm) {
    std::uint8_t* p = begin();
    if (fits8(imm)) {
        *p++ = 0x6a;
        *p++ = static_cast<std::uint8_t>(imm);
        end(p);
    } else {
        *p++ = 0x68;
        end(store32(p, static_cast<std::uint32_t>(imm)));
    }
}

void Assembler::bswap(unsigned size, Gpr r) {
    assert(size == 4 || size == 8);
    std::uint8_t* p = begin();
    const unsigned rex = (size == 8 ? 8 : 0) | code(r) >> 3;
    if (rex != 0) {
        *p++ = static_cast<std::uint8_t>(0x40 | rex);
    }
    *p++ = 0x0f;
    *p++ = static_cast<std::uint8_t>(0xc8 | (code(r) & 7));
    end(p);
}

void Assembler::movbe(unsigned size, Gpr dst, const Mem& src) {
    assert(wide_size(size));
    end(encode_rm(0x0f38f0, size, code(dst), src));
}

void Assembler::movbe(unsigned size, const Mem& dst, Gpr src) {
    assert(wide_size(size));
    end(encode_rm(0x0f38f1, size, code(src), dst));
}

void Assembler::cmov(Cond cond, unsigned size, Gpr dst, Gpr src) {
    assert(wide_size(size));
    end(encode_rr(0x0f40 | static_cast<unsigned>(cond), size, code(dst), code(src)));
}

void Assembler::cmov(Cond cond, unsigned size, Gpr dst, const Mem& src) {
    assert(wide_size(size));
    end(encode_rm(0x0f40 | static_cast<unsigned>(cond), size, code(dst), src));
}

void Assembler::setcc(Cond cond, Gpr dst) {
    end(encode_rr(0x0f90 | static_cast<unsigned>(cond), 1, 0, code(dst),
                  byte_needs_rex(1, code(dst))));
}

void Assembler::setcc(Cond cond, const Mem& dst) {
    end(encode_rm(0x0f90 | static_cast<unsigned>(cond), 1, 0, dst));
}

// ---- the ALU group -----------------------------------------------------------------------------

void Assembler::alu(Alu op, unsigned size, Gpr dst, Gpr src) {
    assert(valid_size(size));
    end(encode_rr(sized(alu_op(op), size), size, code(src), code(dst),
                  byte_needs_rex(size, code(src)) || byte_needs_rex(size, code(dst))));
}

void Assembler::alu(Alu op, unsigned size, Gpr dst, const Mem& src) {
    assert(valid_size(size));
    end(encode_rm(sized(alu_op(op) | 2, size), size, code(dst), src, 0,
                  byte_needs_rex(size, code(dst))));
}

void Assembler::alu(Alu op, unsigned size, const Mem& dst, Gpr src) {
    assert(valid_size(size));
    end(encode_rm(sized(alu_op(op), size), size, code(src), dst, 0,
                  byte_needs_rex(size, code(src))));
}

void Assembler::alu(Alu op, unsigned size, Gpr dst, std::int32_t imm) {
    assert(valid_size(size));
    imm = canonical_imm(size, imm);
    const bool short_imm = fits8(imm) && size != 1;
    std::uint8_t* p;
    if (dst == Gpr::rax && !short_imm) {
        p = begin();
        if (size == 2) {
            *p++ = 0x66;
        } else if (size == 8) {
            *p++ = 0x48;
        }
        *p++ = static_cast<std::uint8_t>(sized(alu_op(op) | 4, size));
    } else {
        p = encode_rr(short_imm ? 0x83 : sized(0x80, size), size, digit(op), code(dst),
                      byte_needs_rex(size, code(dst)));
    }
    end(put_imm(p, short_imm ? 1 : imm_bytes(size), imm));
}

void Assembler::alu(Alu op, unsigned size, const Mem& dst, std::int32_t imm) {
    assert(valid_size(size));
    imm = canonical_imm(size, imm);
    const bool short_imm = fits8(imm) && size != 1;
    const unsigned bytes = short_imm ? 1 : imm_bytes(size);
    std::uint8_t* p = encode_rm(short_imm ? 0x83 : sized(0x80, size), size, digit(op), dst, bytes);
    end(put_imm(p, bytes, imm));
}

void Assembler::test(unsigned size, Gpr a, Gpr b) {
    assert(valid_size(size));
    end(encode_rr(sized(0x84, size), size, code(b), code(a),
                  byte_needs_rex(size, code(a)) || byte_needs_rex(size, code(b))));
}

void Assembler::test(unsigned size, const Mem& a, Gpr b) {
    assert(valid_size(size));
    end(encode_rm(sized(0x84, size), size, code(b), a, 0, byte_needs_rex(size, code(b))));
}

void Assembler::test(unsigned size, Gpr a, std::int32_t imm) {
    assert(valid_size(size));
    std::uint8_t* p;
    if (a == Gpr::rax) {
        p = begin();
        if (size == 2) {
            *p++ = 0x66;
        } else if (size == 8) {
            *p++ = 0x48;
        }
        *p++ = static_cast<std::uint8_t>(sized(0xa8, size));
    } else {
        p = encode_rr(sized(0xf6, size), size, 0, code(a), byte_needs_rex(size, code(a)));
    }
    end(put_imm(p, imm_bytes(size), imm));
}

void Assembler::test(unsigned size, const Mem& a, std::int32_t imm) {
    assert(valid_size(size));
    std::uint8_t* p = encode_rm(sized(0xf6, size), size, 0, a, imm_bytes(size));
    end(put_imm(p, imm_bytes(size), imm));
}

void Assembler::inc(unsigned size, Gpr r) {
    end(encode_rr(sized(0xfe, size), size, 0, code(r), byte_needs_rex(size, code(r))));
}

void Assembler::inc(unsigned size, const Mem& m) {
    end(encode_rm(sized(0xfe, size), size, 0, m));
}

void Assembler::dec(unsigned size, Gpr r) {
    end(encode_rr(sized(0xfe, size), size, 1, code(r), byte_needs_rex(size, code(r))));
}

void Assembler::dec(unsigned size, const Mem& m) {
    end(encode_rm(sized(0xfe, size), size, 1, m));
}

void Assembler::unary(Unary op, unsigned size, Gpr r) {
    assert(valid_size(size));
    end(encode_rr(sized(0xf6, size), size, digit(op), code(r), byte_needs_rex(size, code(r))));
}

void Assembler::unary(Unary op, unsigned size, const Mem& m) {
    assert(valid_size(size));
    end(encode_rm(sized(0xf6, size), size, digit(op), m));
}

void Assembler::imul(unsigned size, Gpr dst, Gpr src) {
    assert(wide_size(size));
    end(encode_rr(0x0faf, size, code(dst), code(src)));
}

void Assembler::imul(unsigned size, Gpr dst, const Mem& src) {
    assert(wide_size(size));
    end(encode_rm(0x0faf, size, code(dst), src));
}

void Assembler::imul(unsigned size, Gpr dst, Gpr src, std::int32_t imm) {
    assert(wide_size(size));
    imm = canonical_imm(size, imm);
    const unsigned bytes = fits8(imm) ? 1 : imm_bytes(size);
    end(put_imm(encode_rr(bytes == 1 ? 0x6b : 0x69, size, code(dst), code(src)), bytes, imm));
}

void Assembler::imul(unsigned size, Gpr dst, const Mem& src, std::int32_t imm) {
    assert(wide_size(size));
    imm = canonical_imm(size, imm);
    const unsigned bytes = fits8(imm) ? 1 : imm_bytes(size);
    end(put_imm(encode_rm(bytes == 1 ? 0x6b : 0x69, size, code(dst), src, bytes), bytes, imm));
}

void Assembler::adcx(unsigned size, Gpr dst, Gpr src) {
    end(encode_rr(0x660f38f6, size, code(dst), code(src)));
}
void Assembler::adcx(unsigned size, Gpr dst, const Mem& src) {
    end(encode_rm(0x660f38f6, size, code(dst), src));
}
void Assembler::adox(unsigned size, Gpr dst, Gpr src) {
    end(encode_rr(0xf30f38f6, size, code(dst), code(src)));
}
void Assembler::adox(unsigned size, Gpr dst, const Mem& src) {
    end(encode_rm(0xf30f38f6, size, code(dst), src));
}

namespace {
constexpr std::uint8_t size_prefix(unsigned size) {
    return size == 2 ? 0x66 : 0x48;
}
}  // namespace

void Assembler::sign_extend_rax(unsigned size) {
    assert(wide_size(size));
    size == 4 ? put1(0x98) : put2(size_prefix(size), 0x98);
}

void Assembler::sign_fill_rdx(unsigned size) {
    assert(wide_size(size));
    size == 4 ? put1(0x99) : put2(size_prefix(size), 0x99);
}

// ---- shifts ------------------------------------------------------------------------------------

void Assembler::shift(Shift op, unsigned size, Gpr r, unsigned count) {
    assert(valid_size(size));
    const bool force = byte_needs_rex(size, code(r));
    if (count == 1) {
        end(encode_rr(sized(0xd0, size), size, digit(op), code(r), force));
        return;
    }
    std::uint8_t* p = encode_rr(sized(0xc0, size), size, digit(op), code(r), force);
    *p++ = static_cast<std::uint8_t>(count);
    end(p);
}

void Assembler::shift(Shift op, unsigned size, const Mem& m, unsigned count) {
    assert(valid_size(size));
    if (count == 1) {
        end(encode_rm(sized(0xd0, size), size, digit(op), m));
        return;
    }
    std::uint8_t* p = encode_rm(sized(0xc0, size), size, digit(op), m, 1);
    *p++ = static_cast<std::uint8_t>(count);
    end(p);
}

void Assembler::shift_cl(Shift op, unsigned size, Gpr r) {
    end(encode_rr(sized(0xd2, size), size, digit(op), code(r), byte_needs_rex(size, code(r))));
}

void Assembler::shift_cl(Shift op, unsigned size, const Mem& m) {
    end(encode_rm(sized(0xd2, size), size, digit(op), m));
}

void Assembler::shld(unsigned size, Gpr dst, Gpr src, unsigned count) {
    std::uint8_t* p = encode_rr(0x0fa4, size, code(src), code(dst));
    *p++ = static_cast<std::uint8_t>(count);
    end(p);
}

void Assembler::shrd(unsigned size, Gpr dst, Gpr src, unsigned count) {
    std::uint8_t* p = encode_rr(0x0fac, size, code(src), code(dst));
    *p++ = static_cast<std::uint8_t>(count);
    end(p);
}

void Assembler::shld(unsigned size, const Mem& dst, Gpr src, unsigned count) {
    std::uint8_t* p = encode_rm(0x0fa4, size, code(src), dst, 1);
    *p++ = static_cast<std::uint8_t>(count);
    end(p);
}

void Assembler::shrd(unsigned size, const Mem& dst, Gpr src, unsigned count) {
    std::uint8_t* p = encode_rm(0x0fac, size, code(src), dst, 1);
    *p++ = static_cast<std::uint8_t>(count);
    end(p);
}

void Assembler::shld_cl(unsigned size, Gpr dst, Gpr src) {
    end(encode_rr(0x0fa5, size, code(src), code(dst)));
}
void Assembler::shrd_cl(unsigned size, Gpr dst, Gpr src) {
    end(encode_rr(0x0fad, size, code(src), code(dst)));
}
void Assembler::shld_cl(unsigned size, const Mem& dst, Gpr src) {
    end(encode_rm(0x0fa5, size, code(src), dst));
}
void Assembler::shrd_cl(unsigned size, const Mem& dst, Gpr src) {
    end(encode_rm(0x0fad, size, code(src), dst));
}

}  // namespace rhea::tcg::x64
