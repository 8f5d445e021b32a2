// The decoder's rows as constant data, sorted into opcode buckets and checked for conflicts at compile time.
#include "target/x86/decode/row.h"

#include <cstddef>

namespace rhea::target::x86 {
namespace {

using namespace sel;

constexpr OperandSpec fourth_operand(unsigned flags) {
    return (flags & kRowImm8) != 0 ? operand::Ib : (flags & kRowImmReg) != 0 ? operand::Lx : operand::_;
}

constexpr Row kAllRows[] = {
#define RHEA_X86_ROW(map, opcode, selection, mnemonic, o1, o2, o3, flags, feature, emitter)                            \
    Row{OpcodeMap::map, opcode, flags, selection, Feature::feature, mnemonic,                                          \
        {operand::o1, operand::o2, operand::o3, fourth_operand(flags)}},
#include "target/x86/decode/all_rows.def"
#undef RHEA_X86_ROW
};
constexpr std::size_t kCount = std::size(kAllRows);
static_assert(kCount < kNoRow);

constexpr unsigned span_of(const Row &row) {
    return (row.selection & sel::plus_cc) != 0 ? 16 : (row.selection & sel::plus_r) != 0 ? 8 : 1;
}
constexpr unsigned bucket_of(const Row &row) { return static_cast<unsigned>(row.map) * 256 + row.opcode; }

constexpr std::size_t kBuckets = static_cast<std::size_t>(OpcodeMap::kCount) * 256;
constexpr std::size_t entry_count() {
    std::size_t count = 0;
    for (const Row &row : kAllRows) {
        count += span_of(row);
    }
    return count;
}

struct Index {
    std::array<RowId, kBuckets + 1> start{};
    std::array<RowId, entry_count()> entries{};
};

constexpr Index build_index() {
    Index index;
    for (const Row &row : kAllRows) {
        for (unsigned n = 0; n < span_of(row); n++) {
            index.start[bucket_of(row) + n + 1]++;
        }
    }
    for (std::size_t n = 0; n < kBuckets; n++) {
        index.start[n + 1] = static_cast<RowId>(index.start[n + 1] + index.start[n]);
    }
    std::array<RowId, kBuckets> used{};
    for (std::size_t id = 0; id < kCount; id++) {
        for (unsigned n = 0; n < span_of(kAllRows[id]); n++) {
            const unsigned bucket = bucket_of(kAllRows[id]) + n;
            index.entries[static_cast<std::size_t>(index.start[bucket]) + used[bucket]++] = static_cast<RowId>(id);
        }
    }
    return index;
}
constexpr Index kIndex = build_index();

// Two rows conflict when some encoding matches both and neither is a fallback.
constexpr bool prefixes_meet(std::uint32_t a, std::uint32_t b) {
    if (a == sel::any || b == sel::any || a == b) {
        return true;
    }
    const auto within_npx = [](std::uint32_t p) { return p == sel::np || p == sel::p66; };
    return (a == sel::npx && within_npx(b)) || (b == sel::npx && within_npx(a));
}
constexpr bool field_meets(std::uint32_t a, std::uint32_t b, std::uint32_t mask) {
    return (a & mask) == 0 || (b & mask) == 0 || (a & mask) == (b & mask);
}
constexpr bool conflict(const Row &x, const Row &y) {
    const std::uint32_t a = x.selection, b = y.selection;
    return prefixes_meet(a & sel::prefix_mask, b & sel::prefix_mask) && field_meets(a, b, sel::mod_mask) &&
           field_meets(a, b, sel::ext_mask) && field_meets(a, b, sel::rm_mask) && field_meets(a, b, sel::mode_mask) &&
           (a & sel::vex) == (b & sel::vex) && field_meets(a, b, sel::l_mask) && field_meets(a, b, sel::w_mask) &&
           ((x.flags | y.flags) & kRowFallback) == 0;
}
constexpr RowId first_conflict() {
    for (std::size_t bucket = 0; bucket < kBuckets; bucket++) {
        for (RowId i = kIndex.start[bucket]; i < kIndex.start[bucket + 1]; i++) {
            for (RowId j = static_cast<RowId>(i + 1); j < kIndex.start[bucket + 1]; j++) {
                if (conflict(kAllRows[kIndex.entries[i]], kAllRows[kIndex.entries[j]])) {
                    return kIndex.entries[i];
                }
            }
        }
    }
    return kNoRow;
}
template <RowId kRow>
struct RowInConflict {
    static_assert(kRow == kNoRow, "this row and a later one take the same encoding");
};
template struct RowInConflict<first_conflict()>;

constexpr bool row_needs_modrm(const Row &row) {
    if ((row.selection & (sel::mod_mask | sel::ext_mask | sel::rm_mask)) != 0) {
        return true;
    }
    for (const OperandSpec &spec : row.operands) {
        switch (spec.kind) {
        case OperandKind::kRm:
        case OperandKind::kRmWordMem:
        case OperandKind::kRmByteMem:
        case OperandKind::kMem:
        case OperandKind::kReg:
        case OperandKind::kSeg:
        case OperandKind::kCr:
        case OperandKind::kDr:
        case OperandKind::kVecReg:
        case OperandKind::kVecRm:
        case OperandKind::kVsib:
        case OperandKind::kMmxReg:
        case OperandKind::kMmxRm:
        case OperandKind::kStRm:
            return true;
        default:
            break;
        }
    }
    return false;
}
constexpr std::array<bool, kBuckets> build_modrm() {
    std::array<bool, kBuckets> needs{};
    for (std::size_t bucket = 0; bucket < kBuckets; bucket++) {
        for (RowId i = kIndex.start[bucket]; i < kIndex.start[bucket + 1]; i++) {
            needs[bucket] = needs[bucket] || row_needs_modrm(kAllRows[kIndex.entries[i]]);
        }
    }
    return needs;
}
constexpr std::array<bool, kBuckets> kNeedsModrm = build_modrm();

constexpr RowMatch match_of(RowId id) {
    const Row &row = kAllRows[id];
    const std::uint32_t s = row.selection;
    RowMatch m{match::vex, (s & sel::vex) != 0 ? match::vex : 0, id, row.feature, (row.flags & kRowFallback) != 0};
    const auto want = [&m](std::uint32_t mask, std::uint32_t value) {
        m.mask |= mask;
        m.value |= value;
    };
    constexpr std::uint32_t kRep = match::pF3 | match::pF2;
    switch (s & sel::prefix_mask) {
    case sel::np: want(kRep | match::p66, 0); break;
    case sel::p66: want(kRep | match::p66, match::p66); break;
    case sel::pF3: want(kRep, match::pF3); break;
    case sel::pF2: want(kRep, match::pF2); break;
    case sel::npx: want(kRep, 0); break;
    default: break;
    }
    if ((s & sel::mod_mask) != 0) {
        want(match::reg, (s & sel::mod_mask) == sel::mem ? 0 : match::reg);
    }
    if ((s & sel::ext_mask) != 0) {
        want(7u << match::ext_shift, (((s & sel::ext_mask) >> sel::ext_shift) - 1) << match::ext_shift);
    }
    if ((s & sel::rm_mask) != 0) {
        want(7u << match::rm_shift, (((s & sel::rm_mask) >> sel::rm_shift) - 1) << match::rm_shift);
    }
    if ((s & sel::mode_mask) != 0) {
        want(match::o64, (s & sel::mode_mask) == sel::o64 ? match::o64 : 0);
    }
    if ((s & sel::l_mask) != 0) {
        want(match::l1, (s & sel::l_mask) == sel::l1 ? match::l1 : 0);
    }
    if ((s & sel::w_mask) != 0) {
        want(match::w1, (s & sel::w_mask) == sel::w1 ? match::w1 : 0);
    }
    return m;
}
constexpr auto kMatches = [] {
    std::array<RowMatch, kIndex.entries.size()> matches{};
    for (std::size_t n = 0; n < matches.size(); n++) {
        matches[n] = match_of(kIndex.entries[n]);
    }
    return matches;
}();

constexpr auto kUsesMmx = [] {
    std::array<bool, kCount> uses{};
    for (std::size_t id = 0; id < kCount; id++) {
        for (const OperandSpec &spec : kAllRows[id].operands) {
            uses[id] = uses[id] || spec.kind == OperandKind::kMmxReg || spec.kind == OperandKind::kMmxRm;
        }
    }
    return uses;
}();

} // namespace

const Row *const kRows = kAllRows;
const RowId kRowCount = static_cast<RowId>(kCount);

RowRange rows_for(OpcodeMap map, std::uint8_t opcode) {
    const std::size_t bucket = static_cast<std::size_t>(map) * 256 + opcode;
    return {kMatches.data() + kIndex.start[bucket],
            static_cast<std::uint16_t>(kIndex.start[bucket + 1] - kIndex.start[bucket]), kNeedsModrm[bucket]};
}

bool needs_modrm(OpcodeMap map, std::uint8_t opcode) {
    return kNeedsModrm[static_cast<std::size_t>(map) * 256 + opcode];
}

bool uses_mmx(RowId row) { return kUsesMmx[row]; }

} // namespace rhea::target::x86
