#include "hw/scsi/scsi_disk.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace rhea::hw::scsi {
namespace {

constexpr std::uint8_t kForceUnitAccess = 0x08;         ///< byte 1 of READ and WRITE 10, 12, 16
constexpr std::uint8_t kReadCapacity16 = 0x10, kGetLbaStatus = 0x12; ///< SERVICE ACTION IN (16)

} // namespace

ScsiDisk::ScsiDisk(UnitConfig config) : ScsiUnit(std::move(config)) {
    for (const Opcode opcode : {kRead6, kRead16})
        add(opcode, {.handler = &ScsiDisk::read, .needs_medium = true});
    for (const Opcode opcode : {kWrite6, kWrite10, kWrite12, kWrite16, kWriteVerify10, kWriteVerify12, kWriteVerify16})
        add(opcode, {.handler = handler(&ScsiDisk::write), .needs_medium = true, .writes = true});
    add(kVerify16, {.handler = &ScsiDisk::verify, .needs_medium = true});
    add(kSynchronizeCache16, {.handler = &ScsiDisk::synchronize_cache, .needs_medium = true});
    for (const Opcode opcode : {kWriteSame10, kWriteSame16})
        add(opcode, {.handler = handler(&ScsiDisk::write_same), .needs_medium = true, .writes = true});
    add(kUnmap, {.handler = handler(&ScsiDisk::unmap), .needs_medium = true, .writes = true});
    add(kServiceActionIn16, {.handler = handler(&ScsiDisk::service_action_in), .needs_medium = true});
    add(kSeek6, {.handler = &ScsiDisk::do_nothing, .needs_medium = true});
}

block::Task<ScsiResult> ScsiDisk::write(const ScsiCommand &command) {
    const BlockRange range = block_range(command.cdb);
    if (ScsiResult bad = check_range(range); bad.status != kGood)
        co_return bad;
    const std::uint64_t length = static_cast<std::uint64_t>(range.count) * block_size();
    if (length > command.out.size())
        co_return check_condition(sense::kInvalidField);
    const bool fua = command.opcode() != kWrite6 && (command.cdb[1] & kForceUnitAccess);
    const block::IoVector from = command.out.slice(0, length);
    auto done = co_await backend().write(range.lba * block_size(), from, fua ? block::kFua : block::kNoFlags);
    if (!done)
        co_return failed(done.error(), false, length);
    co_return ScsiResult{.transferred = length};
}

/// SBC-3, 5.44: one block again and again, or (UNMAP, zeroes) no data at all.
block::Task<ScsiResult> ScsiDisk::write_same(const ScsiCommand &command) {
    const BlockRange range = block_range(command.cdb);
    const std::uint8_t bits = command.cdb[1];
    const bool unmap = bits & 0x08, no_data = command.opcode() == kWriteSame16 && (bits & 0x01);
    if (range.count == 0 || (bits & 0x10)) // WSNZ is set; there are no anchored blocks
        co_return check_condition(sense::kInvalidField);
    if (ScsiResult bad = check_range(range); bad.status != kGood)
        co_return bad;
    std::vector<std::uint8_t> pattern(block_size());
    if (!no_data) {
        if (command.out.size() < pattern.size())
            co_return check_condition(sense::kInvalidField);
        command.out.copy_to(0, pattern.data(), pattern.size());
    }
    const std::uint64_t length = static_cast<std::uint64_t>(range.count) * block_size();
    const std::uint64_t start = range.lba * block_size();
    const std::uint64_t used = no_data ? 0 : pattern.size();
    if (std::ranges::all_of(pattern, [](std::uint8_t byte) { return byte == 0; })) {
        auto done = co_await backend().write_zeroes(start, length, unmap ? block::kMayUnmap : block::kNoFlags);
        if (!done)
            co_return failed(done.error(), false, used);
        co_return ScsiResult{.transferred = used};
    }
    constexpr std::uint64_t kPiece = 512 << 10;
    std::vector<std::uint8_t> many(static_cast<std::size_t>(std::min(length, std::max<std::uint64_t>(kPiece, block_size()))));
    for (std::size_t at = 0; at < many.size(); at += pattern.size())
        std::memcpy(&many[at], pattern.data(), pattern.size());
    for (std::uint64_t at = 0; at < length; at += many.size()) {
        const block::IoVector from(many.data(), static_cast<std::size_t>(std::min<std::uint64_t>(many.size(), length - at)));
        auto done = co_await backend().write(start + at, from);
        if (!done) {
            if (ScsiResult bad = failed(done.error(), false); bad.keep || bad.status != kGood)
                co_return bad;
        }
    }
    co_return ScsiResult{.transferred = used};
}

