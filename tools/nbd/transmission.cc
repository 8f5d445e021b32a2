#include "tools/nbd/protocol.h"
#include "tools/nbd/server.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace rhea::nbd {
namespace {

using block::IoVector;
using block::Task;

/// The most extents that one answer about block status has.
constexpr std::size_t kMaxExtents = 1024;

}  // namespace

std::uint32_t wire_error(int code) {
    switch (code) {
        case 0:
            return 0;
        case EPERM:
        case EROFS:
        case EACCES:
            return kPermission;
        case ENOMEM:
            return kNoMemory;
        case EINVAL:
            return kInvalid;
        case ENOSPC:
        case EFBIG:
        case EDQUOT:
            return kNoSpace;
        case ENOTSUP:
            return kNotSupported;
        default:
            return kIo;
    }
}

Task<void> Connection::serve() {
    const bool ready = co_await negotiate();
    if (ready) {
        co_await transmit();
    }
    gone_ = true;
    while (in_flight_) {
        co_await drained_.wait();
    }
}

Task<void> Connection::transmit() {
    for (;;) {
        while (in_flight_ >= kMaxInFlight) {
            co_await drained_.wait();
        }
        Request request;
        const bool there = co_await read_request(request);
        if (!there || request.type == kCmdDisconnect) {
            co_return;
        }
        ++in_flight_;
        const auto run = [](std::shared_ptr<Connection> self, Request taken) -> Task<void> {
            auto handling = self->handle(std::move(taken));
            co_await handling;
            --self->in_flight_;
            self->drained_.wake_all();
        };
        context_.spawn(run(shared_from_this(), std::move(request)));
    }
}

/// False: the connection is of no use any more.
Task<bool> Connection::read_request(Request& request) {
    std::array<std::uint8_t, 28> head;
    bool there = co_await stream_.read(head.data(), head.size());
    if (!there) {
        co_return false;
    }
    Reader reader{std::span(head)};
    if (reader.u32() != kRequestMagic) {
        co_return false;
    }
    request.flags = reader.u16();
    request.type = reader.u16();
    request.handle = reader.u64();
    request.offset = reader.u64();
    request.length = reader.u32();
    if (request.type == kCmdWrite) {
        if (request.length > kMaxPayload) {
            co_return false;  // to skip it would be to obey it
        }
        request.payload.resize(request.length);
        there = co_await stream_.read(request.payload.data(), request.length);
    }
    co_return there;
}

std::uint32_t Connection::check(const Request& request) const {
    std::uint16_t allowed = 0;
    switch (request.type) {
        case kCmdRead:
            allowed = kFlagDontFragment | kFlagFua;
            break;
        case kCmdWrite:
        case kCmdTrim:
            allowed = kFlagFua;
            break;
        case kCmdWriteZeroes:
            allowed = kFlagFua | kFlagNoHole | kFlagFastZero;
            break;
        case kCmdBlockStatus:
            allowed = kFlagReqOne;
            break;
        case kCmdFlush:
            return request.flags & ~kFlagFua ? kInvalid : 0;
        case kCmdCache:
            break;
        default:
            return kInvalid;
    }
    if (request.flags & ~allowed) {
        return kInvalid;
    }
    const bool changes = request.type == kCmdWrite || request.type == kCmdTrim || request.type == kCmdWriteZeroes;
    if (changes && export_.read_only) {
        return kPermission;
    }
    if (request.offset > export_.length || request.length > export_.length - request.offset) {
        return request.type == kCmdWrite || request.type == kCmdWriteZeroes ? kNoSpace : kInvalid;
    }
    if (request.type == kCmdRead && request.length > kMaxPayload) {
        return kOverflow;
    }
    if (request.type == kCmdBlockStatus && (!allocation_ || request.length == 0)) {
        return kInvalid;
    }
    return 0;
}

Task<void> Connection::handle(Request request) {
    if (const std::uint32_t wrong = check(request)) {
        co_await reply(request, wrong, "the request is not valid for this export");
        co_return;
    }
    if (request.type == kCmdRead) {
        co_await read(request);
        co_return;
    }
    if (request.type == kCmdBlockStatus) {
        co_await block_status(request);
        co_return;
    }
    const std::uint32_t error = co_await perform(request);
    co_await reply(request, error, "the image cannot do that");
}

