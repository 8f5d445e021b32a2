// Machine `pc` (i440FX): see docs/architecture.md. One function a group of parts; what they are wired to is said here and nowhere else.
#pragma once
#include "hw/pc/x86_machine.h"
#include "hw/pci/pci_bus.h"

#include <memory>

namespace rhea::hw {
class IdeHardDisk;
class Piix3Ide;
class Piix4Pm;
}

namespace rhea::hw::pc {

class PcMachine final : public X86Machine {
public:
    using X86Machine::X86Machine;

    bool press_power_button() override;
    util::Result<void> hot_unplug(std::string_view id) override;

private:
    bool hot_plugs(std::string_view bus) const override { return bus == "PCI" || X86Machine::hot_plugs(bus); }
    std::string_view what_hot_plugs() const override { return "PCI and SCSI devices can"; }
    util::Result<void> check_plugged(const core::Device &device) const override;
    void tell_plugged(const core::Device &device) override;
    util::Result<void> build_parts(core::Accelerator &accelerator) override;
    acpi::Blob acpi_tables(std::uint64_t base) override;
    util::Result<void> build_pci_memory();
    void build_platform_devices();
    util::Result<void> build_chipset();
    util::Result<void> build_ide();
    util::Result<void> build_drives();
    util::Result<void> build_virtio_drives();
    std::uint32_t removable_slots() const;
    void slot_ejected(unsigned slot);
    const IdeHardDisk *ide_disk(unsigned number) const;
    void set_cmos_disks();

    core::MemoryRegion *pci_memory_ = nullptr;
    std::unique_ptr<PciBus> pci_bus_;
    Piix3Ide *ide_ = nullptr;
    Piix4Pm *pm_ = nullptr;
};

} // namespace rhea::hw::pc
