#include "block/nbd/nbd_node.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <vector>

#include "block/format/bytes.h"
#include "block/format/finish_options.h"
#include "block/nbd/nbd.h"

namespace rhea::block {

namespace {

/// No server has to take more in one request.
constexpr std::uint64_t kMaxRequest = 32 << 20;
/// Ranges without data.
constexpr std::uint64_t kMaxRange = 1 << 30;

} // namespace

NbdNode::NbdNode(IoContext &context, std::shared_ptr<NbdConnection> connection, NbdAddress address)
    : BlockNode(context, "nbd"), connection_(std::move(connection)), address_(std::move(address)) {
    const LibNbd &lib = connection_->lib();
    nbd_handle *handle = connection_->handle();
    const auto size = [&](int which, std::uint64_t fallback) {
        const std::int64_t value = lib.get_block_size(handle, which);
        return value > 0 ? static_cast<std::uint64_t>(value) : fallback;
    };
    server_.size = static_cast<std::uint64_t>(std::max<std::int64_t>(lib.get_size(handle), 0));
    const std::uint64_t minimum = size(LIBNBD_SIZE_MINIMUM, 1);
    server_.alignment = std::has_single_bit(minimum) && minimum <= 64 << 10 ? static_cast<std::uint32_t>(minimum) : 1;
    server_.max_request = std::clamp<std::uint64_t>(size(LIBNBD_SIZE_MAXIMUM, kMaxRequest), server_.alignment, kMaxRequest);
    server_.max_request -= server_.max_request % server_.alignment;
    server_.read_only = lib.is_read_only(handle) > 0;
    server_.flush = lib.can_flush(handle) > 0;
    server_.fua = lib.can_fua(handle) > 0;
    server_.trim = lib.can_trim(handle) > 0;
    server_.zero = lib.can_zero(handle) > 0;
    server_.fast_zero = lib.can_fast_zero(handle) > 0;
    server_.status = lib.can_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) > 0;
}

util::Failure NbdNode::failed(int code, const char *action, std::uint64_t offset) const {
    return io_error(code, fmt::format("{}: cannot {} at offset {}", address_.text(), action, offset));
}

bool NbdNode::aligned(std::uint64_t offset, std::uint64_t length) const {
    return (offset | length) % server_.alignment == 0;
}

Task<Result<void>> NbdNode::read_piece(std::uint64_t offset, std::uint8_t *to, std::uint64_t length) {
    for (std::uint64_t at = 0; at < length;) {
        const std::uint64_t piece = std::min(length - at, server_.max_request);
        NbdConnection::Command command(*connection_);
        connection_->issued(context(), command,
                            connection_->lib().aio_pread(connection_->handle(), to + at, piece, offset + at,
                                                         command.completion(), 0));
        if (const int error = co_await command; error != 0)
            co_return failed(error, "read", offset + at);
        at += piece;
    }
    co_return Result<void>{};
}

Task<Result<void>> NbdNode::read(std::uint64_t offset, const IoVector &to) {
    const std::uint64_t inside = offset >= server_.size ? 0 : std::min(to.size(), server_.size - offset);
    if (inside < to.size())
        to.fill(inside, 0, to.size() - inside);
    if (inside == 0)
        co_return Result<void>{};
    if (std::uint8_t *memory = to.contiguous(); memory && aligned(offset, inside))
        co_return co_await read_piece(offset, memory, inside);
    const std::uint64_t start = offset - offset % server_.alignment;
    const std::uint64_t end = std::min(round_up(offset + inside, server_.alignment), std::max(server_.size, start));
    std::vector<std::uint8_t> buffer(end - start);
    auto done = co_await read_piece(start, buffer.data(), buffer.size());
    if (done)
        to.copy_from(0, buffer.data() + (offset - start), inside);
    co_return done;
}

Task<Result<void>> NbdNode::write_piece(std::uint64_t offset, const std::uint8_t *from, std::uint64_t length, unsigned flags) {
    const std::uint32_t nbd_flags = (flags & kFua) && server_.fua ? LIBNBD_CMD_FLAG_FUA : 0;
    for (std::uint64_t at = 0; at < length;) {
        const std::uint64_t piece = std::min(length - at, server_.max_request);
        NbdConnection::Command command(*connection_);
        connection_->issued(context(), command,
                            connection_->lib().aio_pwrite(connection_->handle(), from + at, piece, offset + at,
                                                          command.completion(), nbd_flags));
        if (const int error = co_await command; error != 0)
            co_return failed(error, "write", offset + at);
        at += piece;
    }
    co_return Result<void>{};
}

