// ATA disk: SMART. A disk of bits does not wear: its one attribute is fine, its logs are empty.
// Source: ATA/ATAPI-7 volume 1, 6.53; attribute layout: SFF-8035i 2.0.
#include "hw/ide/ata_disk.h"

#include <algorithm>
#include <span>

namespace rhea::hw {

using namespace ata;

namespace {

enum Subcommand : std::uint8_t {
    kReadData = 0xd0,
    kReadThresholds = 0xd1,
    kAutosave = 0xd2,
    kOfflineImmediate = 0xd4,
    kReadLog = 0xd5,
    kEnable = 0xd8,
    kDisable = 0xd9,
    kReturnStatus = 0xda,
};
/// "SMART" commands carry these in LBA mid and high.
constexpr std::uint8_t kKeyMid = 0x4f, kKeyHigh = 0xc2;

struct Attribute {
    std::uint8_t id;
    std::uint16_t flags;
    std::uint8_t value, threshold;
};
constexpr Attribute kAttributes[] = {
    {1, 0x0003, 100, 6},   // raw read error rate
    {5, 0x0003, 100, 36},  // reallocated sectors
    {9, 0x0003, 100, 1},   // power-on hours
    {12, 0x0032, 100, 0},  // power cycles
};

void finish_checksum(std::span<std::uint8_t> page) {
    std::uint8_t sum = 0;
    for (std::size_t i = 0; i + 1 < page.size(); ++i)
        sum = static_cast<std::uint8_t>(sum + page[i]);
    page.back() = static_cast<std::uint8_t>(-sum);
}

std::vector<std::uint8_t> data_page() {
    std::vector<std::uint8_t> page(kSectorSize);
    page[0] = 1; // revision
    std::size_t at = 2;
    for (const Attribute &attribute : kAttributes) {
        page[at] = attribute.id;
        page[at + 1] = static_cast<std::uint8_t>(attribute.flags);
        page[at + 2] = static_cast<std::uint8_t>(attribute.flags >> 8);
        page[at + 3] = page[at + 4] = attribute.value;
        at += 12;
    }
    page[362] = 0x02;                  // off-line data collection: completed without error
    page[367] = 1u << 4;               // off-line capability: self-test
    page[368] = 3;                     // SMART capability: saves by itself
    page[370] = 1;                     // error logging
    page[372] = page[373] = page[374] = 1; // minutes that a self-test takes
    finish_checksum(page);
    return page;
}

std::vector<std::uint8_t> threshold_page() {
    std::vector<std::uint8_t> page(kSectorSize);
    page[0] = 1;
    std::size_t at = 2;
    for (const Attribute &attribute : kAttributes) {
        page[at] = attribute.id;
        page[at + 1] = attribute.threshold;
        at += 12;
    }
    finish_checksum(page);
    return page;
}

} // namespace

void AtaDisk::smart() {
    const auto &registers = file_.bytes[0];
    const std::uint8_t subcommand = file_.features();
    if (registers[kLbaMid] != kKeyMid || registers[kLbaHigh] != kKeyHigh || (!settings_.smart && subcommand != kEnable)) {
        finish(kAbrt);
        return;
    }
    switch (subcommand) {
    case kReadData:
        buffer_ = data_page();
        break;
    case kReadThresholds:
        buffer_ = threshold_page();
        break;
    case kReadLog:
        smart_read_log();
        return;
    case kEnable:
    case kDisable:
        settings_.smart = subcommand == kEnable;
        finish();
        return;
    case kAutosave:         // nothing is gathered, so nothing is lost
    case kOfflineImmediate: // a self-test ends at once, without finding anything
    case kReturnStatus:     // the key stays in the registers: no threshold is exceeded
        finish();
        return;
    default:
        finish(kAbrt);
        return;
    }
    operation_ = Operation::kSendBuffer;
    send_buffer();
}

/// Log directory, summary error log and self-test log, one sector each.
void AtaDisk::smart_read_log() {
    constexpr std::uint8_t kDirectory = 0, kErrorSummary = 1, kSelfTest = 6;
    const std::uint8_t log = file_.bytes[0][kLbaLow];
    if (file_.count8() != 1 || (log != kDirectory && log != kErrorSummary && log != kSelfTest)) {
        finish(kAbrt);
        return;
    }
    buffer_.assign(kSectorSize, 0);
    buffer_[0] = 1;
    if (log == kDirectory) {
        buffer_[kErrorSummary * 2] = 1; // sectors
        buffer_[kSelfTest * 2] = 1;
    } else {
        finish_checksum(buffer_);
    }
    operation_ = Operation::kSendBuffer;
    send_buffer();
}

} // namespace rhea::hw
