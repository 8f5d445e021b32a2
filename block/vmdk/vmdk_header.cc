#include "block/vmdk/vmdk_header.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/vmdk/vmdk_descriptor.h"

namespace rhea::block {

namespace {

// Offsets of the fields.
constexpr std::size_t kVersionAt = 4, kFlagsAt = 8, kCapacityAt = 12, kGranularityAt = 20, kDescriptorAt = 28,
                      kDescriptorSizeAt = 36, kGtesAt = 44, kRgdAt = 48, kGdAt = 56, kGrainAt = 64, kCheckBytesAt = 73,
                      kCompressionAt = 77;
/// What a transfer in text mode would change.
constexpr std::uint8_t kCheckBytes[4] = {'\n', ' ', '\r', '\n'};
constexpr std::uint64_t kMaxGranularity = 65536;
constexpr std::uint32_t kMaxGtes = 512;
constexpr std::uint64_t kDescriptorSectors = 20;
constexpr std::uint32_t kFooterMarker = 3, kEndMarker = 0;

} // namespace

std::uint64_t VmdkHeader::grain_bytes() const { return granularity * kVmdkSector; }
std::uint64_t VmdkHeader::gd_entries() const { return divide_up(divide_up(capacity, granularity), gtes_per_gt); }
std::uint64_t VmdkHeader::gt_sectors() const { return divide_up(std::uint64_t{gtes_per_gt} * 4, kVmdkSector); }
std::uint64_t VmdkHeader::tables_sectors() const {
    return divide_up(gd_entries() * 4, kVmdkSector) + gd_entries() * gt_sectors();
}

VmdkHeader VmdkHeader::decode(const std::uint8_t *raw) {
    VmdkHeader header;
    header.version = load_le32(raw + kVersionAt);
    header.flags = load_le32(raw + kFlagsAt);
    header.capacity = load_le64(raw + kCapacityAt);
    header.granularity = load_le64(raw + kGranularityAt);
    header.descriptor_offset = load_le64(raw + kDescriptorAt);
    header.descriptor_size = load_le64(raw + kDescriptorSizeAt);
    header.gtes_per_gt = load_le32(raw + kGtesAt);
    header.rgd_offset = load_le64(raw + kRgdAt);
    header.gd_offset = load_le64(raw + kGdAt);
    header.grain_offset = load_le64(raw + kGrainAt);
    header.compression = load_le16(raw + kCompressionAt);
    return header;
}

Result<void> VmdkHeader::check(const FileAccess &file) const {
    if (version < 1 || version > 3)
        return file.fail(ENOTSUP, "version {} of sparse VMDK extents is not supported, only 1 to 3", version);
    if (!std::has_single_bit(granularity) || granularity > kMaxGranularity)
        return file.fail(EINVAL, "granularity {} (offset {}) is not a power of two up to {} sectors", granularity,
                         kGranularityAt, kMaxGranularity);
    if (gtes_per_gt == 0 || gtes_per_gt > kMaxGtes)
        return file.fail(EINVAL, "{} entries in a grain table (offset {}) are not supported, only 1 to {}", gtes_per_gt,
                         kGtesAt, kMaxGtes);
    if (capacity > INT64_MAX / kVmdkSector)
        return file.fail(EINVAL, "capacity {} (offset {}) is too large", capacity, kCapacityAt);
    const std::uint64_t gd_bytes = gd_entries() * 4;
    for (const std::uint64_t offset : {gd_offset, flags & kVmdkRedundant ? rgd_offset : gd_offset})
        if (offset == 0 || offset > file.length() / kVmdkSector ||
            !range_fits(offset * kVmdkSector, gd_bytes, file.length()))
            return file.fail(EINVAL, "the grain directory at sector {} with {} entries is not inside the file of {} bytes",
                             offset, gd_entries(), file.length());
    if (compressed() && compression != 1)
        return file.fail(ENOTSUP, "compression method {} (offset {}) is not supported, only 1 (deflate)", compression,
                         kCompressionAt);
    return {};
}

Task<Result<VmdkHeader>> VmdkHeader::load(FileAccess &file) {
    std::array<std::uint8_t, kVmdkHeaderBytes> raw{};
    auto got = co_await file.read_bytes(0, raw.data(), raw.size());
    if (!got)
        co_return util::fail(got.error());
    if (load_le32(&raw[0]) == kVmdkCowdMagic)
        co_return file.fail(ENOTSUP, "COWD extents (ESX 2, vmfsSparse) are not supported; convert the disk with qemu-img");
    if (load_le32(&raw[0]) != kVmdkMagic)
        co_return file.fail(EINVAL, "this is no sparse VMDK extent: \"KDMV\" at offset 0 is missing");
    if ((load_le32(&raw[kFlagsAt]) & kVmdkNewlineTest) &&
        !std::equal(std::begin(kCheckBytes), std::end(kCheckBytes), &raw[kCheckBytesAt]))
        co_return file.fail(EINVAL, "line ends at offset {} were changed: the file was copied as text", kCheckBytesAt);
    VmdkHeader header = decode(raw.data());
    if (header.gd_offset == kVmdkGdAtEnd) {
        // The last three sectors: a marker, the header again, the end-of-stream marker.
        std::array<std::uint8_t, 3 * kVmdkSector> footer{};
        if (file.length() < 2 * footer.size())
            co_return file.fail(EINVAL, "the footer of the stream-optimized extent is missing: the file has {} bytes",
                                file.length());
        got = co_await file.read_bytes(file.length() - footer.size(), footer.data(), footer.size());
        if (!got)
            co_return util::fail(got.error());
        const std::uint8_t *end = &footer[2 * kVmdkSector];
        if (load_le32(&footer[8]) != 0 || load_le32(&footer[12]) != kFooterMarker ||
            load_le32(&footer[kVmdkSector]) != kVmdkMagic || load_le64(end) != 0 || load_le32(end + 8) != 0 ||
            load_le32(end + 12) != kEndMarker)
            co_return file.fail(EINVAL, "the last three sectors of the stream-optimized extent are no footer: it was cut off");
        const VmdkHeader first = header;
        header = decode(&footer[kVmdkSector]);
        header.descriptor_offset = first.descriptor_offset;
        header.descriptor_size = first.descriptor_size;
        header.in_footer = true;
    }
    if (auto valid = header.check(file); !valid)
        co_return util::fail(valid.error());
    co_return header;
}

VmdkHeader VmdkHeader::plan(std::uint64_t capacity, std::uint32_t more_flags) {
    VmdkHeader header;
    header.flags |= more_flags;
    header.capacity = capacity;
    header.version = header.compressed() ? 3 : header.flags & kVmdkZeroGrain ? 2 : 1;
    header.compression = header.compressed();
    header.descriptor_offset = 1;
    header.descriptor_size = kDescriptorSectors;
    header.rgd_offset = header.descriptor_offset + header.descriptor_size;
    header.gd_offset = header.rgd_offset + header.tables_sectors();
    header.grain_offset = round_up(header.gd_offset + header.tables_sectors(), header.granularity);
    return header;
}

std::array<std::uint8_t, kVmdkHeaderBytes> VmdkHeader::encode() const {
    std::array<std::uint8_t, kVmdkHeaderBytes> raw{};
    store_le32(&raw[0], kVmdkMagic);
    store_le32(&raw[kVersionAt], version);
    store_le32(&raw[kFlagsAt], flags);
    store_le64(&raw[kCapacityAt], capacity);
    store_le64(&raw[kGranularityAt], granularity);
    store_le64(&raw[kDescriptorAt], descriptor_offset);
    store_le64(&raw[kDescriptorSizeAt], descriptor_size);
    store_le32(&raw[kGtesAt], gtes_per_gt);
    store_le64(&raw[kRgdAt], rgd_offset);
    store_le64(&raw[kGdAt], gd_offset);
    store_le64(&raw[kGrainAt], grain_offset);
    std::copy(std::begin(kCheckBytes), std::end(kCheckBytes), &raw[kCheckBytesAt]);
    store_le16(&raw[kCompressionAt], compression);
    return raw;
}

} // namespace rhea::block
