// The ACPI tables of machine `microvm`: hardware-reduced ACPI, with the event device and the virtio transports in the DSDT.
#pragma once
#include "hw/acpi/tables.h"

#include <vector>

namespace rhea::hw::acpi {

struct MicrovmTableOptions {
    core::CpuTopology cpus;
    bool pic = true, rtc = true;
    unsigned serial_ports = 1;
    std::vector<std::uint32_t> io_apics; ///< addresses, of 24 pins each
    unsigned event_irq = 9;              ///< of the event device, a GSI
    struct Transport {
        unsigned number;                 ///< of all that the machine has
        std::uint32_t address, size;
        unsigned gsi;
    };
    std::vector<Transport> transports;   ///< those with a device, in the order in which the guest shall find them
};

/// The whole set for guest physical address `base` (16-byte aligned).
Blob build_microvm_tables(const MicrovmTableOptions &options, std::uint64_t base);

} // namespace rhea::hw::acpi
