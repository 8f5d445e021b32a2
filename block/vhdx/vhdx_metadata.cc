// The metadata region of VHDX images: a table of items by GUID, and what they say about the disk.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "block/format/bytes.h"
#include "block/vhdx/vhdx_layout.h"

namespace rhea::block {

namespace {

constexpr std::uint64_t kSignature = 0x617461646174656d; ///< "metadata"
constexpr std::uint16_t kMaxItems = 2047;
constexpr std::size_t kItemsAt = 32, kItemBytes = 32;
enum ItemFlags : std::uint32_t { kIsVirtualDisk = 2, kIsRequired = 4 };
enum FileParameters : std::uint32_t { kLeaveAllocated = 1, kHasParent = 2 };

constexpr std::string_view kFileParameters = "CAA16737-FA36-4D43-B3B6-33F0AA44E76B";
constexpr std::string_view kDiskSize = "2FA54224-CD1B-4876-B211-5DBED83BF4B8";
constexpr std::string_view kDiskId = "BECA12AB-B2E6-4523-93EF-C309E000C746";
constexpr std::string_view kLogicalSector = "8141BF1D-A96F-4709-BA47-F233A8FAAB5F";
constexpr std::string_view kPhysicalSector = "CDA348C7-445D-4471-9CC9-E9885251C556";
constexpr std::string_view kParentLocator = "A8D35F2D-B30B-454D-ABF7-D3D84834AB0C";

/// An item that is read here: its bytes, once found.
struct Item {
    std::string_view id;
    std::uint32_t length;
    std::array<std::uint8_t, 16> bytes{};
    bool found = false;
};

} // namespace

std::uint64_t VhdxMetadata::block_count() const { return divide_up(disk_size, block_size); }

std::uint64_t VhdxMetadata::chunk_ratio() const { return (std::uint64_t{1} << 23) * logical_sector / block_size; }

std::uint64_t VhdxMetadata::bat_entries() const {
    const std::uint64_t blocks = block_count();
    return blocks == 0 ? 0 : blocks + (blocks - 1) / chunk_ratio();
}

Result<void> VhdxMetadata::check(const FileAccess &file) const {
    if (!std::has_single_bit(block_size) || block_size < kVhdxMiB || block_size > 256 * kVhdxMiB)
        return file.fail(EINVAL, "block size {} is not a power of two from 1 to 256 MiB", block_size);
    if (logical_sector != 512 && logical_sector != 4096)
        return file.fail(EINVAL, "logical sectors of {} bytes are not supported, only 512 and 4096", logical_sector);
    if (physical_sector != 512 && physical_sector != 4096)
        return file.fail(EINVAL, "physical sectors of {} bytes are not supported, only 512 and 4096", physical_sector);
    if (disk_size > kVhdxMaxSize || disk_size % logical_sector != 0)
        return file.fail(EINVAL, "disk size {} is more than 64 TiB or not in whole sectors of {} bytes", disk_size,
                         logical_sector);
    return {};
}

Task<Result<VhdxMetadata>> VhdxMetadata::load(FileAccess &file, VhdxRegion region) {
    std::vector<std::uint8_t> raw(std::min<std::size_t>(kVhdxMetadataTableBytes, region.length));
    auto got = co_await file.read_bytes(region.offset, raw.data(), raw.size());
    if (!got)
        co_return util::fail(got.error());
    const std::uint16_t count = load_le16(&raw[10]);
    if (load_le64(&raw[0]) != kSignature || count > kMaxItems)
        co_return file.fail(EINVAL, "the metadata table at offset {} has no signature or {} items", region.offset, count);

    std::array<Item, 4> items{{{kFileParameters, 8}, {kDiskSize, 8}, {kLogicalSector, 4}, {kPhysicalSector, 4}}};
    for (std::uint16_t i = 0; i < count; ++i) {
        const std::uint8_t *entry = &raw[kItemsAt + i * kItemBytes];
        Uuid id;
        std::copy_n(entry, id.size(), id.begin());
        const std::uint32_t offset = load_le32(entry + 16), length = load_le32(entry + 20), flags = load_le32(entry + 24);
        const auto item = std::ranges::find_if(items, [&](const Item &each) { return guid(each.id) == id; });
        if (item == items.end()) {
            if ((flags & kIsRequired) && id != guid(kDiskId) && id != guid(kParentLocator))
                co_return file.fail(ENOTSUP, "metadata item {} is required and of an unknown kind", i);
            continue;
        }
        if (item->found || length < item->length || offset < kVhdxMetadataTableBytes ||
            !range_fits(offset, length, region.length))
            co_return file.fail(EINVAL, "metadata item {} at offset {} with {} bytes is there twice or outside its region",
                                i, offset, length);
        got = co_await file.read_bytes(region.offset + offset, item->bytes.data(), item->length);
        if (!got)
            co_return util::fail(got.error());
        item->found = true;
    }
    for (const Item &item : items)
        if (!item.found)
            co_return file.fail(EINVAL, "metadata item {} is missing", item.id);
    const std::uint32_t parameters = load_le32(&items[0].bytes[4]);
    if (parameters & kHasParent)
        co_return file.fail(ENOTSUP, "differencing VHDX images are not supported; merge it with its parent first");
    VhdxMetadata metadata;
    metadata.block_size = load_le32(&items[0].bytes[0]);
    metadata.leave_allocated = parameters & kLeaveAllocated;
    metadata.disk_size = load_le64(&items[1].bytes[0]);
    metadata.logical_sector = load_le32(&items[2].bytes[0]);
    metadata.physical_sector = load_le32(&items[3].bytes[0]);
    if (auto valid = metadata.check(file); !valid)
        co_return util::fail(valid.error());
    co_return metadata;
}

std::vector<std::uint8_t> VhdxMetadata::encode() const {
    std::vector<std::uint8_t> raw(kVhdxMetadataTableBytes);
    store_le64(&raw[0], kSignature);
    std::uint16_t count = 0;
    const auto add = [&](std::string_view id, std::uint32_t flags, std::span<const std::uint8_t> bytes) {
        std::uint8_t *entry = &raw[kItemsAt + count++ * kItemBytes];
        const Uuid uuid = guid(id);
        std::copy(uuid.begin(), uuid.end(), entry);
        store_le32(entry + 16, static_cast<std::uint32_t>(raw.size()));
        store_le32(entry + 20, static_cast<std::uint32_t>(bytes.size()));
        store_le32(entry + 24, flags);
        raw.insert(raw.end(), bytes.begin(), bytes.end());
    };
    std::uint8_t bytes[8];
    store_le32(&bytes[0], block_size);
    store_le32(&bytes[4], leave_allocated ? kLeaveAllocated : 0u);
    add(kFileParameters, kIsRequired, bytes);
    store_le64(&bytes[0], disk_size);
    add(kDiskSize, kIsVirtualDisk | kIsRequired, bytes);
    const Uuid disk = random_uuid(false);
    add(kDiskId, kIsVirtualDisk | kIsRequired, disk);
    store_le32(&bytes[0], logical_sector);
    add(kLogicalSector, kIsVirtualDisk | kIsRequired, std::span(bytes, 4));
    store_le32(&bytes[0], physical_sector);
    add(kPhysicalSector, kIsVirtualDisk | kIsRequired, std::span(bytes, 4));
    store_le16(&raw[10], count);
    return raw;
}

} // namespace rhea::block
