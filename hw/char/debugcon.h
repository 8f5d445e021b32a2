// "isa-debugcon": a port that takes debug output, a character a write (Bochs's port 0xe9).
//
// Reading gives the property `readback`, by which firmware finds it. The port has no status: what a
// slow back end does not take at once waits in a bounded queue; beyond that it is lost, with a
// note in the guest_errors log. Under the machine lock.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rhea/core/char_backend.h"
#include "rhea/core/device.h"
#include "rhea/core/memory.h"

namespace rhea::hw {

class DebugConsole final : public core::Device, private core::IoHandler {
  public:
    static constexpr std::size_t kQueueLimit = 1u << 20;

    /// `backend` may be null: what is written is lost.
    DebugConsole(core::CharBackend* backend, core::MemoryRegion& io_root);
    ~DebugConsole() override;

    /// Another back end; null: none.
    void connect(core::CharBackend* backend);
    /// The id that the property chardev gives, for whoever connects; empty: none.
    [[nodiscard]] const std::string& chardev() const { return chardev_; }

    [[nodiscard]] std::string_view type() const override { return "isa-debugcon"; }
    util::Result<void> realize() override;
    void serialize(core::Archive& archive) override;

  private:
    std::uint64_t io_read(core::hwaddr, unsigned) override { return readback_; }
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;
    void flush();

    core::CharBackend* backend_ = nullptr;
    core::MemoryRegion& io_root_;
    std::unique_ptr<core::MemoryRegion> region_;
    std::uint32_t iobase_ = 0xe9, readback_ = 0xe9;
    std::string chardev_;
    std::vector<std::uint8_t> queue_;  ///< not taken yet
};

}  // namespace rhea::hw
