// The Intel MultiProcessor Specification's tables (version 1.4, chapter 4): what CPUs and interrupts there are, for a guest without ACPI.
#pragma once
#include "rhea/core/cpu_topology.h"

#include <cstdint>
#include <vector>

namespace rhea::hw::microvm {

/// Where a kernel looks: the firmware's 64 KiB below 1 MiB.
inline constexpr std::uint64_t kMpTableAddress = 0xf0000;

struct MpTableOptions {
    core::CpuTopology cpus;
    bool pic = true; ///< 8259s, whose INT is at the I/O APIC's pin 0 and at every LINT0
    std::uint32_t io_apic = 0;
};

/// The floating pointer structure and the configuration table behind it, for kMpTableAddress.
std::vector<std::uint8_t> mp_table(const MpTableOptions &options);

} // namespace rhea::hw::microvm
