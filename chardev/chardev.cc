#include "rhea/chardev/chardev.h"

#include <cerrno>
#include <cstring>

namespace rhea::chardev {

Chardev::~Chardev() = default;

util::Result<void> Chardev::open_log(const std::string& path, bool append) {
    log_.reset(std::fopen(path.c_str(), append ? "ae" : "we"));
    if (!log_) {
        return util::fail("cannot open log file {}: {}", path, std::strerror(errno));
    }
    return {};
}

std::size_t Chardev::write(std::span<const std::uint8_t> bytes) {
    const std::size_t taken = send(bytes);
    if (log_) {
        std::fwrite(bytes.data(), 1, taken, log_.get());
        std::fflush(log_.get());
    }
    return taken;
}

void Chardev::set_front_end(FrontEnd front_end) {
    front_end_ = std::move(front_end);
    if (connected_ && front_end_.on_connection) {
        front_end_.on_connection(true);
    }
    accept_input();
}

std::size_t Chardev::room() const {
    return front_end_.receive && front_end_.can_receive ? front_end_.can_receive() : 0;
}

void Chardev::deliver(std::span<const std::uint8_t> bytes) {
    if (front_end_.receive) {
        front_end_.receive(bytes);
    }
}

void Chardev::tell_writable() {
    if (front_end_.on_writable) {
        front_end_.on_writable();
    }
}

void Chardev::tell_break() {
    if (front_end_.on_break) {
        front_end_.on_break();
    }
}

void Chardev::set_connected(bool connected) {
    if (connected_ == connected) {
        return;
    }
    connected_ = connected;
    if (front_end_.on_connection) {
        front_end_.on_connection(connected);
    }
}

}  // namespace rhea::chardev
