// The IDE function of the PIIX3 (82371SB, function 1): two channels at their legacy ports, and a bus master.
//
// Ports 0x1f0 and 0x3f6 with IRQ 14, 0x170 and 0x376 with IRQ 15, whatever the BARs say; a channel answers while its
// IDETIM register and the PCI command register let it. Under the machine lock.
// Source: 82371FB/82371SB datasheet (290550-002), 2.3 and 2.6.
#pragma once
#include "hw/ide/ide_channel.h"
#include "hw/pci/pci_device.h"

#include <array>
#include <memory>

namespace rhea::hw {

class Piix3Ide final : public PciDevice, private IdeChannel::Controller {
public:
    static constexpr unsigned kChannels = 2;

    /// `irqs` are the wires to ISA IRQ 14 and 15.
    Piix3Ide(std::array<core::IrqLine, kChannels> irqs, core::MemoryRegion &io_root);

    IdeChannel &channel(unsigned number) { return *channels_[number]; }
    /// Both channels answer and may reach memory, as firmware leaves it. For machines without firmware: after each reset.
    void enable_channels();

    std::string_view type() const override { return "piix3-ide"; }
    void reset() override;
    void serialize(core::Archive &archive) override;

private:
    void update_ports();
    bool read_memory(core::hwaddr address, void *to, std::size_t length) override;
    bool write_memory(core::hwaddr address, const void *from, std::size_t length) override;
    std::string firmware_path() const override;

    std::array<std::unique_ptr<IdeChannel>, kChannels> channels_;
    core::RegisterBank bus_master_;
    std::unique_ptr<core::MemoryRegion> bus_master_region_;
};

} // namespace rhea::hw
