#include "block/qcow2/header.h"

#include <cerrno>

namespace rhea::block::qcow2 {

namespace {

// Offsets of fields, as in the specification.
enum Field : std::size_t {
    kVersionAt = 4,
    kBackingOffsetAt = 8,
    kBackingSizeAt = 16,
    kClusterBitsAt = 20,
    kSizeAt = 24,
    kCryptAt = 32,
    kL1SizeAt = 36,
    kL1OffsetAt = 40,
    kRefcountTableAt = 48,
    kRefcountClustersAt = 56,
    kSnapshotCountAt = 60,
    kSnapshotOffsetAt = 64,
    kIncompatibleAt = 72,
    kCompatibleAt = 80,
    kAutoclearAt = 88,
    kRefcountOrderAt = 96,
    kHeaderLengthAt = 100,
    kCompressionAt = 104,
};

/// What the feature name table of images that are written here has.
std::vector<std::uint8_t> feature_name_table() {
    struct Row {
        std::uint8_t type, bit;
        std::string_view name;
    };
    static constexpr Row kRows[] = {
        {0, 0, "dirty bit"},         {0, 1, "corrupt bit"},   {0, 2, "external data file"}, {0, 3, "compression type"},
        {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"}, {2, 0, "bitmaps"},          {2, 1, "raw external data"},
    };
    std::vector<std::uint8_t> table(48 * std::size(kRows));
    for (std::size_t i = 0; i < std::size(kRows); ++i) {
        table[48 * i] = kRows[i].type;
        table[48 * i + 1] = kRows[i].bit;
        std::copy(kRows[i].name.begin(), kRows[i].name.end(), table.begin() + static_cast<std::ptrdiff_t>(48 * i + 2));
    }
    return table;
}

std::size_t header_fields_end(const Header &h) {
    return h.version == 2 ? std::size_t{kHeaderLengthV2} : kHeaderLengthOurs + h.unknown_fields.size();
}

/// The names of the unknown incompatible features, from the image's own table where it has them.
std::string unknown_features(std::uint64_t bits, std::span<const std::uint8_t> table) {
    std::string text;
    for (unsigned bit = 0; bit < 64; ++bit) {
        if (!(bits >> bit & 1))
            continue;
        std::string name = fmt::format("bit {}", bit);
        for (std::size_t at = 0; at + 48 <= table.size(); at += 48)
            if (table[at] == 0 && table[at + 1] == bit) {
                const char *begin = reinterpret_cast<const char *>(table.data() + at + 2);
                name.assign(begin, strnlen(begin, 46));
            }
        text += (text.empty() ? "" : ", ") + name;
    }
    return text;
}

struct Extensions {
    std::span<const std::uint8_t> bytes;
    const std::string &filename;
    Header &header;
    std::span<const std::uint8_t> feature_table = {};

    Result<void> parse(std::size_t at, std::size_t end);
    Result<void> one(std::uint32_t type, std::span<const std::uint8_t> data, std::size_t at);
};

Result<void> Extensions::parse(std::size_t at, std::size_t end) {
    while (at + 8 <= end) {
        const auto type = load_be<std::uint32_t>(&bytes[at]);
        const auto length = load_be<std::uint32_t>(&bytes[at + 4]);
        if (type == kExtensionEnd)
            return {};
        if (length > end - at - 8)
            return util::fail("{}: header extension {:#x} at offset {} says {} bytes, which is beyond the end of the header area at {}",
                              filename, type, at, length, end);
        if (auto done = one(type, bytes.subspan(at + 8, length), at); !done)
            return done;
        at += 8 + ((length + 7ull) & ~7ull);
    }
    return {};
}

Result<void> Extensions::one(std::uint32_t type, std::span<const std::uint8_t> data, std::size_t at) {
    const std::string text(data.begin(), data.end());
    switch (type) {
    case kExtensionBackingFormat:
        if (data.size() > 15)
            return util::fail("{}: the backing format name at offset {} has {} bytes; at most 15 are possible", filename, at + 8, data.size());
        header.backing_format = text;
        return {};
    case kExtensionFeatureNames:
        feature_table = data;
        return {};
    case kExtensionDataFile:
        if (data.size() > kMaxBackingName)
            return util::fail("{}: the data file name at offset {} has {} bytes; at most {} are possible", filename, at + 8, data.size(),
                              kMaxBackingName);
        header.data_file = text;
        header.has_data_file_name = true;
        return {};
    case kExtensionEncryption:
        if (data.size() != 16)
            return util::fail("{}: the encryption extension at offset {} has {} bytes; it must have 16", filename, at, data.size());
        header.encryption = EncryptionExtension{load_be<std::uint64_t>(&data[0]), load_be<std::uint64_t>(&data[8])};
        return {};
    case kExtensionBitmaps: {
        if (data.size() != 24)
            return util::fail("{}: the bitmaps extension at offset {} has {} bytes; it must have 24", filename, at, data.size());
        BitmapExtension bitmaps{load_be<std::uint32_t>(&data[0]), load_be<std::uint64_t>(&data[8]), load_be<std::uint64_t>(&data[16])};
        if (!(header.autoclear & kBitmapsConsistent)) // written by software without bitmaps: they say nothing any more
            return {};
        if (load_be<std::uint32_t>(&data[4]) != 0 || bitmaps.count == 0 || bitmaps.count > kMaxBitmaps)
            return util::fail("{}: the bitmaps extension at offset {} has a bad count of bitmaps ({})", filename, at, bitmaps.count);
        if (bitmaps.directory_size > kMaxBitmapDirectoryBytes || bitmaps.directory_size < 24ull * bitmaps.count)
            return util::fail("{}: the bitmaps extension at offset {} has a bad directory size ({})", filename, at, bitmaps.directory_size);
        header.bitmaps = bitmaps;
        return {};
    }
    default:
        header.unknown_extensions.push_back({type, {data.begin(), data.end()}});
        return {};
    }
}

} // namespace

Geometry Header::geometry() const {
    Geometry g;
    g.cluster_bits = cluster_bits;
    g.refcount_order = refcount_order;
    g.extended_l2 = extended_l2();
    g.l2_slice_bits = std::min(12u, cluster_bits);
    g.refcount_slice_bits = std::min(12u, cluster_bits);
    return g;
}

unsigned peek_cluster_bits(std::span<const std::uint8_t> bytes) {
    return bytes.size() < kHeaderLengthV2 ? 0 : load_be<std::uint32_t>(&bytes[kClusterBitsAt]);
}

Result<Header> parse_header(std::span<const std::uint8_t> bytes, const std::string &filename) {
    const auto refuse = [&filename](std::size_t field, std::string_view what) {
        return util::fail(util::Error("{}: {} (field at offset {})", filename, what, field).with_code(EINVAL));
    };
    if (bytes.size() < kHeaderLengthV2)
        return util::fail("{}: the file has {} bytes; a qcow2 header has at least {}", filename, bytes.size(), kHeaderLengthV2);
    const auto u32 = [&bytes](std::size_t at) { return load_be<std::uint32_t>(&bytes[at]); };
    const auto u64 = [&bytes](std::size_t at) { return load_be<std::uint64_t>(&bytes[at]); };
    if (u32(0) != kMagic)
        return refuse(0, "not a qcow2 image: the magic number is missing");

    Header h;
    h.version = u32(kVersionAt);
    if (h.version != 2 && h.version != 3)
        return util::fail(util::Error("{}: qcow2 version {} is not supported; 2 and 3 are (field at offset {})", filename, h.version,
                                      std::size_t{kVersionAt}).with_code(ENOTSUP));
    h.cluster_bits = u32(kClusterBitsAt);
    if (h.cluster_bits < kMinClusterBits || h.cluster_bits > kMaxClusterBits)
        return refuse(kClusterBitsAt, fmt::format("cluster_bits is {}; it must be from {} to {}", h.cluster_bits, kMinClusterBits, kMaxClusterBits));

    std::uint32_t header_length = kHeaderLengthV2;
    std::uint64_t unknown = 0;
    if (h.version == 3) {
        if (bytes.size() < kHeaderLengthV3)
            return util::fail("{}: the file ends at {}, inside the header", filename, bytes.size());
        h.incompatible = u64(kIncompatibleAt);
        h.compatible = u64(kCompatibleAt);
        h.autoclear = u64(kAutoclearAt);
        h.refcount_order = u32(kRefcountOrderAt);
        header_length = u32(kHeaderLengthAt);
        if (header_length < kHeaderLengthV3)
            return refuse(kHeaderLengthAt, fmt::format("header_length is {}; it must be at least {}", header_length, kHeaderLengthV3));
        unknown = h.incompatible & ~std::uint64_t{kKnownIncompatible};
    }
    const std::uint64_t cluster = 1ull << h.cluster_bits;
    if (header_length > cluster)
        return refuse(kHeaderLengthAt, fmt::format("header_length is {}, more than a cluster of {} bytes", header_length, cluster));
    if (header_length > bytes.size())
        return util::fail("{}: the file ends at {}, inside the header of {} bytes", filename, bytes.size(), header_length);
    if (h.refcount_order > 6)
        return refuse(kRefcountOrderAt, fmt::format("refcount_order is {}; it must be from 0 to 6", h.refcount_order));
    const std::uint32_t crypt = u32(kCryptAt);
    if (crypt != kCryptNone && crypt != kCryptLuks && unknown == 0)
        return util::fail(util::Error("{}: the image is encrypted by crypt_method {}; only 2 (LUKS) is supported: convert it with qemu-img first "
                                      "(field at offset {})", filename, crypt, std::size_t{kCryptAt}).with_code(ENOTSUP));

    h.size = u64(kSizeAt);
    h.l1_size = u32(kL1SizeAt);
    h.l1_offset = u64(kL1OffsetAt);
    h.refcount_table_offset = u64(kRefcountTableAt);
    h.refcount_table_clusters = u32(kRefcountClustersAt);
    h.snapshot_count = u32(kSnapshotCountAt);
    h.snapshot_offset = u64(kSnapshotOffsetAt);

    const std::uint64_t backing_at = u64(kBackingOffsetAt);
    const std::uint32_t backing_size = u32(kBackingSizeAt);
    std::size_t extension_end = std::min<std::uint64_t>(cluster, bytes.size());
    if (backing_at != 0) {
        if (backing_at < header_length || backing_at > cluster)
            return refuse(kBackingOffsetAt, fmt::format("backing_file_offset is {}, not between header and end of the first cluster", backing_at));
        if (backing_size > kMaxBackingName || backing_size > cluster - backing_at)
            return refuse(kBackingSizeAt, fmt::format("backing_file_size is {}; at most {} bytes are possible there", backing_size,
                                                      std::min<std::uint64_t>(kMaxBackingName, cluster - backing_at)));
        if (backing_at + backing_size > bytes.size())
            return util::fail("{}: the file ends at {}, inside the name of the backing file", filename, bytes.size());
        const auto name = bytes.subspan(backing_at, backing_size);
        h.backing_file.assign(name.begin(), name.end());
        if (h.backing_file.find('\0') != std::string::npos)
            return refuse(kBackingOffsetAt, "the name of the backing file has a zero byte");
        extension_end = std::min<std::size_t>(extension_end, backing_at);
    }

    if (header_length > kCompressionAt)
        h.compression = static_cast<Compression>(bytes[kCompressionAt]);
    if (header_length > kHeaderLengthOurs)
        h.unknown_fields.assign(bytes.begin() + kHeaderLengthOurs, bytes.begin() + header_length);

    Extensions extensions{bytes, filename, h};
    auto parsed = extensions.parse(header_length, extension_end);
    if (unknown != 0)
        return util::fail(util::Error("{}: the image uses features that are not supported: {}", filename,
                                      unknown_features(unknown, extensions.feature_table)).with_code(ENOTSUP));
    if (!parsed)
        return util::fail(parsed.error().with_code(EINVAL));
    if ((h.incompatible & kCompressionType) != 0 && h.compression != Compression::kZstd)
        return refuse(kCompressionAt, fmt::format("compression_type is {} with the compression type bit set; only 1 (zstd) is known",
                                                  static_cast<unsigned>(h.compression)));
    if ((h.incompatible & kCompressionType) == 0 && h.compression != Compression::kZlib)
        return refuse(kCompressionAt, fmt::format("compression_type is {} without the compression type bit", static_cast<unsigned>(h.compression)));
    if (h.extended_l2() && h.cluster_bits < kMinClusterBitsExtended)
        return refuse(kClusterBitsAt, fmt::format("cluster_bits is {} with extended L2 entries; it must be at least {}", h.cluster_bits,
                                                  kMinClusterBitsExtended));
    if (h.raw_external_data() && !h.external_data())
        return refuse(kAutoclearAt, "the raw external data bit is set without the external data bit");
    if (h.raw_external_data() && !h.backing_file.empty())
        return refuse(kBackingOffsetAt, "a backing file and a raw external data file exclude each other");
    if ((crypt == kCryptLuks) != h.encryption.has_value())
        return refuse(kCryptAt, fmt::format("crypt_method is {} {} an encryption extension", crypt, h.encryption ? "with" : "without"));
    if (h.encryption && h.raw_external_data())
        return refuse(kAutoclearAt, "encryption and a raw external data file exclude each other");
    if ((h.autoclear & kBitmapsConsistent) && !h.bitmaps)
        return refuse(kAutoclearAt, "the bitmaps bit is set, but there is no bitmaps extension");
    return h;
}

Result<void> check_header_places(const Header &h, std::uint64_t file_length, const std::string &filename) {
    const auto refuse = [&filename](std::size_t field, std::string_view what) {
        return util::fail(util::Error("{}: {} (field at offset {})", filename, what, field).with_code(EINVAL));
    };
    const Geometry g = h.geometry();
    const auto place = [&](std::uint64_t offset, std::uint64_t bytes, std::uint64_t limit, std::size_t field,
                           std::string_view name) -> Result<void> {
        if (!g.aligned(offset))
            return refuse(field, fmt::format("{} starts at {:#x}, which is not a multiple of the cluster size", name, offset));
        if (bytes > limit)
            return refuse(field, fmt::format("{} has {} bytes; at most {} are possible", name, bytes, limit));
        if (offset == 0 && bytes != 0)
            return refuse(field, fmt::format("{} starts at 0, where the header is", name));
        if (offset >= kMaxHostOffset || bytes > kMaxHostOffset)
            return refuse(field, fmt::format("{} at {:#x} lies beyond 64 PiB", name, offset));
        if (bytes != 0 && offset + bytes > g.align_up(file_length))
            return refuse(field, fmt::format("{} from {:#x} to {:#x} is not inside the file, which ends at {:#x}", name, offset, offset + bytes,
                                             file_length));
        return {};
    };
    if (h.size > (1ull << 63) - g.cluster_size())
        return refuse(kSizeAt, fmt::format("the disk size {} is too big", h.size));
    if (h.refcount_table_clusters == 0)
        return refuse(kRefcountClustersAt, "the image has no refcount table");
    if (auto ok = place(h.refcount_table_offset, std::uint64_t{h.refcount_table_clusters} << h.cluster_bits, kMaxRefcountTableBytes,
                        kRefcountTableAt, "the refcount table"); !ok)
        return ok;
    const std::uint64_t l1_needed = g.l1_entries(h.size);
    if (h.l1_size < l1_needed)
        return refuse(kL1SizeAt, fmt::format("the L1 table has {} entries; a disk of {} bytes needs {}", h.l1_size, h.size, l1_needed));
    if (auto ok = place(h.l1_offset, std::uint64_t{h.l1_size} * 8, kMaxL1Bytes, kL1OffsetAt, "the L1 table"); !ok)
        return ok;
    if (h.snapshot_count > kMaxSnapshots)
        return refuse(kSnapshotCountAt, fmt::format("the image has {} snapshots; at most {} are possible", h.snapshot_count, kMaxSnapshots));
    if (auto ok = place(h.snapshot_offset, std::uint64_t{h.snapshot_count} * 40, kMaxSnapshotTableBytes, kSnapshotOffsetAt,
                        "the snapshot table"); !ok)
        return ok;
    if (h.encryption)
        if (auto ok = place(h.encryption->offset, h.encryption->length, kMaxEncryptionHeaderBytes, header_fields_end(h), "the LUKS header"); !ok)
            return ok;
    if (h.bitmaps)
        return place(h.bitmaps->directory_offset, h.bitmaps->directory_size, kMaxBitmapDirectoryBytes, header_fields_end(h),
                     "the bitmap directory");
    return {};
}

Result<std::vector<std::uint8_t>> serialise_header(const Header &h, const std::string &filename) {
    const std::uint64_t cluster = 1ull << h.cluster_bits;
    const std::size_t length = h.version == 2 ? kHeaderLengthV2 : kHeaderLengthOurs + h.unknown_fields.size();
    std::vector<std::uint8_t> out(length);
    const auto u32 = [&out](std::size_t at, std::uint32_t value) { store_be(&out[at], value); };
    const auto u64 = [&out](std::size_t at, std::uint64_t value) { store_be(&out[at], value); };
    u32(0, kMagic);
    u32(kVersionAt, h.version);
    u32(kClusterBitsAt, h.cluster_bits);
    u64(kSizeAt, h.size);
    u32(kCryptAt, h.encryption ? kCryptLuks : kCryptNone);
    u32(kL1SizeAt, h.l1_size);
    u64(kL1OffsetAt, h.l1_offset);
    u64(kRefcountTableAt, h.refcount_table_offset);
    u32(kRefcountClustersAt, h.refcount_table_clusters);
    u32(kSnapshotCountAt, h.snapshot_count);
    u64(kSnapshotOffsetAt, h.snapshot_offset);
    if (h.version == 3) {
        u64(kIncompatibleAt, h.incompatible);
        u64(kCompatibleAt, h.compatible);
        u64(kAutoclearAt, h.autoclear);
        u32(kRefcountOrderAt, h.refcount_order);
        u32(kHeaderLengthAt, static_cast<std::uint32_t>(length));
        out[kCompressionAt] = static_cast<std::uint8_t>(h.compression);
        std::copy(h.unknown_fields.begin(), h.unknown_fields.end(), out.begin() + kHeaderLengthOurs);
    }
    const auto extension = [&out](std::uint32_t type, std::span<const std::uint8_t> data) {
        const std::size_t at = out.size();
        out.resize(at + 8 + ((data.size() + 7) & ~std::size_t{7}));
        store_be(&out[at], type);
        store_be(&out[at + 4], static_cast<std::uint32_t>(data.size()));
        std::copy(data.begin(), data.end(), out.begin() + static_cast<std::ptrdiff_t>(at + 8));
    };
    const auto text = [&extension](std::uint32_t type, const std::string &value) {
        extension(type, {reinterpret_cast<const std::uint8_t *>(value.data()), value.size()});
    };
    if (!h.backing_format.empty())
        text(kExtensionBackingFormat, h.backing_format);
    if (h.has_data_file_name && h.external_data())
        text(kExtensionDataFile, h.data_file);
    if (h.version == 3 && cluster >= 4096) // a small first cluster has better uses for its bytes
        extension(kExtensionFeatureNames, feature_name_table());
    if (h.encryption) {
        std::uint8_t data[16];
        store_be(&data[0], h.encryption->offset);
        store_be(&data[8], h.encryption->length);
        extension(kExtensionEncryption, data);
    }
    if (h.bitmaps) {
        std::uint8_t data[24] = {};
        store_be(&data[0], h.bitmaps->count);
        store_be(&data[8], h.bitmaps->directory_size);
        store_be(&data[16], h.bitmaps->directory_offset);
        extension(kExtensionBitmaps, data);
    }
    for (const Header::Extension &unknown : h.unknown_extensions)
        extension(unknown.type, unknown.data);
    extension(kExtensionEnd, {});
    if (!h.backing_file.empty()) {
        u64(kBackingOffsetAt, out.size());
        u32(kBackingSizeAt, static_cast<std::uint32_t>(h.backing_file.size()));
        out.insert(out.end(), h.backing_file.begin(), h.backing_file.end());
    }
    if (out.size() > cluster || h.backing_file.size() > kMaxBackingName)
        return util::fail(util::Error("{}: header and name of the backing file need {} bytes; they must fit into the first cluster of {} bytes "
                                      "(use a bigger cluster_size or a shorter name)", filename, out.size(), cluster).with_code(ENOSPC));
    out.resize(std::min<std::uint64_t>(cluster, (out.size() + 4095) & ~std::size_t{4095}));
    return out;
}

} // namespace rhea::block::qcow2
