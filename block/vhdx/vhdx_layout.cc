#include "block/vhdx/vhdx_layout.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "block/format/bytes.h"

namespace rhea::block {

namespace {

constexpr std::uint32_t kHeaderSignature = 0x64616568;      ///< "head"
constexpr std::uint32_t kRegionSignature = 0x69676572;      ///< "regi"
constexpr std::uint16_t kVersion = 1;
constexpr std::uint32_t kMaxEntries = 2047;

// Offsets of the header's fields.
constexpr std::size_t kChecksumAt = 4, kSequenceAt = 8, kFileGuidAt = 16, kDataGuidAt = 32, kLogGuidAt = 48,
                      kLogVersionAt = 64, kVersionAt = 66, kLogLengthAt = 68, kLogOffsetAt = 72;

constexpr std::string_view kBatRegion = "2DC27766-F623-4200-9D64-115E9BFD4A08";
constexpr std::string_view kMetadataRegion = "8B7CA206-4790-4B9A-B8FE-575F050F886E";

constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit)
            value = value & 1 ? value >> 1 ^ 0x82f63b78 : value >> 1;
        table[i] = value;
    }
    return table;
}();

template <typename Array> void put_guid(Array &raw, std::size_t at, const Uuid &uuid) {
    std::copy(uuid.begin(), uuid.end(), raw.begin() + at);
}

Uuid get_guid(std::span<const std::uint8_t> raw, std::size_t at) {
    Uuid uuid;
    std::copy_n(raw.begin() + at, uuid.size(), uuid.begin());
    return uuid;
}

} // namespace

std::uint32_t crc32c(std::span<const std::uint8_t> bytes, std::size_t hole) {
    std::uint32_t crc = ~std::uint32_t{0};
    for (std::size_t i = 0; i < bytes.size(); ++i)
        crc = crc >> 8 ^ kCrcTable[(crc ^ (i - hole < 4 ? 0 : bytes[i])) & 0xff];
    return ~crc;
}

Uuid guid(std::string_view text) {
    // The first three groups are numbers (little endian), the last two are bytes.
    constexpr std::size_t kOrder[] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    Uuid uuid{};
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < text.size() && at < uuid.size(); i += 2) {
        if (text[i] == '-')
            ++i;
        uuid[kOrder[at++]] = static_cast<std::uint8_t>(digit(text[i]) << 4 | digit(text[i + 1]));
    }
    return uuid;
}

// ---- header ----------------------------------------------------------------------------------------------------------

std::optional<VhdxHeader> VhdxHeader::decode(std::span<const std::uint8_t> raw) {
    if (load_le32(&raw[0]) != kHeaderSignature || load_le32(&raw[kChecksumAt]) != crc32c(raw, kChecksumAt) ||
        load_le16(&raw[kVersionAt]) != kVersion)
        return {};
    VhdxHeader header;
    header.sequence = load_le64(&raw[kSequenceAt]);
    header.file_guid = get_guid(raw, kFileGuidAt);
    header.data_guid = get_guid(raw, kDataGuidAt);
    header.log_guid = get_guid(raw, kLogGuidAt);
    header.log_length = load_le32(&raw[kLogLengthAt]);
    header.log_offset = load_le64(&raw[kLogOffsetAt]);
    return header;
}

std::array<std::uint8_t, kVhdxHeaderBytes> VhdxHeader::encode() const {
    std::array<std::uint8_t, kVhdxHeaderBytes> raw{};
    store_le32(&raw[0], kHeaderSignature);
    store_le64(&raw[kSequenceAt], sequence);
    put_guid(raw, kFileGuidAt, file_guid);
    put_guid(raw, kDataGuidAt, data_guid);
    put_guid(raw, kLogGuidAt, log_guid);
    store_le16(&raw[kLogVersionAt], 0);
    store_le16(&raw[kVersionAt], kVersion);
    store_le32(&raw[kLogLengthAt], log_length);
    store_le64(&raw[kLogOffsetAt], log_offset);
    store_le32(&raw[kChecksumAt], crc32c(raw, kChecksumAt));
    return raw;
}