Task<Result<void>> NbdNode::write(std::uint64_t offset, const IoVector &from, unsigned flags) {
    if (read_only())
        co_return failed(EPERM, "write", offset);
    if (!range_fits(offset, from.size(), server_.size))
        co_return failed(ENOSPC, "write", offset);
    if (!aligned(offset, from.size())) {
        co_await unaligned_.lock();
        auto done = co_await write_unaligned(offset, from, flags);
        unaligned_.unlock();
        co_return done;
    }
    if (const std::uint8_t *memory = from.contiguous())
        co_return co_await write_piece(offset, memory, from.size(), flags);
    std::vector<std::uint8_t> buffer(from.size());
    from.copy_to(0, buffer.data(), buffer.size());
    co_return co_await write_piece(offset, buffer.data(), buffer.size(), flags);
}

/// Reads the rest of the first and the last block first.
Task<Result<void>> NbdNode::write_unaligned(std::uint64_t offset, const IoVector &from, unsigned flags) {
    const std::uint64_t start = offset - offset % server_.alignment;
    const std::uint64_t end = std::min(round_up(offset + from.size(), server_.alignment), server_.size);
    std::vector<std::uint8_t> buffer(end - start);
    auto done = co_await read_piece(start, buffer.data(), buffer.size());
    if (!done)
        co_return done;
    from.copy_to(0, buffer.data() + (offset - start), from.size());
    co_return co_await write_piece(start, buffer.data(), buffer.size(), flags);
}

Task<Result<void>> NbdNode::write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) {
    if (read_only())
        co_return failed(EPERM, "write zeroes", offset);
    if (!server_.zero || !aligned(offset, length) || ((flags & kNoFallback) && !server_.fast_zero))
        co_return co_await BlockNode::write_zeroes(offset, length, flags);
    std::uint32_t nbd_flags = flags & kMayUnmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE;
    if ((flags & kFua) && server_.fua)
        nbd_flags |= LIBNBD_CMD_FLAG_FUA;
    if (flags & kNoFallback)
        nbd_flags |= LIBNBD_CMD_FLAG_FAST_ZERO;
    for (std::uint64_t at = 0; at < length;) {
        const std::uint64_t piece = std::min(length - at, kMaxRange);
        NbdConnection::Command command(*connection_);
        connection_->issued(context(), command,
                            connection_->lib().aio_zero(connection_->handle(), piece, offset + at, command.completion(),
                                                        nbd_flags));
        if (const int error = co_await command; error != 0)
            co_return failed(error, "write zeroes", offset + at);
        at += piece;
    }
    co_return Result<void>{};
}

Task<Result<void>> NbdNode::discard(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t start = round_up(offset, server_.alignment);
    const std::uint64_t end = (offset + length) / server_.alignment * server_.alignment;
    for (std::uint64_t at = start; server_.trim && !read_only() && at < end;) {
        const std::uint64_t piece = std::min(end - at, kMaxRange);
        NbdConnection::Command command(*connection_);
        connection_->issued(context(), command,
                            connection_->lib().aio_trim(connection_->handle(), piece, at, command.completion(), 0));
        if (const int error = co_await command; error != 0)
            co_return failed(error, "discard", at);
        at += piece;
    }
    co_return Result<void>{};
}

Task<Result<void>> NbdNode::flush() {
    if (!server_.flush)
        co_return Result<void>{};
    NbdConnection::Command command(*connection_);
    connection_->issued(context(), command, connection_->lib().aio_flush(connection_->handle(), command.completion(), 0));
    if (const int error = co_await command; error != 0)
        co_return failed(error, "flush", 0);
    co_return Result<void>{};
}

namespace {

/// The first range that the server describes.
struct Status {
    std::uint32_t length = 0, flags = 0;

