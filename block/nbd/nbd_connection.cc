#include "block/nbd/nbd_connection.h"

#include <netdb.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace rhea::block {

namespace {

using Connection = std::shared_ptr<NbdConnection>;
using util::EventLoop;

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;
};

/// All addresses of a host. Blocks.
std::vector<SocketAddress> resolve(const std::string &host, const std::string &port, std::string &why) {
    addrinfo hints{}, *list = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    std::vector<SocketAddress> addresses;
    if (const int code = getaddrinfo(host.c_str(), port.c_str(), &hints, &list); code != 0) {
        why = gai_strerror(code);
        return addresses;
    }
    for (const addrinfo *each = list; each; each = each->ai_next) {
        SocketAddress address;
        std::memcpy(&address.storage, each->ai_addr, each->ai_addrlen);
        address.length = each->ai_addrlen;
        addresses.push_back(address);
    }
    freeaddrinfo(list);
    return addresses;
}

} // namespace

NbdConnection::~NbdConnection() {
    if (handle_)
        lib_->close(handle_);
}

util::Failure NbdConnection::error(const std::string &where) const {
    const char *message = lib_->get_error();
    const int code = lib_->get_errno();
    std::string_view text = message ? message : "no reason is known";
    // libnbd puts the name of its function in front.
    if (const auto colon = text.find(": "); text.starts_with("nbd_") && colon != std::string_view::npos)
        text.remove_prefix(colon + 2);
    return util::fail(util::Error("cannot connect to '{}': {}", where, text).with_code(code > 0 ? code : ECONNREFUSED));
}

Task<util::Result<Connection>> NbdConnection::open(IoContext &context, NbdAddress address) {
    auto lib = LibNbd::load();
    if (!lib)
        co_return util::fail(lib.error());
    const std::string where = address.text();
    std::vector<SocketAddress> addresses(1);
    std::string why;
    if (address.socket_path.empty()) {
        std::function<std::int64_t()> work = [&] {
            addresses = resolve(address.host, address.port, why);
            return 0;
        };
        auto resolving = context.in_pool(std::move(work));
        co_await resolving;
        if (addresses.empty())
            co_return util::fail(util::Error("cannot connect to '{}': {}", where, why).with_code(EHOSTUNREACH));
    }
    util::Error last("");
    for (const SocketAddress &each : addresses) { // a handle connects once
        Connection connection(new NbdConnection(**lib));
        connection->handle_ = (*lib)->create();
        if (!connection->handle_ || (*lib)->set_export_name(connection->handle_, address.export_name.c_str()) < 0 ||
            (*lib)->add_meta_context(connection->handle_, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0)
            co_return connection->error(where);
        const int begun =
            address.socket_path.empty()
                ? (*lib)->aio_connect(connection->handle_, reinterpret_cast<const sockaddr *>(&each.storage), each.length)
                : (*lib)->aio_connect_unix(connection->handle_, address.socket_path.c_str());
        if (begun < 0) {
            last = connection->error(where).value();
            continue;
        }
        auto done = co_await connection->handshake(context, where);
        if (done)
            co_return connection;
        last = done.error();
    }
    co_return util::fail(last);
}

Task<util::Result<void>> NbdConnection::handshake(IoContext &context, const std::string &where) {
    while (lib_->aio_is_connecting(handle_)) {
        const unsigned direction = lib_->aio_get_direction(handle_);
        unsigned events = 0;
        if (direction & LIBNBD_AIO_DIRECTION_READ)
            events |= EventLoop::kReadable;
        if (direction & LIBNBD_AIO_DIRECTION_WRITE)
            events |= EventLoop::kWritable;
        const unsigned ready = co_await context.wait_fd(lib_->aio_get_fd(handle_), events);
        const bool hangup = ready & EventLoop::kHangup;
        int failed = 0;
        if ((ready & EventLoop::kReadable) || (hangup && (direction & LIBNBD_AIO_DIRECTION_READ)))
            failed = lib_->aio_notify_read(handle_);
        else
            failed = lib_->aio_notify_write(handle_);
        if (failed < 0)
            co_return error(where);
    }
    if (lib_->aio_is_dead(handle_) || lib_->aio_is_closed(handle_))
        co_return error(where);
    co_return util::Result<void>{};
}

nbd_completion_callback NbdConnection::Command::completion() {
    nbd_completion_callback callback{};
    callback.user_data = this;
    callback.callback = [](void *user, int *error) {
        // Called inside libnbd: the waiter goes on later.
        auto &command = *static_cast<Command *>(user);
        command.error_ = *error;
        command.connection_->finished_.push_back(&command);
        return 1; // libnbd forgets the command
    };
    return callback;
}

void NbdConnection::issued(IoContext &context, Command &command, std::int64_t cookie) {
    if (cookie < 0) {
        // A refusal may have called back, too.
        std::erase(finished_, &command);
        const int code = lib_->get_errno();
        command.error_ = lib_->aio_is_dead(handle_) || code == 0 ? ENOTCONN : code;
        command.done_ = true;
        return;
    }
    ++in_flight_;
    if (!reading_) {
        reading_ = true;
        context.spawn(wait_for_replies(shared_from_this(), context));
    }
    start_writer(context);
}

void NbdConnection::start_writer(IoContext &context) {
    if (writing_ || !(lib_->aio_get_direction(handle_) & LIBNBD_AIO_DIRECTION_WRITE))
        return;
    writing_ = true;
    context.spawn(wait_for_room(shared_from_this(), context));
}

void NbdConnection::deliver() {
    while (!finished_.empty()) {
        std::vector<Command *> finished;
        finished.swap(finished_);
        for (Command *command : finished) {
            --in_flight_;
            command->done_ = true;
            if (command->waiter_)
                command->waiter_.resume();
        }
    }
}

Task<void> NbdConnection::wait_for_replies(Connection self, IoContext &context) {
    self->deliver();
    while (self->in_flight_ > 0) {
        const int fd = self->lib_->aio_get_fd(self->handle_);
        if (fd >= 0 && !self->lib_->aio_is_dead(self->handle_)) {
            const bool reads = self->lib_->aio_get_direction(self->handle_) & LIBNBD_AIO_DIRECTION_READ;
            co_await context.wait_fd(fd, reads ? EventLoop::kReadable : EventLoop::kWritable);
            // What went wrong comes back as the error of each command.
            if (self->lib_->aio_get_direction(self->handle_) & LIBNBD_AIO_DIRECTION_READ)
                self->lib_->aio_notify_read(self->handle_);
        } else {
            co_await context.sleep(1'000'000); // dead: libnbd has ended all commands, which deliver() tells them
        }
        self->start_writer(context);
        self->deliver();
    }
    self->reading_ = false;
}

Task<void> NbdConnection::wait_for_room(Connection self, IoContext &context) {
    while (self->lib_->aio_get_direction(self->handle_) & LIBNBD_AIO_DIRECTION_WRITE) {
        const int fd = self->lib_->aio_get_fd(self->handle_);
        if (fd < 0)
            break;
        co_await context.wait_fd(fd, EventLoop::kWritable);
        if (self->lib_->aio_get_direction(self->handle_) & LIBNBD_AIO_DIRECTION_WRITE)
            self->lib_->aio_notify_write(self->handle_);
    }
    self->writing_ = false;
    self->deliver();
}

void NbdConnection::disconnect() {
    if (!lib_->aio_is_dead(handle_) && !lib_->aio_is_closed(handle_))
        lib_->aio_disconnect(handle_, 0);
}

} // namespace rhea::block
