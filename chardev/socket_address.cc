#include "chardev/socket_address.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "rhea/util/option_list.h"

namespace rhea::chardev {
namespace {

struct Endpoint {
    sockaddr_storage storage{};
    socklen_t length = 0;
    int family = 0;
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

util::Result<Endpoint> unix_endpoint(const SocketAddress& address) {
    Endpoint endpoint;
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::size_t skip = address.abstract_name ? 1 : 0;
    if (address.path.size() + skip >= sizeof name.sun_path) {
        return util::fail("no socket can be at {}: its path has more than {} bytes", address.path,
                          sizeof name.sun_path - 1);
    }
    std::memcpy(name.sun_path + skip, address.path.data(), address.path.size());
    std::memcpy(&endpoint.storage, &name, sizeof name);
    const std::size_t used = offsetof(sockaddr_un, sun_path) + skip + address.path.size();
    endpoint.length = static_cast<socklen_t>(address.abstract_name ? used : sizeof name);
    endpoint.family = AF_UNIX;
    return endpoint;
}

util::Result<std::vector<Endpoint>> resolve(const SocketAddress& address, const std::string& port,
                                            bool passive) {
    if (address.is_unix()) {
        auto endpoint = unix_endpoint(address);
        if (!endpoint) {
            return util::fail(endpoint.error());
        }
        return std::vector<Endpoint>{*endpoint};
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = address.ipv4 == address.ipv6 ? AF_UNSPEC : address.ipv4 ? AF_INET : AF_INET6;
    hints.ai_flags = passive ? AI_PASSIVE : 0;
    addrinfo* list = nullptr;
    const char* host = address.host.empty() ? (passive ? nullptr : "localhost")
                                            : address.host.c_str();
    const int error = ::getaddrinfo(host, port.c_str(), &hints, &list);
    if (error != 0) {
        return util::fail("cannot resolve {}:{}: {}", address.host, port, ::gai_strerror(error));
    }
    std::vector<Endpoint> endpoints;
    for (const addrinfo* info = list; info; info = info->ai_next) {
        Endpoint endpoint;
        std::memcpy(&endpoint.storage, info->ai_addr, info->ai_addrlen);
        endpoint.length = info->ai_addrlen;
        endpoint.family = info->ai_family;
        endpoints.push_back(endpoint);
    }
    ::freeaddrinfo(list);
    return endpoints;
}

OwnedFd make_socket_fd(int family, int flags) {
    return OwnedFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

/// A socket that a former run left behind is in the way; anything else that has the name stays.
void remove_stale_socket(const SocketAddress& address) {
    struct stat status{};
    if (address.is_unix() && !address.abstract_name &&
        ::lstat(address.path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) {
        ::unlink(address.path.c_str());
    }
}

OwnedFd try_listen(const Endpoint& endpoint) {
    OwnedFd fd = make_socket_fd(endpoint.family, SOCK_NONBLOCK);
    if (!fd) {
        return fd;
    }
    const int on = 1;
    if (endpoint.family == AF_INET6) {
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    if (endpoint.family != AF_UNIX) {
        ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (::bind(fd.get(), endpoint.get(), endpoint.length) != 0 || ::listen(fd.get(), 1) != 0) {
        const int error = errno;
        fd.reset();
        errno = error;
    }
    return fd;
}

std::string bound_port(int fd) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    char port[16] = "";
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
    ::getnameinfo(reinterpret_cast<sockaddr*>(&storage), length, nullptr, 0, port, sizeof port,
                  NI_NUMERICSERV);
    return port;
}

}  // namespace

std::string SocketAddress::text() const {
    return is_unix() ? "unix:" + path : fmt::format("tcp:{}:{}", host, port);
}

util::Result<OwnedFd> listen_on(SocketAddress& address, unsigned last_port) {
    remove_stale_socket(address);
    const auto first = util::parse_unsigned(address.port);
    std::uint64_t port = first.value_or(0);
    std::string port_text = address.port;
    int error = 0;
    do {
        auto endpoints = resolve(address, port_text, true);
        if (!endpoints) {
            return util::fail(endpoints.error());
        }
        for (const Endpoint& endpoint : *endpoints) {
            OwnedFd fd = try_listen(endpoint);
            if (fd) {
                if (!address.is_unix()) {
                    address.port = bound_port(fd.get());
                }
                return fd;
            }
            error = errno;
        }
        port_text = std::to_string(++port);
    } while (first && port <= last_port);
    return util::fail("cannot listen on {}: {}", address.text(), std::strerror(error));
}

util::Result<OwnedFd> connect_to(const SocketAddress& address) {
    auto endpoints = resolve(address, address.port, false);
    if (!endpoints) {
        return util::fail(endpoints.error());
    }
    int error = 0;
    for (const Endpoint& endpoint : *endpoints) {
        OwnedFd fd = make_socket_fd(endpoint.family, 0);
        if (fd && ::connect(fd.get(), endpoint.get(), endpoint.length) == 0) {
            ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
            return fd;
        }
        error = errno;
    }
    return util::fail("cannot connect to {}: {}", address.text(), std::strerror(error));
}

util::Result<OwnedFd> begin_connect(const SocketAddress& address) {
    auto endpoints = resolve(address, address.port, false);
    if (!endpoints) {
        return util::fail(endpoints.error());
    }
    const Endpoint& endpoint = endpoints->front();
    OwnedFd fd = make_socket_fd(endpoint.family, SOCK_NONBLOCK);
    if (!fd || (::connect(fd.get(), endpoint.get(), endpoint.length) != 0 && errno != EINPROGRESS)) {
        return util::fail("cannot connect to {}: {}", address.text(), std::strerror(errno));
    }
    return fd;
}

int get_connect_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

}  // namespace rhea::chardev