    static int entries(void *user, const char *, std::uint64_t, std::uint32_t *entries, std::size_t count, int *) {
        auto &status = *static_cast<Status *>(user);
        if (count < 2 || status.length != 0)
            return 0;
        status.length = entries[0];
        status.flags = entries[1];
        for (std::size_t i = 2; i + 1 < count && entries[i + 1] == status.flags; i += 2)
            if (entries[i] <= UINT32_MAX - status.length)
                status.length += entries[i];
        return 0;
    }
};

constexpr std::uint32_t kStateHole = 1, kStateZero = 2;

} // namespace

Task<Result<Extent>> NbdNode::block_status(std::uint64_t offset, std::uint64_t length) {
    Extent extent;
    extent.length = length;
    extent.data = extent.allocated = true;
    extent.host_offset = offset;
    extent.file = this;
    if (!server_.status)
        co_return extent;
    const std::uint64_t start = offset - offset % server_.alignment;
    const std::uint64_t end = std::min(round_up(offset + std::min(length, kMaxRange), server_.alignment), server_.size);
    Status status;
    nbd_extent_callback callback{};
    callback.callback = Status::entries;
    callback.user_data = &status;
    NbdConnection::Command command(*connection_);
    connection_->issued(context(), command,
                        connection_->lib().aio_block_status(connection_->handle(), end - start, start, callback,
                                                            command.completion(), 0));
    if (const int error = co_await command; error != 0)
        co_return failed(error, "get the block status", offset);
    if (status.length <= offset - start)
        co_return failed(EIO, "understand the server's block status", offset);
    extent.length = std::min<std::uint64_t>(length, status.length - (offset - start));
    extent.data = !(status.flags & kStateHole);
    extent.zero = status.flags & kStateZero;
    if (!extent.data && !extent.zero)
        extent.data = true; // a hole whose contents are not known has to be read
    co_return extent;
}

Task<Result<NodeInfo>> NbdNode::info() {
    NodeInfo info;
    info.format = driver();
    info.filename = address_.text();
    info.virtual_size = server_.size;
    co_return info;
}

Task<Result<void>> NbdNode::close() {
    connection_->disconnect();
    co_return Result<void>{};
}

namespace {

constexpr std::string_view kSchemes[] = {"nbd", "nbd+tcp", "nbd+unix", "nbds", "nbds+tcp", "nbds+unix"};
constexpr OptionDescription kOpenOptions[] = {
    {"server.type", "str", "inet or unix", ""},
    {"server.host", "str", "the server's host name or address (inet)", ""},
    {"server.port", "str", "the server's port (inet)", "10809"},
    {"server.path", "str", "the server's socket (unix)", ""},
    {"export", "str", "the export's name", "the default export"},
    {"reconnect-delay", "int", "only 0: a connection that is lost stays lost", "0"},
};

Task<Result<std::shared_ptr<BlockNode>>> open(OpenRequest request) {
    auto address = NbdAddress::take(request.options, request.filename);
    if (!address)
        co_return util::fail(address.error());
    const std::string reconnect = request.options.take("reconnect-delay").value_or("0");
    if (reconnect != "0")
        co_return util::fail(util::Error("reconnect-delay={} is not supported: a connection that is lost stays lost", reconnect)
                                 .with_code(ENOTSUP));
    if (auto known = finish_options(request.options, kOpenOptions); !known)
        co_return util::fail(known.error());
    const NbdAddress where = *address;
    auto connecting = NbdConnection::open(request.context, where);
    auto connection = co_await connecting;
    if (!connection)
        co_return util::fail(connection.error());
    auto node = std::make_shared<NbdNode>(request.context, *connection, where);
    if (node->export_is_read_only() && !request.flags.read_only && !request.flags.auto_read_only)
        co_return util::fail(util::Error("the export '{}' is read-only; add readonly=on", where.text()).with_code(EACCES));
    node->set_read_only(request.flags.read_only || node->export_is_read_only());
    co_return std::shared_ptr<BlockNode>(node);
}

} // namespace

const BlockDriver kNbdDriver = {
    .name = "nbd",
    .is_protocol = true,
    .schemes = kSchemes,
    .open = open,
    .open_options = kOpenOptions,
};

} // namespace rhea::block
