// Buffer, labels and jumps.
#include "tcg/backend/x64/assembler.h"

#include <algorithm>
#include <atomic>

#include "tcg/backend/x64/encode.h"

namespace rhea::tcg::x64 {

namespace {

constexpr unsigned kTrailingBits = 3;
constexpr std::uint32_t kTrailingMask = (1u << kTrailingBits) - 1;

bool distance_fits(const std::uint8_t* from, const void* to, std::int64_t& distance) {
    distance = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) -
                                         reinterpret_cast<std::uintptr_t>(from));
    return fits32(distance);
}

/// No-ops by length, 1 to 9 (Intel SDM volume 2, NOP, "recommended multi-byte sequence").
constexpr std::uint8_t kNops[9][9] = {
    {0x90},
    {0x66, 0x90},
    {0x0f, 0x1f, 0x00},
    {0x0f, 0x1f, 0x40, 0x00},
    {0x0f, 0x1f, 0x44, 0x00, 0x00},
    {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
    {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
    {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
    {0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
};

}  // namespace

Assembler::Assembler(CodeBuffer buffer)
    : cursor_(buffer.write),
      limit_(buffer.write),
      write_(buffer.write),
      exec_(buffer.exec),
      capacity_(buffer.capacity) {
    if (capacity_ < kMaxInstruction) {
        overflow();
    } else {
        limit_ = write_ + (capacity_ - kMaxInstruction);
    }
}

void Assembler::overflow() {
    overflowed_ = true;
    cursor_ = scratch_;
    limit_ = nullptr;  // every begin() comes back here
}

bool Assembler::reaches(const void* target) const {
    std::int64_t distance;
    return distance_fits(exec_, target, distance) &&
           distance_fits(exec_ + capacity_, target, distance);
}

// ---- data and alignment ----------------------------------------------------------------------

void Assembler::put1(std::uint8_t a) {
    std::uint8_t* p = begin();
    *p++ = a;
    end(p);
}

void Assembler::put2(std::uint8_t a, std::uint8_t b) {
    std::uint8_t* p = begin();
    *p++ = a;
    *p++ = b;
    end(p);
}

void Assembler::byte(std::uint8_t value) {
    put1(value);
}

void Assembler::word32(std::uint32_t value) {
    end(store32(begin(), value));
}

void Assembler::word64(std::uint64_t value) {
    end(store64(begin(), value));
}

void Assembler::bytes(std::span<const std::uint8_t> data) {
    while (!data.empty()) {
        const auto part = data.first(std::min(data.size(), kMaxInstruction));
        std::uint8_t* p = begin();
        std::memcpy(p, part.data(), part.size());
        end(p + part.size());
        data = data.subspan(part.size());
    }
}

void Assembler::nop(unsigned count) {
    while (count > 0) {
        const unsigned length = std::min(count, 9u);
        std::uint8_t* p = begin();
        std::memcpy(p, kNops[length - 1], length);
        end(p + length);
        count -= length;
    }
}

void Assembler::align(unsigned alignment) {
    begin();
    if (!overflowed_) {
        nop(-static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(exec_here())) &
            (alignment - 1));
    }
}

void Assembler::align_int3(unsigned alignment) {
    begin();
    while (!overflowed_ && (reinterpret_cast<std::uintptr_t>(exec_here()) & (alignment - 1)) != 0) {
        int3();
    }
}

void Assembler::align_field(unsigned before) {
    begin();
    if (!overflowed_) {
        nop(-static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(exec_here()) + before) & 3);
    }
}

// ---- labels ------------------------------------------------------------------------------------

void Assembler::bind(Label& label) {
    assert(!label.bound());
    begin();
    const auto here = static_cast<std::int32_t>(offset());
    label.offset_ = here;
    for (unsigned i = 0; i < label.short_count_; ++i) {
        const std::uint32_t field = label.short_[i];
        const std::int64_t distance = static_cast<std::int64_t>(here) - (field + 1);
        if (!fits8(distance)) {
            range_error_ = true;
        }
        write_[field] = static_cast<std::uint8_t>(distance);
    }
    for (std::uint32_t link = label.chain_; link != 0;) {
        const std::uint32_t field = (link >> kTrailingBits) - 1;
        const std::uint32_t trailing = link & kTrailingMask;
        std::memcpy(&link, write_ + field, 4);
        store32(write_ + field, static_cast<std::uint32_t>(here) - (field + 4 + trailing));
    }
    label.chain_ = 0;
    label.short_count_ = 0;
}

std::uint32_t Assembler::use_label(Label& label, const std::uint8_t* field, unsigned trailing) {
    if (overflowed_) {
        return 0;
    }
    const auto offset = static_cast<std::uint32_t>(field - write_);
    if (label.bound()) {
        return static_cast<std::uint32_t>(label.offset_) - (offset + 4 + trailing);
    }
    const std::uint32_t previous = label.chain_;
    label.chain_ = (offset + 1) << kTrailingBits | trailing;
    return previous;
}

std::uint32_t Assembler::rel32(const std::uint8_t* field, const void* target, unsigned trailing) {
    if (overflowed_) {
        return 0;
    }
    std::int64_t distance;
    if (!distance_fits(exec_ + (field - write_) + 4 + trailing, target, distance)) {
        range_error_ = true;
    }
    return static_cast<std::uint32_t>(distance);
}

// ---- jumps -------------------------------------------------------------------------------------

namespace {

constexpr std::uint8_t kJmp8 = 0xeb, kJmp32 = 0xe9, kCall32 = 0xe8;

std::uint8_t jcc8(Cond cond) {
    return 0x70 | static_cast<std::uint8_t>(cond);
}
std::uint8_t jcc32(Cond cond) {
    return 0x80 | static_cast<std::uint8_t>(cond);
}

}  // namespace

void Assembler::jmp(Label& label, Reach reach) {
    std::uint8_t* p = begin();
    if (overflowed_) {
        return;
    }
    if (label.bound()) {
        const std::int64_t distance = label.offset_ - (p + 2 - write_);
        if (fits8(distance)) {
            *p++ = kJmp8;
            *p++ = static_cast<std::uint8_t>(distance);
            end(p);
            return;
        }
    } else if (reach == Reach::kShort && label.short_count_ < Label::kShortFixups) {
        *p++ = kJmp8;
        label.short_[label.short_count_++] = static_cast<std::uint32_t>(p - write_);
        *p++ = 0;
        end(p);
        return;
    }
    *p++ = kJmp32;
    end(store32(p, use_label(label, p, 0)));
}

void Assembler::jcc(Cond cond, Label& label, Reach reach) {
    std::uint8_t* p = begin();
    if (overflowed_) {
        return;
    }
    if (label.bound()) {
        const std::int64_t distance = label.offset_ - (p + 2 - write_);
        if (fits8(distance)) {
            *p++ = jcc8(cond);
            *p++ = static_cast<std::uint8_t>(distance);
            end(p);
            return;
        }
    } else if (reach == Reach::kShort && label.short_count_ < Label::kShortFixups) {
        *p++ = jcc8(cond);
        label.short_[label.short_count_++] = static_cast<std::uint32_t>(p - write_);
        *p++ = 0;
        end(p);
        return;
    }
    *p++ = 0x0f;
    *p++ = jcc32(cond);
    end(store32(p, use_label(label, p, 0)));
}

void Assembler::call(Label& label) {
    std::uint8_t* p = begin();
    *p++ = kCall32;
    end(store32(p, use_label(label, p, 0)));
}

void Assembler::jmp(const void* target) {
    std::uint8_t* p = begin();
    std::int64_t distance;
    if (!overflowed_ && distance_fits(exec_here() + 2, target, distance) && fits8(distance)) {
        *p++ = kJmp8;
        *p++ = static_cast<std::uint8_t>(distance);
        end(p);
        return;
    }
    *p++ = kJmp32;
    end(store32(p, rel32(p, target, 0)));
}

void Assembler::jcc(Cond cond, const void* target) {
    std::uint8_t* p = begin();
    *p++ = 0x0f;
    *p++ = jcc32(cond);
    end(store32(p, rel32(p, target, 0)));
}

void Assembler::call(const void* target) {
    std::uint8_t* p = begin();
    *p++ = kCall32;
    end(store32(p, rel32(p, target, 0)));
}

void Assembler::jmp(Gpr target) {
    end(encode_rr(0xff, 4, 4, code(target)));
}
void Assembler::jmp(const Mem& target) {
    end(encode_rm(0xff, 4, 4, target));
}
void Assembler::call(Gpr target) {
    end(encode_rr(0xff, 4, 2, code(target)));
}
void Assembler::call(const Mem& target) {
    end(encode_rm(0xff, 4, 2, target));
}
void Assembler::ret() {
    put1(0xc3);
}

std::size_t Assembler::jmp_rel32_aligned() {
    align_field(1);
    std::uint8_t* p = begin();
    *p++ = kJmp32;
    end(store32(p, 0));
    return overflowed_ ? capacity_ : offset() - 4;
}

std::size_t Assembler::jmp_rel32_aligned(Label& label) {
    align_field(1);
    std::uint8_t* p = begin();
    *p++ = kJmp32;
    end(store32(p, use_label(label, p, 0)));
    return overflowed_ ? capacity_ : offset() - 4;
}

std::size_t Assembler::jcc_rel32_aligned(Cond cond) {
    align_field(2);
    std::uint8_t* p = begin();
    *p++ = 0x0f;
    *p++ = jcc32(cond);
    end(store32(p, 0));
    return overflowed_ ? capacity_ : offset() - 4;
}

std::size_t Assembler::jcc_rel32_aligned(Cond cond, Label& label) {
    align_field(2);
    std::uint8_t* p = begin();
    *p++ = 0x0f;
    *p++ = jcc32(cond);
    end(store32(p, use_label(label, p, 0)));
    return overflowed_ ? capacity_ : offset() - 4;
}

std::size_t Assembler::call_rel32_aligned(Label& label) {
    align_field(1);
    std::uint8_t* p = begin();
    *p++ = kCall32;
    end(store32(p, use_label(label, p, 0)));
    return overflowed_ ? capacity_ : offset() - 4;
}

void Assembler::patch_rel32(std::uint8_t* field_write, const std::uint8_t* field_exec,
                            const void* target) {
    std::int64_t distance = 0;
    const bool fits = distance_fits(field_exec + 4, target, distance);
    assert(fits);
    if (!fits) {
        return;
    }
    // Instruction fetch sees an aligned store whole (Intel SDM volume 3, 9.1.3, and AMD64 APM
    // volume 2, 7.6.1, ask for no more when other processors run the code and either version will
    // do).
    std::atomic_ref<std::uint32_t> field(*reinterpret_cast<std::uint32_t*>(field_write));
    field.store(static_cast<std::uint32_t>(distance), std::memory_order_release);
}

std::uint8_t* Assembler::encode_rm_any(std::uint32_t op, unsigned size, unsigned reg, const Mem& m,
                                       unsigned trailing, bool force_rex) {
    const unsigned rex = (reg >> 3) << 2 | (mem_x(m) ? 2 : 0) | (mem_b(m) ? 1 : 0);
    return put_mem(put_opcode(begin(), op, size, rex, force_rex), reg, m, trailing);
}

void Assembler::tlb_check(Gpr t1, Gpr t2, Gpr ea, std::int32_t tag, std::int32_t addend,
                          std::int32_t limit, Label& slow) {
    constexpr std::size_t kBytes = 48;  // and a store that goes over the end
    assert(!fits8(tag) && !fits8(addend) && !fits8(limit) && t2 != Gpr::rax && !slow.bound());
    begin();
    if (overflowed_ || static_cast<std::size_t>(limit_ + kMaxInstruction - cursor_) < kBytes) {
        // The block does not fit anyway, or only just.
        bextr(8, t1, ea, Gpr::rbp);
        if (ea != t2)
            mov(8, t2, ea);
        sub(8, t2, ptr(Gpr::rbp, t1, 8, tag));
        cmp(8, t2, limit);
        mov(8, t1, ptr(Gpr::rbp, t1, 8, addend));
        jcc(Cond::kA, slow);
        return;
    }
    const unsigned x = code(t1), y = code(t2), e = code(ea);
    const auto sib = static_cast<std::uint64_t>(modrm(3, x, 5));
    const auto low32 = [](std::int32_t v) { return static_cast<std::uint64_t>(static_cast<std::uint32_t>(v)); };
    std::uint8_t* p = cursor_;
    // VEX.LZ.0F38.W1 F7 /r, vvvv = rbp
    store64(p, 0xc4 | std::uint64_t{(x < 8 ? 0x80u : 0u) | 0x40 | (e < 8 ? 0x20u : 0u) | 2} << 8 | 0xf7d00000u |
                   std::uint64_t{modrm(3, x, e)} << 32);
    p += 5;
    store32(p, 0x48 | (e >> 3) << 2 | y >> 3 | 0x8900 | static_cast<unsigned>(modrm(3, e, y)) << 16);
    p += e != y ? 3 : 0;
    store64(p, 0x48 | (y >> 3) << 2 | (x >> 3) << 1 | 0x2b00 | std::uint64_t{modrm(2, y, 4)} << 16 | sib << 24 |
                   low32(tag) << 32);
    p += 8;
    store64(p, 0x48 | y >> 3 | 0x8100 | std::uint64_t{modrm(3, 7, y)} << 16 | low32(limit) << 24);
    p += 7;
    store64(p, 0x48 | (x >> 3) << 2 | (x >> 3) << 1 | 0x8b00 | std::uint64_t{modrm(2, x, 4)} << 16 | sib << 24 |
                   low32(addend) << 32);
    p += 8;
    *p++ = 0x0f;
    *p++ = jcc32(Cond::kA);
    end(store32(p, use_label(slow, p, 0)));
}

std::uint8_t* Assembler::put_rip(std::uint8_t* p, const Mem& m, unsigned trailing) {
    if (m.form == Mem::Form::kRipLabel) {
        assert(m.disp == 0);
        return store32(p, use_label(*m.label, p, trailing));
    }
    return store32(p, rel32(p, m.target + m.disp, trailing));
}

}  // namespace rhea::tcg::x64
