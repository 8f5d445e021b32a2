// virtio-scsi: a SCSI host bus adapter (VIRTIO 1.2, section 5.6) behind any virtio transport.
//
// Queue 0: task management, queue 1: events, from 2 on: commands. All run in one context, that of iothread= or of the first
// disk; the disks' drives move there. The list of commands in flight belongs to that context's thread.
#pragma once
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "hw/scsi/scsi_bus.h"
#include "hw/scsi/scsi_device.h"
#include "hw/virtio/virtio_device.h"
#include "rhea/core/machine.h"

namespace rhea::hw {

class VirtioScsi final : public virtio::VirtioDevice {
public:
    /// `path`: gives the device's id, after which the bus is named; valid from realize() on.
    explicit VirtioScsi(core::Machine &machine);
    ~VirtioScsi() override;

    void add_properties(core::PropertySet &properties) override;
    unsigned config_size() const override;
    void unrealize() override;
    std::vector<BootUnit> boot_units() const override;
    scsi::ScsiBus &bus() const { return *bus_; }

    /// An 8-byte LUN of this device: target and LUN (5.6.6.1).
    struct Address {
        unsigned target = 0, lun = 0;
        bool valid = false;
    };
    static Address parse_lun(std::span<const std::uint8_t, 8> bytes);

private:
    enum : unsigned { kControlQueue = 0, kEventQueue = 1, kFirstCommandQueue = 2 };
    struct Active {
        std::uint64_t tag;
        scsi::ScsiDevice *device;
        std::uint8_t aborted = 0; ///< the response that a task management function gave it
    };
    struct Event {
        std::uint32_t event = 0;
        unsigned target = 0, lun = 0;
        std::uint32_t reason = 0;
    };

    std::uint64_t device_features() const override;
    util::Result<void> realize_device() override;
    void reset_device() override;
    void fill_config(std::span<std::uint8_t> to) override;
    void config_written(std::span<const std::uint8_t> bytes, unsigned offset, unsigned length) override;
    void serialize_device(core::Archive &archive) override;
    block::IoContext &context() override;
    util::Result<void> add_disk(scsi::ScsiDevice &device);
    void tell_transport(unsigned target, unsigned lun, std::uint32_t reason);
    void send_event(const Event &event);

    // The data path's thread.
    void handle(unsigned queue, virtio::Element *element) override;
    void queue_notified(unsigned index) override;
    block::Task<void> run_command(unsigned queue, virtio::Element *element);
    block::Task<void> run_control(unsigned queue, virtio::Element *element);
    block::Task<std::uint8_t> manage_tasks(std::uint32_t function, std::span<const std::uint8_t, 8> lun, std::uint64_t tag);
    block::Task<void> abort(std::function<bool(const Active &)> chosen, std::uint8_t response);
    void deliver_events();
    void finish(unsigned queue, virtio::Element *element, std::uint32_t written);

    core::Machine &machine_;
    std::uint32_t num_queues_ = ~std::uint32_t{0}, queue_size_ = 256, max_sectors_ = 0xffff, cmd_per_lun_ = 128;
    bool hotplug_ = true, param_change_ = true, seg_max_adjust_ = true;
    std::string iothread_;
    static constexpr std::uint32_t kDefaultSenseSize = 96, kDefaultCdbSize = 32;
    std::uint32_t sense_size_ = kDefaultSenseSize, cdb_size_ = kDefaultCdbSize;

    std::unique_ptr<scsi::ScsiBus> bus_;
    std::unique_ptr<block::IoThread> own_thread_; ///< no iothread= and no disk at first
    block::IoContext *context_ = nullptr;

    std::list<Active> active_;
    block::CoQueue active_changed_;
    std::mutex event_mutex_;
    std::deque<Event> events_;
    bool events_missed_ = false;
};

} // namespace rhea::hw
