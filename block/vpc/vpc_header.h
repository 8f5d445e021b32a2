// Structures of Virtual PC disk images ("Virtual Hard Disk Image Format Specification", Microsoft): big endian.
//
// A footer of 512 bytes ends each image; dynamic ones have a copy at offset 0, a header of 1024 bytes where the footer
// says, and a block allocation table of 32-bit sector numbers where that header says.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "block/format/file_access.h"

namespace rhea::block {

constexpr std::size_t kVpcFooterBytes = 512, kVpcDynamicHeaderBytes = 1024;
constexpr std::uint32_t kVpcSector = 512;
/// 2040 GiB: what the table's sector numbers can reach.
constexpr std::uint64_t kVpcMaxSectors = 0xff000000;
constexpr std::uint32_t kVpcBlockSize = 2 << 20;
constexpr std::uint32_t kVpcUnused = 0xffffffff;

enum class VpcType : std::uint32_t { kFixed = 2, kDynamic = 3, kDifferencing = 4 };
/// Which field tells the disk's size.
enum class VpcSizeFrom : std::uint8_t { kCreator, kGeometry, kCurrentSize };

struct VpcGeometry {
    std::uint16_t cylinders = 0;
    std::uint8_t heads = 0, sectors = 0;

    std::uint64_t total() const { return std::uint64_t{cylinders} * heads * sectors; }
    /// The largest geometry of at most `sectors` sectors (the specification's appendix "CHS Calculation").
    static VpcGeometry below(std::uint64_t sectors);
    /// The smallest of those that has at least `sectors` sectors; the largest geometry there is when none has.
    static VpcGeometry covering(std::uint64_t sectors);
    static constexpr VpcGeometry largest();
};

constexpr VpcGeometry VpcGeometry::largest() { return {65535, 16, 255}; }

struct VpcFooter {
    std::array<std::uint8_t, kVpcFooterBytes> raw{};

    static bool is_footer(const std::uint8_t *bytes);
    VpcType type() const;
    std::uint64_t current_size() const;
    std::uint64_t header_offset() const;
    VpcGeometry geometry() const;
    bool checksum_is_right() const;
    /// The disk's size in sectors.
    std::uint64_t sectors(VpcSizeFrom from) const;

    /// A footer for a new image; `exact`: of this size, not that of the geometry.
    static VpcFooter make(VpcType type, std::uint64_t sectors, VpcGeometry geometry, bool exact);
};

struct VpcDynamicHeader {
    std::uint64_t table_offset = 0;
    std::uint32_t table_entries = 0, block_size = 0;

    /// Reads it at `offset` and checks every field for a disk of `sectors`.
    static Task<Result<VpcDynamicHeader>> load(FileAccess &file, std::uint64_t offset, std::uint64_t sectors);
    std::array<std::uint8_t, kVpcDynamicHeaderBytes> encode() const;
    /// Bytes in front of each block that tell which of its sectors were written.
    std::uint32_t bitmap_bytes() const;
};

} // namespace rhea::block
