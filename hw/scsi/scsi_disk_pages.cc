// What a disk says about itself: VPD pages (SBC-3, 6.6) and mode pages (6.5).
#include <algorithm>

#include "hw/scsi/scsi_disk.h"

namespace rhea::hw::scsi {
namespace {

enum : std::uint8_t { kBlockLimits = 0xb0, kBlockCharacteristics = 0xb1, kProvisioning = 0xb2 };
enum : std::uint8_t { kErrorRecovery = 0x01, kRigidGeometry = 0x04, kCaching = 0x08 };
constexpr std::uint8_t kWriteCacheEnable = 0x04;

std::uint32_t saturated(std::uint64_t value) { return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, 0xffffffff)); }

} // namespace

std::vector<std::uint8_t> ScsiDisk::vpd_pages() const {
    std::vector<std::uint8_t> pages{0x00};
    if (!config_.serial.empty())
        pages.push_back(0x80);
    pages.insert(pages.end(), {0x83, kBlockLimits, kBlockCharacteristics, kProvisioning});
    return pages;
}

std::vector<std::uint8_t> ScsiDisk::vpd_page(std::uint8_t page) const {
    // Offsets are those of the standard, less the page's header of 4.
    std::vector<std::uint8_t> body;
    switch (page) {
    case kBlockLimits: {
        body.resize(0x3c);
        const std::uint32_t block = block_size();
        body[0] = 1; // WSNZ
        store_be(&body[2], std::min<std::uint64_t>(config_.min_io_size / block, 0xffff), 2);
        store_be(&body[4], saturated(config_.max_io_size / block), 4);
        store_be(&body[8], saturated(config_.opt_io_size / block), 4);
        if (thin()) {
            store_be(&body[16], saturated(config_.max_unmap_size / block), 4);
            store_be(&body[20], 255, 4);
            store_be(&body[24], config_.discard_granularity / block, 4);
        }
        store_be(&body[32], saturated(config_.max_io_size / block), 8); // WRITE SAME
        break;
    }
    case kBlockCharacteristics:
        body.resize(0x3c);
        store_be(&body[0], config_.rotation_rate, 2);
        break;
    case kProvisioning:
        body.resize(4);
        body[1] = thin() ? 0xe0 : 0x00; // UNMAP, WRITE SAME (16) and (10) with UNMAP
        body[2] = thin() ? 2 : 1;       // thin, or full provisioning
        break;
    default:
        return ScsiUnit::vpd_page(page);
    }
    return body;
}

std::vector<std::uint8_t> ScsiDisk::mode_pages() const { return {kErrorRecovery, kRigidGeometry, kCaching}; }

std::vector<std::uint8_t> ScsiDisk::mode_page(std::uint8_t page, bool changeable) const {
    std::vector<std::uint8_t> bytes;
    switch (page) {
    case kErrorRecovery:
        bytes.resize(12);
        if (!changeable)
            bytes[2] = 0x80; // AWRE
        break;
    case kRigidGeometry: {
        bytes.resize(24);
        if (changeable)
            break;
        constexpr std::uint32_t kHeads = 16, kSectors = 63;
        const std::uint64_t cylinders = std::min<std::uint64_t>(backend().length() / 512 / (kHeads * kSectors), 0xffffff);
        store_be(&bytes[2], cylinders, 3);
        bytes[5] = kHeads;
        store_be(&bytes[6], cylinders, 3);  // write precompensation: none
        store_be(&bytes[9], cylinders, 3);  // reduced write current: none
        store_be(&bytes[12], 200, 2);       // step rate
        store_be(&bytes[14], 0xffffff, 3);  // landing zone
        store_be(&bytes[20], 5400, 2);      // rotations a minute
        break;
    }
    case kCaching:
        bytes.resize(20);
        if (changeable || backend().write_cache())
            bytes[2] = kWriteCacheEnable;
        break;
    default:
        return bytes;
    }
    bytes[0] = page;
    bytes[1] = static_cast<std::uint8_t>(bytes.size() - 2);
    return bytes;
}

std::uint8_t ScsiDisk::mode_device_specific() const {
    return static_cast<std::uint8_t>((backend().read_only() ? 0x80 : 0) | (config_.dpofua ? 0x10 : 0));
}

block::Task<ScsiResult> ScsiDisk::apply_mode_page(std::span<const std::uint8_t> page) {
    if ((page[0] & 0x3f) != kCaching)
        co_return ScsiResult{};
    const bool enable = (page[2] & kWriteCacheEnable) != 0;
    if (!enable && backend().write_cache() && has_medium()) {
        auto done = co_await backend().flush(); // what is in the cache must not stay there
        if (!done)
            co_return failed(done.error(), false);
    }
    backend().set_write_cache(enable);
    co_return ScsiResult{};
}

} // namespace rhea::hw::scsi
