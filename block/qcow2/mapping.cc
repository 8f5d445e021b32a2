#include "block/qcow2/mapping.h"

namespace rhea::block::qcow2 {

namespace {

bool has_host(Kind kind) { return kind == Kind::kData || kind == Kind::kZeroAlloc || kind == Kind::kUnallocatedAlloc; }

/// Subclusters of one kind from `first` on.
unsigned same_kind(const L2Entry &entry, bool extended, unsigned first, Kind kind) {
    if (!extended)
        return 1;
    unsigned end = first + 1;
    while (end < kSubclusters && entry.kind(true, end) == kind)
        ++end;
    return end - first;
}

} // namespace

Result<Need> map_range(Image &image, std::uint64_t guest, std::uint64_t length, Mapping &mapping) {
    const Geometry &g = image.geometry;
    Slice *slice = nullptr;
    std::uint64_t index = 0;
    auto need = image.find_l2(guest, slice, index);
    if (!need || *need)
        return need;
    mapping = {};
    if (slice == nullptr) {
        mapping.length = std::min(length, g.next_l2_table(guest) - guest);
        return Need{};
    }
    const bool extended = g.extended_l2;
    L2Entry entry = load_l2(slice->data, g, index);
    if (auto ok = image.check_entry(entry, guest); !ok)
        return util::fail(ok.error());
    const std::uint64_t in_cluster = guest & g.cluster_mask();
    unsigned subcluster = extended ? static_cast<unsigned>(in_cluster >> g.subcluster_bits()) : 0;
    mapping.entry = entry;
    mapping.kind = entry.kind(extended, subcluster);
    mapping.host = entry.offset() + in_cluster;
    if (mapping.kind == Kind::kCompressed) {
        mapping.length = std::min(length, g.cluster_size() - in_cluster);
        return Need{};
    }
    const std::uint64_t entries = g.slice_entries();
    std::uint64_t run = g.subcluster_size() - (guest & (g.subcluster_size() - 1));
    for (;;) {
        const unsigned same = same_kind(entry, extended, subcluster, mapping.kind);
        run += (same - 1) * g.subcluster_size();
        if (run >= length || subcluster + same < g.subclusters() || ++index == entries)
            break;
        const L2Entry next = load_l2(slice->data, g, index);
        if (next.kind(extended, 0) != mapping.kind || next.copied() != entry.copied())
            break;
        if (has_host(mapping.kind) && next.offset() != entry.offset() + g.cluster_size())
            break;
        if (auto ok = image.check_entry(next, guest + run); !ok)
            break; // it is told when it is asked for
        entry = next;
        subcluster = 0;
        run += g.subcluster_size();
    }
    mapping.length = std::min(run, length);
    return Need{};
}

} // namespace rhea::block::qcow2
