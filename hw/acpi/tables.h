// The ACPI tables of machine `pc`, laid out for one physical address.
//
// Tables hold physical addresses of each other, so they are built for the place where they will lie: the RSDP in the first
// bytes, the others behind it. With firmware in charge they travel through fw_cfg instead (see loader script there).
#pragma once
#include "rhea/core/cpu_topology.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace rhea::hw::acpi {

struct TableOptions {
    core::CpuTopology cpus; ///< all of them are there
    std::uint16_t pm_base = 0x600;
    std::uint16_t smi_port = 0xb2;
    std::uint8_t acpi_enable = 0xf1, acpi_disable = 0xf0;
    std::uint16_t sci_irq = 9;
    std::uint32_t pci_hole_start = 0xc0000000; ///< first byte above low RAM where PCI memory may lie
    std::uint32_t ioapic_address = 0xfec00000;
    std::uint32_t lapic_address = 0xfee00000;
    unsigned serial_ports = 1;                 ///< UARTs that exist (COM1 first)
};

struct Blob {
    /// A field that holds an address, and one that makes a range's bytes add up to 0.
    struct Pointer {
        std::uint32_t offset = 0;
        unsigned size = 0;
    };
    struct Checksum {
        std::uint32_t offset = 0, start = 0, length = 0;
    };
    std::vector<std::uint8_t> bytes; ///< RSDP first
    std::vector<Pointer> pointers;   ///< to tables in `bytes`
    std::vector<Checksum> checksums; ///< in the order in which they must be made
};
/// The RSDP's place in front of the tables; they are aligned relative to its end too.
inline constexpr std::uint32_t kRsdpSpace = 64;

/// The files by which firmware places the tables itself: "etc/acpi/rsdp", "etc/acpi/tables" and the script "etc/table-loader" that says
/// what to allocate, where to add addresses, and what to sum up.
struct LoaderFiles {
    std::vector<std::uint8_t> rsdp, tables, script;
};
/// `build` makes the set for a guest physical address, as build_tables() does.
LoaderFiles build_loader_files(const std::function<Blob(std::uint64_t base)> &build);

/// The whole set for guest physical address `base` (16-byte aligned).
Blob build_tables(const TableOptions &options, std::uint64_t base);

} // namespace rhea::hw::acpi
