// `-device scsi-hd` and `-device scsi-cd`: a logical unit with properties, on a ScsiBus.
#pragma once
#include <memory>
#include <string>

#include "hw/block/disk_properties.h"
#include "hw/scsi/scsi_bus.h"
#include "hw/scsi/scsi_unit.h"
#include "rhea/core/device.h"
#include "rhea/core/machine.h"

namespace rhea::hw::scsi {

class ScsiDevice final : public core::Device {
public:
    enum class Kind : std::uint8_t { kDisk, kCdrom };
    ScsiDevice(Kind kind, const core::MachineConfig &config);
    ~ScsiDevice() override;

    std::string_view type() const override { return kind_ == Kind::kDisk ? "scsi-hd" : "scsi-cd"; }
    util::Result<void> realize() override;
    void unrealize() override;
    void reset() override;
    void serialize(core::Archive &archive) override;

    unsigned channel() const { return channel_; }
    unsigned target() const { return target_; }
    unsigned lun() const { return lun_; }
    bool has_target() const { return target_ != kUnset; }
    bool has_lun() const { return lun_ != kUnset; }
    void set_address(unsigned target, unsigned lun) {
        target_ = target;
        lun_ = lun;
    }
    void attach_to(ScsiBus &bus) { bus_ = &bus; }

    /// After realize(), else null.
    ScsiUnit *unit() const { return unit_.get(); }
    block::BlockBackend &backend() const { return unit_->backend(); }
    const DiskProperties &disk() const { return disk_; }
    /// Told of a change of the medium's length, under the machine lock.
    std::function<void()> on_capacity_change;

private:
    static constexpr std::uint32_t kUnset = ~std::uint32_t{0};
    void add_properties();
    UnitConfig unit_config(block::BlockBackend &backend) const;

    Kind kind_;
    const core::MachineConfig &config_;
    DiskProperties disk_;
    std::uint32_t channel_ = 0, target_ = kUnset, lun_ = kUnset;
    std::uint64_t wwn_ = 0, min_io_size_ = 0, opt_io_size_ = 0, max_io_size_ = 0x7fffffff, max_unmap_size_ = 1u << 30;
    std::uint16_t rotation_rate_ = 0;
    std::uint8_t scsi_version_ = 5;
    bool removable_ = false, dpofua_ = false;
    std::string vendor_ = "QEMU", product_, version_ = "2.5+", device_id_;
    ScsiBus *bus_ = nullptr;
    std::unique_ptr<ScsiUnit> unit_;
};

} // namespace rhea::hw::scsi
