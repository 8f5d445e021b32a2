#include "block/qed/qed_header.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "block/format/bytes.h"

namespace rhea::block {

namespace {

constexpr std::uint32_t kMinCluster = 4 << 10, kMaxCluster = 64 << 20;
constexpr std::uint32_t kMaxTable = 16;
constexpr std::uint64_t kSector = 512;
constexpr std::uint32_t kMaxBackingName = 1023;

// Offsets of the fields.
constexpr std::size_t kClusterSizeAt = 4, kTableSizeAt = 8, kHeaderSizeAt = 12, kFeaturesAt = 16, kCompatAt = 24,
                      kAutoclearAt = 32, kL1At = 40, kImageSizeAt = 48, kBackingAt = 56, kBackingSizeAt = 60;

util::Failure refuse(const std::string &filename, int code, std::string sentence) {
    return util::fail(util::Error(filename + ": " + sentence).with_code(code));
}

} // namespace

std::uint64_t QedHeader::max_image_size() const {
    const unsigned __int128 bytes = static_cast<unsigned __int128>(table_entries()) * table_entries() * cluster_size;
    return static_cast<std::uint64_t>(std::min<unsigned __int128>(bytes, INT64_MAX / kSector * kSector));
}

std::uint64_t QedHeader::max_backing_name() const {
    return std::min<std::uint64_t>(std::uint64_t{header_size} * cluster_size - kQedHeaderBytes, kMaxBackingName);
}

Result<void> QedHeader::check_sizes(const std::string &filename) const {
    if (!std::has_single_bit(cluster_size) || cluster_size < kMinCluster || cluster_size > kMaxCluster)
        return refuse(filename, EINVAL,
                      fmt::format("cluster size {} is not a power of two from {} to {}", cluster_size, kMinCluster, kMaxCluster));
    if (!std::has_single_bit(table_size) || table_size > kMaxTable)
        return refuse(filename, EINVAL,
                      fmt::format("table size {} is not a power of two from 1 to {} clusters", table_size, kMaxTable));
    if (image_size % kSector != 0 || image_size > max_image_size())
        return refuse(filename, EINVAL,
                      fmt::format("image size {} is not a multiple of 512 or more than the {} that tables of {} entries "
                                  "can map",
                                  image_size, max_image_size(), table_entries()));
    return {};
}

Task<Result<QedHeader>> QedHeader::load(FileAccess &file) {
    std::array<std::uint8_t, kQedHeaderBytes> raw{};
    auto got = co_await file.read_bytes(0, raw.data(), raw.size());
    if (!got)
        co_return util::fail(got.error());
    if (file.length() < raw.size() || load_le32(&raw[0]) != kQedMagic)
        co_return file.fail(EINVAL, "this is no QED image: the magic at offset 0 is missing");
    QedHeader header;
    header.cluster_size = load_le32(&raw[kClusterSizeAt]);
    header.table_size = load_le32(&raw[kTableSizeAt]);
    header.header_size = load_le32(&raw[kHeaderSizeAt]);
    header.features = load_le64(&raw[kFeaturesAt]);
    header.compat_features = load_le64(&raw[kCompatAt]);
    header.autoclear_features = load_le64(&raw[kAutoclearAt]);
    header.l1_offset = load_le64(&raw[kL1At]);
    header.image_size = load_le64(&raw[kImageSizeAt]);
    if (header.features & ~std::uint64_t{kQedKnownFeatures})
        co_return file.fail(ENOTSUP, "the image uses features {:#x} (offset {}) that are not supported",
                            header.features & ~std::uint64_t{kQedKnownFeatures}, kFeaturesAt);
    if (auto sizes = header.check_sizes(file.filename()); !sizes)
        co_return util::fail(sizes.error());
    const std::uint64_t header_bytes = std::uint64_t{header.header_size} * header.cluster_size;
    if (header.header_size == 0 || header_bytes > file.length())
        co_return file.fail(EINVAL, "{} clusters of header (offset {}) are not inside the file of {} bytes",
                            header.header_size, kHeaderSizeAt, file.length());
    if (header.l1_offset % header.cluster_size != 0 || header.l1_offset < header_bytes ||
        !range_fits(header.l1_offset, header.table_bytes(), file.length()))
        co_return file.fail(EINVAL, "the L1 table at offset {} (field at {}; {} bytes) is not inside the file of {} bytes",
                            header.l1_offset, kL1At, header.table_bytes(), file.length());
    if (!(header.features & kQedBackingFile))
        co_return header;

    const std::uint32_t name_at = load_le32(&raw[kBackingAt]), name_size = load_le32(&raw[kBackingSizeAt]);
    if (name_size > kMaxBackingName || !range_fits(name_at, name_size, header_bytes))
        co_return file.fail(EINVAL, "the backing file's name at offset {} with {} bytes (fields at {}) is not inside the "
                                    "header or too long",
                            name_at, name_size, kBackingAt);
    header.backing_file.resize(name_size);
    got = co_await file.read_bytes(name_at, header.backing_file.data(), name_size);
    if (!got)
        co_return util::fail(got.error());
    co_return header;
}

std::vector<std::uint8_t> QedHeader::encode() const {
    std::vector<std::uint8_t> raw(kQedHeaderBytes + backing_file.size());
    store_le32(&raw[0], kQedMagic);
    store_le32(&raw[kClusterSizeAt], cluster_size);
    store_le32(&raw[kTableSizeAt], table_size);
    store_le32(&raw[kHeaderSizeAt], header_size);
    store_le64(&raw[kFeaturesAt], features);
    store_le64(&raw[kCompatAt], compat_features);
    store_le64(&raw[kAutoclearAt], autoclear_features);
    store_le64(&raw[kL1At], l1_offset);
    store_le64(&raw[kImageSizeAt], image_size);
    if (!backing_file.empty()) {
        store_le32(&raw[kBackingAt], kQedHeaderBytes);
        store_le32(&raw[kBackingSizeAt], static_cast<std::uint32_t>(backing_file.size()));
        std::copy(backing_file.begin(), backing_file.end(), raw.begin() + kQedHeaderBytes);
    }
    return raw;
}

} // namespace rhea::block
