// MSI and MSI-X capabilities of a PCI function.
//
// A device owns one (made in its constructor) and calls notify(); false means that the guest has
// not enabled it and the device should use INTx. Under the machine lock. Source: PCI 3.0
// section 6.8.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "hw/pci/pci_device.h"

namespace rhea::hw {

class PciMsi {
  public:
    /// `vectors`: 1, 2, 4, … 32. With 64-bit addresses and per-vector masks.
    PciMsi(PciDevice& device, unsigned vectors = 1);

    [[nodiscard]] bool enabled() const;
    /// Sends (or, while masked, keeps) the message of `vector`. False: MSI is not enabled.
    bool notify(unsigned vector = 0);

  private:
    [[nodiscard]] unsigned allocated() const;
    void send(unsigned vector);
    void send_unmasked();

    PciDevice& device_;
    unsigned vectors_;
    unsigned offset_;  ///< of the capability
};

class PciMsix final : private core::IoHandler {
  public:
    /// Where table and pending bits lie in the device's BAR `bar`, whose region is the container
    /// `region`.
    struct Place {
        core::MemoryRegion& region;
        unsigned bar = 0;
        core::hwaddr table = 0;
        core::hwaddr pending_bits = 0x800;
    };

    PciMsix(PciDevice& device, unsigned vectors, const Place& place);

    [[nodiscard]] bool enabled() const;
    [[nodiscard]] unsigned vectors() const { return static_cast<unsigned>(entries_.size()); }
    bool notify(unsigned vector);

    /// Messages by descriptor (irqfd). From now on vector `vector` has the eventfd `fd`; -1: none any more. While direct() a write to it sends the vector's message; else, and where nothing can be direct, notify() does.
    void set_descriptor(unsigned vector, int fd);
    [[nodiscard]] bool direct(unsigned vector) const { return entries_[vector].number >= 0; }
    /// Told when direct() of a vector has become another.
    void on_direct_change(std::function<void(unsigned vector)> told) { direct_changed_ = std::move(told); }
    /// What the device does not tell by itself: the bus master bit has changed.
    void update_descriptors();

    void reset();
    void serialize(core::Archive& archive);

  private:
    struct Entry {
        std::uint32_t address_low = 0, address_high = 0, data = 0, control = 1;
        bool pending = false;
        int fd = -1, number = -1;  ///< of set_descriptor(), and the sink's while a write there sends
    };
    class PendingBits final : public core::IoHandler {
      public:
        explicit PendingBits(PciMsix& msix) : msix_(msix) {}
        std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
        void io_write(core::hwaddr, std::uint64_t, unsigned) override {}  // read-only

      private:
        PciMsix& msix_;
    };

    std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;
    [[nodiscard]] bool masked(const Entry& entry) const;
    [[nodiscard]] std::uint32_t Entry::*field(core::hwaddr offset) const;
    void collect(unsigned vector);
    void send_pending();
    void update_descriptor(unsigned vector);
    [[nodiscard]] static std::uint64_t address(const Entry& entry) {
        return entry.address_low | static_cast<std::uint64_t>(entry.address_high) << 32;
    }

    PciDevice& device_;
    std::function<void(unsigned)> direct_changed_;
    unsigned offset_ = 0;
    std::vector<Entry> entries_;
    PendingBits pending_bits_{*this};
    std::unique_ptr<core::MemoryRegion> table_region_, pending_region_;
};

}  // namespace rhea::hw
