// 256 bytes of PCI configuration space: values, which bits the guest may write, and who is told.
//
// A plain table: the standard header, capabilities and a device's own registers are all bytes with
// masks. Under the machine lock. Source: PCI Local Bus Specification 3.0, chapter 6.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "rhea/core/archive.h"

namespace rhea::hw {

/// Offsets in the type 0 header.
namespace pci_reg {
inline constexpr unsigned kVendorId = 0x00;
inline constexpr unsigned kDeviceId = 0x02;
inline constexpr unsigned kCommand = 0x04;
inline constexpr unsigned kStatus = 0x06;
inline constexpr unsigned kRevision = 0x08;
inline constexpr unsigned kClassCode = 0x09;
inline constexpr unsigned kCacheLineSize = 0x0c;
inline constexpr unsigned kLatencyTimer = 0x0d;
inline constexpr unsigned kHeaderType = 0x0e;
inline constexpr unsigned kBar0 = 0x10;
inline constexpr unsigned kSubsystemVendorId = 0x2c;
inline constexpr unsigned kSubsystemId = 0x2e;
inline constexpr unsigned kExpansionRom = 0x30;
inline constexpr unsigned kCapabilities = 0x34;
inline constexpr unsigned kInterruptLine = 0x3c;
inline constexpr unsigned kInterruptPin = 0x3d;
inline constexpr unsigned kFirstDeviceRegister = 0x40;

inline constexpr std::uint16_t kCommandIo = 1u << 0;
inline constexpr std::uint16_t kCommandMemory = 1u << 1;
inline constexpr std::uint16_t kCommandBusMaster = 1u << 2;
inline constexpr std::uint16_t kCommandIntxDisable = 1u << 10;
inline constexpr std::uint16_t kStatusInterrupt = 1u << 3;
inline constexpr std::uint16_t kStatusCapabilities = 1u << 4;
}  // namespace pci_reg

class PciConfigSpace {
  public:
    static constexpr unsigned kSize = 256;

    /// Accesses by the guest: `size` 1, 2 or 4; beyond the end reads give ones.
    [[nodiscard]] std::uint32_t read(unsigned offset, unsigned size);
    void write(unsigned offset, std::uint32_t value, unsigned size);

    /// The device's own accesses: masks do not apply and nobody is told. Little endian.
    [[nodiscard]] std::uint8_t get8(unsigned offset) const { return data_[offset]; }
    [[nodiscard]] std::uint16_t get16(unsigned offset) const;
    [[nodiscard]] std::uint32_t get32(unsigned offset) const;
    void set8(unsigned offset, std::uint8_t value) { data_[offset] = value; }
    void set16(unsigned offset, std::uint16_t value);
    void set32(unsigned offset, std::uint32_t value);

    /// Makes bits writable by the guest (none are at first).
    void writable8(unsigned offset, std::uint8_t mask) { write_mask_[offset] = mask; }
    void writable16(unsigned offset, std::uint16_t mask);
    void writable32(unsigned offset, std::uint32_t mask);
    /// Bits that a write of one clears.
    void clearable16(unsigned offset, std::uint16_t mask);

    /// Keeps capabilities out of [offset, offset + length): registers at fixed places.
    void reserve(unsigned offset, unsigned length);
    /// Adds a capability of `length` bytes (with its id and next pointer) to the list; gives its
    /// offset. The device made too many when it does not fit: that is our own bug.
    unsigned add_capability(std::uint8_t id, unsigned length);

    /// Runs `handler` after each guest write that touches [offset, offset + length), and after a
    /// reset or restore.
    void on_change(unsigned offset, unsigned length, std::function<void()> handler);

    /// Runs `handler` before each guest read that touches [offset, offset + length): brings a
    /// register that is computed up to date.
    void before_read(unsigned offset, unsigned length, std::function<void()> handler);

    /// The present contents are what reset() goes back to.
    void freeze_reset_values() { reset_values_ = data_; }
    void reset();
    void serialize(core::Archive& archive);

  private:
    using Bytes = std::array<std::uint8_t, kSize>;
    struct Observer {
        unsigned offset, length;
        std::function<void()> handler;
    };

    static void notify(const std::vector<Observer>& observers, unsigned offset, unsigned length);

    Bytes data_{}, write_mask_{}, clear_mask_{}, reset_values_{};
    unsigned next_capability_ = pci_reg::kFirstDeviceRegister;
    unsigned last_capability_ = 0;
    std::vector<bool> reserved_ = std::vector<bool>(kSize);
    std::vector<Observer> change_observers_, read_observers_;
};

}  // namespace rhea::hw
