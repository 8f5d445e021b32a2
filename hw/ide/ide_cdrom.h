// `-device ide-cd`: a CD-ROM drive on an IDE bus (ATAPI), with or without a medium.
#pragma once
#include "hw/ide/atapi_drive.h"
#include "hw/ide/ide_device.h"

#include <memory>

namespace rhea::hw {

class IdeCdrom final : public IdeDevice {
public:
    explicit IdeCdrom(const core::MachineConfig &config);
    ~IdeCdrom() override;

    AtaDrive *drive() const override { return atapi_.get(); }

    std::string_view type() const override { return "ide-cd"; }
    util::Result<void> realize() override;

private:
    std::unique_ptr<scsi::ScsiCdrom> unit_;
    std::unique_ptr<AtapiDrive> atapi_;
};

} // namespace rhea::hw
