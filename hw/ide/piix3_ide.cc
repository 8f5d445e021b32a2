#include "hw/ide/piix3_ide.h"

#include "hw/boot_device.h"

namespace rhea::hw {
namespace {

constexpr unsigned kIdeTiming = 0x40, kSlaveTiming = 0x44; // IDETIM (two of 16 bits), SIDETIM
constexpr std::uint16_t kDecodeEnable = 1u << 15;
constexpr std::uint64_t kBusMasterSize = 16;
constexpr core::hwaddr kCommandPorts[] = {0x1f0, 0x170}, kControlPorts[] = {0x3f6, 0x376};

} // namespace

Piix3Ide::Piix3Ide(std::array<core::IrqLine, kChannels> irqs, core::MemoryRegion &io_root)
    : PciDevice({.vendor = 0x8086, .device = 0x7010, .class_code = 0x010180}), bus_master_("piix3-bmdma", kBusMasterSize),
      bus_master_region_(core::MemoryRegion::io("piix3-bmdma", kBusMasterSize, bus_master_)) {
    config().set16(pci_reg::kStatus, 0x0280); // fast back-to-back, medium DEVSEL
    for (unsigned number = 0; number < kChannels; ++number) {
        channels_[number] = std::make_unique<IdeChannel>(number, irqs[number], static_cast<IdeChannel::Controller &>(*this));
        channels_[number]->add_bus_master_registers(bus_master_);
        config().writable16(kIdeTiming + 2 * number, 0xffff);
        config().set16(kIdeTiming + 2 * number, kDecodeEnable);
        for (core::MemoryRegion *region : {&channels_[number]->command_region(), &channels_[number]->control_region()})
            region->set_enabled(false);
        io_root.add(kCommandPorts[number], channels_[number]->command_region());
        io_root.add(kControlPorts[number], channels_[number]->control_region());
    }
    config().writable8(kSlaveTiming, 0xff);
    config().on_change(pci_reg::kCommand, 2, [this] { update_ports(); });
    config().on_change(kIdeTiming, 4, [this] { update_ports(); });
    add_bar(4, *bus_master_region_, PciBarKind::kIo);
}

void Piix3Ide::update_ports() {
    core::AddressSpace::begin_transaction();
    const bool decodes_io = config().get16(pci_reg::kCommand) & pci_reg::kCommandIo;
    for (unsigned number = 0; number < kChannels; ++number) {
        const bool enabled = decodes_io && (config().get16(kIdeTiming + 2 * number) & kDecodeEnable);
        channels_[number]->command_region().set_enabled(enabled);
        channels_[number]->control_region().set_enabled(enabled);
    }
    core::AddressSpace::commit_transaction();
}

void Piix3Ide::enable_channels() {
    config().set16(pci_reg::kCommand, pci_reg::kCommandIo | pci_reg::kCommandBusMaster);
    update_ports();
}

bool Piix3Ide::read_memory(core::hwaddr address, void *to, std::size_t length) {
    return dma_read(address, to, length) == core::MemTxResult::kOk;
}

bool Piix3Ide::write_memory(core::hwaddr address, const void *from, std::size_t length) {
    return dma_write(address, from, length) == core::MemTxResult::kOk;
}

std::string Piix3Ide::firmware_path() const { return pci_firmware_path(*this, "ide"); }

void Piix3Ide::reset() {
    PciDevice::reset();
    for (unsigned number = 0; number < kChannels; ++number) {
        config().set16(kIdeTiming + 2 * number, kDecodeEnable);
        channels_[number]->reset();
    }
    update_ports();
}

void Piix3Ide::serialize(core::Archive &archive) {
    archive.section("pci", 1, [this](core::Archive &a) { PciDevice::serialize(a); });
    for (unsigned number = 0; number < kChannels; ++number)
        archive.section(number ? "secondary" : "primary", 1, [&](core::Archive &a) { channels_[number]->serialize(a); });
}

} // namespace rhea::hw
