#include "block/vpc/vpc_header.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <ctime>
#include <span>

#include "block/format/bytes.h"
#include "block/format/uuid.h"

namespace rhea::block {

namespace {

// Offsets of the footer's fields.
constexpr std::size_t kFeaturesAt = 8, kVersionAt = 12, kDataOffsetAt = 16, kTimestampAt = 24, kCreatorAt = 28,
                      kCreatorMajorAt = 32, kCreatorMinorAt = 34, kCreatorOsAt = 36, kOriginalSizeAt = 40,
                      kCurrentSizeAt = 48, kCylindersAt = 56, kHeadsAt = 58, kSectorsAt = 59, kTypeAt = 60,
                      kChecksumAt = 64, kUuidAt = 68;
// And of the dynamic header's.
constexpr std::size_t kNextAt = 8, kTableAt = 16, kHeaderVersionAt = 24, kEntriesAt = 28, kBlockSizeAt = 32,
                      kHeaderChecksumAt = 36;
constexpr std::string_view kCookie = "conectix", kDynamicCookie = "cxsparse";
constexpr std::uint32_t kVersion = 0x00010000;
constexpr std::int64_t kEpoch = 946684800; ///< 2000-01-01 00:00:00 UTC
constexpr std::uint32_t kMaxBlockSize = 256 << 20;

/// One's complement of the sum of all bytes but the checksum's own.
std::uint32_t checksum(std::span<const std::uint8_t> bytes, std::size_t at) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        sum += i >= at && i < at + 4 ? 0 : bytes[i];
    return ~sum;
}

void put(std::uint8_t *to, std::string_view text) { std::copy(text.begin(), text.end(), to); }

} // namespace

VpcGeometry VpcGeometry::below(std::uint64_t sectors) {
    sectors = std::min(sectors, largest().total());
    std::uint64_t tracks, heads, per_track; // tracks: cylinders times heads
    if (sectors >= 65535ull * 16 * 63) {
        per_track = 255, heads = 16, tracks = sectors / per_track;
    } else {
        per_track = 17;
        tracks = sectors / per_track;
        heads = std::max<std::uint64_t>((tracks + 1023) / 1024, 4);
        if (tracks >= heads * 1024 || heads > 16)
            per_track = 31, heads = 16, tracks = sectors / per_track;
        if (tracks >= heads * 1024)
            per_track = 63, heads = 16, tracks = sectors / per_track;
    }
    return {static_cast<std::uint16_t>(tracks / heads), static_cast<std::uint8_t>(heads),
            static_cast<std::uint8_t>(per_track)};
}

VpcGeometry VpcGeometry::covering(std::uint64_t sectors) {
    // Rounding down loses less than one cylinder.
    for (std::uint64_t more = 0; more <= 16 * 255; ++more)
        if (const VpcGeometry geometry = below(sectors + more); geometry.total() >= sectors)
            return geometry;
    return largest();
}

bool VpcFooter::is_footer(const std::uint8_t *bytes) { return std::memcmp(bytes, kCookie.data(), kCookie.size()) == 0; }
VpcType VpcFooter::type() const { return static_cast<VpcType>(load_be32(&raw[kTypeAt])); }
std::uint64_t VpcFooter::current_size() const { return load_be64(&raw[kCurrentSizeAt]); }
std::uint64_t VpcFooter::header_offset() const { return load_be64(&raw[kDataOffsetAt]); }
VpcGeometry VpcFooter::geometry() const { return {load_be16(&raw[kCylindersAt]), raw[kHeadsAt], raw[kSectorsAt]}; }
bool VpcFooter::checksum_is_right() const { return load_be32(&raw[kChecksumAt]) == checksum(raw, kChecksumAt); }

std::uint64_t VpcFooter::sectors(VpcSizeFrom from) const {
    if (from == VpcSizeFrom::kCreator) {
        // Who writes the exact size into the footer; for all others the geometry is the size.
        constexpr std::string_view kExact[] = {"win ", "qem2", "d2v ", {"tap\0", 4}, "CTXS", {"wa\0\0", 4}};
        const std::string_view creator(reinterpret_cast<const char *>(&raw[kCreatorAt]), 4);
        from = std::ranges::find(kExact, creator) != std::end(kExact) ? VpcSizeFrom::kCurrentSize
                                                                      : VpcSizeFrom::kGeometry;
    }
    // The largest geometry stands for all larger disks.
    if (from == VpcSizeFrom::kGeometry && geometry().total() != VpcGeometry::largest().total())
        return geometry().total();
    return current_size() / kVpcSector;
}

