// MODE SENSE and MODE SELECT, 6 and 10: SPC-4, 6.9 to 6.12 and 7.5.
#include <algorithm>

#include "hw/scsi/scsi_unit.h"

namespace rhea::hw::scsi {
namespace {

constexpr std::uint8_t kAllPages = 0x3f;
enum : unsigned { kCurrent = 0, kChangeable = 1, kDefault = 2, kSaved = 3 }; ///< page control
constexpr std::size_t kMaxList = 4096;

bool is_long(const ScsiCommand &command) { return command.opcode() == kModeSense10 || command.opcode() == kModeSelect10; }

} // namespace

std::vector<std::uint8_t> ScsiUnit::mode_block_descriptor(bool) const {
    std::vector<std::uint8_t> bytes(8);
    const std::uint64_t count = blocks();
    store_be(&bytes[0], count > 0xffffff ? 0 : count, 4); // 0 beyond the field; the byte in front is the density code
    store_be(&bytes[5], block_size(), 3);
    return bytes;
}

block::Task<ScsiResult> ScsiUnit::mode_sense(const ScsiCommand &command) {
    const auto cdb = std::span(command.cdb);
    const unsigned control = cdb[2] >> 6;
    const std::uint8_t wanted = cdb[2] & 0x3f, subpage = cdb[3];
    if (control == kSaved)
        co_return check_condition(sense::kSavingNotSupported);
    if (subpage != 0 && !(wanted == kAllPages && subpage == 0xff))
        co_return check_condition(sense::kInvalidField);
    std::vector<std::uint8_t> pages;
    for (const std::uint8_t each : mode_pages()) {
        if (wanted != each && wanted != kAllPages)
            continue;
        const std::vector<std::uint8_t> page = mode_page(each, control == kChangeable);
        pages.insert(pages.end(), page.begin(), page.end());
    }
    if (pages.empty())
        co_return check_condition(sense::kInvalidField);
    std::vector<std::uint8_t> descriptor;
    if (!(cdb[1] & 8) && has_block_descriptor()) // DBD
        descriptor = mode_block_descriptor(false);
    std::vector<std::uint8_t> bytes(is_long(command) ? 8 : 4);
    const std::size_t total = bytes.size() + descriptor.size() + pages.size();
    if (is_long(command)) {
        store_be(&bytes[0], total - 2, 2);
        bytes[3] = mode_device_specific();
        store_be(&bytes[6], descriptor.size(), 2);
    } else {
        bytes[0] = static_cast<std::uint8_t>(std::min<std::size_t>(total - 1, 0xff));
        bytes[2] = mode_device_specific();
        bytes[3] = static_cast<std::uint8_t>(descriptor.size());
    }
    bytes.insert(bytes.end(), descriptor.begin(), descriptor.end());
    bytes.insert(bytes.end(), pages.begin(), pages.end());
    co_return reply(command, bytes, is_long(command) ? load_be(cdb.subspan(7, 2)) : cdb[4]);
}

block::Task<ScsiResult> ScsiUnit::mode_select(const ScsiCommand &command) {
    const auto cdb = std::span(command.cdb);
    const std::size_t length = is_long(command) ? load_be(cdb.subspan(7, 2)) : cdb[4];
    const std::size_t header = is_long(command) ? 8 : 4;
    if (!(cdb[1] & 0x10) || (cdb[1] & 1)) // PF: pages as SPC says; SP: nothing can be saved
        co_return check_condition(sense::kInvalidField);
    if (length == 0)
        co_return ScsiResult{};
    if (length > command.out.size() || length > kMaxList || length < header)
        co_return check_condition(sense::kParameterListLength);
    std::vector<std::uint8_t> list(length);
    command.out.copy_to(0, list.data(), length);
    const std::size_t descriptors = is_long(command) ? load_be(std::span(list).subspan(6, 2)) : list[3];
    std::size_t at = header + descriptors;
    if (at > length || (descriptors != 0 && descriptors != 8))
        co_return check_condition(sense::kParameterListLength);
    if (descriptors == 8 && load_be(std::span(list).subspan(header + 5, 3)) != block_size())
        co_return check_condition(sense::kInvalidParameter);
    // All pages are checked before the first has an effect.
    std::vector<std::span<const std::uint8_t>> changes;
    while (at < length) {
        const std::size_t rest = length - at;
        const std::uint8_t code = list[at] & 0x3f;
        const std::vector<std::uint8_t> now = mode_page(code, false), changeable = mode_page(code, true);
        if ((list[at] & 0x40) || rest < 2)
            co_return check_condition(sense::kInvalidParameter);
        const std::size_t size = list[at + 1] + std::size_t{2};
        if (now.empty() || now.size() != size)
            co_return check_condition(sense::kInvalidParameter);
        if (size > rest)
            co_return check_condition(sense::kParameterListLength);
        const auto page = std::span<const std::uint8_t>(list).subspan(at, size);
        for (std::size_t i = 2; i < size; ++i)
            if ((page[i] ^ now[i]) & ~changeable[i])
                co_return check_condition(sense::kInvalidParameter);
        changes.push_back(page);
        at += size;
    }
    for (const auto page : changes) {
        ScsiResult result = co_await apply_mode_page(page);
        if (result.status != kGood || result.keep)
            co_return result;
    }
    co_return ScsiResult{.transferred = length};
}

} // namespace rhea::hw::scsi
