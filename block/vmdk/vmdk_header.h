// The header of sparse extents: 512 bytes, little endian, fields packed; all offsets and sizes are in sectors.
//
// A grain directory (GD) names grain tables (GT), their entries (GTE) the grains. Most images have both twice. In
// stream-optimized ones each grain is compressed behind a marker, and the header that holds may be near the end.
#pragma once
#include <array>
#include <cstdint>

#include "block/format/file_access.h"

namespace rhea::block {

constexpr std::uint32_t kVmdkMagic = 0x564d444b;   ///< "KDMV"
constexpr std::uint32_t kVmdkCowdMagic = 0x44574f43; ///< "COWD": ESX 2 and older
constexpr std::size_t kVmdkHeaderBytes = 512, kVmdkMarkerBytes = 12;
/// gd_offset: the directory is where the footer says.
constexpr std::uint64_t kVmdkGdAtEnd = ~std::uint64_t{0};

enum VmdkFlags : std::uint32_t {
    kVmdkNewlineTest = 1,
    kVmdkRedundant = 2,   ///< rgd_offset is valid
    kVmdkZeroGrain = 4,   ///< a GTE of 1 is a grain of zeroes
    kVmdkCompressed = 1 << 16,
    kVmdkMarkers = 1 << 17,
};

struct VmdkHeader {
    std::uint32_t version = 1, flags = kVmdkNewlineTest | kVmdkRedundant;
    std::uint64_t capacity = 0, granularity = 128;
    std::uint64_t descriptor_offset = 0, descriptor_size = 0;
    std::uint32_t gtes_per_gt = 512;
    std::uint64_t rgd_offset = 0, gd_offset = 0, grain_offset = 0;
    std::uint16_t compression = 0; ///< 1: deflate
    bool in_footer = false;        ///< read from there

    bool compressed() const { return flags & kVmdkCompressed; }
    std::uint64_t grain_bytes() const;
    std::uint64_t gd_entries() const;

    static Task<Result<VmdkHeader>> load(FileAccess &file);
    static VmdkHeader decode(const std::uint8_t *raw);
    Result<void> check(const FileAccess &file) const;
    /// A header for a new extent.
    static VmdkHeader plan(std::uint64_t capacity, std::uint32_t more_flags);
    std::uint64_t gt_sectors() const;
    /// Sectors of the directory and the tables behind it.
    std::uint64_t tables_sectors() const;
    std::array<std::uint8_t, kVmdkHeaderBytes> encode() const;
};

} // namespace rhea::block
