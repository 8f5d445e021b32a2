// virtio-blk: a disk (VIRTIO 1.2, section 5.2) behind any virtio transport.
//
// The control side runs under the machine lock; requests run as coroutines in the drive's context (its I/O thread).
// The configuration is fixed while the data path runs, but for the length and the cache mode, which are atomic.
#pragma once
#include <memory>
#include <string>

#include "hw/block/disk_properties.h"
#include "hw/virtio/virtio_device.h"
#include "rhea/block/backend.h"
#include "rhea/core/machine.h"

namespace rhea::hw {

class VirtioBlk final : public virtio::VirtioDevice {
public:
    explicit VirtioBlk(const core::MachineConfig &config);
    ~VirtioBlk() override;

    void add_properties(core::PropertySet &properties) override;
    unsigned config_size() const override;
    void unrealize() override;
    std::vector<BootUnit> boot_units() const override { return {{disk_.boot_index(), "/disk@0,0"}}; }

private:
    struct Header {
        std::uint32_t type, reserved;
        std::uint64_t sector;
    };
    /// What came of a request: a virtio status, or the errno that the error policy is asked about.
    struct Outcome {
        std::uint8_t status = 0;
        int error = 0;
        bool is_read = false;
    };

    std::uint64_t device_features() const override;
    util::Result<void> realize_device() override;
    void driver_ready() override;
    void reset_device() override;
    void fill_config(std::span<std::uint8_t> to) override;
    void config_written(std::span<const std::uint8_t> bytes, unsigned offset, unsigned length) override;
    void serialize_device(core::Archive &archive) override;
    block::IoContext &context() override { return backend_->context(); }
    util::Result<void> check_settings();

    // The data path's thread: virtio_blk_requests.cc
    void handle(unsigned queue, virtio::Element *element) override;
    block::Task<void> run(unsigned queue, virtio::Element *element);
    block::Task<Outcome> execute(const virtio::Element &element);
    block::Task<Outcome> read(std::uint64_t sector, const virtio::Element &element);
    block::Task<Outcome> write(std::uint64_t sector, const virtio::Element &element);
    block::Task<Outcome> change_range(std::uint32_t type, const virtio::Element &element);
    Outcome get_id(const virtio::Element &element) const;
    bool in_range(std::uint64_t sector, std::uint64_t bytes) const;

    const core::MachineConfig &config_;
    DiskProperties disk_;
    std::uint16_t num_queues_ = 0xffff, queue_size_ = 256;
    bool config_wce_ = true, discard_ = true, write_zeroes_ = true, seg_max_adjust_ = true, report_discard_granularity_ = true;
    std::uint32_t max_discard_sectors_ = 4194303, max_write_zeroes_sectors_ = 4194303; ///< 2 GiB less a sector
    std::uint64_t min_io_size_ = 0, opt_io_size_ = 0;
    std::uint32_t cylinders_ = 0, heads_ = 0, sectors_ = 0;
    std::string iothread_;

    block::BlockBackend *backend_ = nullptr;
    bool original_write_cache_ = true;
};

} // namespace rhea::hw