/// SBC-3, 5.28: a list of ranges.
block::Task<ScsiResult> ScsiDisk::unmap(const ScsiCommand &command) {
    constexpr std::size_t kHeader = 8, kDescriptor = 16, kMaxDescriptors = 255;
    const std::size_t length = load_be(std::span(command.cdb).subspan(7, 2));
    if (command.cdb[1] & 1)
        co_return check_condition(sense::kInvalidField); // ANCHOR
    if (length == 0)
        co_return ScsiResult{};
    if (length < kHeader || length > command.out.size())
        co_return check_condition(sense::kParameterListLength);
    std::vector<std::uint8_t> list(length);
    command.out.copy_to(0, list.data(), length);
    const std::size_t size = load_be(std::span(list).subspan(2, 2));
    if (load_be(std::span(list).first(2)) < size + 6 || size > length - kHeader || size % kDescriptor != 0)
        co_return check_condition(sense::kParameterListLength);
    if (size / kDescriptor > kMaxDescriptors)
        co_return check_condition(sense::kInvalidParameter);
    for (std::size_t at = kHeader; at < kHeader + size; at += kDescriptor) {
        const BlockRange range{load_be64(std::span(list).subspan(at, 8)), load_be(std::span(list).subspan(at + 8, 4))};
        if (ScsiResult bad = check_range(range); bad.status != kGood)
            co_return bad;
    }
    for (std::size_t at = kHeader; at < kHeader + size; at += kDescriptor) {
        const std::uint64_t lba = load_be64(std::span(list).subspan(at, 8));
        const std::uint64_t count = load_be(std::span(list).subspan(at + 8, 4));
        if (count == 0)
            continue;
        auto done = co_await backend().discard(lba * block_size(), count * block_size());
        if (!done) {
            if (ScsiResult bad = failed(done.error(), false); bad.keep || bad.status != kGood)
                co_return bad;
        }
    }
    co_return ScsiResult{.transferred = length};
}

block::Task<ScsiResult> ScsiDisk::service_action_in(const ScsiCommand &command) {
    switch (command.cdb[1] & 0x1f) {
    case kReadCapacity16:
        co_return read_capacity_16(command);
    case kGetLbaStatus:
        co_return co_await get_lba_status(command);
    default:
        co_return check_condition(sense::kInvalidField);
    }
}

ScsiResult ScsiDisk::read_capacity_16(const ScsiCommand &command) const {
    std::array<std::uint8_t, 32> bytes{};
    const std::uint64_t count = blocks();
    if (count == 0)
        return check_condition(sense::kNoMedium);
    store_be(bytes.data(), count - 1, 8);
    store_be(&bytes[8], block_size(), 4);
    bytes[13] = static_cast<std::uint8_t>(std::countr_zero(config_.physical_block_size) - std::countr_zero(block_size()));
    bytes[14] = thin() ? 0x80 : 0; // LBPME
    return reply(command, bytes, load_be(std::span(command.cdb).subspan(10, 4)));
}

/// SBC-3, 5.5: which blocks from an address on are stored.
block::Task<ScsiResult> ScsiDisk::get_lba_status(const ScsiCommand &command) {
    const std::uint64_t lba = load_be64(std::span(command.cdb).subspan(2, 8)), end = blocks();
    const std::uint32_t allocation = load_be(std::span(command.cdb).subspan(10, 4));
    if (lba >= end)
        co_return check_condition(sense::kLbaOutOfRange);
    if (allocation < 24)
        co_return check_condition(sense::kInvalidField);
    const std::uint64_t most = std::min<std::uint64_t>(end - lba, 0xffffffff);
    auto extent = co_await backend().node()->block_status(lba * block_size(), most * block_size());
    if (!extent)
        co_return failed(extent.error(), true);
    // A block that is stored in parts counts as stored.
    const std::uint64_t whole = extent->length / block_size();
    const bool hole = extent->zero && !extent->data && whole > 0;
    std::array<std::uint8_t, 24> bytes{};
    store_be(bytes.data(), bytes.size() - 4, 4);
    store_be(&bytes[8], lba, 8);
    store_be(&bytes[16], std::clamp<std::uint64_t>(whole, 1, most), 4);
    bytes[20] = hole ? 1 : 0;
    co_return reply(command, bytes, allocation);
}

} // namespace rhea::hw::scsi
