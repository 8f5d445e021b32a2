#include "rhea/chardev/chardev_set.h"

#include <fmt/format.h>

#include <array>

#include "chardev/backends.h"
#include "rhea/core/machine_lock.h"
#include "rhea/util/nearest_name.h"

namespace rhea::chardev {

std::span<const Backend> backend_table() {
    static const std::array<Backend, 8> kBackends{{
        {"null", "takes everything, gives nothing", make_null, {}},
        {"stdio", "the terminal: signal=on|off", make_stdio, {"signal"}},
        {"file", "a file: path=, append=on|off, input-path=", make_file,
         {"path", "append", "input-path"}},
        {"pipe", "named pipes path.in and path.out: path=", make_pipe, {"path"}},
        {"pty", "a new pseudo-terminal, whose path is printed", make_pty, {}},
        {"socket",
         "a TCP or unix socket: host=, port=, path=, server=on|off, wait=on|off, reconnect=",
         make_socket,
         {"host", "port", "to", "ipv4", "ipv6", "path", "abstract", "tight", "server", "wait",
          "nowait", "nodelay", "delay", "reconnect", "telnet", "websocket"}},
        {"ringbuf", "the last bytes in memory: size=", make_ringbuf, {"size"}},
        {"vc", "a text window; without a display, nothing", make_vc,
         {"width", "height", "cols", "rows"}},
    }};
    return kBackends;
}

namespace {

util::Result<util::OptionList> refuse_backend(std::string_view name, std::string_view why) {
    return util::fail("character device '{}' {}", name, why);
}

/// Doubles the commas of a value that goes into an option text.
std::string escaped(std::string_view value) {
    std::string text;
    for (const char c : value) {
        text += c;
        if (c == ',') {
            text += c;
        }
    }
    return text;
}

/// "host:port[,options]" as "host=...,port=...[,options]"; an IPv6 address stands in brackets.
util::Result<std::string> expand_tcp(std::string_view text) {
    const std::string_view address = text.substr(0, text.find(','));
    const std::string_view rest = text.substr(address.size());
    const std::size_t colon = address.rfind(':');
    if (colon == std::string_view::npos || colon + 1 == address.size()) {
        return util::fail("'tcp:{}' lacks a port; write tcp:HOST:PORT", text);
    }
    std::string_view host = address.substr(0, colon);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    return fmt::format("socket,host={},port={}{}", host, address.substr(colon + 1), rest);
}

struct ShortForm {
    std::string_view prefix;
    std::string_view expansion;  ///< what replaces the prefix; empty: refused
};
constexpr std::array kShortForms{
    ShortForm{"file:", "file,path="},     ShortForm{"pipe:", "pipe,path="},
    ShortForm{"unix:", "socket,path="},   ShortForm{"telnet:", ""},
    ShortForm{"websocket:", ""},          ShortForm{"udp:", ""},
    ShortForm{"con:", ""},                ShortForm{"COM", ""},
    ShortForm{"/dev/", ""},
};
constexpr std::array<std::string_view, 9> kShortNames{
    "stdio", "null", "none", "pty", "vc", "mon:stdio", "file:PATH", "unix:PATH", "tcp:HOST:PORT"};

}  // namespace

util::Result<util::OptionList> expand_short_form(std::string_view text, const std::string& id) {
    const std::string suffix = ",id=" + escaped(id);
    const auto parse = [&](std::string options) {
        return util::OptionList::parse(options + suffix, "backend");
    };
    if (text == "stdio" || text == "null" || text == "pty" || text == "vc" || text == "ringbuf") {
        return parse(std::string(text));
    }
    if (text.starts_with("vc:")) {
        return parse("vc");  // the rest is the size of its window
    }
    if (text.starts_with("tcp:")) {
        auto expanded = expand_tcp(text.substr(4));
        if (!expanded) {
            return util::fail(expanded.error());
        }
        return parse(std::move(*expanded));
    }
    for (const ShortForm& form : kShortForms) {
        if (!text.starts_with(form.prefix)) {
            continue;
        }
        if (form.expansion.empty()) {
            return refuse_backend(text, "is of a kind that this version of Rhea does not have; "
                                        "it has stdio, null, pty, file:, pipe:, unix:, tcp:");
        }
        return parse(std::string(form.expansion) + std::string(text.substr(form.prefix.size())));
    }
    if (const auto nearest = util::nearest_name(text, kShortNames)) {
        return refuse_backend(text, fmt::format("is unknown; did you mean '{}'?", *nearest));
    }
    return refuse_backend(text, "is unknown; it may be stdio, null, none, pty, vc, file:PATH, "
                                "pipe:PATH, unix:PATH, tcp:HOST:PORT or chardev:ID");
}

ChardevSet::ChardevSet(util::EventLoop& loop, Hooks hooks) : loop_(loop), hooks_(std::move(hooks)) {}

ChardevSet::~ChardevSet() {
    const core::MachineLockGuard lock;
    entries_.clear();
}

std::span<const BackendInfo> ChardevSet::backends() {
    static const std::vector<BackendInfo> kInfos = [] {
        std::vector<BackendInfo> infos;
        for (const Backend& backend : backend_table()) {
            infos.push_back({backend.name, backend.help});
        }
        return infos;
    }();
    return kInfos;
}

util::Result<Chardev*> ChardevSet::add(util::OptionList options) {
    const std::string name = options.take("backend").value_or("");
    const std::string id = options.take("id").value_or("");
    std::vector<std::string_view> names;
    const Backend* backend = nullptr;
    for (const Backend& candidate : backend_table()) {
        names.push_back(candidate.name);
        if (candidate.name == name) {
            backend = &candidate;
        }
    }
    if (!backend) {
        const auto nearest = util::nearest_name(name, names);
        return util::fail("unknown chardev backend '{}'; {}", name,
                          nearest ? fmt::format("did you mean '{}'?", *nearest)
                                  : "-chardev help lists them");
    }
    if (id.empty()) {
        return util::fail("a chardev needs id=");
    }
    if (entry(id)) {
        return util::fail("chardev id '{}' is taken; ids are unique", id);
    }
    const auto mux = options.take_bool("mux", false);
    const auto log_append = options.take_bool("logappend", false);
    if (!mux || !log_append) {
        return util::fail(!mux ? mux.error() : log_append.error());
    }
    const auto log_file = options.take("logfile");
    std::vector<std::string_view> known = backend->keys;
    known.insert(known.end(), {"id", "mux", "logfile", "logappend"});

    const core::MachineLockGuard lock;
    // Keys are checked before the backend opens anything: a refusal leaves no trace.
    util::OptionList unknown_keys = options;
    for (const std::string_view key : backend->keys) {
        unknown_keys.take(key);
        unknown_keys.take("no" + std::string(key));
    }
    for (const char* key : {"tls-creds", "tls-authz", "fd", "tn3270"}) {
        unknown_keys.take(key);  // refused by the backend, with its reason
    }
    if (auto done = unknown_keys.finish(known); !done) {
        return util::fail(done.error());
    }
    auto created = backend->create({loop_, hooks_.announce}, id, options);
    if (!created) {
        return util::fail(created.error());
    }
    auto added = std::make_unique<Entry>();
    added->chardev = std::move(*created);
    if (log_file) {
        if (auto done = added->chardev->open_log(*log_file, *log_append); !done) {
            return util::fail(done.error());
        }
    }
    if (*mux) {
        added->mux = std::make_unique<Mux>(*added->chardev, escape_, hooks_.quit);
    }
    entries_.push_back(std::move(added));
    return entries_.back()->chardev.get();
}

util::Result<core::CharBackend*> ChardevSet::open_short(std::string_view text,
                                                        const std::string& id,
                                                        bool* with_monitor) {
    if (text == "none") {
        return nullptr;
    }
    if (text.starts_with("chardev:")) {
        return claim(text.substr(8));
    }
    std::string extra;
    if (text.starts_with("mon:")) {
        if (!with_monitor) {
            return util::fail("'{}': mon: makes no sense here", text);
        }
        *with_monitor = true;
        text.remove_prefix(4);
        // With the monitor on the terminal Ctrl-C belongs to the guest.
        extra = text == "stdio" ? "stdio,signal=off,mux=on" : "";
    }
    auto options = extra.empty() ? expand_short_form(text, id)
                                 : util::OptionList::parse(extra + ",id=" + escaped(id), "backend");
    if (!options) {
        return util::fail(options.error());
    }
    if (with_monitor && *with_monitor && extra.empty()) {
        options->add("mux", "on");
    }
    auto added = add(std::move(*options));
    if (!added) {
        return util::fail(added.error());
    }
    return claim(id);
}

util::Result<core::CharBackend*> ChardevSet::claim(std::string_view id) {
    Entry* found = entry(id);
    if (!found) {
        std::vector<std::string_view> ids;
        for (const auto& candidate : entries_) {
            ids.push_back(candidate->chardev->id());
        }
        const auto nearest = util::nearest_name(id, ids);
        return util::fail("there is no chardev '{}'; {}", id,
                          nearest ? fmt::format("did you mean '{}'?", *nearest)
                                  : fmt::format("add -chardev ...,id={}", id));
    }
    if (found->mux) {
        const core::MachineLockGuard lock;
        auto port = found->mux->add_port();
        if (!port) {
            return util::fail(port.error());
        }
        return *port;
    }
    if (found->claimed) {
        return util::fail("chardev '{}' is in use; mux=on lets several share it", id);
    }
    found->claimed = true;
    return found->chardev.get();
}

ChardevSet::Entry* ChardevSet::entry(std::string_view id) {
    for (const auto& candidate : entries_) {
        if (candidate->chardev->id() == id) {
            return candidate.get();
        }
    }
    return nullptr;
}

Chardev* ChardevSet::find(std::string_view id) {
    Entry* found = entry(id);
    return found ? found->chardev.get() : nullptr;
}

std::vector<const Chardev*> ChardevSet::all() const {
    std::vector<const Chardev*> chardevs;
    for (const auto& candidate : entries_) {
        chardevs.push_back(candidate->chardev.get());
    }
    return chardevs;
}

void ChardevSet::close() {
    const core::MachineLockGuard lock;
    for (const auto& candidate : entries_) {
        candidate->chardev->flush();
    }
    restore_terminal();
}

}  // namespace rhea::chardev