Task<Result<VhdxHeader>> VhdxHeader::load(FileAccess &file, unsigned &which) {
    std::optional<VhdxHeader> best;
    for (unsigned i = 0; i < 2; ++i) {
        std::array<std::uint8_t, kVhdxHeaderBytes> raw{};
        auto got = co_await file.read_bytes(kVhdxHeaderAt[i], raw.data(), raw.size());
        if (!got)
            co_return util::fail(got.error());
        const auto header = decode(raw);
        if (!header || (best && best->sequence >= header->sequence))
            continue;
        best = header;
        which = i;
    }
    if (!best)
        co_return file.fail(EINVAL, "neither header (offsets {} and {}) is valid", kVhdxHeaderAt[0], kVhdxHeaderAt[1]);
    if (best->log_length % kVhdxMiB != 0 || best->log_offset % kVhdxMiB != 0 || best->log_offset < kVhdxMiB ||
        best->log_length == 0 || !range_fits(best->log_offset, best->log_length, file.length()))
        co_return file.fail(EINVAL, "the log at offset {} with {} bytes is not inside the file, or not in whole MiB",
                            best->log_offset, best->log_length);
    co_return *best;
}

// ---- region table ----------------------------------------------------------------------------------------------------

Task<Result<VhdxRegions>> VhdxRegions::load(FileAccess &file, const VhdxHeader &header) {
    std::vector<std::uint8_t> raw(kVhdxRegionTableBytes);
    bool valid = false;
    for (unsigned i = 0; i < 2 && !valid; ++i) {
        auto got = co_await file.read_bytes(kVhdxRegionTableAt[i], raw.data(), raw.size());
        if (!got)
            co_return util::fail(got.error());
        valid = load_le32(&raw[0]) == kRegionSignature && load_le32(&raw[kChecksumAt]) == crc32c(raw, kChecksumAt) &&
                load_le32(&raw[8]) <= kMaxEntries;
    }
    if (!valid)
        co_return file.fail(EINVAL, "neither region table (offsets {} and {}) is valid", kVhdxRegionTableAt[0],
                            kVhdxRegionTableAt[1]);
    VhdxRegions regions;
    const Uuid bat = guid(kBatRegion), metadata = guid(kMetadataRegion);
    const VhdxRegion log{header.log_offset, header.log_length};
    for (std::uint32_t i = 0; i < load_le32(&raw[8]); ++i) {
        const std::size_t at = 16 + i * 32;
        const Uuid id = get_guid(raw, at);
        const VhdxRegion region{load_le64(&raw[at + 16]), load_le32(&raw[at + 24])};
        const bool required = load_le32(&raw[at + 28]) & 1;
        if (id != bat && id != metadata) {
            if (required)
                co_return file.fail(ENOTSUP, "entry {} of the region table is required and of an unknown kind", i);
            continue;
        }
        if (region.offset % kVhdxMiB != 0 || region.length % kVhdxMiB != 0 || region.offset < kVhdxMiB ||
            region.length == 0 || !range_fits(region.offset, region.length, file.length()))
            co_return file.fail(EINVAL, "region {} at offset {} with {} bytes is not inside the file, or not in whole MiB",
                                i, region.offset, region.length);
        if (region.offset < log.end() && log.offset < region.end())
            co_return file.fail(EINVAL, "region {} at offset {} overlaps the log", i, region.offset);
        VhdxRegion &mine = id == bat ? regions.bat : regions.metadata;
        if (mine.length != 0)
            co_return file.fail(EINVAL, "entry {} of the region table is there twice", i);
        mine = region;
    }
    if (regions.bat.length == 0 || regions.metadata.length == 0)
        co_return file.fail(EINVAL, "the region table has no {}", regions.bat.length == 0 ? "block table" : "metadata");
    if (regions.bat.offset < regions.metadata.end() && regions.metadata.offset < regions.bat.end())
        co_return file.fail(EINVAL, "the regions of block table and metadata overlap");
    co_return regions;
}

std::array<std::uint8_t, kVhdxRegionTableBytes> VhdxRegions::encode() const {
    std::array<std::uint8_t, kVhdxRegionTableBytes> raw{};
    store_le32(&raw[0], kRegionSignature);
    store_le32(&raw[8], 2);
    std::size_t at = 16;
    for (const auto &[id, region] : {std::pair{kBatRegion, bat}, {kMetadataRegion, metadata}}) {
        put_guid(raw, at, guid(id));
        store_le64(&raw[at + 16], region.offset);
        store_le32(&raw[at + 24], region.length);
        store_le32(&raw[at + 28], 1); // required
        at += 32;
    }
    store_le32(&raw[kChecksumAt], crc32c(raw, kChecksumAt));
    return raw;
}

} // namespace rhea::block
