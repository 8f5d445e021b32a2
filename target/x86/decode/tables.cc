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

} // namespace

const Row *const kRows = kAllRows;
const RowId kRowCount = static_cast<RowId>(kCount);

RowRange rows_for(OpcodeMap map, std::uint8_t opcode) {
    const std::size_t bucket = static_cast<std::size_t>(map) * 256 + opcode;
    return {kIndex.entries.data() + kIndex.start[bucket],
            static_cast<unsigned>(kIndex.start[bucket + 1] - kIndex.start[bucket])};
}

bool needs_modrm(OpcodeMap map, std::uint8_t opcode) {
    return kNeedsModrm[static_cast<std::size_t>(map) * 256 + opcode];
}

} // namespace rhea::target::x86
