#include "rhea/hw/machines.h"

#include "hw/char/debugcon.h"
#include "hw/char/uart16550.h"
#include "hw/ide/ide_cdrom.h"
#include "hw/ide/ide_hard_disk.h"
#include "hw/microvm/microvm_machine.h"
#include "hw/misc/debug_exit.h"
#include "hw/nvme/nvme_controller.h"
#include "hw/pc/pc_machine.h"
#include "hw/scsi/scsi_device.h"
#include "hw/virtio/types.h"
#include "rhea/util/nearest_name.h"

#include <fmt/format.h>

namespace rhea::hw {
namespace {

template <typename T> std::unique_ptr<core::Machine> make(core::MachineConfig config, core::MachineRequests &requests) {
    return std::make_unique<T>(std::move(config), requests);
}

const core::MachineType kMachines[] = {
    {"microvm", "", "microvm (i386)", make<microvm::MicrovmMachine>, microvm::MicrovmMachine::kProperties, "none"},
    {"pc-i440fx-1.0", "pc", "Standard PC (i440FX + PIIX)", make<pc::PcMachine>},
};

const core::DeviceType kDevices[] = {
    {"ide-cd", "IDE", "CD-ROM on an IDE bus",
     [](core::Machine &machine) -> std::unique_ptr<core::Device> { return std::make_unique<IdeCdrom>(machine.config()); }, true},
    {"ide-hd", "IDE", "hard disk on an IDE bus",
     [](core::Machine &machine) -> std::unique_ptr<core::Device> { return std::make_unique<IdeHardDisk>(machine.config()); }, true},
    {"isa-debug-exit", "ISA", "ends the emulator with the status that the guest writes",
     [](core::Machine &machine) -> std::unique_ptr<core::Device> {
         return std::make_unique<DebugExit>(machine.requests(), machine.io_root());
     }},
    {"isa-debugcon", "ISA", "debug console port",
     [](core::Machine &machine) -> std::unique_ptr<core::Device> {
         return std::make_unique<DebugConsole>(nullptr, machine.io_root());
     }},
    {"nvme", "PCI", "NVMe controller with one namespace",
     [](core::Machine &machine) -> std::unique_ptr<core::Device> {
         return std::make_unique<nvme::NvmeController>(machine.config(), machine.clocks());
     }, true},
    {"isa-serial", "ISA", "serial port (16550A)",
     [](core::Machine &machine) -> std::unique_ptr<core::Device> {
         return std::make_unique<Uart16550>(machine.clocks(), nullptr);
     }},
    {"scsi-cd", "SCSI", "CD-ROM on a SCSI bus",
     [](core::Machine &machine) -> std::unique_ptr<core::Device> {
         return std::make_unique<scsi::ScsiDevice>(scsi::ScsiDevice::Kind::kCdrom, machine.config());
     }, true},
    {"scsi-hd", "SCSI", "disk on a SCSI bus",
     [](core::Machine &machine) -> std::unique_ptr<core::Device> {
         return std::make_unique<scsi::ScsiDevice>(scsi::ScsiDevice::Kind::kDisk, machine.config());
     }, true},
};

/// The rows above and those of other folders.
const std::vector<core::DeviceType> &all_devices() {
    static const std::vector<core::DeviceType> all = [] {
        std::vector<core::DeviceType> types(std::begin(kDevices), std::end(kDevices));
        const auto virtio = virtio::device_types();
        types.insert(types.end(), virtio.begin(), virtio.end());
        return types;
    }();
    return all;
}

} // namespace

std::span<const core::MachineType> machine_types() { return kMachines; }
std::span<const core::DeviceType> device_types() { return all_devices(); }

const core::MachineType *find_machine_type(std::string_view name) {
    for (const core::MachineType &type : kMachines) {
        if (type.name == name || (!type.alias.empty() && type.alias == name))
            return &type;
    }
    return nullptr;
}

const core::DeviceType *find_device_type(std::string_view name) {
    for (const core::DeviceType &type : all_devices()) {
        if (type.name == name)
            return &type;
    }
    return nullptr;
}

std::string nearest_device_hint(std::string_view name) {
    std::vector<std::string_view> names;
    for (const core::DeviceType &type : all_devices())
        names.push_back(type.name);
    const auto nearest = util::nearest_name(name, names);
    return nearest ? fmt::format("; did you mean '{}'?", *nearest) : std::string{};
}

} // namespace rhea::hw
