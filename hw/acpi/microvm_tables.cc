#include "hw/acpi/microvm_tables.h"

#include "hw/acpi/generic_events.h"
#include "hw/acpi/table_set.h"
#include "hw/intc/io_apic.h"

#include <fmt/format.h>

namespace rhea::hw::acpi {
namespace {

/// ACPI 6.4, 5.6.9: the method _EVT is told which interrupt came, and finds out which event it was.
Bytes event_device(unsigned irq) {
    const Bytes method = aml::concat({
        aml::store(aml::path("ESEL"), aml::local(0)),
        aml::if_(aml::and_(aml::local(0), aml::integer(GenericEvents::kPowerButton)), aml::notify("\\_SB.PWRB", 0x80)),
    });
    return aml::device("GED", aml::concat({
        aml::name("_HID", aml::string("ACPI0013")),
        aml::name("_UID", aml::string("GED")),
        aml::name("_CRS", aml::resources({aml::interrupt(irq, aml::Trigger::kEdge)})),
        aml::memory_region("EREG", GenericEvents::kBase, 4),
        aml::dword_fields("EREG", {"ESEL"}),
        aml::method("_EVT", 1, method),
    }));
}

Bytes power_button() {
    return aml::device("PWRB", aml::concat({aml::name("_HID", aml::eisa_id("PNP0C0C")), aml::name("_UID", aml::integer(0))}));
}

Bytes transport(const MicrovmTableOptions::Transport &slot) {
    return aml::device(fmt::format("VR{:02}", slot.number), aml::concat({
        aml::name("_HID", aml::string("LNRO0005")),
        aml::name("_UID", aml::integer(slot.number)),
        aml::name("_CCA", aml::integer(1)),
        aml::name("_CRS", aml::resources({aml::memory32_fixed(slot.address, slot.size), aml::interrupt(slot.gsi, aml::Trigger::kLevel)})),
    }));
}

Bytes dsdt(const MicrovmTableOptions &options) {
    Bytes devices = aml::concat({processors(options.cpus), event_device(options.event_irq), power_button()});
    if (options.rtc)
        devices = aml::concat({devices, real_time_clock()});
    for (unsigned index = 0; index < options.serial_ports; ++index)
        devices = aml::concat({devices, serial_port(index)});
    for (const MicrovmTableOptions::Transport &slot : options.transports)
        devices = aml::concat({devices, transport(slot)});
    return aml::concat({aml::scope("\\_SB", devices),
                        aml::name("\\_S5", aml::package({aml::integer(GenericEvents::kSoftOff), aml::integer(0), aml::integer(0), aml::integer(0)}))});
}

/// FADT revision 5 (5.2.9): no fixed hardware, sleep and reset registers in memory.
Bytes fadt_table(const MicrovmTableOptions &options, std::uint64_t dsdt_address) {
    constexpr unsigned kResetRegSup = 1u << 10, kHwReducedAcpi = 1u << 20; // flags
    constexpr unsigned kVgaNotPresent = 1u << 2, kCmosRtcNotPresent = 1u << 5; // IAPC_BOOT_ARCH
    FixedTable fadt(268);
    fadt.set(40, dsdt_address, 4);
    fadt.set(109, kVgaNotPresent | (options.rtc ? 0 : kCmosRtcNotPresent), 2);
    fadt.set(112, kResetRegSup | kHwReducedAcpi, 4);
    fadt.set_address(116, FixedTable::kMemory, 8, GenericEvents::kRegisters + 2);
    fadt.set(128, GenericEvents::kResetValue, 1);
    fadt.set(131, 1, 1); // minor version
    fadt.set(140, dsdt_address, 8);
    fadt.set_address(244, FixedTable::kMemory, 8, GenericEvents::kRegisters);
    fadt.set_address(256, FixedTable::kMemory, 8, GenericEvents::kRegisters + 1);
    return table("FACP", 5, fadt.body());
}

} // namespace

Blob build_microvm_tables(const MicrovmTableOptions &options, std::uint64_t base) {
    TableSet set(base);
    const std::uint64_t dsdt_address = set.add(table("DSDT", 2, dsdt(options)));
    const std::uint64_t fadt = set.add(fadt_table(options, dsdt_address), {{40, 4}, {140, 8}});
    MadtOptions apics{.cpus = options.cpus, .pic = options.pic, .io_apics = {}, .level_irqs = {}};
    unsigned gsi = 0;
    for (const std::uint32_t address : options.io_apics) {
        apics.io_apics.push_back({address, gsi});
        gsi += IoApic::kPins;
    }
    return set.finish({fadt, set.add(table("APIC", 1, madt(apics)))});
}

} // namespace rhea::hw::acpi
