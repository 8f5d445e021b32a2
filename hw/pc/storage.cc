// The machine's own disk controller, and devices for the drives that -hda, -cdrom and -drive if=... ask for.
#include "hw/ide/ide_hard_disk.h"
#include "hw/ide/piix3_ide.h"
#include "hw/pc/pc_machine.h"

#include <fmt/format.h>

namespace rhea::hw::pc {
namespace {

constexpr unsigned kIdeIrqs[] = {14, 15};

/// The device that -drive if= means.
struct DriveDevice {
    std::string_view interface, disk, cdrom; ///< device types; empty: none
};
constexpr DriveDevice kDriveDevices[] = {
    {"ide", "ide-hd", "ide-cd"},
    {"virtio", "virtio-blk-pci", ""},
};

util::Result<core::DeviceOption> device_for(const core::DriveOption &drive) {
    for (const DriveDevice &known : kDriveDevices) {
        if (known.interface != drive.interface)
            continue;
        const std::string_view type = drive.cdrom ? known.cdrom : known.disk;
        if (type.empty())
            return util::fail("drive '{}': there are no CD-ROM drives with if={}; use if=ide (-cdrom), or -drive if=none,id=cd,media=cdrom,... "
                              "-device virtio-scsi-pci -device scsi-cd,drive=cd", drive.id, drive.interface);
        core::DeviceOption option{std::string(type), {{"drive", drive.id}}};
        if (drive.interface == "ide") {
            option.properties.emplace_back("bus", fmt::format("ide.{}", drive.bus));
            option.properties.emplace_back("unit", std::to_string(drive.unit));
        }
        option.properties.insert(option.properties.end(), drive.properties.begin(), drive.properties.end());
        return option;
    }
    return util::fail("drive '{}': machine 'pc' has no if={}; use if=ide, if=virtio or if=none with -device", drive.id, drive.interface);
}

} // namespace

util::Result<void> PcMachine::build_ide() {
    ide_ = &add_device<Piix3Ide>("pci/01.1", std::array{router_->isa(kIdeIrqs[0]), router_->isa(kIdeIrqs[1])}, io_root());
    if (auto done = pci_bus_->attach(*ide_, {1, 1}); !done)
        return done;
    for (unsigned number = 0; number < Piix3Ide::kChannels; ++number)
        add_bus(ide_->channel(number));
    if (starts_kernel())
        add_reset_hook([this] { ide_->enable_channels(); });
    return {};
}

util::Result<void> PcMachine::build_drives() {
    for (const core::DriveOption &drive : config().drives) {
        if (drive.interface == "virtio" && !drive.cdrom)
            continue; // behind the devices of -device: build_virtio_drives()
        const auto option = device_for(drive);
        if (!option)
            return util::fail(option.error());
        if (auto done = add_machine_device(*option); !done)
            return util::fail(done.error().within(fmt::format("drive '{}'", drive.id)));
    }
    return {};
}

/// -drive if=virtio: QEMU's way, a device of its own for each, behind those of -device.
util::Result<void> PcMachine::build_virtio_drives() {
    for (const core::DriveOption &drive : config().drives) {
        if (drive.interface != "virtio" || drive.cdrom)
            continue;
        if (auto done = add_machine_device(*device_for(drive)); !done)
            return util::fail(done.error().within(fmt::format("drive '{}'", drive.id)));
    }
    return {};
}

const IdeHardDisk *PcMachine::ide_disk(unsigned number) const {
    return dynamic_cast<IdeHardDisk *>(ide_->channel(number / IdeChannel::kDrives).drive(number % IdeChannel::kDrives));
}

} // namespace rhea::hw::pc
