#include "tools/nbd/protocol.h"
#include "tools/nbd/server.h"

#include <fmt/format.h>

#include <array>

namespace rhea::nbd {

using block::Task;

std::uint16_t Connection::transmission_flags() const {
    std::uint16_t flags = kHasFlags | kSendFlush | kSendFua | kSendCache;
    if (structured_) {
        flags |= kSendDontFragment;  // each read is answered by one chunk in any case
    }
    if (export_.read_only) {
        return flags | kReadOnly | kCanMultiConnect;
    }
    // All connections share one back end, so that a flush on one covers the writes of all.
    return flags | kSendTrim | kSendWriteZeroes | kSendFastZero | kCanMultiConnect;
}

Task<bool> Connection::reply_option(std::uint32_t code, std::uint32_t type, const Message& data) {
    Message reply;
    reply.u64(kReplyMagic).u32(code).u32(type).u32(static_cast<std::uint32_t>(data.size()));
    reply.text({reinterpret_cast<const char*>(data.data()), data.size()});
    co_return co_await stream_.write(reply.data(), reply.size());
}

Task<Connection::Next> Connection::refuse_option(std::uint32_t code, std::uint32_t type, std::string_view reason) {
    Message text;
    text.text(reason);
    const bool sent = co_await reply_option(code, type, text);
    co_return sent ? Next::kMore : Next::kEnd;
}

Task<bool> Connection::negotiate() {
    Message greeting;
    greeting.u64(kInitMagic).u64(kOptionMagic).u16(kFixedNewstyle | kNoZeroes);
    bool there = co_await stream_.write(greeting.data(), greeting.size());
    std::array<std::uint8_t, 16> head;
    if (there) {
        there = co_await stream_.read(head.data(), 4);
    }
    if (!there) {
        co_return false;
    }
    const std::uint32_t client = Reader(std::span(head).first(4)).u32();
    if (client & ~std::uint32_t{kFixedNewstyle | kNoZeroes}) {
        co_return false;
    }
    no_zeroes_ = client & kNoZeroes;
    for (;;) {
        there = co_await stream_.read(head.data(), 16);
        if (!there) {
            co_return false;
        }
        Reader reader{std::span(head)};
        const std::uint64_t magic = reader.u64();
        const std::uint32_t code = reader.u32(), length = reader.u32();
        if (magic != kOptionMagic) {
            co_return false;
        }
        Next next = Next::kMore;
        if (length > kMaxOptionLength) {
            there = co_await stream_.skip(length);
            if (!there) {
                co_return false;
            }
            next = co_await refuse_option(code, kRepErrTooBig, "this option is longer than any that makes sense");
        } else {
            std::vector<std::uint8_t> data(length);
            there = co_await stream_.read(data.data(), length);
            if (!there) {
                co_return false;
            }
            next = co_await option(code, data);
        }
        if (next != Next::kMore) {
            co_return next == Next::kTransmission;
        }
    }
}

Task<Connection::Next> Connection::option(std::uint32_t code, const std::vector<std::uint8_t>& data) {
    switch (code) {
        case kOptExportName: {
            const std::string_view name(reinterpret_cast<const char*>(data.data()), data.size());
            if (name != export_.name) {
                co_return Next::kEnd;  // this option has no way to say no
            }
            Message reply;
            reply.u64(export_.length).u16(transmission_flags()).zeroes(no_zeroes_ ? 0 : 124);
            const bool sent = co_await stream_.write(reply.data(), reply.size());
            co_return sent ? Next::kTransmission : Next::kEnd;
        }
        case kOptAbort: {
            Message nothing;
            (void)co_await reply_option(code, kRepAck, nothing);
            co_return Next::kEnd;
        }
        case kOptList:
            co_return co_await list(data, code);
        case kOptInfo:
        case kOptGo:
            co_return co_await info(code, data);
        case kOptStructuredReply: {
            if (!data.empty()) {
                co_return co_await refuse_option(code, kRepErrInvalid, "structured replies have no parameters");
            }
            structured_ = true;
            Message nothing;
            const bool sent = co_await reply_option(code, kRepAck, nothing);
            co_return sent ? Next::kMore : Next::kEnd;
        }
        case kOptListMetaContext:
        case kOptSetMetaContext:
            co_return co_await meta_context(code, data);
        case kOptStartTls:
            co_return co_await refuse_option(code, kRepErrPolicy, "this server has no TLS");
        default: {
            const std::string reason = fmt::format("there is no option {}", code);
            co_return co_await refuse_option(code, kRepErrUnsupported, reason);
        }
    }
}

Task<Connection::Next> Connection::list(const std::vector<std::uint8_t>& data, std::uint32_t code) {
    if (!data.empty()) {
        co_return co_await refuse_option(code, kRepErrInvalid, "a list has no parameters");
    }
    Message server;
    server.u32(static_cast<std::uint32_t>(export_.name.size())).text(export_.name).text(export_.description);
    bool sent = co_await reply_option(code, kRepServer, server);
    if (sent) {
        Message nothing;
        sent = co_await reply_option(code, kRepAck, nothing);
    }
    co_return sent ? Next::kMore : Next::kEnd;
}

Task<Connection::Next> Connection::info(std::uint32_t code, const std::vector<std::uint8_t>& data) {
    Reader reader(data);
    const std::string_view name = reader.text(reader.u32());
    const unsigned count = reader.u16();
    bool wants_name = false, wants_description = false;
    for (unsigned i = 0; i < count && reader.ok(); ++i) {
        const std::uint16_t type = reader.u16();
        wants_name |= type == kInfoName;
        wants_description |= type == kInfoDescription;
    }
    if (!reader.ok() || !reader.at_end()) {
        co_return co_await refuse_option(code, kRepErrInvalid, "the lengths in this request do not add up");
    }
    if (name != export_.name) {
        const std::string reason = fmt::format("there is no export '{}'", name);
        co_return co_await refuse_option(code, kRepErrUnknown, reason);
    }
    Message exported;
    exported.u16(kInfoExport).u64(export_.length).u16(transmission_flags());
    bool sent = co_await reply_option(code, kRepInfo, exported);
    if (sent && wants_name) {
        Message text;
        text.u16(kInfoName).text(export_.name);
        sent = co_await reply_option(code, kRepInfo, text);
    }
    if (sent && wants_description && !export_.description.empty()) {
        Message text;
        text.u16(kInfoDescription).text(export_.description);
        sent = co_await reply_option(code, kRepInfo, text);
    }
    if (sent) {
        Message sizes;
        sizes.u16(kInfoBlockSize).u32(1).u32(4096).u32(kMaxPayload);
        sent = co_await reply_option(code, kRepInfo, sizes);
    }
    if (sent) {
        Message nothing;
        sent = co_await reply_option(code, kRepAck, nothing);
    }
    co_return !sent ? Next::kEnd : code == kOptGo ? Next::kTransmission : Next::kMore;
}

Task<Connection::Next> Connection::meta_context(std::uint32_t code, const std::vector<std::uint8_t>& data) {
    constexpr std::string_view kAllocation = "base:allocation";
    Reader reader(data);
    const std::string_view name = reader.text(reader.u32());
    const std::uint32_t count = reader.u32();
    bool chosen = count == 0 && code == kOptListMetaContext;
    for (std::uint32_t i = 0; i < count && reader.ok(); ++i) {
        const std::string_view query = reader.text(reader.u32());
        chosen |= query == kAllocation || (query == "base:" && code == kOptListMetaContext);
    }
    if (!reader.ok() || !reader.at_end()) {
        co_return co_await refuse_option(code, kRepErrInvalid, "the lengths in this request do not add up");
    }
    if (!structured_) {
        co_return co_await refuse_option(code, kRepErrInvalid, "meta contexts need structured replies");
    }
    if (name != export_.name) {
        const std::string reason = fmt::format("there is no export '{}'", name);
        co_return co_await refuse_option(code, kRepErrUnknown, reason);
    }
    bool sent = true;
    if (chosen) {
        Message context;
        context.u32(code == kOptSetMetaContext ? kAllocationContext : 0).text(kAllocation);
        sent = co_await reply_option(code, kRepMetaContext, context);
    }
    if (code == kOptSetMetaContext) {
        allocation_ = chosen;
    }
    if (sent) {
        Message nothing;
        sent = co_await reply_option(code, kRepAck, nothing);
    }
    co_return sent ? Next::kMore : Next::kEnd;
}

}  // namespace rhea::nbd
