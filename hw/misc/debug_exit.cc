#include "hw/misc/debug_exit.h"

namespace rhea::hw {

DebugExit::DebugExit(core::MachineRequests &requests, core::MemoryRegion &io_root) : requests_(requests), io_root_(io_root) {
    properties_.add_uint("iobase", iobase_, "first I/O port", 0xffff);
    properties_.add_uint("iosize", iosize_, "number of I/O ports", 0x10000);
}

util::Result<void> DebugExit::realize() {
    if (iosize_ == 0 || iobase_ + iosize_ > 0x10000)
        return util::fail("iobase={:#x},iosize={:#x} does not lie within the 64 KiB of I/O ports", iobase_, iosize_);
    region_ = core::MemoryRegion::io("isa-debug-exit", iosize_, *this, {.min = 1, .max = 4});
    io_root_.add(iobase_, *region_, 1);
    return {};
}

void DebugExit::io_write(core::hwaddr, std::uint64_t value, unsigned) {
    requests_.request_shutdown(core::ShutdownCause::kDebugExit, static_cast<int>(((value << 1) | 1) & 0xff));
}

} // namespace rhea::hw
