// The 440FX host bridge (82441FX): configuration ports, and the attributes of memory below 1 MiB.
//
// The PAM registers say for each piece of 0xc0000..0xfffff whether reads and writes go to DRAM or
// to PCI (where the firmware's ROM answers); SMRAM's D_OPEN shows the DRAM below the VGA window.
// Machine memory is expected to have RAM at 0 and the PCI window below it in priority; the bridge
// lays overlays above both. System management mode does not exist. Under the machine lock.
// Source: Intel 82441FX datasheet (290549-001), section 3.2.
#pragma once
#include <array>
#include <memory>

#include "hw/pci/pci_config_ports.h"
#include "hw/pci/pci_device.h"

namespace rhea::hw {

class I440fx final : public PciDevice {
  public:
    struct Ports {
        core::MemoryRegion& memory_root;  ///< what the CPU sees
        core::MemoryRegion& pci_memory;   ///< the bus's memory window
        core::MemoryRegion& ram;          ///< RAM whose first MiB is the machine's
        core::MemoryRegion& io_root;
        core::MachineRequests& requests;
    };

    /// Attaches itself to `bus` at 00.0 and places the configuration ports.
    I440fx(PciBus& bus, const Ports& ports);

    /// Makes all of 0xc0000..0xfffff plain RAM, as firmware leaves it. For machines that start a
    /// kernel without firmware: after each reset.
    void open_shadow_ram();

    [[nodiscard]] std::string_view type() const override { return "i440FX"; }
    void reset() override;
    void serialize(core::Archive& archive) override;

  private:
    static constexpr unsigned kSegments = 13;

    /// Reads come from PCI, writes go to DRAM: how firmware copies itself into shadow RAM.
    class WriteThrough final : public core::IoHandler {
      public:
        std::uint64_t io_read(core::hwaddr offset, unsigned size) override;
        void io_write(core::hwaddr offset, std::uint64_t value, unsigned size) override;

        core::AddressSpace* pci = nullptr;
        core::AddressSpace* ram = nullptr;
        core::hwaddr base = 0;
    };
    /// Where the CPU looks at PCI and nobody answers: master abort.
    class MasterAbort final : public core::IoHandler {
      public:
        std::uint64_t io_read(core::hwaddr, unsigned) override { return ~std::uint64_t{0}; }
        void io_write(core::hwaddr, std::uint64_t, unsigned) override {}
    };
    /// A view of PCI that hides the RAM below also where PCI has nothing.
    struct PciView {
        std::unique_ptr<core::MemoryRegion> whole, background, alias;
    };
    /// One piece of memory that a PAM nibble governs, with its three overlays.
    struct Segment {
        PciView pci;
        std::unique_ptr<core::MemoryRegion> read_only, write_through;
        WriteThrough handler;
    };

    PciView make_pci_view(std::string name, core::MemoryRegion& pci, core::hwaddr start,
                          std::uint64_t size);
    void make_segment(unsigned index, const Ports& ports);
    void update_memory();

    PciConfigPorts config_ports_;
    core::AddressSpace pci_space_, ram_space_;
    MasterAbort master_abort_;
    std::array<Segment, kSegments> segments_;
    PciView vga_window_;
};

}  // namespace rhea::hw
