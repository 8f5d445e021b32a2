// Stream sockets, TCP and unix: as a server (one client at a time) or as a client that may reconnect.
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "chardev/backends.h"
#include "chardev/socket_address.h"
#include "chardev/stream_chardev.h"
#include "rhea/core/machine_lock.h"

namespace rhea::chardev {
namespace {

struct SocketSettings {
    SocketAddress address;
    bool server = false;
    bool wait = true;
    bool no_delay = false;
    unsigned reconnect_seconds = 0;
    unsigned last_port = 0;
};

class SocketChardev final : public StreamChardev {
  public:
    SocketChardev(std::string id, const BackendContext& context, SocketSettings settings)
        : StreamChardev(std::move(id), context.loop), context_(context),
          settings_(std::move(settings)) {}
    ~SocketChardev() override {
        close_stream();
        if (listener_ && settings_.address.is_unix() && !settings_.address.abstract_name) {
            ::unlink(settings_.address.path.c_str());
        }
    }

    util::Result<void> open() { return settings_.server ? open_server() : open_client(); }

    std::string describe() const override {
        return fmt::format("{}{}{}", connected() ? "" : "disconnected:", settings_.address.text(),
                           settings_.server ? ",server=on" : "");
    }

  private:
    util::Result<void> open_server() {
        auto listener = listen_on(settings_.address, settings_.last_port);
        if (!listener) {
            return util::fail(listener.error());
        }
        listener_ = std::move(*listener);
        if (settings_.wait) {
            context_.announce(fmt::format("info: waiting for connection on: {}", describe()));
            pollfd ready{listener_.get(), POLLIN, 0};
            while (!streaming()) {
                ::poll(&ready, 1, -1);
                accept_client();
            }
        } else {
            watch_listener();
        }
        return {};
    }

    void watch_listener() {
        watch_ = loop_.watch(listener_.get(), util::EventLoop::kReadable, [this](unsigned) {
            const core::MachineLockGuard lock;
            accept_client();
        });
    }

    void accept_client() {
        OwnedFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (client) {
            watch_.reset();  // others wait in the backlog until this one leaves
            start(std::move(client));
        }
    }

