// "isa-debugcon": bytes written to one port go to a character back end; reading gives 0xe9, which tells firmware that it is there.
#pragma once
#include "rhea/core/char_backend.h"
#include "rhea/core/device.h"
#include "rhea/core/memory.h"

namespace rhea::hw {

class DebugConsole final : public core::Device, private core::IoHandler {
public:
    DebugConsole(core::CharBackend *backend, core::MemoryRegion &io_root);
    std::string_view type() const override { return "isa-debugcon"; }
    util::Result<void> realize() override;
    void serialize(core::Archive &) override {} // has no state

private:
    std::uint64_t io_read(core::hwaddr, unsigned) override { return readback_; }
    void io_write(core::hwaddr, std::uint64_t value, unsigned) override;

    core::CharBackend *backend_;
    core::MemoryRegion &io_root_;
    std::unique_ptr<core::MemoryRegion> region_;
    std::uint32_t iobase_ = 0xe9, readback_ = 0xe9;
};

} // namespace rhea::hw
