#include "hw/char/debugcon.h"

#include <algorithm>

#include "rhea/util/log.h"

namespace rhea::hw {

DebugConsole::DebugConsole(core::CharBackend* backend, core::MemoryRegion& io_root)
    : io_root_(io_root) {
    properties_.add_uint("iobase", iobase_, "I/O port", 0xffff);
    properties_.add_uint("readback", readback_, "what reading the port gives", 0xff);
    properties_.add_string("chardev", chardev_, "id of the character device behind it");
    connect(backend);
}

void DebugConsole::connect(core::CharBackend* backend) {
    if (backend_ != nullptr) {
        backend_->set_front_end({});
    }
    backend_ = backend;
    if (backend_ != nullptr) {
        backend_->set_front_end({.can_receive = [] { return std::size_t{0}; },
                                 .receive = [](std::span<const std::uint8_t>) {},
                                 .on_writable = [this] { flush(); },
                                 .on_connection = {},
                                 .on_break = {}});
    }
}

DebugConsole::~DebugConsole() {
    connect(nullptr);
}

util::Result<void> DebugConsole::realize() {
    region_ = core::MemoryRegion::io("isa-debugcon", 1, *this, {.min = 1, .max = 1});
    io_root_.add(iobase_, *region_);
    return {};
}

void DebugConsole::io_write(core::hwaddr, std::uint64_t value, unsigned) {
    if (backend_ == nullptr) {
        return;
    }
    if (queue_.size() >= kQueueLimit) {
        util::log_write(util::kLogGuestErrors,
                        "isa-debugcon: the character device is too slow; a character is lost\n");
        return;
    }
    queue_.push_back(static_cast<std::uint8_t>(value));
    if (queue_.size() == 1) {  // else on_writable() is to come
        flush();
    }
}

void DebugConsole::flush() {
    if (queue_.empty()) {
        return;
    }
    if (backend_ == nullptr) {
        queue_.clear();
        return;
    }
    const std::size_t taken = std::min(queue_.size(), backend_->write(queue_));
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(taken));
}

void DebugConsole::serialize(core::Archive& archive) {
    archive.bytes("queue", queue_, kQueueLimit);
    if (archive.restoring() && archive.ok()) {
        flush();
    }
}

}  // namespace rhea::hw
