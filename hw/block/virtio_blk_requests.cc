// Requests of virtio-blk: VIRTIO 1.2, section 5.2.6. In the thread of the drive's context.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "hw/block/virtio_blk.h"

namespace rhea::hw {
namespace {

using block::BlockBackend;
using virtio::Element;

enum : std::uint32_t { kTypeIn = 0, kTypeOut = 1, kTypeFlush = 4, kTypeGetId = 8, kTypeDiscard = 11, kTypeWriteZeroes = 13 };
enum : std::uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };

constexpr std::uint64_t kSector = 512;
constexpr std::size_t kIdLength = 20;

/// struct virtio_blk_discard_write_zeroes
struct RangeSegment {
    std::uint64_t sector;
    std::uint32_t num_sectors, flags;
};
constexpr std::uint32_t kFlagUnmap = 1;

} // namespace

void VirtioBlk::handle(unsigned queue, Element *element) {
    data_path().request_begins();
    context().spawn(run(queue, element));
}

block::Task<void> VirtioBlk::run(unsigned queue, Element *element) {
    if (element->out.size() < sizeof(Header) || element->in.size() < 1) {
        broken(queue, "a request has no room for its header or its status");
        ring(queue).detach(element);
        data_path().request_ends();
        co_return;
    }
    Outcome outcome = co_await execute(*element);
    if (outcome.error != 0) {
        switch (backend_->error_action(outcome.is_read, outcome.error)) {
        case block::ErrorAction::kIgnore:
            outcome.status = kOk;
            break;
        case block::ErrorAction::kStop:
            keep(queue, element);
            data_path().request_ends();
            co_return;
        default:
            outcome.status = kIoError;
        }
    }
    const std::size_t status_at = element->in.size() - 1;
    element->in.write(status_at, &outcome.status, 1);
    complete(queue, element, static_cast<std::uint32_t>(std::min<std::size_t>(element->in.size(), UINT32_MAX)));
    data_path().request_ends();
}

block::Task<VirtioBlk::Outcome> VirtioBlk::execute(const Element &element) {
    Header header;
    element.out.read(0, &header, sizeof header);
    switch (header.type) {
    case kTypeIn:
        co_return co_await read(header.sector, element);
    case kTypeOut:
        co_return co_await write(header.sector, element);
    case kTypeFlush: {
        auto done = co_await backend_->flush();
        co_return Outcome{.error = done ? 0 : std::max(done.error().code(), 1)};
    }
    case kTypeGetId:
        co_return get_id(element);
    case kTypeDiscard:
    case kTypeWriteZeroes:
        co_return co_await change_range(header.type, element);
    default:
        co_return Outcome{.status = kUnsupported};
    }
}

bool VirtioBlk::in_range(std::uint64_t sector, std::uint64_t bytes) const {
    const std::uint64_t length = backend_->length(), mask = disk_.logical_block_size() - 1;
    if (sector > length / kSector || bytes > length - sector * kSector)
        return false;
    return ((sector * kSector | bytes) & mask) == 0;
}

block::Task<VirtioBlk::Outcome> VirtioBlk::read(std::uint64_t sector, const Element &element) {
    const std::size_t length = element.in.size() - 1;
    if (!in_range(sector, length))
        co_return Outcome{.status = kIoError};
    const block::IoVector to = element.in.vector(0, length);
    auto done = co_await backend_->read(sector * kSector, to);
    element.in.mark_written(0, length);
    co_return Outcome{.error = done ? 0 : std::max(done.error().code(), 1), .is_read = true};
}

block::Task<VirtioBlk::Outcome> VirtioBlk::write(std::uint64_t sector, const Element &element) {
    const std::size_t length = element.out.size() - sizeof(Header);
    if (backend_->read_only() || !in_range(sector, length))
        co_return Outcome{.status = kIoError};
    const block::IoVector from = element.out.vector(sizeof(Header), length);
    auto done = co_await backend_->write(sector * kSector, from);
    co_return Outcome{.error = done ? 0 : std::max(done.error().code(), 1)};
}

/// DISCARD and WRITE_ZEROES: one segment says what range.
block::Task<VirtioBlk::Outcome> VirtioBlk::change_range(std::uint32_t type, const Element &element) {
    RangeSegment segment;
    const bool zeroes = type == kTypeWriteZeroes;
    if (backend_->read_only())
        co_return Outcome{.status = kIoError};
    if (element.out.size() != sizeof(Header) + sizeof segment || !(zeroes ? write_zeroes_ : discard_))
        co_return Outcome{.status = kUnsupported};
    element.out.read(sizeof(Header), &segment, sizeof segment);
    if ((segment.flags & ~kFlagUnmap) || (!zeroes && (segment.flags & kFlagUnmap)))
        co_return Outcome{.status = kUnsupported};
    const std::uint64_t length = segment.num_sectors * kSector;
    if (segment.num_sectors > (zeroes ? max_write_zeroes_sectors_ : max_discard_sectors_) || !in_range(segment.sector, length))
        co_return Outcome{.status = kIoError};
    block::Result<void> done;
    if (zeroes) {
        const unsigned flags = segment.flags & kFlagUnmap ? block::kMayUnmap : block::kNoFlags;
        done = co_await backend_->write_zeroes(segment.sector * kSector, length, flags);
    } else {
        done = co_await backend_->discard(segment.sector * kSector, length);
    }
    co_return Outcome{.error = done ? 0 : std::max(done.error().code(), 1)};
}

VirtioBlk::Outcome VirtioBlk::get_id(const Element &element) const {
    std::array<char, kIdLength> id{}; // not terminated when all 20 are used
    const std::string &serial = disk_.serial();
    std::memcpy(id.data(), serial.data(), std::min(serial.size(), id.size()));
    element.in.write(0, id.data(), std::min(element.in.size() - 1, id.size()));
    return {};
}

} // namespace rhea::hw
