// Cylinders, heads, sectors of a disk as firmware of the time saw them.
#pragma once
#include <algorithm>
#include <cstdint>

namespace rhea::hw {

struct DiskGeometry {
    std::uint32_t cylinders = 0, heads = 0, sectors = 0;
    std::uint64_t total() const { return std::uint64_t{cylinders} * heads * sectors; }
    bool operator==(const DiskGeometry &) const = default;
};

/// What a drive of `sectors` sectors reports: 16 heads of 63 sectors, 16,383 cylinders at most (ATA/ATAPI-5, annex C).
constexpr DiskGeometry default_geometry(std::uint64_t sectors) {
    const std::uint64_t cylinders = std::clamp<std::uint64_t>(sectors / (16 * 63), 2, 16383);
    return {static_cast<std::uint32_t>(cylinders), 16, 63};
}

} // namespace rhea::hw
