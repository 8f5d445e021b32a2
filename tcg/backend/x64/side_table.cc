#include "tcg/backend/x64/side_table.h"

#include "tcg/ir/flags_eval.h"

#include <bit>
#include <cstring>

namespace rhea::tcg::x64 {
namespace {

enum LocTag : std::uint8_t { kTagImm8, kTagImm32, kTagImm64, kTagMem, kTagGpr /* + register number */ };

template <class T>
T take(const std::uint8_t *&p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    p += sizeof v;
    return v;
}

std::uint64_t read_loc(const Layout &layout, const VcpuHead *state, const std::uint8_t *&p) {
    const auto *reg_base = reinterpret_cast<const std::uint8_t *>(state) + kStateBias;
    const std::uint8_t tag = *p++;
    switch (tag) {
    case kTagImm8: return take<std::uint8_t>(p);
    case kTagImm32: return take<std::uint32_t>(p);
    case kTagImm64: return take<std::uint64_t>(p);
    case kTagMem: {
        const std::uint8_t *at = reg_base + take<std::int32_t>(p);
        return take<std::uint64_t>(at);
    }
    default: {
        const unsigned reg = tag - kTagGpr;
        const Slot slot = layout.gpr_slot[reg];
        const std::uint8_t *at =
            reg_base + (slot != kNoSlot ? layout.slots[slot].disp : layout.host_reg(gpr(reg)));
        return take<std::uint64_t>(at);
    }
    }
}

constexpr std::uint32_t with(std::uint32_t flags, std::uint32_t mask, bool set) {
    return (flags & ~mask) | (set ? mask : 0);
}

std::uint32_t rotate_flags(DescKind kind, unsigned bits, std::uint64_t a, unsigned n, std::uint32_t old) {
    switch (kind) {
    case DescKind::kRol: return ir::flags_rol(bits, a, n, old);
    case DescKind::kRor: return ir::flags_ror(bits, a, n, old);
    case DescKind::kRcl: return ir::flags_rcl(bits, a, n, old);
    default: return ir::flags_rcr(bits, a, n, old);
    }
}

std::uint32_t shift_flags(FlagsKind kind, unsigned bytes, std::uint64_t a, unsigned n, std::uint32_t old) {
    n &= bytes == 8 ? 63 : 31;
    return n == 0 ? old : compute_flags(cc_op(kind, bytes), a, 0, n);
}

} // namespace

void DescWriter::kind(DescKind kind, unsigned bytes) {
    u8(static_cast<std::uint8_t>(static_cast<unsigned>(kind) |
                                 static_cast<unsigned>(std::countr_zero(bytes)) << 6));
}

void DescWriter::loc(const Loc &loc) {
    switch (loc.kind) {
    case Loc::Kind::kGpr: u8(static_cast<std::uint8_t>(kTagGpr + code(loc.gpr))); break;
    case Loc::Kind::kMem:
        u8(kTagMem);
        u32(static_cast<std::uint32_t>(loc.disp));
        break;
    case Loc::Kind::kNone:
    case Loc::Kind::kImm:
        if (loc.imm < 0x100) {
            u8(kTagImm8);
            u8(static_cast<std::uint8_t>(loc.imm));
        } else if (loc.imm >> 32 == 0) {
            u8(kTagImm32);
            u32(static_cast<std::uint32_t>(loc.imm));
        } else {
            u8(kTagImm64);
            u32(static_cast<std::uint32_t>(loc.imm));
            u32(static_cast<std::uint32_t>(loc.imm >> 32));
        }
        break;
    }
}

std::uint32_t evaluate(const Layout &layout, const VcpuHead *state, const std::uint8_t *&desc) {
    const auto kind = static_cast<DescKind>(*desc & 63);
    const unsigned bytes = 1u << (*desc >> 6);
    ++desc;
    const auto loc = [&] { return read_loc(layout, state, desc); };
    const auto older = [&] { return evaluate(layout, state, desc); };
    switch (kind) {
    case DescKind::kState: return compute_flags(*state);
    case DescKind::kRaw: return static_cast<std::uint32_t>(loc()) & kArithFlags;
    case DescKind::kCarry: return static_cast<std::uint32_t>(loc()) & kCF;
    case DescKind::kLogic: return compute_flags(cc_op(FlagsKind::kLogic, bytes), loc(), 0, 0);
    case DescKind::kTest: {
        const std::uint64_t a = loc();
        return compute_flags(cc_op(FlagsKind::kLogic, bytes), a & loc(), 0, 0);
    }
    case DescKind::kAdd:
    case DescKind::kSub:
    case DescKind::kCmp: {
        const FlagsKind how = kind == DescKind::kAdd   ? FlagsKind::kAdd
                              : kind == DescKind::kSub ? FlagsKind::kSub
                                                       : FlagsKind::kCmp;
        const std::uint64_t a = loc();
        return compute_flags(cc_op(how, bytes), a, loc(), 0);
    }
    case DescKind::kAdc:
    case DescKind::kSbb: {
        const FlagsKind how = kind == DescKind::kAdc ? FlagsKind::kAdc : FlagsKind::kSbb;
        const std::uint64_t r = loc();
        const std::uint64_t b = loc();
        return compute_flags(cc_op(how, bytes), r, b, older() & kCF);
    }
    case DescKind::kInc:
    case DescKind::kDec: {
        const FlagsKind how = kind == DescKind::kInc ? FlagsKind::kInc : FlagsKind::kDec;
        const std::uint64_t r = loc();
        return compute_flags(cc_op(how, bytes), r, 0, older() & kCF);
    }
    case DescKind::kShl:
    case DescKind::kShr:
    case DescKind::kSar: {
        const FlagsKind how = kind == DescKind::kShl   ? FlagsKind::kShl
                              : kind == DescKind::kShr ? FlagsKind::kShr
                                                       : FlagsKind::kSar;
        const std::uint64_t a = loc();
        const auto n = static_cast<unsigned>(loc());
        return shift_flags(how, bytes, a, n, older());
    }
    case DescKind::kRol:
    case DescKind::kRor:
    case DescKind::kRcl:
    case DescKind::kRcr: {
        const std::uint64_t a = loc();
        const auto n = static_cast<unsigned>(loc());
        return rotate_flags(kind, bytes * 8, a, n, older());
    }
    case DescKind::kBit: {
        const bool b = loc() & 1;
        return with(older(), kCF, b);
    }
    case DescKind::kZf: {
        const bool b = loc() & 1;
        return with(older(), kZF, b);
    }
    case DescKind::kOf: {
        const bool b = loc() & 1;
        return with(older(), kOF, b);
    }
    case DescKind::kMulO: {
        const std::uint32_t flags = compute_flags(cc_op(FlagsKind::kLogic, bytes), loc(), 0, 0);
        return with(flags, kCF | kOF, loc() & 1);
    }
    }
    return 0;
}

std::optional<SafePoint> find_safe_point(std::span<const std::uint8_t> table, std::uint32_t return_offset) {
    const std::uint8_t *p = table.data();
    const std::uint8_t *end = p + table.size();
    if (table.size() < 4)
        return std::nullopt;
    const auto exits = take<std::uint32_t>(p);
    p += std::size_t{exits} * 8;
    while (p < end) {
        const auto at = take<std::uint32_t>(p);
        const auto page_offset = take<std::uint16_t>(p);
        const auto length = take<std::uint16_t>(p);
        if (at == return_offset) {
            SafePoint point{static_cast<std::uint16_t>(page_offset & ~kRecordHasUppers)};
            if (page_offset & kRecordHasUppers)
                point.uppers = take<std::uint16_t>(p);
            point.descriptor = p;
            return point;
        }
        p += length;
    }
    return std::nullopt;
}

FirstJump first_jump(std::span<const std::uint8_t> table, std::size_t exit) {
    const std::uint8_t *p = table.data() + 4 + exit * 8;
    const auto field = take<std::int32_t>(p);
    return {field, take<std::int32_t>(p)};
}

} // namespace rhea::tcg::x64