    void start(OwnedFd fd) {
        if (settings_.no_delay && !settings_.address.is_unix()) {
            const int on = 1;
            ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        fd_ = std::move(fd);
        open_stream(fd_.get(), fd_.get());
    }

    util::Result<void> open_client() {
        if (settings_.reconnect_seconds != 0) {
            try_connect();
            return {};
        }
        auto fd = connect_to(settings_.address);
        if (!fd) {
            return util::fail(fd.error());
        }
        start(std::move(*fd));
        return {};
    }

    void try_connect() {
        auto fd = begin_connect(settings_.address);
        if (!fd) {
            schedule_connect();
            return;
        }
        connecting_ = std::move(*fd);
        watch_ = loop_.watch(connecting_.get(), util::EventLoop::kWritable, [this](unsigned) {
            const core::MachineLockGuard lock;
            watch_.reset();
            OwnedFd done = std::move(connecting_);
            if (get_connect_error(done.get()) == 0) {
                start(std::move(done));
            } else {
                schedule_connect();
            }
        });
    }

    void schedule_connect() {
        timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
        itimerspec when{};
        when.it_value.tv_sec = settings_.reconnect_seconds;
        ::timerfd_settime(timer_.get(), 0, &when, nullptr);
        watch_ = loop_.watch(timer_.get(), util::EventLoop::kReadable, [this](unsigned) {
            const core::MachineLockGuard lock;
            watch_.reset();
            timer_.reset();
            try_connect();
        });
    }

    void stream_ended() override {
        close_stream();
        fd_.reset();
        set_connected(false);
        if (settings_.server) {
            watch_listener();
        } else if (settings_.reconnect_seconds != 0) {
            schedule_connect();
        }
    }

    BackendContext context_;
    SocketSettings settings_;
    OwnedFd listener_, fd_, connecting_, timer_;
    std::unique_ptr<util::EventLoop::Watch> watch_;
};

util::Result<void> refuse_absent(util::OptionList& options) {
    for (const char* key : {"telnet", "websocket", "tn3270"}) {
        const auto wanted = options.take_bool(key, false);
        if (!wanted) {
            return util::fail(wanted.error());
        }
        if (*wanted) {
            return util::fail("{}=on is not in this version of Rhea; use a plain socket", key);
        }
    }
    for (const char* key : {"tls-creds", "tls-authz", "fd"}) {
        if (options.take(key)) {
            return util::fail("{}= is not in this version of Rhea; use path= or host=,port=", key);
        }
    }
    return {};
}

util::Result<SocketAddress> take_address(util::OptionList& options) {
    SocketAddress address;
    address.path = options.take("path").value_or("");
    const auto abstract_name = options.take_bool("abstract", false);
    options.take_bool("tight", true).value();
    address.host = options.take("host").value_or("");
    address.port = options.take("port").value_or("");
    const auto ipv4 = options.take_bool("ipv4", false);
    const auto ipv6 = options.take_bool("ipv6", false);
    if (!abstract_name || !ipv4 || !ipv6) {
        return util::fail(!abstract_name ? abstract_name.error()
                                         : (!ipv4 ? ipv4.error() : ipv6.error()));
    }
    address.abstract_name = *abstract_name;
    address.ipv4 = *ipv4;
    address.ipv6 = *ipv6;
    if (address.path.empty() && address.port.empty()) {
        return util::fail("backend 'socket' needs path=, or host= and port=");
    }
    if (const auto number = util::parse_unsigned(address.port); number && *number > 65535) {
        return util::fail("port {} does not exist; ports go up to 65535", address.port);
    }
    if (!address.path.empty() && !address.port.empty()) {
        return util::fail("backend 'socket' takes path= or port=, not both");
    }
    return address;
}

}  // namespace

util::Result<std::unique_ptr<Chardev>> make_socket(const BackendContext& context, std::string id,
                                                   util::OptionList& options) {
    if (auto done = refuse_absent(options); !done) {
        return util::fail(done.error());
    }
    SocketSettings settings;
    auto address = take_address(options);
    if (!address) {
        return util::fail(address.error());
    }
    settings.address = std::move(*address);
    const auto server = options.take_bool("server", false);
    const bool wait_given = options.has("wait") || options.has("nowait");
    const auto wait = options.take_bool("wait", true);
    const auto no_delay = options.take_bool("nodelay", false);
    const auto delay = options.take_bool("delay", true);
    const auto reconnect = options.take_unsigned("reconnect", 0);
    const auto to = options.take_unsigned("to", 0);
    for (const auto* flag : {&server, &wait, &no_delay, &delay}) {
        if (!*flag) {
            return util::fail(flag->error());
        }
    }
    for (const auto* number : {&reconnect, &to}) {
        if (!*number) {
            return util::fail(number->error());
        }
    }
    if (*reconnect > 86400 || *to > 65535) {
        return util::fail("reconnect= takes up to 86400 seconds and to= up to port 65535");
    }
    settings.server = *server;
    settings.wait = *wait;
    settings.no_delay = *no_delay || !*delay;
    settings.reconnect_seconds = static_cast<unsigned>(*reconnect);
    settings.last_port = static_cast<unsigned>(*to);
    if (settings.server && settings.reconnect_seconds != 0) {
        return util::fail("reconnect= is for a client; a server socket takes new connections anyway");
    }
    if (!settings.server && wait_given) {
        return util::fail("wait= is for a server socket; add server=on or leave it out");
    }
    auto chardev = std::make_unique<SocketChardev>(std::move(id), context, std::move(settings));
    if (auto done = chardev->open(); !done) {
        return util::fail(done.error());
    }
    return chardev;
}

}  // namespace rhea::chardev
