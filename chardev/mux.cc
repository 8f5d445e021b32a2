#include "rhea/chardev/mux.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "rhea/core/machine_lock.h"

namespace rhea::chardev {
namespace {

std::int64_t now_ms() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

struct EscapeCommand {
    char letter;
    std::string_view help;
};
constexpr std::array kCommands{
    EscapeCommand{'h', "list these keys"},
    EscapeCommand{'x', "leave the emulator"},
    EscapeCommand{'s', "commit what -snapshot holds to the images"},
    EscapeCommand{'t', "timestamps in front of lines: on, off"},
    EscapeCommand{'b', "a break on the serial line (Linux: SysRq)"},
    EscapeCommand{'c', "the next of those who share this terminal"},
};

/// The escape character as a person types it: "C-a".
std::string key_name(std::uint8_t escape) {
    return escape >= 1 && escape <= 26 ? fmt::format("C-{}", static_cast<char>('a' + escape - 1))
                                       : fmt::format("escape-char {:#x}", escape);
}

}  // namespace

// ---- ports ----------------------------------------------------------------------------------

std::size_t MuxPort::write(std::span<const std::uint8_t> bytes) {
    return mux_.timestamps_ ? mux_.write_with_time(bytes) : mux_.chardev_.write(bytes);
}

void MuxPort::set_front_end(FrontEnd front_end) {
    front_end_ = std::move(front_end);
    if (mux_.chardev_.connected() && front_end_.on_connection) {
        front_end_.on_connection(true);
    }
    accept_input();
}

void MuxPort::accept_input() {
    mux_.pump(*this);
    mux_.chardev_.accept_input();
}

bool MuxPort::focused() const {
    return mux_.ports_[mux_.focused_].get() == this;
}

// ---- the multiplexer ------------------------------------------------------------------------

Mux::Mux(Chardev& chardev, std::uint8_t escape, std::function<void()> quit)
    : chardev_(chardev), escape_(escape), quit_(std::move(quit)) {
    core::CharBackend::FrontEnd front_end;
    front_end.can_receive = [this] { return room(); };
    front_end.receive = [this](std::span<const std::uint8_t> bytes) { receive(bytes); };
    front_end.on_writable = [this] {
        for (const auto& port : ports_) {
            if (port->front_end_.on_writable) {
                port->front_end_.on_writable();
            }
        }
    };
    front_end.on_connection = [this](bool opened) {
        for (const auto& port : ports_) {
            if (port->front_end_.on_connection) {
                port->front_end_.on_connection(opened);
            }
        }
    };
    front_end.on_break = [this] {
        if (!ports_.empty() && ports_[focused_]->front_end_.on_break) {
            ports_[focused_]->front_end_.on_break();
        }
    };
    chardev_.set_front_end(std::move(front_end));
}

Mux::~Mux() {
    chardev_.set_front_end({});
}

util::Result<MuxPort*> Mux::add_port() {
    if (ports_.size() == kMaxPorts) {
        return util::fail("chardev '{}' has {} users; no more fit on one multiplexer",
                          chardev_.id(), kMaxPorts);
    }
    ports_.push_back(std::make_unique<MuxPort>(*this));
    return ports_.back().get();
}

void Mux::focus(MuxPort& port) {
    const auto found = std::find_if(ports_.begin(), ports_.end(),
                                    [&](const auto& entry) { return entry.get() == &port; });
    const auto index = static_cast<std::size_t>(found - ports_.begin());
    if (found == ports_.end() || index == focused_) {
        return;
    }
    MuxPort& former = *ports_[focused_];
    focused_ = index;
    if (former.on_focus_) {
        former.on_focus_(false);
    }
    if (port.on_focus_) {
        port.on_focus_(true);
    }
    pump(port);
}

std::size_t Mux::room() const {
    // The escape character must get through even when the guest reads nothing.
    return ports_.empty() ? 0 : std::max<std::size_t>(1, kMaxWaiting - ports_[focused_]->waiting_.size());
}

void Mux::receive(std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) {
        if (escaped_) {
            escaped_ = false;
            command(byte);
        } else if (byte == escape_) {
            escaped_ = true;
        } else {
            give(byte);
        }
    }
    pump(*ports_[focused_]);
}

void Mux::give(std::uint8_t byte) {
    MuxPort& port = *ports_[focused_];
    if (port.waiting_.size() < kMaxWaiting) {
        port.waiting_.push_back(byte);
    }
}

void Mux::pump(MuxPort& port) {
    if (!port.front_end_.receive) {
        return;
    }
    while (!port.waiting_.empty()) {
        std::array<std::uint8_t, 256> chunk;
        const std::size_t room = port.front_end_.can_receive ? port.front_end_.can_receive() : 0;
        const std::size_t count = std::min({room, chunk.size(), port.waiting_.size()});
        if (count == 0) {
            return;
        }
        std::copy_n(port.waiting_.begin(), count, chunk.begin());
        port.waiting_.erase(port.waiting_.begin(),
                            port.waiting_.begin() + static_cast<std::ptrdiff_t>(count));
        port.front_end_.receive(std::span(chunk.data(), count));
    }
}

void Mux::command(std::uint8_t letter) {
    if (letter == escape_) {
        give(escape_);
        return;
    }
    switch (letter) {
        case 'h':
        case '?': {
            const std::string key = key_name(escape_);
            std::string text = "\r\n";
            for (const EscapeCommand& entry : kCommands) {
                text += fmt::format("{} {}    {}\r\n", key, entry.letter, entry.help);
            }
            text += fmt::format("{} {}  sends {}\r\n", key, key, key);
            print(text);
            break;
        }
        case 'x':
            print("Rhea: Terminated\r\n");
            quit_();
            break;
        case 's':
            print("Rhea: there is no disk whose data could be saved\r\n");
            break;
        case 't':
            timestamps_ = !timestamps_;
            first_stamp_ms_ = -1;
            line_start_ = true;
            break;
        case 'b':
            if (ports_[focused_]->front_end_.on_break) {
                ports_[focused_]->front_end_.on_break();
            }
            break;
        case 'c':
            focus(*ports_[(focused_ + 1) % ports_.size()]);
            break;
        default:
            break;  // an unknown letter is dropped with its escape
    }
}

void Mux::print(std::string_view text) {
    chardev_.write({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::size_t Mux::write_with_time(std::span<const std::uint8_t> bytes) {
    std::size_t done = 0;
    for (const std::uint8_t byte : bytes) {
        if (line_start_) {
            const std::int64_t now = now_ms();
            if (first_stamp_ms_ < 0) {
                first_stamp_ms_ = now;
            }
            const std::int64_t ms = now - first_stamp_ms_;
            print(fmt::format("[{:02}:{:02}:{:02}.{:03}] ", ms / 3'600'000, ms / 60'000 % 60,
                              ms / 1000 % 60, ms % 1000));
            line_start_ = false;
        }
        if (chardev_.write({&byte, 1}) == 0) {
            break;
        }
        ++done;
        line_start_ = byte == '\n';
    }
    return done;
}

}  // namespace rhea::chardev
