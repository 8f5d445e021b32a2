#include "hw/scsi/scsi_cdrom.h"

#include <algorithm>

namespace rhea::hw::scsi {
namespace {

constexpr std::uint32_t kSector = 2048;
/// More sectors than an 80 minute CD has make it a DVD.
constexpr std::uint64_t kMaxCdSectors = 80 * 60 * 75;
constexpr std::uint32_t kLeadIn = 150; ///< frames in front of address 0 in minutes, seconds, frames
enum : std::uint8_t { kErrorRecovery = 0x01, kAudioControl = 0x0e, kCapabilities = 0x2a };
enum : std::uint16_t { kProfileCd = 0x0008, kProfileDvd = 0x0010 };
constexpr std::uint8_t kLeadOut = 0xaa;

UnitConfig as_cdrom(UnitConfig config) {
    config.block_size = kSector;
    config.removable = true;
    config.discard_granularity = 0;
    return config;
}

/// A feature descriptor of GET CONFIGURATION (MMC-6, 5.2.2).
void add_feature(std::vector<std::uint8_t> &to, std::uint16_t code, bool persistent, bool current, std::vector<std::uint8_t> data) {
    to.push_back(static_cast<std::uint8_t>(code >> 8));
    to.push_back(static_cast<std::uint8_t>(code));
    to.push_back(static_cast<std::uint8_t>((persistent ? 2 : 0) | (current ? 1 : 0)));
    to.push_back(static_cast<std::uint8_t>(data.size()));
    to.insert(to.end(), data.begin(), data.end());
}

void put_address(std::vector<std::uint8_t> &to, std::uint64_t lba, bool msf) {
    std::array<std::uint8_t, 4> bytes{};
    if (msf) {
        const std::uint64_t frames = lba + kLeadIn;
        bytes[1] = static_cast<std::uint8_t>(std::min<std::uint64_t>(frames / 75 / 60, 0xff));
        bytes[2] = static_cast<std::uint8_t>(frames / 75 % 60);
        bytes[3] = static_cast<std::uint8_t>(frames % 75);
    } else {
        store_be(bytes.data(), lba, 4);
    }
    to.insert(to.end(), bytes.begin(), bytes.end());
}

} // namespace

ScsiCdrom::ScsiCdrom(UnitConfig config) : ScsiUnit(as_cdrom(std::move(config))) {
    add(kReadToc, {.handler = handler(&ScsiCdrom::read_toc), .needs_medium = true});
    add(kGetConfiguration, {.handler = handler(&ScsiCdrom::get_configuration), .despite_attention = true});
    add(kGetEventStatus, {.handler = handler(&ScsiCdrom::get_event_status), .despite_attention = true});
    add(kReadDiscInfo, {.handler = handler(&ScsiCdrom::read_disc_info), .needs_medium = true});
    add(kMechanismStatus, {.handler = handler(&ScsiCdrom::mechanism_status)});
    add(kReadCd, {.handler = handler(&ScsiCdrom::read_cd), .needs_medium = true});
    add(kReadDvdStructure, {.handler = handler(&ScsiCdrom::read_dvd_structure), .needs_medium = true});
    add(kSetCdSpeed, {.handler = &ScsiCdrom::do_nothing});
    backend().on_eject_request = [this] { request_eject(); };
}

void ScsiCdrom::medium_changed(bool present) {
    // Also when one comes right behind another, between two polls of the guest.
    new_medium_ = present;
    ScsiUnit::medium_changed(present);
}

bool ScsiCdrom::is_dvd() const { return blocks() > kMaxCdSectors; }

std::vector<std::uint8_t> ScsiCdrom::vpd_pages() const {
    std::vector<std::uint8_t> pages{0x00};
    if (!config_.serial.empty())
        pages.push_back(0x80);
    pages.push_back(0x83);
    return pages;
}

std::vector<std::uint8_t> ScsiCdrom::mode_pages() const { return {kErrorRecovery, kAudioControl, kCapabilities}; }

std::vector<std::uint8_t> ScsiCdrom::mode_page(std::uint8_t page, bool changeable) const {
    std::vector<std::uint8_t> bytes;
    switch (page) {
    case kErrorRecovery:
        bytes.resize(8);
        if (!changeable)
            bytes[3] = 5; // retries
        break;
    case kAudioControl:
        bytes.resize(16);
        break;
    case kCapabilities: // MMC-3, 6.3.11
        bytes.resize(22);
        if (changeable)
            break;
        bytes[2] = 0x3b;                                // reads CD-R, CD-RW, DVD-ROM, DVD-R
        bytes[4] = 0x71;                                // plays audio, mode 2 forms 1 and 2, multi-session
        bytes[6] = static_cast<std::uint8_t>(0x29 | (tray_locked() ? 2 : 0)); // tray, ejects, locks
        store_be(&bytes[8], 50 * 176, 2);               // most and present speed in kB/s
        store_be(&bytes[10], 2, 2);                     // volume levels
        store_be(&bytes[12], 2048, 2);                  // buffer in KiB
        store_be(&bytes[14], 16 * 176, 2);
        break;
    default:
        return bytes;
    }
    bytes[0] = page;
    bytes[1] = static_cast<std::uint8_t>(bytes.size() - 2);
    return bytes;
}

/// MMC-6, 6.25.
block::Task<ScsiResult> ScsiCdrom::read_toc(const ScsiCommand &command) {
    const auto cdb = std::span(command.cdb);
    const bool msf = cdb[1] & 2;
    const unsigned format = cdb[2] & 0xf ? cdb[2] & 0xf : cdb[9] >> 6;
    const std::uint8_t start = cdb[6];
    std::vector<std::uint8_t> bytes{0, 0, 1, 1}; // first and last track, or session
    const auto add_track = [&bytes, msf](std::uint8_t number, std::uint64_t lba) {
        bytes.insert(bytes.end(), {0, 0x14, number, 0}); // a data track
        put_address(bytes, lba, msf);
    };
    switch (format) {
    case 0: // the table of contents
        if (start > 1 && start != kLeadOut)
            co_return check_condition(sense::kInvalidField);
        if (start <= 1)
            add_track(1, 0);
        add_track(kLeadOut, blocks());
        break;
    case 1: // the last session
        add_track(1, 0);
        break;
    case 2: // the raw table: points A0, A1, A2 and track 1
        for (const std::uint8_t point : {0xa0, 0xa1, 0xa2, 0x01}) {
            bytes.insert(bytes.end(), {1, 0x14, 0, point, 0, 0, 0});
            if (point == 0xa2 || point == 0x01)
                put_address(bytes, point == 0x01 ? 0 : blocks(), msf);
            else
                bytes.insert(bytes.end(), {0, 1, 0, 0});
        }
        break;
    default:
        co_return check_condition(sense::kInvalidField);
    }
    store_be(bytes.data(), bytes.size() - 2, 2);
    co_return reply(command, bytes, load_be(cdb.subspan(7, 2)));
}

/// MMC-6, 6.6: what the drive can do, and with the present medium.
block::Task<ScsiResult> ScsiCdrom::get_configuration(const ScsiCommand &command) {
    const auto cdb = std::span(command.cdb);
    const unsigned wanted = cdb[1] & 3, first = load_be(cdb.subspan(2, 2));
    const bool medium = has_medium(), dvd = medium && is_dvd(), cd = medium && !dvd;
    if (wanted == 3)
        co_return check_condition(sense::kInvalidField);
    struct Feature {
        std::uint16_t code;
        bool persistent, current;
        std::vector<std::uint8_t> data;
    };
    const Feature features[] = {
        {0x0000, true, true, {0, 0x10, static_cast<std::uint8_t>(dvd), 0, 0, 0x08, static_cast<std::uint8_t>(cd), 0}}, // profiles
        {0x0001, true, true, {0, 0, 0, config_.physical_interface, 0, 0, 0, 0}}, // core
        {0x0003, true, true, {0x29, 0, 0, 0}},                     // removable medium: tray, ejects, locks
        {0x0010, false, medium, {0, 0, 8, 0, 0, 16, 0, 0}},        // random readable: 2048 bytes, 16 a time
        {0x001e, false, cd, {0, 0, 0, 0}},                         // CD read
        {0x001f, false, dvd, {0, 0, 0, 0}},                        // DVD read
    };
    std::vector<std::uint8_t> bytes(8);
    for (const Feature &each : features) {
        const bool chosen = wanted == 2 ? each.code == first : each.code >= first && (wanted == 0 || each.current);
        if (chosen)
            add_feature(bytes, each.code, each.persistent, each.current, each.data);
    }
    store_be(bytes.data(), bytes.size() - 4, 4);
    store_be(&bytes[6], !medium ? 0 : dvd ? kProfileDvd : kProfileCd, 2);
    co_return reply(command, bytes, load_be(cdb.subspan(7, 2)));
}

/// MMC-6, 6.7: media events, polled.
block::Task<ScsiResult> ScsiCdrom::get_event_status(const ScsiCommand &command) {
    constexpr std::uint8_t kMediaClass = 4, kNoChange = 0, kEjectRequest = 1, kNewMedia = 2, kMediaRemoval = 3;
    const auto cdb = std::span(command.cdb);
    if (!(cdb[1] & 1))
        co_return check_condition(sense::kInvalidField); // only polling
    std::vector<std::uint8_t> bytes{0, 0, 0, 1u << kMediaClass};
    if (cdb[4] & 1u << kMediaClass) {
        const bool present = has_medium();
        std::uint8_t event = kNoChange;
        const bool is_new = new_medium_.exchange(false) && present;
        if (present != std::exchange(seen_medium_, present) || is_new)
            event = present ? kNewMedia : kMediaRemoval;
        else if (eject_requested_.exchange(false))
            event = kEjectRequest;
        bytes[2] = kMediaClass;
        bytes.insert(bytes.end(), {event, static_cast<std::uint8_t>((present ? 2 : 0) | (tray_open() ? 1 : 0)), 0, 0});
    } else {
        bytes[2] = 0x80; // none of the classes asked for
    }
    store_be(bytes.data(), bytes.size() - 2, 2);
    co_return reply(command, bytes, load_be(cdb.subspan(7, 2)));
}

block::Task<ScsiResult> ScsiCdrom::read_disc_info(const ScsiCommand &command) {
    if (command.cdb[1] & 7)
        co_return check_condition(sense::kInvalidField); // other kinds of information than the standard one
    std::array<std::uint8_t, 34> bytes{};
    store_be(bytes.data(), bytes.size() - 2, 2);
    bytes[2] = 0x0e; // complete, the last session too
    bytes[3] = bytes[4] = bytes[5] = bytes[6] = 1;
    bytes[7] = 0x20; // unrestricted use
    co_return reply(command, bytes, load_be(std::span(command.cdb).subspan(7, 2)));
}

block::Task<ScsiResult> ScsiCdrom::mechanism_status(const ScsiCommand &command) {
    std::array<std::uint8_t, 8> bytes{};
    bytes[1] = tray_open() ? 0x10 : 0;
    co_return reply(command, bytes, load_be(std::span(command.cdb).subspan(8, 2)));
}

/// MMC-6, 6.19: of a data track, its user data, and nothing when no data is asked for.
block::Task<ScsiResult> ScsiCdrom::read_cd(const ScsiCommand &command) {
    const auto cdb = std::span(command.cdb);
    const BlockRange range{load_be(cdb.subspan(2, 4)), load_be(cdb.subspan(6, 3))};
    const unsigned type = cdb[1] >> 2 & 7, wanted = cdb[9] & 0xf8;
    if (range.count == 0 || wanted == 0)
        co_return ScsiResult{};
    if (wanted != 0x10 || (type != 0 && type != 2 && type != 4))
        co_return check_condition(sense::kIllegalMode);
    if (ScsiResult bad = check_range(range); bad.status != kGood)
        co_return bad;
    const std::uint64_t length = static_cast<std::uint64_t>(range.count) * kSector;
    if (length > command.in.size())
        co_return check_condition(sense::kInvalidField);
    const block::IoVector to = command.in.slice(0, length);
    auto done = co_await backend().read(range.lba * kSector, to);
    if (!done)
        co_return failed(done.error(), true, length);
    co_return ScsiResult{.transferred = length};
}

/// MMC-6, 6.22: physical format and copyright of a DVD.
block::Task<ScsiResult> ScsiCdrom::read_dvd_structure(const ScsiCommand &command) {
    const auto cdb = std::span(command.cdb);
    if (!is_dvd())
        co_return check_condition(sense::kIncompatibleMedium);
    std::vector<std::uint8_t> bytes(4);
    switch (cdb[7]) {
    case 0x00:
        if (cdb[6] != 0)
            co_return check_condition(sense::kInvalidField); // one layer
        bytes.resize(4 + 2048);
        bytes[4] = 0x01; // DVD-ROM, part version 1
        bytes[5] = 0x0f; // 120 mm, no maximum rate
        bytes[6] = 0x01; // one layer, read-only
        store_be(&bytes[9], 0x30000, 3);
        store_be(&bytes[13], 0x30000 + blocks() - 1, 3);
        break;
    case 0x01:
        bytes.resize(8); // no protection, all regions
        break;
    default:
        co_return check_condition(sense::kInvalidField);
    }
    store_be(bytes.data(), bytes.size() - 2, 2);
    co_return reply(command, bytes, load_be(cdb.subspan(8, 2)));
}

void ScsiCdrom::serialize(core::Archive &archive) {
    ScsiUnit::serialize(archive);
    bool requested = eject_requested_;
    archive.field("eject_requested", requested);
    eject_requested_ = requested;
    archive.field("seen_medium", seen_medium_);
    bool is_new = new_medium_;
    archive.field("new_medium", is_new);
    new_medium_ = is_new;
}

} // namespace rhea::hw::scsi
