// `info mtree`: the tree, and the flattened view.
#include <fmt/format.h>

#include "rhea/core/memory.h"

namespace rhea::core {
namespace {

/// As deep as a view is flattened.
constexpr unsigned kMaxDepth = 64;

const char* kind_name(const MemoryRegion& region, bool readonly) {
    switch (region.kind()) {
        case MemoryRegion::Kind::kRam:
            return readonly ? "rom" : "ram";
        case MemoryRegion::Kind::kRom:
            return "rom";
        case MemoryRegion::Kind::kIo:
        case MemoryRegion::Kind::kContainer:
            return "i/o";
        case MemoryRegion::Kind::kAlias:
            return "alias";
    }
    return "";
}

void describe_region(std::string& text, const MemoryRegion& region, hwaddr base, unsigned depth) {
    const std::uint64_t last = base + (region.size() - 1);
    if (depth > kMaxDepth) {
        return;
    }
    text += fmt::format("{:{}}{:016x}-{:016x} (prio {}, {}): {}", "", depth * 2, base, last,
                        region.priority(), kind_name(region, region.readonly()), region.name());
    if (region.kind() == MemoryRegion::Kind::kAlias && region.alias_target())
        text += fmt::format(" @{} {:016x}-{:016x}", region.alias_target()->name(),
                            region.alias_offset(), region.alias_offset() + (region.size() - 1));
    text += region.enabled() ? "\n" : " [disabled]\n";
    for (const MemoryRegion* child : region.children())
        describe_region(text, *child, base + child->offset(), depth + 1);
}

}  // namespace

std::string AddressSpace::describe(bool flat) const {
    std::string text = fmt::format("address-space: {}\n", name_);
    if (!flat) {
        describe_region(text, root_, 0, 1);
        return text;
    }
    ViewGuard guard;
    for (const FlatRange& range : view().ranges)
        text += fmt::format("  {:016x}-{:016x} (prio {}, {}): {} @{:016x}\n", range.start,
                            range.start + (range.size - 1), range.region->priority(),
                            kind_name(*range.region, range.readonly), range.region->name(),
                            range.region_offset);
    return text;
}

}  // namespace rhea::core
