// The tree is walked from high to low priority; each leaf fills what is still free in its window.
#include "core/flat_view.h"

#include <algorithm>
#include <cassert>

namespace rhea::core {
namespace {

/// Positions may lie below 0 (an alias of the middle of something) and reach 2^64.
__extension__ using Position = __int128;

/// Deeper trees are our own bug (an alias that shows itself).
constexpr unsigned kMaxDepth = 64;

/// A container of size 0 spans all addresses.
Position full_size(const MemoryRegion& region) {
    const bool all = region.size() == 0 && region.kind() == MemoryRegion::Kind::kContainer;
    return all ? Position(1) << 64 : Position(region.size());
}

struct Piece {
    Position start, end;
    MemoryRegion* region;
    hwaddr region_offset;
    bool readonly;
};

class Flattener {
  public:
    struct Window {
        Position start, end;
        bool readonly;
        unsigned depth;
    };

    void render(const MemoryRegion& region, Position base, Window window);
    std::vector<FlatRange> take();

  private:
    void fill(const MemoryRegion& region, Position base, const Window& window);

    std::vector<Piece> pieces_;
};

void Flattener::render(const MemoryRegion& region, Position base, Window window) {
    if (!region.enabled() || window.depth >= kMaxDepth) {
        return;
    }
    window.start = std::max(window.start, base);
    window.end = std::min(window.end, base + full_size(region));
    if (window.start >= window.end) {
        return;
    }
    window.readonly |= region.readonly();
    ++window.depth;
    if (region.kind() == MemoryRegion::Kind::kAlias) {
        if (region.alias_target() != nullptr) {
            render(*region.alias_target(), base - Position(region.alias_offset()), window);
        }
        return;
    }
    for (const MemoryRegion* child : region.children()) {
        render(*child, base + Position(child->offset()), window);
    }
    if (region.kind() != MemoryRegion::Kind::kContainer) {
        fill(region, base, window);
    }
}

void Flattener::fill(const MemoryRegion& region, Position base, const Window& window) {
    auto piece = [&](Position start, Position end) {
        return Piece{start, end, const_cast<MemoryRegion*>(&region),
                     static_cast<hwaddr>(start - base),
                     window.readonly};
    };
    auto next = std::ranges::partition_point(
        pieces_, [&](const Piece& other) { return other.end <= window.start; });
    Position position = window.start;
    while (position < window.end) {
        if (next == pieces_.end() || next->start >= window.end) {
            pieces_.insert(next, piece(position, window.end));
            return;
        }
        if (next->start > position) {
            next = pieces_.insert(next, piece(position, next->start)) + 1;
        }
        position = next->end;
        ++next;
    }
}

bool continues(const FlatRange& left, const FlatRange& right) {
    return left.end() == right.start && left.region == right.region &&
           left.region_offset + left.size == right.region_offset && left.readonly == right.readonly;
}

std::vector<FlatRange> Flattener::take() {
    std::vector<FlatRange> ranges;
    ranges.reserve(pieces_.size());
    for (const Piece& piece : pieces_) {
        const Position size = std::min(piece.end - piece.start, Position(~0ull));
        FlatRange range{.start = static_cast<hwaddr>(piece.start),
                        .size = static_cast<std::uint64_t>(size),
                        .region = piece.region,
                        .region_offset = piece.region_offset,
                        .host = nullptr,
                        .readonly = piece.readonly};
        if (RamBlock* block = piece.region->ram_block()) {
            range.host = block->host() + piece.region_offset;
        }
        if (!ranges.empty() && continues(ranges.back(), range)) {
            ranges.back().size += range.size;
        } else {
            ranges.push_back(range);
        }
    }
    return ranges;
}

}  // namespace

std::vector<FlatRange> flatten(const MemoryRegion& root) {
    Flattener flattener;
    flattener.render(root, 0,
                     {.start = 0, .end = Position(1) << 64, .readonly = false, .depth = 0});
    return flattener.take();
}

Location locate(const FlatView& view, hwaddr addr) {
    auto next = std::ranges::upper_bound(view.ranges, addr, {}, &FlatRange::start);
    if (next != view.ranges.begin()) {
        const FlatRange& range = *std::prev(next);
        if (addr - range.start < range.size) {
            return {&range, range.end() - addr};
        }
    }
    return {nullptr, next == view.ranges.end() ? 0 - addr : next->start - addr};
}

const FlatRange* FlatView::find(hwaddr addr) const {
    return locate(*this, addr).range;
}

}  // namespace rhea::core
