#include "hw/char/debugcon.h"

namespace rhea::hw {

DebugConsole::DebugConsole(core::CharBackend *backend, core::MemoryRegion &io_root) : backend_(backend), io_root_(io_root) {
    properties_.add_uint("iobase", iobase_, "I/O port", 0xffff);
    properties_.add_uint("readback", readback_, "what reading the port gives", 0xff);
}

util::Result<void> DebugConsole::realize() {
    region_ = core::MemoryRegion::io("isa-debugcon", 1, *this, {.min = 1, .max = 1});
    io_root_.add(iobase_, *region_);
    return {};
}

void DebugConsole::io_write(core::hwaddr, std::uint64_t value, unsigned) {
    const auto byte = static_cast<std::uint8_t>(value);
    if (backend_)
        backend_->write({&byte, 1});
}

} // namespace rhea::hw
