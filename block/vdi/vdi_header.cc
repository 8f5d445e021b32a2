#include "block/vdi/vdi_header.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "block/format/bytes.h"

namespace rhea::block {

namespace {

constexpr std::uint32_t kVersion = 0x00010001;
constexpr std::uint32_t kSector = 512;
constexpr std::uint64_t kMaxBlocks = 0x1fffffff;
constexpr std::uint32_t kMinBlockSize = 4096, kMaxBlockSize = 64 << 20;

// Offsets of the fields.
constexpr std::size_t kVersionAt = 0x44, kHeaderSizeAt = 0x48, kTypeAt = 0x4c, kMapAt = 0x154, kDataAt = 0x158,
                      kSectorSizeAt = 0x168, kDiskSizeAt = 0x170, kBlockSizeAt = 0x178, kBlockExtraAt = 0x17c,
                      kBlocksAt = 0x180, kUuidAt = 0x188, kUuidSnapshotAt = 0x198, kUuidLinkAt = 0x1a8,
                      kUuidParentAt = 0x1b8;

bool is_null(const std::uint8_t *uuid) {
    return std::all_of(uuid, uuid + 16, [](std::uint8_t byte) { return byte == 0; });
}

} // namespace

Task<Result<VdiHeader>> VdiHeader::load(FileAccess &file) {
    std::array<std::uint8_t, kVdiHeaderBytes> raw{};
    if (file.length() < raw.size())
        co_return file.fail(EINVAL, "a VDI image has a header of {} bytes, this file has {}", raw.size(), file.length());
    auto got = co_await file.read_bytes(0, raw.data(), raw.size());
    if (!got)
        co_return util::fail(got.error());

    const auto field = [&](std::size_t at) { return load_le32(&raw[at]); };
    if (field(kVdiSignatureAt) != kVdiSignature)
        co_return file.fail(EINVAL, "signature {:#x} at offset {:#x} is not that of a VDI image ({:#x})",
                            field(kVdiSignatureAt), kVdiSignatureAt, kVdiSignature);
    if (field(kVersionAt) != kVersion)
        co_return file.fail(ENOTSUP, "VDI version {}.{} is not supported, only 1.1", field(kVersionAt) >> 16,
                            field(kVersionAt) & 0xffff);
    VdiHeader header;
    header.type = static_cast<VdiType>(field(kTypeAt));
    header.map_offset = field(kMapAt);
    header.data_offset = field(kDataAt);
    header.disk_size = load_le64(&raw[kDiskSizeAt]);
    header.block_size = field(kBlockSizeAt);
    header.blocks_in_image = field(kBlocksAt);
    header.blocks_allocated = field(kVdiBlocksAllocatedAt);

    if (header.type != VdiType::kDynamic && header.type != VdiType::kStatic)
        co_return file.fail(ENOTSUP, "VDI images of type {} (undo, differencing) are not supported, only 1 and 2",
                            field(kTypeAt));
    if (!is_null(&raw[kUuidLinkAt]) || !is_null(&raw[kUuidParentAt]))
        co_return file.fail(ENOTSUP, "the VDI image depends on another image (its link or parent UUID is set), which "
                                     "is not supported; merge it with VirtualBox first");
    if (field(kSectorSizeAt) != kSector)
        co_return file.fail(ENOTSUP, "sector size {} at offset {:#x} is not supported, only 512", field(kSectorSizeAt),
                            kSectorSizeAt);
    if (!std::has_single_bit(header.block_size) || header.block_size < kMinBlockSize ||
        header.block_size > kMaxBlockSize)
        co_return file.fail(ENOTSUP, "block size {} at offset {:#x} is not supported (a power of two, usually 1 MiB)",
                            header.block_size, kBlockSizeAt);
    if (field(kBlockExtraAt) != 0)
        co_return file.fail(ENOTSUP, "{} extra bytes a block (offset {:#x}) are not supported", field(kBlockExtraAt),
                            kBlockExtraAt);
    if (header.blocks_in_image > kMaxBlocks)
        co_return file.fail(EINVAL, "{} blocks (offset {:#x}) are more than the {} that a VDI image can have",
                            header.blocks_in_image, kBlocksAt, kMaxBlocks);
    const std::uint64_t capacity = std::uint64_t{header.blocks_in_image} * header.block_size;
    if (header.disk_size > capacity)
        co_return file.fail(EINVAL, "disk size {} (offset {:#x}) is larger than {} blocks of {} bytes", header.disk_size,
                            kDiskSizeAt, header.blocks_in_image, header.block_size);
    if (header.blocks_allocated > header.blocks_in_image)
        co_return file.fail(EINVAL, "{} allocated blocks (offset {:#x}) are more than the image's {}",
                            header.blocks_allocated, kVdiBlocksAllocatedAt, header.blocks_in_image);
    const std::uint64_t map_bytes = std::uint64_t{header.blocks_in_image} * 4;
    if (header.map_offset % kSector != 0 || header.map_offset < kVdiHeaderBytes ||
        !range_fits(header.map_offset, map_bytes, file.length()))
        co_return file.fail(EINVAL, "the block map at offset {} ({} bytes; field at {:#x}) is not inside the file of {} bytes",
                            header.map_offset, map_bytes, kMapAt, file.length());
    if (header.data_offset % kSector != 0 || header.data_offset < header.map_offset + map_bytes)
        co_return file.fail(EINVAL, "data offset {} (field at {:#x}) is odd or lies inside the block map",
                            header.data_offset, kDataAt);
    header.disk_size = std::min(round_up(header.disk_size, kSector), capacity);
    co_return header;
}

Result<VdiHeader> VdiHeader::plan(std::uint64_t size, VdiType type, const std::string &filename) {
    if (size > kMaxBlocks * kVdiBlockSize)
        return util::fail(util::Error("{}: a VDI image can have at most {} bytes, {} are too many", filename,
                                      kMaxBlocks * kVdiBlockSize, size)
                              .with_code(ENOTSUP));
    VdiHeader header;
    header.type = type;
    header.disk_size = round_up(size, kSector);
    header.blocks_in_image = static_cast<std::uint32_t>(divide_up(header.disk_size, kVdiBlockSize));
    header.blocks_allocated = type == VdiType::kStatic ? header.blocks_in_image : 0;
    header.map_offset = kVdiHeaderBytes;
    header.data_offset =
        static_cast<std::uint32_t>(header.map_offset + round_up(std::uint64_t{header.blocks_in_image} * 4, kSector));
    return header;
}

std::array<std::uint8_t, kVdiHeaderBytes> VdiHeader::encode() const {
    std::array<std::uint8_t, kVdiHeaderBytes> raw{};
    constexpr std::string_view kText = "<<< Rhea VM Virtual Disk Image >>>\n";
    std::copy(kText.begin(), kText.end(), raw.begin());
    const auto field = [&](std::size_t at, std::uint32_t value) { store_le32(&raw[at], value); };
    field(kVdiSignatureAt, kVdiSignature);
    field(kVersionAt, kVersion);
    field(kHeaderSizeAt, 0x180); // what follows, without the second half of the geometry
    field(kTypeAt, static_cast<std::uint32_t>(type));
    field(kMapAt, map_offset);
    field(kDataAt, data_offset);
    field(kSectorSizeAt, kSector);
    store_le64(&raw[kDiskSizeAt], disk_size);
    field(kBlockSizeAt, block_size);
    field(kBlocksAt, blocks_in_image);
    field(kVdiBlocksAllocatedAt, blocks_allocated);
    const Uuid image = random_uuid(false), snapshot = random_uuid(false);
    std::copy(image.begin(), image.end(), &raw[kUuidAt]);
    std::copy(snapshot.begin(), snapshot.end(), &raw[kUuidSnapshotAt]);
    return raw;
}

} // namespace rhea::block