Task<std::uint32_t> Connection::perform(const Request& request) {
    block::BlockBackend& disk = *export_.disk;
    const std::uint64_t offset = export_.offset + request.offset;
    util::Result<void> done;
    switch (request.type) {
        case kCmdWrite: {
            IoVector from(const_cast<std::uint8_t*>(request.payload.data()), request.payload.size());
            done = co_await disk.write(offset, from, request.flags & kFlagFua ? block::kFua : block::kNoFlags);
            break;
        }
        case kCmdWriteZeroes: {
            unsigned flags = request.flags & kFlagNoHole ? block::kNoFlags : block::kMayUnmap;
            if (request.flags & kFlagFua) {
                flags |= block::kFua;
            }
            if (request.flags & kFlagFastZero) {
                flags |= block::kNoFallback;
            }
            done = co_await disk.write_zeroes(offset, request.length, flags);
            break;
        }
        case kCmdTrim:
            done = co_await disk.discard(offset, request.length);
            if (done && request.flags & kFlagFua) {
                done = co_await disk.flush();
            }
            break;
        case kCmdFlush:
            done = co_await disk.flush();
            break;
        default:
            break;  // kCmdCache: a hint that the host's page cache answers better
    }
    co_return done ? 0 : wire_error(done.error().code() ? done.error().code() : EIO);
}

Task<void> Connection::read(const Request& request) {
    std::vector<std::uint8_t> data(request.length);
    IoVector into(data.data(), data.size());
    auto done = co_await export_.disk->read(export_.offset + request.offset, into);
    if (!done) {
        co_await reply(request, wire_error(done.error().code() ? done.error().code() : EIO), done.error().message());
        co_return;
    }
    Message head;
    if (structured_ && request.length) {
        head.u32(kStructuredReplyMagic).u16(kChunkDone).u16(kChunkOffsetData).u64(request.handle);
        head.u32(request.length + 8).u64(request.offset);
    } else if (structured_) {
        head.u32(kStructuredReplyMagic).u16(kChunkDone).u16(kChunkNone).u64(request.handle).u32(0);
    } else {
        head.u32(kSimpleReplyMagic).u32(0).u64(request.handle);
    }
    co_await send(head, data.data(), data.size());
}

Task<void> Connection::block_status(const Request& request) {
    Message extents;
    std::size_t count = 0;
    std::uint64_t at = request.offset;
    const std::uint64_t end = request.offset + request.length;
    const std::size_t most = request.flags & kFlagReqOne ? 1 : kMaxExtents;
    while (at < end && count < most) {
        block::BlockNode* layer = export_.disk->node().get();
        std::uint64_t length = end - at;
        std::uint32_t state = 0;
        // As the whole chain has it: what no layer has is a hole.
        while (layer) {
            const std::uint64_t place = export_.offset + at;
            if (place >= layer->length()) {
                state = kStateHole | kStateZero;
                break;
            }
            length = std::min(length, layer->length() - place);
            auto found = co_await layer->block_status(place, length);
            if (!found) {
                co_await reply(request, wire_error(found.error().code() ? found.error().code() : EIO),
                               found.error().message());
                co_return;
            }
            length = std::min(length, found->length);
            if (found->allocated || !layer->backing()) {
                state = (found->data ? 0 : kStateHole) | (found->zero || !found->allocated ? kStateZero : 0);
                break;
            }
            layer = layer->backing();
        }
        extents.u32(static_cast<std::uint32_t>(length)).u32(state);
        ++count;
        at += length;
    }
    Message head;
    head.u32(kStructuredReplyMagic).u16(kChunkDone).u16(kChunkBlockStatus).u64(request.handle);
    head.u32(static_cast<std::uint32_t>(4 + extents.size())).u32(kAllocationContext);
    co_await send(head, extents.data(), extents.size());
}

Task<void> Connection::reply(const Request& request, std::uint32_t error, std::string_view reason) {
    Message head;
    if (structured_ && error) {
        const std::string_view text = reason.substr(0, 4096);
        head.u32(kStructuredReplyMagic).u16(kChunkDone).u16(kChunkError).u64(request.handle);
        head.u32(static_cast<std::uint32_t>(6 + text.size())).u32(error).u16(static_cast<std::uint16_t>(text.size()));
        head.text(text);
    } else {
        head.u32(kSimpleReplyMagic).u32(error).u64(request.handle);
    }
    co_await send(head, nullptr, 0);
}

Task<void> Connection::send(const Message& head, const void* payload, std::size_t length) {
    co_await sending_.lock();
    bool sent = !gone_;
    if (sent) {
        sent = co_await stream_.write(head.data(), head.size());
    }
    if (sent && length) {
        sent = co_await stream_.write(payload, length);
    }
    sending_.unlock();
    if (!sent) {
        stream_.shut_down();
    }
}

}  // namespace rhea::nbd
