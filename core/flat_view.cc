#include "core/flat_view.h"

#include <algorithm>

namespace rhea::core {
namespace {

// 128-bit arithmetic: a root region may be 2^64 bytes large.
using Wide = unsigned __int128;

Wide wide_size(std::uint64_t size) { return size == 0 ? Wide{1} << 64 : Wide{size}; }

struct Interval {
    Wide start, end;
};

class Flattener {
public:
    explicit Flattener(FlatView &view) : view_(view) {}

    /// Paints `region`, whose byte 0 lies at `base` (which may be "negative" for aliases), inside `clip`. What is painted first
    /// stays: children are visited from the highest priority down.
    void paint(MemoryRegion &region, __int128 base, Interval clip, bool readonly, unsigned depth) {
        if (!region.enabled() || depth > 32)
            return;
        const __int128 end = base + static_cast<__int128>(wide_size(region.size()));
        clip.start = std::max<__int128>(base, static_cast<__int128>(clip.start)) < 0
                         ? 0
                         : static_cast<Wide>(std::max<__int128>(base, static_cast<__int128>(clip.start)));
        clip.end = end < 0 ? 0 : std::min(clip.end, static_cast<Wide>(end));
        if (clip.start >= clip.end)
            return;
        readonly |= region.readonly();
        switch (region.kind()) {
        case MemoryRegion::Kind::kAlias:
            if (region.alias_target())
                paint(*region.alias_target(), base - static_cast<__int128>(region.alias_offset()), clip, readonly, depth + 1);
            return;
        case MemoryRegion::Kind::kContainer:
            for (MemoryRegion *child : region.children())
                paint(*child, base + static_cast<__int128>(child->offset()), clip, readonly, depth + 1);
            return;
        case MemoryRegion::Kind::kRam:
        case MemoryRegion::Kind::kRom:
        case MemoryRegion::Kind::kIo:
            for (MemoryRegion *child : region.children())
                paint(*child, base + static_cast<__int128>(child->offset()), clip, readonly, depth + 1);
            fill_gaps(region, base, clip, readonly);
            return;
        }
    }

private:
    void fill_gaps(MemoryRegion &region, __int128 base, Interval clip, bool readonly) {
        std::vector<FlatRange> fresh;
        Wide at = clip.start;
        auto it = std::lower_bound(view_.ranges.begin(), view_.ranges.end(), at, [](const FlatRange &range, Wide address) {
            return Wide{range.start} + wide_size(range.size) <= address;
        });
        while (at < clip.end) {
            const Wide gap_end = it == view_.ranges.end() ? clip.end : std::min(clip.end, Wide{it->start});
            if (at < gap_end)
                fresh.push_back(make(region, base, at, gap_end, readonly));
            if (it == view_.ranges.end())
                break;
            at = Wide{it->start} + wide_size(it->size);
            ++it;
        }
        view_.ranges.insert(view_.ranges.end(), fresh.begin(), fresh.end());
        std::sort(view_.ranges.begin(), view_.ranges.end(), [](const FlatRange &a, const FlatRange &b) { return a.start < b.start; });
    }

    static FlatRange make(MemoryRegion &region, __int128 base, Wide start, Wide end, bool readonly) {
        FlatRange range;
        range.start = static_cast<hwaddr>(start);
        range.size = static_cast<std::uint64_t>(end - start);
        range.region = &region;
        range.region_offset = static_cast<hwaddr>(static_cast<__int128>(start) - base);
        range.readonly = readonly;
        if (region.ram_block())
            range.host = region.ram_block()->host() + range.region_offset;
        return range;
    }

    FlatView &view_;
};

bool continues(const FlatRange &a, const FlatRange &b) {
    return a.region == b.region && a.start + a.size == b.start && a.region_offset + a.size == b.region_offset &&
           a.readonly == b.readonly;
}

} // namespace

std::unique_ptr<FlatView> flatten(MemoryRegion &root) {
    auto view = std::make_unique<FlatView>();
    Flattener(*view).paint(root, 0, {0, wide_size(root.size())}, false, 0);
    std::vector<FlatRange> merged;
    for (const FlatRange &range : view->ranges) {
        if (!merged.empty() && continues(merged.back(), range))
            merged.back().size += range.size;
        else
            merged.push_back(range);
    }
    view->ranges = std::move(merged);
    return view;
}

const FlatRange *FlatView::find(hwaddr addr) const {
    auto it = std::upper_bound(ranges.begin(), ranges.end(), addr, [](hwaddr a, const FlatRange &range) { return a < range.start; });
    if (it == ranges.begin())
        return nullptr;
    --it;
    return addr - it->start < it->size || it->size == 0 ? &*it : nullptr;
}

} // namespace rhea::core
