// "isa-debug-exit": a guest's write ends the emulator with status (value << 1) | 1.
#pragma once
#include "rhea/core/device.h"
#include "rhea/core/machine.h"
#include "rhea/core/memory.h"

namespace rhea::hw {

class DebugExit final : public core::Device, private core::IoHandler {
public:
    DebugExit(core::MachineRequests &requests, core::MemoryRegion &io_root);
    std::string_view type() const override { return "isa-debug-exit"; }
    util::Result<void> realize() override;
    void serialize(core::Archive &) override {} // has no state

private:
    std::uint64_t io_read(core::hwaddr, unsigned) override { return 0; }
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;

    core::MachineRequests &requests_;
    core::MemoryRegion &io_root_;
    std::unique_ptr<core::MemoryRegion> region_;
    std::uint32_t iobase_ = 0x501, iosize_ = 2;
};

} // namespace rhea::hw
