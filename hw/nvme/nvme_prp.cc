// NVMe controller: physical region pages, by which commands name guest memory (4.3).
#include "hw/nvme/nvme_controller.h"

#include <algorithm>

namespace rhea::hw::nvme {

namespace {
constexpr std::uint64_t kEntrySize = 8;
constexpr unsigned kMaxEmptyLinks = 4;
}

/// Adds [address, address + bytes), which lies in one page.
std::uint16_t NvmeController::map_page(const virtio::GuestMap &memory, core::hwaddr address, std::uint64_t bytes, bool to_guest,
                                       GuestBuffer &buffer) const {
    while (bytes > 0) {
        const virtio::GuestPiece piece = memory.find(address, bytes, to_guest);
        if (!piece)
            return kDataTransferError;
        buffer.append(piece);
        address += piece.length;
        bytes -= piece.length;
    }
    return kSuccess;
}

/// The `bytes` bytes of guest RAM that PRP1 and PRP2 of the command name.
std::uint16_t NvmeController::map(const Command &command, std::uint64_t bytes, bool to_guest, GuestBuffer &buffer) {
    if (command.flags >> 6 != 0) // SGLs
        return kInvalidField | kDoNotRetry;
    if (!bus_master())
        return kDataTransferError;
    const std::uint64_t page = page_size(), offset = command.prp1 % page;
    if (command.prp1 % 4 != 0)
        return kInvalidPrpOffset | kDoNotRetry;
    const virtio::GuestMap memory(dma_space());
    const std::uint64_t first = std::min(bytes, page - offset);
    if (const auto status = map_page(memory, command.prp1, first, to_guest, buffer))
        return status;
    std::uint64_t left = bytes - first;
    if (left == 0)
        return kSuccess;
    if (left <= page)
        return command.prp2 % page ? std::uint16_t{kInvalidPrpOffset | kDoNotRetry} : map_page(memory, command.prp2, left, to_guest, buffer);
    // A list; the last entry of a page of it names the next one where more follows.
    std::vector<std::uint8_t> entries;
    core::hwaddr list = command.prp2;
    unsigned empty_links = 0;
    while (left > 0) {
        if (list % kEntrySize != 0)
            return kInvalidPrpOffset | kDoNotRetry;
        const std::uint64_t pages = (left + page - 1) / page, room = (page - list % page) / kEntrySize;
        const std::uint64_t count = std::min(pages, room);
        entries.resize(count * kEntrySize);
        if (dma_space().read(list, entries.data(), entries.size()) != core::MemTxResult::kOk)
            return kDataTransferError;
        const auto entry = [&](std::uint64_t i) {
            std::uint64_t value = 0;
            for (unsigned byte = 0; byte < kEntrySize; ++byte)
                value |= static_cast<std::uint64_t>(entries[i * kEntrySize + byte]) << (8 * byte);
            return value;
        };
        const bool chained = pages > room;
        for (std::uint64_t i = 0; i < count - (chained ? 1 : 0); ++i) {
            if (entry(i) % page != 0)
                return kInvalidPrpOffset | kDoNotRetry;
            const std::uint64_t now = std::min(left, page);
            if (const auto status = map_page(memory, entry(i), now, to_guest, buffer))
                return status;
            left -= now;
        }
        if (chained) {
            // A page of the list that holds nothing but a pointer might name itself.
            if (count == 1 && ++empty_links > kMaxEmptyLinks)
                return kInvalidField | kDoNotRetry;
            list = entry(count - 1);
        }
    }
    return kSuccess;
}

/// What an admin command returns in memory: these bytes, all of them.
NvmeController::Outcome NvmeController::send(const Command &command, std::span<const std::uint8_t> bytes) {
    GuestBuffer buffer;
    if (const auto status = map(command, bytes.size(), true, buffer))
        return {status};
    buffer.write(0, bytes.data(), bytes.size());
    return {};
}

} // namespace rhea::hw::nvme
