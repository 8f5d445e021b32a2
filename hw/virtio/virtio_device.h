// A virtio device without its transport: features, status, queues, configuration space (VIRTIO 1.2, chapter 2).
//
// A transport (PCI, MMIO) owns one and shows it to the guest; a device (block, SCSI) derives from it. Under the machine
// lock, but for the requests: those run in the data path's thread (data_path.h), which is stopped whenever anything that
// it uses changes. The data path runs exactly while the driver is ready (DRIVER_OK), the machine runs, the transport may
// reach memory, and the device is not broken.
#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "hw/virtio/bits.h"
#include "hw/virtio/data_path.h"
#include "hw/virtio/ring.h"
#include "rhea/core/archive.h"
#include "rhea/core/memory.h"
#include "rhea/core/property.h"
#include "rhea/util/result.h"

namespace rhea::hw::virtio {

/// How a device interrupts its driver. Under the machine lock.
class Transport {
public:
    virtual ~Transport() = default;
    virtual void queue_interrupt(unsigned queue) = 0;
    virtual void config_interrupt() = 0;
};

struct Ports {
    core::AddressSpace &memory;
    /// Runs a function in the main thread soon; any thread.
    std::function<void(std::function<void()>)> post;
    std::string name; ///< in log lines
};

/// A queue's control side.
struct Queue {
    std::uint16_t max_size = 0, size = 0;
    core::hwaddr desc = 0, driver = 0, device = 0;
    bool enabled = false;
    std::uint16_t vector = kNoVector;
    /// The legacy layout (2.7.2): descriptors, available ring, and used ring at the next multiple of `align` bytes, a power of two.
    void set_contiguous(core::hwaddr base, std::uint32_t align) {
        desc = base;
        driver = desc + size * 16ull;
        device = (driver + 4 + size * 2ull + 2 + align - 1) & ~(core::hwaddr{align} - 1);
    }
    int notifier = -1;          ///< eventfd: the driver notified
    std::unique_ptr<Ring> ring; ///< once the data path has started
    std::atomic<bool> interrupt_wanted{false};
    std::atomic<int> interrupt_fd{-1}; ///< a write there interrupts the driver, without the machine lock; -1: ask the transport
};

class VirtioDevice : private DataPath::Client {
public:
    VirtioDevice(std::uint16_t id, std::string_view name);
    ~VirtioDevice() override;
    VirtioDevice(const VirtioDevice &) = delete;
    VirtioDevice &operator=(const VirtioDevice &) = delete;

    std::uint16_t id() const { return id_; }
    std::string_view name() const { return name_; } ///< "virtio-blk"
    virtual void add_properties(core::PropertySet &properties);
    /// Checks the properties, claims what it needs and makes the queues.
    util::Result<void> realize(Ports ports, Transport &transport);

    /// Everything that the device can do; what of it a driver sees is the transport's choice.
    std::uint64_t features() const;
    std::uint64_t driver_features() const { return driver_features_; }
    /// Bits that are not offered are dropped; no effect after FEATURES_OK.
    void set_driver_features(std::uint64_t features);
    bool is_modern() const { return (driver_features_ & kVersion1) != 0; }
    std::uint8_t status() const { return status_; }
    /// `modern`: by the interface of VIRTIO 1.x, which needs VERSION_1.
    void set_status(std::uint8_t status, bool modern);
    void reset();
    /// Stops the data path for good; before the device is destroyed.
    void shutdown() { data_path_.stop(); }
    /// Gives back what realize() claimed, the data path being stopped: the machine lives on without the device.
    virtual void unrealize() {}

    unsigned queue_count() const { return static_cast<unsigned>(queues_.size()); }
    Queue &queue(unsigned index) { return queues_[index]; }
    void enable_queue(unsigned index);
    void reset_queue(unsigned index);
    /// The driver notifies a queue and no ioeventfd caught it. Any thread.
    void notify(unsigned index);

    virtual unsigned config_size() const = 0;
    /// Bytes beyond the end read as zeroes, writes there are lost.
    void read_config(unsigned offset, std::span<std::uint8_t> to);
    void write_config(unsigned offset, std::span<const std::uint8_t> from);
    std::uint8_t config_generation() const { return config_generation_; }

    /// What firmware can start from: a boot index and the rest of a firmware path ("/disk@0,0").
    struct BootUnit {
        int index;
        std::string path;
    };
    virtual std::vector<BootUnit> boot_units() const { return {}; }

    /// The transport may (not) reach memory: PCI's bus master bit.
    void set_dma_enabled(bool enabled);
    /// The machine runs or stops.
    void set_running(bool running);
    void serialize(core::Archive &archive);

protected:
    /// Beyond what all devices have.
    virtual std::uint64_t device_features() const = 0;
    virtual util::Result<void> realize_device() = 0;
    /// May the driver have these? (FEATURES_OK)
    virtual bool accepts(std::uint64_t) const { return true; }
    virtual void driver_ready() {}  ///< features are settled, before the data path starts
    virtual void reset_device() {}  ///< the data path is stopped
    virtual void fill_config(std::span<std::uint8_t> to) = 0;
    virtual void config_written(std::span<const std::uint8_t>, unsigned /*offset*/, unsigned /*length*/) {}
    virtual void serialize_device(core::Archive &) {}
    virtual block::IoContext &context() = 0;

    void add_queue(unsigned max_size);
    const Ports &ports() const { return *ports_; }
    bool has(std::uint64_t feature) const { return (driver_features_ & feature) != 0; }
    /// The configuration space has other contents: tells the driver.
    void config_changed();
    DataPath &data_path() { return data_path_; }
    /// For who changes what the data path uses: stops it, calls, and starts it again if it ran.
    void with_data_path_stopped(const std::function<void()> &change);

    // ---- the data path's thread ------------------------------------------------------------------------------------
    /// One request; it ends with complete(), or keep().
    virtual void handle(unsigned queue, Element *element) = 0;
    /// Default: handles every request there is.
    void queue_notified(unsigned index) override;
    void complete(unsigned queue, Element *element, std::uint32_t written);
    /// The request waits until the machine runs again (werror=stop).
    void keep(unsigned queue, Element *element) { kept_.push_back({queue, element}); }
    /// The driver did something that leaves no way to go on.
    void broken(unsigned queue, const std::string &why);
    Ring &ring(unsigned index) { return *queues_[index].ring; }

private:
    struct Kept {
        unsigned queue;
        Element *element;
    };

    void data_path_started() override;
    bool may_run() const;
    void update_data_path();
    void make_ring(Queue &queue);
    void interrupt(Queue &queue);
    void post_work();
    void do_posted_work();
    void serialize_queue(core::Archive &archive, Queue &queue);
    void serialize_kept(core::Archive &archive);

    std::uint16_t id_;
    std::string_view name_;
    std::unique_ptr<Ports> ports_;
    Transport *transport_ = nullptr;
    bool indirect_desc_ = true, event_idx_ = true, notify_on_empty_ = true, any_layout_ = true;
    bool packed_ = false, queue_reset_ = true;

    std::uint64_t driver_features_ = 0;
    std::uint8_t status_ = 0;
    std::uint8_t config_generation_ = 0;
    bool dma_enabled_ = true, running_ = false;
    std::deque<Queue> queues_;
    std::deque<Kept> kept_; ///< whoever may use the rings
    DataPath data_path_{*this};

    std::atomic<bool> work_posted_{false}, broken_wanted_{false};
    std::shared_ptr<VirtioDevice *> self_; ///< what posted functions find the device by
};

} // namespace rhea::hw::virtio
