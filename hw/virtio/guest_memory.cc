#include "hw/virtio/guest_memory.h"

#include <algorithm>
#include <cstring>

namespace rhea::hw::virtio {

template <typename Visit> std::size_t GuestBuffer::visit(std::size_t offset, std::size_t length, Visit &&visitor) const {
    std::size_t done = 0;
    for (const GuestPiece &piece : pieces_) {
        if (done == length)
            break;
        if (offset >= piece.length) {
            offset -= piece.length;
            continue;
        }
        const std::size_t count = std::min(length - done, piece.length - offset);
        visitor(piece, offset, done, count);
        done += count;
        offset = 0;
    }
    return done;
}

std::size_t GuestBuffer::read(std::size_t offset, void *to, std::size_t length) const {
    return visit(offset, length, [to](const GuestPiece &piece, std::size_t from, std::size_t done, std::size_t count) {
        std::memcpy(static_cast<std::uint8_t *>(to) + done, piece.host + from, count);
    });
}

std::size_t GuestBuffer::write(std::size_t offset, const void *from, std::size_t length) const {
    return visit(offset, length, [from](const GuestPiece &piece, std::size_t at, std::size_t done, std::size_t count) {
        std::memcpy(piece.host + at, static_cast<const std::uint8_t *>(from) + done, count);
        piece.mark_written(at, count);
    });
}

block::IoVector GuestBuffer::vector(std::size_t offset, std::size_t length) const {
    block::IoVector vector;
    visit(offset, length, [&vector](const GuestPiece &piece, std::size_t at, std::size_t, std::size_t count) {
        vector.append(piece.host + at, count);
    });
    return vector;
}

void GuestBuffer::mark_written(std::size_t offset, std::size_t length) const {
    visit(offset, length, [](const GuestPiece &piece, std::size_t at, std::size_t, std::size_t count) {
        piece.mark_written(at, count);
    });
}

GuestPiece GuestMap::find(core::hwaddr addr, std::size_t length, bool writable, bool whole) const {
    const core::FlatRange *range = view_->find(addr);
    if (!range || !range->host || !range->region->ram_block() || (writable && range->readonly))
        return {};
    const core::hwaddr into = addr - range->start;
    const std::uint64_t left = range->size - into; // a range of RAM does not reach 2^64
    if (whole && left < length)
        return {};
    return {.host = range->host + into,
            .length = static_cast<std::size_t>(std::min<std::uint64_t>(length, left)),
            .block = range->region->ram_block(),
            .offset = range->region_offset + into,
            .addr = addr};
}

} // namespace rhea::hw::virtio
