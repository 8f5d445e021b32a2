// virtio over MMIO (VIRTIO 1.2, section 4.2): a page of registers and one wire that show a VirtioDevice to the guest.
//
// Version 2 (4.2.2), or with force-legacy=on version 1 (4.2.4), of which a driver sees one. The machine gives it its place with
// region() and its wire. Notifications are ioeventfds while the driver is ready. Under the machine lock.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "hw/virtio/virtio_device.h"
#include "rhea/core/device.h"
#include "rhea/core/irq.h"
#include "rhea/core/memory.h"
#include "rhea/core/register_bank.h"

namespace rhea::hw::virtio {

class VirtioMmio final : public core::Device, private Transport, private core::IoHandler {
public:
    static constexpr core::hwaddr kSize = 0x200;

    struct Ports {
        core::AddressSpace &memory;
        core::IrqLine irq;
        std::function<void(std::function<void()>)> post; ///< virtio::Ports::post
    };
    VirtioMmio(const Ports &ports, std::unique_ptr<VirtioDevice> device);
    ~VirtioMmio() override;

    core::MemoryRegion &region() { return *region_; }
    VirtioDevice &device() { return *device_; }

    std::string_view type() const override { return "virtio-mmio"; }
    util::Result<void> realize() override;
    void unrealize() override;
    void reset() override;
    void set_running(bool running) override { device_->set_running(running); }
    void serialize(core::Archive &archive) override;

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

    Ports ports_;
    std::unique_ptr<VirtioDevice> device_;
    bool force_legacy_ = true, ioeventfd_ = true;
    std::uint32_t interrupt_status_ = 0;
    std::uint32_t device_select_ = 0, driver_select_ = 0, queue_select_ = 0;
    std::uint32_t page_size_ = 0, queue_align_ = 0; ///< version 1, bytes
    core::RegisterBank registers_{"virtio-mmio", 0x100};
    std::unique_ptr<core::MemoryRegion> region_;
    std::optional<core::hwaddr> notify_address_; ///< where the ioeventfds are
};

} // namespace rhea::hw::virtio
