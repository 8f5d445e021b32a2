#include "block/nbd/nbd_address.h"

#include <cerrno>

namespace rhea::block {

namespace {

util::Failure refuse(std::string sentence) { return util::fail(util::Error(std::move(sentence)).with_code(EINVAL)); }

int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string unescape(std::string_view text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool escaped = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
        plain += escaped ? static_cast<char>(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2])) : text[i];
        i += escaped ? 2 : 0;
    }
    return plain;
}

std::string escape(std::string_view text) {
    std::string escaped;
    for (const char c : text)
        if (c == '%' || c == '?' || c == '#' || c == '&' || static_cast<unsigned char>(c) <= ' ')
            escaped += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        else
            escaped += c;
    return escaped;
}

/// "host:port", "[::1]:port", "host".
util::Result<void> set_host(NbdAddress &address, std::string_view text, const std::string &name) {
    std::string_view rest;
    if (text.starts_with('[')) {
        const auto end = text.find(']');
        if (end == std::string_view::npos)
            return refuse(fmt::format("'{}': the address in brackets has no end", name));
        address.host = text.substr(1, end - 1);
        rest = text.substr(end + 1);
    } else {
        const auto colon = text.find(':');
        address.host = text.substr(0, colon);
        rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
    }
    if (rest.starts_with(':') && rest.size() > 1)
        address.port = rest.substr(1);
    if (address.host.empty())
        address.host = "localhost";
    return {};
}

util::Result<NbdAddress> from_uri(std::string_view scheme, std::string_view rest, const std::string &name) {
    NbdAddress address;
    std::string_view query;
    if (const auto mark = rest.find('?'); mark != std::string_view::npos) {
        query = rest.substr(mark + 1);
        rest = rest.substr(0, mark);
    }
    const auto slash = rest.find('/');
    const std::string_view authority = rest.substr(0, slash);
    if (slash != std::string_view::npos)
        address.export_name = unescape(rest.substr(slash + 1));
    if (scheme == "nbd+unix") {
        if (!query.starts_with("socket=") || query.size() == 7)
            return refuse(fmt::format("'{}' names no socket; write nbd+unix:///EXPORT?socket=PATH", name));
        address.socket_path = unescape(query.substr(7));
        return address;
    }
    if (!query.empty())
        return refuse(fmt::format("'{}': a TCP address takes nothing behind '?'", name));
    if (auto set = set_host(address, authority, name); !set)
        return util::fail(set.error());
    return address;
}

} // namespace

util::Result<NbdAddress> NbdAddress::from_name(const std::string &name) {
    std::string_view text = name;
    if (text.starts_with("nbds:") || text.starts_with("nbds+"))
        return refuse(fmt::format("'{}': encrypted NBD (TLS) is not supported", name));
    for (const std::string_view scheme : {"nbd", "nbd+tcp", "nbd+unix"}) {
        const std::string front = std::string(scheme) + "://";
        if (text.starts_with(front))
            return from_uri(scheme, text.substr(front.size()), name);
    }
    if (!text.starts_with("nbd:"))
        return refuse(fmt::format("'{}' is no NBD address; write nbd://HOST:PORT/EXPORT", name));
    text.remove_prefix(4);
    NbdAddress address;
    if (const auto mark = text.find(":exportname="); mark != std::string_view::npos) {
        address.export_name = text.substr(mark + 12);
        text = text.substr(0, mark);
    }
    if (text.starts_with("unix:")) {
        address.socket_path = text.substr(5);
        if (address.socket_path.empty())
            return refuse(fmt::format("'{}' names no socket", name));
        return address;
    }
    if (auto set = set_host(address, text, name); !set)
        return util::fail(set.error());
    return address;
}

util::Result<NbdAddress> NbdAddress::take(NodeOptions &options, const std::string &name) {
    if (options.has("tls-creds") || options.has("tls-hostname"))
        return refuse("tls-creds=: encrypted NBD (TLS) is not supported");
    NbdAddress address;
    if (!name.empty()) {
        auto parsed = from_name(name);
        if (!parsed)
            return parsed;
        address = std::move(*parsed);
    }
    NodeOptions server = options.take_child("server");
    const std::string type = server.take("type").value_or("");
    if (!type.empty() && type != "inet" && type != "unix")
        return refuse(fmt::format("server.type={} is not supported; it may be inet or unix", type));
    // The old spelling has no "server." in front.
    const auto either = [&](std::string_view key) {
        auto value = server.take(key);
        auto old = options.take(key);
        return value ? value : old;
    };
    if (auto path = either("path"))
        address.socket_path = *path;
    if (auto host = either("host"))
        address.host = *host;
    if (auto port = either("port"))
        address.port = *port;
    if (auto export_name = options.take("export"))
        address.export_name = *export_name;
    if (auto known = server.finish({"type", "path", "host", "port"}); !known)
        return util::fail(known.error());
    if (address.socket_path.empty() == address.host.empty())
        return refuse("an NBD server needs either server.type=unix,server.path=… or server.type=inet,server.host=…");
    return address;
}

std::string NbdAddress::text() const {
    if (!socket_path.empty())
        return fmt::format("nbd+unix:///{}?socket={}", escape(export_name), escape(socket_path));
    const std::string place = host.find(':') == std::string::npos ? host : "[" + host + "]";
    return fmt::format("nbd://{}:{}{}{}", place, port, export_name.empty() ? "" : "/", escape(export_name));
}

} // namespace rhea::block
