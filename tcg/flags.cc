// The lazy flags triple and conditions.
#include "rhea/tcg/backend.h"
#include "tcg/ir/flags_eval.h"

namespace rhea::tcg {

std::uint32_t compute_flags(std::uint32_t cc_op, std::uint64_t dst, std::uint64_t src,
                            std::uint64_t src2) {
    if (cc_op & kOverflowOverride)
        return (compute_flags(cc_op & ~kOverflowOverride, dst, src, src2) & ~kOF) |
               ((src2 & 2) ? kOF : 0);
    if (cc_op & kCarryOverride)
        return (compute_flags(cc_op & ~kCarryOverride, dst, src, src2) & ~kCF) | (src2 & kCF);
    const unsigned bits = 8u << (cc_op & 3);
    const auto carry = static_cast<std::uint32_t>(src2 & 1);
    const auto count = static_cast<unsigned>(src2);
    switch (static_cast<FlagsKind>(cc_op >> 2)) {
        case FlagsKind::kRaw:
            break;
        case FlagsKind::kAdd:
            return ir::flags_add(bits, dst, src);
        case FlagsKind::kSub:
            return ir::flags_sub(bits, dst, src);
        case FlagsKind::kCmp:
            return ir::flags_cmp(bits, dst, src);
        case FlagsKind::kLogic:
            return ir::flags_logic(bits, dst);
        case FlagsKind::kAdc:
            return ir::flags_adc(bits, dst, src, carry);
        case FlagsKind::kSbb:
            return ir::flags_sbb(bits, dst, src, carry);
        case FlagsKind::kInc:
            return ir::flags_inc(bits, dst, carry);
        case FlagsKind::kDec:
            return ir::flags_dec(bits, dst, carry);
        case FlagsKind::kShl:
            return ir::flags_shl(bits, dst, count, 0);
        case FlagsKind::kShr:
            return ir::flags_shr(bits, dst, count, 0);
        case FlagsKind::kSar:
            return ir::flags_sar(bits, dst, count, 0);
        case FlagsKind::kMulO:
            return ir::flags_mulo(bits, dst, src);
    }
    return static_cast<std::uint32_t>(dst) & kArithFlags;
}

bool condition_holds(Cond cc, std::uint32_t flags) {
    const auto has = [flags](std::uint32_t bits) { return (flags & bits) != 0; };
    const bool less = has(kSF) != has(kOF);
    bool holds = false;
    switch (static_cast<Cond>(static_cast<unsigned>(cc) & ~1u)) {
        case Cond::kO:
            holds = has(kOF);
            break;
        case Cond::kB:
            holds = has(kCF);
            break;
        case Cond::kE:
            holds = has(kZF);
            break;
        case Cond::kBE:
            holds = has(kCF | kZF);
            break;
        case Cond::kS:
            holds = has(kSF);
            break;
        case Cond::kP:
            holds = has(kPF);
            break;
        case Cond::kL:
            holds = less;
            break;
        case Cond::kLE:
            holds = has(kZF) || less;
            break;
        default:
            break;
    }
    return holds != ((static_cast<unsigned>(cc) & 1) != 0);
}

}  // namespace rhea::tcg
