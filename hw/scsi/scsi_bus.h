// A SCSI bus: logical units by channel, target and LUN. Changed under the machine lock, while the controller lets nobody read
// it (while_quiet); else read by anybody.
#pragma once
#include <functional>
#include <vector>

#include "hw/scsi/scsi_unit.h"
#include "rhea/core/bus.h"

namespace rhea::hw::scsi {

class ScsiDevice;

class ScsiBus final : public core::Bus {
public:
    struct Limits {
        unsigned max_channel = 0, max_target = 255, max_lun = 16383;
    };
    ScsiBus(std::string name, Limits limits) : Bus(std::move(name), "SCSI"), limits_(limits) {}

    /// What a controller does with a new unit (its drive's context, an event); before the unit is ready.
    std::function<util::Result<void>(ScsiDevice &)> on_realize;
    /// A unit is gone: an event.
    std::function<void(unsigned target, unsigned lun)> on_unplug;
    /// Runs a change of the bus while no command is on its way. Unset: there never is one.
    std::function<void(const std::function<void()> &change)> quiet;
    void while_quiet(const std::function<void()> &change) const { quiet ? quiet(change) : change(); }

    util::Result<void> plug(core::Device &device) override;
    void unplug(core::Device &device) override;
    const std::vector<ScsiDevice *> &devices() const { return devices_; }
    /// Null: there is none.
    ScsiDevice *find(unsigned channel, unsigned target, unsigned lun) const;
    bool has_target(unsigned channel, unsigned target) const;
    /// LUNs of a target as REPORT LUNS has them, 0 first whether it is there or not (SPC-4, 4.7.3).
    std::vector<std::uint16_t> luns(unsigned channel, unsigned target) const;

private:
    util::Result<void> place(ScsiDevice &device) const;

    Limits limits_;
    std::vector<ScsiDevice *> devices_;
};

} // namespace rhea::hw::scsi
