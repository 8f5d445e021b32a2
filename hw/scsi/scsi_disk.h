// A SCSI disk: the block commands of SBC-3.
#pragma once
#include "hw/scsi/scsi_unit.h"

namespace rhea::hw::scsi {

class ScsiDisk final : public ScsiUnit {
public:
    explicit ScsiDisk(UnitConfig config);

private:
    std::uint8_t peripheral_type() const override { return 0x00; }
    std::vector<std::uint8_t> vpd_pages() const override;
    std::vector<std::uint8_t> vpd_page(std::uint8_t page) const override;
    std::vector<std::uint8_t> mode_page(std::uint8_t page, bool changeable) const override;
    std::vector<std::uint8_t> mode_pages() const override;
    std::uint8_t mode_device_specific() const override;
    block::Task<ScsiResult> apply_mode_page(std::span<const std::uint8_t> page) override;

    block::Task<ScsiResult> write(const ScsiCommand &command);
    block::Task<ScsiResult> write_same(const ScsiCommand &command);
    block::Task<ScsiResult> unmap(const ScsiCommand &command);
    block::Task<ScsiResult> service_action_in(const ScsiCommand &command);
    block::Task<ScsiResult> get_lba_status(const ScsiCommand &command);
    ScsiResult read_capacity_16(const ScsiCommand &command) const;
    bool thin() const { return config_.discard_granularity != 0; }
};

} // namespace rhea::hw::scsi
