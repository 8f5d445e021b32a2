// Addresses of stream sockets: resolving, listening, connecting, and their text.
#pragma once
#include <string>
#include <vector>

#include "chardev/stream_chardev.h"
#include "rhea/util/result.h"

namespace rhea::chardev {

struct SocketAddress {
    std::string path;        ///< unix socket; empty: TCP
    bool abstract_name = false;
    std::string host, port;  ///< TCP
    bool ipv4 = true, ipv6 = true;

    bool is_unix() const { return !path.empty(); }
    /// "unix:/tmp/s" or "tcp:127.0.0.1:4444".
    std::string text() const;
};

/// A listening socket, non-blocking. `last_port` > the port of `address`: tries the ports between,
/// and stores the one taken in `address`; port 0 is replaced by the one that the host chose.
util::Result<OwnedFd> listen_on(SocketAddress& address, unsigned last_port);
/// A connected socket; waits for the connection.
util::Result<OwnedFd> connect_to(const SocketAddress& address);
/// Begins to connect to the first address that the name resolves to; the socket is writable when it
/// is done (get_connect_error).
util::Result<OwnedFd> begin_connect(const SocketAddress& address);
/// errno of a finished begin_connect; 0: connected.
int get_connect_error(int fd);

}  // namespace rhea::chardev