VpcFooter VpcFooter::make(VpcType type, std::uint64_t sectors, VpcGeometry geometry, bool exact) {
    VpcFooter footer;
    auto &raw = footer.raw;
    put(&raw[0], kCookie);
    store_be32(&raw[kFeaturesAt], 2); // reserved, always set
    store_be32(&raw[kVersionAt], kVersion);
    store_be64(&raw[kDataOffsetAt], type == VpcType::kFixed ? ~std::uint64_t{0} : kVpcFooterBytes);
    store_be32(&raw[kTimestampAt], static_cast<std::uint32_t>(std::time(nullptr) - kEpoch));
    put(&raw[kCreatorAt], exact ? "qem2" : "qemu"); // other programs take the size's meaning from it
    store_be16(&raw[kCreatorMajorAt], 5);
    store_be16(&raw[kCreatorMinorAt], 3);
    put(&raw[kCreatorOsAt], "Wi2k");
    store_be64(&raw[kOriginalSizeAt], sectors * kVpcSector);
    store_be64(&raw[kCurrentSizeAt], sectors * kVpcSector);
    store_be16(&raw[kCylindersAt], geometry.cylinders);
    raw[kHeadsAt] = geometry.heads;
    raw[kSectorsAt] = geometry.sectors;
    store_be32(&raw[kTypeAt], static_cast<std::uint32_t>(type));
    const Uuid uuid = random_uuid(true);
    std::copy(uuid.begin(), uuid.end(), &raw[kUuidAt]);
    store_be32(&raw[kChecksumAt], checksum(raw, kChecksumAt));
    return footer;
}

Task<Result<VpcDynamicHeader>> VpcDynamicHeader::load(FileAccess &file, std::uint64_t offset, std::uint64_t sectors) {
    std::array<std::uint8_t, kVpcDynamicHeaderBytes> raw{};
    if (!range_fits(offset, raw.size(), file.length()))
        co_return file.fail(EINVAL, "the dynamic header at offset {} (footer field {:#x}) is not inside the file", offset,
                            kDataOffsetAt);
    auto got = co_await file.read_bytes(offset, raw.data(), raw.size());
    if (!got)
        co_return util::fail(got.error());
    if (std::memcmp(raw.data(), kDynamicCookie.data(), kDynamicCookie.size()) != 0)
        co_return file.fail(EINVAL, "there is no dynamic header (\"cxsparse\") at offset {}", offset);
    if (load_be32(&raw[kHeaderChecksumAt]) != checksum(raw, kHeaderChecksumAt))
        co_return file.fail(EINVAL, "the checksum of the dynamic header at offset {} is wrong", offset);
    VpcDynamicHeader header;
    header.table_offset = load_be64(&raw[kTableAt]);
    header.table_entries = load_be32(&raw[kEntriesAt]);
    header.block_size = load_be32(&raw[kBlockSizeAt]);
    if (!std::has_single_bit(header.block_size) || header.block_size < kVpcSector || header.block_size > kMaxBlockSize)
        co_return file.fail(EINVAL, "block size {} (offset {}) is not a power of two from 512 to {}", header.block_size,
                            offset + kBlockSizeAt, kMaxBlockSize);
    if (sectors * kVpcSector > std::uint64_t{header.table_entries} * header.block_size)
        co_return file.fail(EINVAL, "{} entries of the block allocation table (offset {}) are too few for {} sectors",
                            header.table_entries, offset + kEntriesAt, sectors);
    if (header.table_offset % kVpcSector != 0 ||
        !range_fits(header.table_offset, std::uint64_t{header.table_entries} * 4, file.length()))
        co_return file.fail(EINVAL, "the block allocation table at offset {} with {} entries is not inside the file",
                            header.table_offset, header.table_entries);
    co_return header;
}

std::array<std::uint8_t, kVpcDynamicHeaderBytes> VpcDynamicHeader::encode() const {
    std::array<std::uint8_t, kVpcDynamicHeaderBytes> raw{};
    put(&raw[0], kDynamicCookie);
    store_be64(&raw[kNextAt], ~std::uint64_t{0});
    store_be64(&raw[kTableAt], table_offset);
    store_be32(&raw[kHeaderVersionAt], kVersion);
    store_be32(&raw[kEntriesAt], table_entries);
    store_be32(&raw[kBlockSizeAt], block_size);
    store_be32(&raw[kHeaderChecksumAt], checksum(raw, kHeaderChecksumAt));
    return raw;
}

std::uint32_t VpcDynamicHeader::bitmap_bytes() const {
    return static_cast<std::uint32_t>(round_up(divide_up(block_size / kVpcSector, 8), kVpcSector));
}

} // namespace rhea::block
