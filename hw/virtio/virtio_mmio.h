// virtio over MMIO (VIRTIO 1.2, section 4.2): a page of registers and one wire that show a VirtioDevice to the guest.
//
// Version 2 (4.2.2), or with force-legacy=on version 1 (4.2.4), of which a driver sees one. The machine makes the transports and
// gives each its place with region() and its wire; each is a bus for one VirtioMmioDevice, which -device makes ("virtio-blk-device").
// Without one its DeviceID is 0, and a driver goes away (4.2.2.1). Notifications are ioeventfds while the driver is ready. Under the
// machine lock.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "hw/boot_device.h"
#include "hw/virtio/virtio_device.h"
#include "rhea/core/bus.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw::virtio {

class VirtioMmioDevice;

class VirtioMmio final : public core::Device, public core::Bus, private Transport, private core::IoHandler {
public:
    static constexpr core::hwaddr kSize = 0x200;
    /// SeaBIOS does not write QueueAlign, and QEMU's devices need it not.
    static constexpr std::uint32_t kDefaultAlign = 4096;
    static constexpr std::string_view kBusKind = "virtio-bus";

    struct Ports {
        core::AddressSpace &memory;
        core::IrqLine irq;
        std::function<void(std::function<void()>)> post; ///< virtio::Ports::post
    };
    VirtioMmio(const Ports &ports, unsigned number);
    ~VirtioMmio() override;

    core::MemoryRegion &region() { return *region_; }
    /// Who sits there; null: nobody.
    VirtioMmioDevice *occupant() const { return occupant_; }

    // Device
    std::string_view type() const override { return "virtio-mmio"; }
    void reset() override;
    void serialize(core::Archive &archive) override;

    // Bus
    util::Result<void> plug(core::Device &device) override;
    void unplug(core::Device &device) override;
    bool full() const override { return occupant_ != nullptr; }

    // For the occupant
    util::Result<void> connect(VirtioDevice &device);
    void disconnect();
    /// The device's state was restored.
    void restored();

private:
    using Get = std::function<std::uint32_t()>;
    using Set = std::function<void(std::uint32_t)>;

    // Transport
    void queue_interrupt(unsigned queue) override;
    void config_interrupt() override;

    std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
    void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;

    void add(core::hwaddr offset, std::string_view name, Get get, Set set);
    void add_common_registers();
    void add_modern_registers();
    void add_queue_address(core::hwaddr offset, std::string_view low_name, std::string_view high_name, core::hwaddr Queue::*field);
    void add_legacy_registers();
    void interrupt(std::uint32_t cause);
    void update_irq() { ports_.irq.set(interrupt_status_ != 0); }
    void write_status(std::uint8_t status);
    void set_driver_half(std::uint32_t value);
    void set_page_number(std::uint32_t page);
    Queue *selected_queue() { return queue_select_ < device_->queue_count() ? &device_->queue(queue_select_) : nullptr; }
    void clear_selections();
    void update_notifiers();
    /// Nullopt: nowhere.
    void place_notifiers(std::optional<core::hwaddr> address);
    std::uint32_t version() const { return force_legacy_ ? 1 : 2; }
    std::uint64_t read_empty(core::hwaddr offset) const;

    Ports ports_;
    VirtioMmioDevice *occupant_ = nullptr;
    VirtioDevice *device_ = nullptr; ///< the occupant's, between connect() and disconnect()
    bool force_legacy_ = true, ioeventfd_ = true;
    std::uint32_t interrupt_status_ = 0;
    std::uint32_t device_select_ = 0, driver_select_ = 0, queue_select_ = 0;
    std::uint32_t page_size_ = 0;                    ///< version 1, bytes; 0: not written yet
    std::uint32_t queue_align_ = kDefaultAlign;      ///< version 1, bytes
    core::RegisterBank registers_{"virtio-mmio", 0x100};
    std::unique_ptr<core::MemoryRegion> region_;
    std::optional<core::hwaddr> notify_address_; ///< where the ioeventfds are
};

/// A virtio device for such a bus: what of it is not registers.
class VirtioMmioDevice final : public core::Device, public BootDevice {
public:
    /// `type` as -device spells it.
    VirtioMmioDevice(std::string_view type, std::unique_ptr<VirtioDevice> device);
    ~VirtioMmioDevice() override;

    VirtioDevice &device() { return *device_; }
    void set_transport(VirtioMmio *transport) { transport_ = transport; }

    std::string_view type() const override { return type_; }
    util::Result<void> realize() override;
    void unrealize() override;
    void set_running(bool running) override { device_->set_running(running); }
    /// The transport resets both.
    void reset() override {}
    void serialize(core::Archive &archive) override;
    std::vector<BootEntry> boot_entries() const override;

private:
    std::string_view type_;
    std::unique_ptr<VirtioDevice> device_;
    VirtioMmio *transport_ = nullptr;
};

} // namespace rhea::hw::virtio
