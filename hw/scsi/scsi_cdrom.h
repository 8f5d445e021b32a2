// A CD-ROM or DVD-ROM drive: the commands of MMC-6 that readers need. The medium is a disc of one data track.
#pragma once
#include "hw/scsi/scsi_unit.h"

namespace rhea::hw::scsi {

class ScsiCdrom final : public ScsiUnit {
public:
    /// block_size is set to 2048, removable is on.
    explicit ScsiCdrom(UnitConfig config);

    /// The host asks for the medium (`eject` while the guest has locked the tray): an event for the guest.
    void request_eject() { eject_requested_ = true; }
    void medium_changed(bool present) override;
    void serialize(core::Archive &archive) override;

private:
    std::uint8_t peripheral_type() const override { return 0x05; }
    std::vector<std::uint8_t> vpd_pages() const override;
    std::vector<std::uint8_t> mode_page(std::uint8_t page, bool changeable) const override;
    std::vector<std::uint8_t> mode_pages() const override;
    bool has_block_descriptor() const override { return false; }

    block::Task<ScsiResult> read_toc(const ScsiCommand &command);
    block::Task<ScsiResult> get_configuration(const ScsiCommand &command);
    block::Task<ScsiResult> get_event_status(const ScsiCommand &command);
    block::Task<ScsiResult> read_disc_info(const ScsiCommand &command);
    block::Task<ScsiResult> mechanism_status(const ScsiCommand &command);
    block::Task<ScsiResult> read_cd(const ScsiCommand &command);
    block::Task<ScsiResult> read_dvd_structure(const ScsiCommand &command);
    bool is_dvd() const;

    std::atomic<bool> eject_requested_{false}, new_medium_{false};
    bool seen_medium_ = false; ///< what the last GET EVENT STATUS NOTIFICATION told
};

} // namespace rhea::hw::scsi
