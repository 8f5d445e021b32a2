// Structures of VHDX images ("Virtual Hard Disk v2 File Format", [MS-VHDX]): little endian, CRC-32C checksums.
//
// The first MiB: an identifier at 0, two headers at 64 and 128 KiB (the one with the larger sequence number holds), two
// copies of the region table at 192 and 256 KiB. The regions: metadata (sizes) and the block allocation table (BAT).
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "block/format/file_access.h"
#include "block/format/uuid.h"

namespace rhea::block {

constexpr std::uint64_t kVhdxMiB = 1 << 20;
constexpr std::string_view kVhdxIdentifier = "vhdxfile";
constexpr std::uint64_t kVhdxHeaderAt[2] = {64 << 10, 128 << 10};
constexpr std::uint64_t kVhdxRegionTableAt[2] = {192 << 10, 256 << 10};
constexpr std::size_t kVhdxHeaderBytes = 4096, kVhdxRegionTableBytes = 64 << 10, kVhdxMetadataTableBytes = 64 << 10;
constexpr std::uint64_t kVhdxMaxSize = std::uint64_t{64} << 40;

/// CRC-32C (Castagnoli) of `bytes`, with the four bytes at `hole` taken as zero.
std::uint32_t crc32c(std::span<const std::uint8_t> bytes, std::size_t hole);

/// A GUID from its usual text form.
Uuid guid(std::string_view text);

struct VhdxHeader {
    std::uint64_t sequence = 0;
    Uuid file_guid{}, data_guid{}, log_guid{};
    std::uint32_t log_length = 0;
    std::uint64_t log_offset = 0;

    bool has_log() const { return log_guid != Uuid{}; }
    /// None when signature or checksum are not right.
    static std::optional<VhdxHeader> decode(std::span<const std::uint8_t> raw);
    std::array<std::uint8_t, kVhdxHeaderBytes> encode() const;

    /// The header that holds, checked, and which of the two it is.
    static Task<Result<VhdxHeader>> load(FileAccess &file, unsigned &which);
};

struct VhdxRegion {
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
    std::uint64_t end() const { return offset + length; }
};

struct VhdxRegions {
    VhdxRegion bat, metadata;

    static Task<Result<VhdxRegions>> load(FileAccess &file, const VhdxHeader &header);
    std::array<std::uint8_t, kVhdxRegionTableBytes> encode() const;
};

struct VhdxMetadata {
    std::uint32_t block_size = 0, logical_sector = 512, physical_sector = 512;
    std::uint64_t disk_size = 0;
    bool leave_allocated = false; ///< fixed images

    static Task<Result<VhdxMetadata>> load(FileAccess &file, VhdxRegion region);
    /// The metadata table and the items behind it.
    std::vector<std::uint8_t> encode() const;
    /// The reason why these sizes cannot be, or success.
    Result<void> check(const FileAccess &file) const;

    std::uint64_t block_count() const;
    /// Payload blocks between two entries for sector bitmaps in the BAT.
    std::uint64_t chunk_ratio() const;
    /// Entries of the BAT of an image without a parent.
    std::uint64_t bat_entries() const;
    /// The entry of payload block `block`.
    std::uint64_t bat_index(std::uint64_t block) const { return block + block / chunk_ratio(); }
};

// ---- entries of the BAT: state in bits 0-2, the offset in MiB in bits 20-63 ------------------------------------------

enum class VhdxBlockState : std::uint8_t {
    kNotPresent = 0,
    kUndefined = 1,
    kZero = 2,
    kUnmapped = 3,
    kFullyPresent = 6,
    kPartiallyPresent = 7,
};
constexpr VhdxBlockState vhdx_state(std::uint64_t entry) { return static_cast<VhdxBlockState>(entry & 7); }
constexpr std::uint64_t vhdx_block_offset(std::uint64_t entry) { return entry & ~(kVhdxMiB - 1); }
constexpr std::uint64_t vhdx_entry(VhdxBlockState state, std::uint64_t offset) {
    return offset | static_cast<std::uint64_t>(state);
}

} // namespace rhea::block
