#include "hw/acpi/tables.h"

#include "hw/acpi/pci_hotplug.h"
#include "hw/acpi/table_set.h"
#include "hw/pci/pci_bus.h"

#include <cstring>
#include <fmt/format.h>
#include <string>

namespace rhea::hw::acpi {
namespace {

/// Behind the chipset's functions.
constexpr unsigned kFirstHotplugSlot = 2;

/// INTx routing: slot d, pin p reaches PIRQ (d + p - 1) mod 4 as i440FX boards wire it; PIRQA and B go to interrupt 10, C and D
/// to 11, where the machine's reset leaves them.
Bytes pci_routing() {
    std::vector<Bytes> entries;
    for (unsigned slot = 0; slot < 32; ++slot) {
        for (unsigned pin = 0; pin < 4; ++pin) {
            const unsigned pirq = (slot + pin + 3) % 4;
            // The PM function's SCI is wired to 9 outside the PIRQ router.
            entries.push_back(aml::package({aml::integer((std::uint64_t{slot} << 16) | 0xffff), aml::integer(pin),
                                            aml::integer(0), aml::integer(pirq < 2 ? 10 : 11)}));
        }
    }
    return aml::package(entries);
}

/// "S10": slot 2; QEMU's names, by devfn.
std::string slot_name(unsigned slot) { return fmt::format("S{:02X}", slot << 3); }

/// PCI slots whose functions come and go (hw/acpi/pci_hotplug.h): in \_SB.PCI0 the registers and a device for each slot, which the
/// operating system ejects by _EJ0; in \_GPE the method that passes on what was plugged (1: device check) and is to go (3: eject).
Bytes hotplug_slots() {
    Bytes body = aml::concat({aml::io_region("PCST", PciHotplug::kBase, PciHotplug::kSize),
                              aml::dword_fields("PCST", {"PCIU", "PCID", "B0EJ", "PCRM"})});
    for (unsigned slot = kFirstHotplugSlot; slot < PciBus::kSlots; ++slot) {
        body = aml::concat({body, aml::device(slot_name(slot), aml::concat({
            aml::name("_ADR", aml::integer(std::uint64_t{slot} << 16)),
            aml::name("_SUN", aml::integer(slot)),
            aml::method("_EJ0", 1, aml::store(aml::integer(std::uint64_t{1} << slot), aml::path("B0EJ"))),
        }))});
    }
    return body;
}

Bytes hotplug_events() {
    Bytes body = aml::concat({aml::store(aml::path("\\_SB.PCI0.PCIU"), aml::local(0)), aml::store(aml::path("\\_SB.PCI0.PCID"), aml::local(1))});
    for (unsigned slot = kFirstHotplugSlot; slot < PciBus::kSlots; ++slot) {
        const Bytes bit = aml::integer(std::uint64_t{1} << slot);
        const std::string device = "\\_SB.PCI0." + slot_name(slot);
        body = aml::concat({body, aml::if_(aml::and_(aml::local(0), bit), aml::notify(device, 1)),
                            aml::if_(aml::and_(aml::local(1), bit), aml::notify(device, 3))});
    }
    return aml::scope("\\_GPE", aml::method("_E01", 0, body));
}

Bytes dsdt(const TableOptions &options) {
    Bytes isa = aml::concat({
        aml::name("_ADR", aml::integer(0x00010000)),
        real_time_clock(),
        aml::device("KBD", aml::concat({aml::name("_HID", aml::eisa_id("PNP0303")),
                                        aml::name("_STA", aml::integer(0xf)),
                                        aml::name("_CRS", aml::resources({aml::io(0x60, 1), aml::io(0x64, 1), aml::irq(1)}))})),
        aml::device("MOU", aml::concat({aml::name("_HID", aml::eisa_id("PNP0F13")),
                                        aml::name("_STA", aml::integer(0xf)),
                                        aml::name("_CRS", aml::resources({aml::irq(12)}))})),
    });
    for (unsigned i = 0; i < options.serial_ports && i < 4; ++i)
        isa = aml::concat({isa, serial_port(i)});
    const Bytes pci = aml::device(
        "PCI0", aml::concat({aml::name("_HID", aml::eisa_id("PNP0A03")), aml::name("_ADR", aml::integer(0)),
                             aml::name("_UID", aml::integer(0)),
                             aml::name("_CRS", aml::resources({aml::word_bus(0, 0xff), aml::io(0xcf8, 8),
                                                               aml::word_io(0, 0xcf7), aml::word_io(0xd00, 0xffff),
                                                               aml::dword_memory(0xa0000, 0xbffff),
                                                               aml::dword_memory(options.pci_hole_start, 0xfebfffff)})),
                             aml::name("_PRT", pci_routing()), aml::device("ISA", isa), hotplug_slots()}));
    return aml::concat({
        aml::scope("\\_SB", aml::concat({pci, processors(options.cpus)})),
        hotplug_events(),
        aml::name("\\_S5", aml::package({aml::integer(0), aml::integer(0), aml::integer(0), aml::integer(0)})),
    });
}

/// FADT revision 3 (ACPI 6.4, 5.2.9), 244 bytes.
Bytes fadt_table(const TableOptions &options, std::uint64_t facs, std::uint64_t dsdt_address) {
    FixedTable fadt(244);
    fadt.set(36, facs, 4);
    fadt.set(40, dsdt_address, 4);
    fadt.set(44, 1, 1);                          // INT_MODEL (reserved since 2.0)
    fadt.set(46, options.sci_irq, 2);
    fadt.set(48, options.smi_port, 4);
    fadt.set(52, options.acpi_enable, 1);
    fadt.set(53, options.acpi_disable, 1);
    fadt.set(56, options.pm_base, 4);            // PM1a_EVT_BLK
    fadt.set(64, options.pm_base + 4, 4);        // PM1a_CNT_BLK
    fadt.set(76, options.pm_base + 8, 4);        // PM_TMR_BLK
    fadt.set(80, 0xafe0, 4);                     // GPE0_BLK
    fadt.set(88, 4, 1);                          // PM1_EVT_LEN
    fadt.set(89, 2, 1);                          // PM1_CNT_LEN
    fadt.set(91, 4, 1);                          // PM_TMR_LEN
    fadt.set(92, 4, 1);                          // GPE0_BLK_LEN
    fadt.set(96, 0xfff, 2);                      // P_LVL2_LAT: no C2
    fadt.set(98, 0xfff, 2);
    fadt.set(108, 0x32, 1);                      // CENTURY
    fadt.set(109, 0x3, 2);                       // IAPC_BOOT_ARCH: legacy devices, 8042
    fadt.set(112, (1u << 0) | (1u << 2) | (1u << 5) | (1u << 7) | (1u << 10), 4); // WBINVD, PROC_C1, SLP_BUTTON, RTC_S4, RESET_REG
    fadt.set_address(116, FixedTable::kIo, 8, 0xcf9);
    fadt.set(128, 0x06, 1);                      // RESET_VALUE
    fadt.set(132, facs, 8);
    fadt.set(140, dsdt_address, 8);
    fadt.set_address(148, FixedTable::kIo, 32, options.pm_base);
    fadt.set_address(172, FixedTable::kIo, 16, options.pm_base + 4u);
    fadt.set_address(208, FixedTable::kIo, 32, options.pm_base + 8u);
    fadt.set_address(220, FixedTable::kIo, 32, 0xafe0);
    return table("FACP", 3, fadt.body());
}

} // namespace

Blob build_tables(const TableOptions &options, std::uint64_t base) {
    TableSet set(base);
    Bytes facs_bytes(64, 0);
    std::memcpy(facs_bytes.data(), "FACS", 4);
    put_at(facs_bytes, 4, 64, 4);
    facs_bytes[32] = 1;
    const std::uint64_t facs = set.place(facs_bytes, 64);
    const std::uint64_t dsdt_address = set.add(table("DSDT", 1, dsdt(options)));
    const std::uint64_t fadt_address = set.add(fadt_table(options, facs, dsdt_address), {{36, 4}, {40, 4}, {132, 8}, {140, 8}});
    const std::uint64_t madt_address = set.add(table("APIC", 1, madt({.cpus = options.cpus,
                                                                     .local_apics = options.lapic_address,
                                                                     .io_apics = {{options.ioapic_address, 0}},
                                                                     .level_irqs = {options.sci_irq, 10, 11}})));
    return set.finish({fadt_address, madt_address});
}

} // namespace rhea::hw::acpi
