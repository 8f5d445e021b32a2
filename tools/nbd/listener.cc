#include "tools/nbd/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rhea::nbd {
namespace {

using block::Task;
using util::fail;
using util::Result;

constexpr int kBacklog = 16;
/// How long to leave the listening socket alone when the process is out of descriptors.
constexpr std::int64_t kPauseNs = 100'000'000;

Result<int> listen_unix(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (path.size() >= sizeof name.sun_path) {
        return fail("the socket's path '{}' is too long: {} bytes are possible", path, sizeof name.sun_path - 1);
    }
    std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fail("cannot make a socket: {}", std::strerror(errno));
    }
    struct stat there {};
    if (lstat(path.c_str(), &there) == 0 && S_ISSOCK(there.st_mode)) {
        // Somebody may still listen there; only a socket that nobody answers at is stale.
        if (connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0) {
            close(fd);
            return fail("'{}' is in use: another server listens there", path);
        }
        unlink(path.c_str());
    }
    if (bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 || listen(fd, kBacklog) != 0) {
        const int error = errno;
        close(fd);
        return fail("cannot listen on '{}': {}", path, std::strerror(error));
    }
    return fd;
}

Result<int> listen_tcp(const std::string& host, const std::string& port) {
    addrinfo wanted{};
    wanted.ai_flags = AI_PASSIVE;
    wanted.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &wanted, &found)) {
        return fail("cannot find the address {}:{}: {}", host, port, gai_strerror(error));
    }
    int error = 0;
    for (const addrinfo* entry = found; entry; entry = entry->ai_next) {
        const int fd = socket(entry->ai_family, entry->ai_socktype | SOCK_CLOEXEC, entry->ai_protocol);
        if (fd < 0) {
            error = errno;
            continue;
        }
        const int on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, entry->ai_addr, entry->ai_addrlen) == 0 && listen(fd, kBacklog) == 0) {
            freeaddrinfo(found);
            return fd;
        }
        error = errno;
        close(fd);
    }
    freeaddrinfo(found);
    return fail("cannot listen on {}:{}: {}", host, port, std::strerror(error));
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::open(block::IoContext& context, const Address& address,
                                                 const Export& exported) {
    const auto fd = address.unix_path.empty() ? listen_tcp(address.host, address.port)
                                              : listen_unix(address.unix_path);
    if (!fd) {
        return fail(fd.error());
    }
    fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
    return std::unique_ptr<Listener>(new Listener(context, *fd, address.unix_path, exported));
}

Listener::~Listener() {
    close(fd_);
    if (!unix_path_.empty()) {
        unlink(unix_path_.c_str());
    }
}

Task<void> Listener::run(unsigned shared, bool persistent) {
    accepting_ = true;
    context_.spawn(accept_all(shared));
    while (!stopping_ || !clients_.empty() || accepting_) {
        co_await changed_.wait();
        if (!persistent && seen_one_ && clients_.empty()) {
            stop();
        }
    }
}

Task<void> Listener::accept_all(unsigned shared) {
    while (!stopping_) {
        if (shared && clients_.size() >= shared) {
            co_await changed_.wait();
            continue;
        }
        const int client = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
        if (client >= 0) {
            const int on = 1;
            setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            seen_one_ = true;
            context_.spawn(serve(client));
        } else if (errno == EAGAIN) {
            co_await context_.wait_fd(fd_, util::EventLoop::kReadable);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
            co_await context_.sleep(kPauseNs);
        } else if (stopping_ || (errno != EINTR && errno != ECONNABORTED)) {
            break;
        }
    }
    accepting_ = false;
    changed_.wake_all();
}

Task<void> Listener::serve(int client) {
    auto connection = std::make_shared<Connection>(context_, client, export_);
    clients_.push_back(connection);
    co_await connection->serve();
    clients_.remove(connection);
    changed_.wake_all();
}

void Listener::stop() {
    stopping_ = true;
    // Wakes accept_all(): a socket that listens no more is readable.
    shutdown(fd_, SHUT_RDWR);
    for (const auto& client : clients_) {
        client->shut_down();
    }
    changed_.wake_all();
}

}  // namespace rhea::nbd
