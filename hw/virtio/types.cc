#include "hw/virtio/types.h"

#include "hw/block/virtio_blk.h"
#include "hw/scsi/virtio_scsi.h"
#include "hw/virtio/virtio_mmio.h"
#include "hw/virtio/virtio_pci.h"
#include "rhea/block/io_context.h"
#include "rhea/core/machine.h"

namespace rhea::hw::virtio {
namespace {

constexpr std::uint32_t kStorageScsi = 0x010000; ///< class code of both disks and host bus adapters
constexpr std::uint16_t kLegacyBlock = 0x1001, kLegacyScsi = 0x1004;

VirtioPci::Spaces spaces(core::Machine &machine) {
    return {.memory = machine.memory(), .io = machine.io(), .post = post_to_main(machine.config())};
}

template <VirtioPci::Kind kind> std::unique_ptr<core::Device> make_block(core::Machine &machine) {
    const VirtioPci::Config config{.type = kind == VirtioPci::Kind::kTransitional      ? "virtio-blk-pci-transitional"
                                           : kind == VirtioPci::Kind::kNonTransitional ? "virtio-blk-pci-non-transitional"
                                                                                       : "virtio-blk-pci",
                                   .class_code = kStorageScsi,
                                   .legacy_device_id = kLegacyBlock,
                                   .kind = kind};
    return std::make_unique<VirtioPci>(config, spaces(machine), std::make_unique<VirtioBlk>(machine.config()));
}

template <VirtioPci::Kind kind> std::unique_ptr<core::Device> make_scsi(core::Machine &machine) {
    const VirtioPci::Config config{.type = kind == VirtioPci::Kind::kTransitional      ? "virtio-scsi-pci-transitional"
                                           : kind == VirtioPci::Kind::kNonTransitional ? "virtio-scsi-pci-non-transitional"
                                                                                       : "virtio-scsi-pci",
                                   .class_code = kStorageScsi,
                                   .legacy_device_id = kLegacyScsi,
                                   .kind = kind};
    return std::make_unique<VirtioPci>(config, spaces(machine), std::make_unique<VirtioScsi>(machine));
}

/// What a transport of the machine's shows.
std::unique_ptr<core::Device> make_mmio_block(core::Machine &machine) {
    return std::make_unique<VirtioMmioDevice>("virtio-blk-device", std::make_unique<VirtioBlk>(machine.config()));
}
std::unique_ptr<core::Device> make_mmio_scsi(core::Machine &machine) {
    return std::make_unique<VirtioMmioDevice>("virtio-scsi-device", std::make_unique<VirtioScsi>(machine));
}

using Kind = VirtioPci::Kind;
constexpr core::DeviceType kTypes[] = {
    {"virtio-blk-pci", "PCI", "virtio disk", make_block<Kind::kBySettings>, true},
    {"virtio-blk", "PCI", "virtio disk (virtio-blk-pci)", make_block<Kind::kBySettings>, true},
    {"virtio-blk-pci-transitional", "PCI", "virtio disk, legacy and virtio 1.x", make_block<Kind::kTransitional>, true},
    {"virtio-blk-pci-non-transitional", "PCI", "virtio disk, virtio 1.x only", make_block<Kind::kNonTransitional>, true},
    {"virtio-blk-device", VirtioMmio::kBusKind, "virtio disk on a transport of the machine (virtio-mmio)", make_mmio_block, true},
    {"virtio-scsi-device", VirtioMmio::kBusKind, "virtio SCSI host bus adapter on a transport of the machine (virtio-mmio)", make_mmio_scsi, true},
    {"virtio-scsi-pci", "PCI", "virtio SCSI host bus adapter", make_scsi<Kind::kBySettings>, true},
    {"virtio-scsi", "PCI", "virtio SCSI host bus adapter (virtio-scsi-pci)", make_scsi<Kind::kBySettings>, true},
    {"virtio-scsi-pci-transitional", "PCI", "virtio SCSI host bus adapter, legacy and virtio 1.x", make_scsi<Kind::kTransitional>, true},
    {"virtio-scsi-pci-non-transitional", "PCI", "virtio SCSI host bus adapter, virtio 1.x only", make_scsi<Kind::kNonTransitional>, true},
};

} // namespace

std::function<void(std::function<void()>)> post_to_main(const core::MachineConfig &config) {
    return [context = config.main_context](std::function<void()> function) {
        if (context)
            context->post(std::move(function));
    };
}

std::span<const core::DeviceType> device_types() { return kTypes; }

} // namespace rhea::hw::virtio
