// INQUIRY and its vital product data: SPC-4, 6.6 and 7.8.
#include <algorithm>
#include <string_view>

#include "hw/scsi/scsi_unit.h"

namespace rhea::hw::scsi {
namespace {

constexpr std::size_t kStandardLength = 36;
constexpr std::size_t kMaxText = 20; ///< of a serial number in page 0x83
enum : std::uint8_t { kPages = 0x00, kSerialNumber = 0x80, kIdentification = 0x83 };

/// Left-aligned, filled with blanks.
void put_text(std::uint8_t *to, std::size_t room, std::string_view text) {
    for (std::size_t i = 0; i < room; ++i)
        to[i] = static_cast<std::uint8_t>(i < text.size() ? text[i] : ' ');
}

} // namespace

block::Task<ScsiResult> ScsiUnit::inquiry(const ScsiCommand &command) {
    if (command.cdb[1] & 1)
        co_return vpd(command);
    if (command.cdb[2] != 0)
        co_return check_condition(sense::kInvalidField); // a page without EVPD
    std::array<std::uint8_t, kStandardLength> bytes{};
    bytes[0] = peripheral_type();
    bytes[1] = config_.removable ? 0x80 : 0;
    bytes[2] = config_.version_code;
    bytes[3] = 0x12; // HISUP, format 2
    bytes[4] = kStandardLength - 5;
    bytes[7] = config_.command_queueing ? 0x12 : 0x10;
    put_text(&bytes[8], 8, config_.vendor);
    put_text(&bytes[16], 16, config_.product);
    put_text(&bytes[32], 4, config_.version);
    co_return reply(command, bytes, load_be(std::span(command.cdb).subspan(3, 2)));
}

ScsiResult ScsiUnit::vpd(const ScsiCommand &command) {
    const std::uint8_t page = command.cdb[2];
    const std::vector<std::uint8_t> pages = vpd_pages();
    if (std::ranges::find(pages, page) == pages.end())
        return check_condition(sense::kInvalidField);
    std::vector<std::uint8_t> body = page == kPages ? pages : vpd_page(page);
    std::vector<std::uint8_t> bytes(4);
    bytes[0] = peripheral_type();
    bytes[1] = page;
    store_be(&bytes[2], body.size(), 2);
    bytes.insert(bytes.end(), body.begin(), body.end());
    return reply(command, bytes, load_be(std::span(command.cdb).subspan(3, 2)));
}

std::vector<std::uint8_t> ScsiUnit::vpd_page(std::uint8_t page) const {
    if (page == kSerialNumber)
        return {config_.serial.begin(), config_.serial.end()};
    std::vector<std::uint8_t> body;
    if (page != kIdentification)
        return body;
    // Designators (7.8.6): the unit's name in ASCII, vendor specific; its NAA name.
    const std::string &name = !config_.device_id.empty() ? config_.device_id : config_.serial;
    if (!name.empty()) {
        const std::size_t length = std::min(name.size(), kMaxText);
        body.insert(body.end(), {0x02, 0x00, 0x00, static_cast<std::uint8_t>(length)});
        body.insert(body.end(), name.begin(), name.begin() + static_cast<std::ptrdiff_t>(length));
    }
    if (config_.wwn != 0) {
        body.insert(body.end(), {0x01, 0x03, 0x00, 0x08});
        body.resize(body.size() + 8);
        store_be(&body[body.size() - 8], config_.wwn, 8);
    }
    return body;
}

} // namespace rhea::hw::scsi
