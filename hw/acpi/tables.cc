#include "hw/acpi/tables.h"

#include "hw/acpi/aml.h"
#include "hw/acpi/pci_hotplug.h"
#include "hw/pci/pci_bus.h"

#include <cstring>
#include <fmt/format.h>
#include <string>
#include <string_view>

namespace rhea::hw::acpi {
namespace {

using aml::Bytes;

/// Behind the chipset's functions.
constexpr unsigned kFirstHotplugSlot = 2;

void put(Bytes &out, std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

void put_at(Bytes &out, std::size_t at, std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        out[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

std::uint8_t checksum(const std::uint8_t *data, std::size_t length) {
    std::uint8_t sum = 0;
    for (std::size_t i = 0; i < length; ++i)
        sum = static_cast<std::uint8_t>(sum + data[i]);
    return static_cast<std::uint8_t>(-sum);
}

/// System description table header (ACPI 6.4, 5.2.6) in front of `body`.
Bytes table(std::string_view signature, unsigned revision, const Bytes &body) {
    Bytes out(signature.begin(), signature.end());
    put(out, 36 + body.size(), 4);
    out.push_back(static_cast<std::uint8_t>(revision));
    out.push_back(0); // checksum, below
    for (char c : std::string_view("RHEA  "))
        out.push_back(static_cast<std::uint8_t>(c));
    for (char c : std::string_view("RHEAPC  "))
        out.push_back(static_cast<std::uint8_t>(c));
    put(out, 1, 4);
    for (char c : std::string_view("RHEA"))
        out.push_back(static_cast<std::uint8_t>(c));
    put(out, 1, 4);
    out.insert(out.end(), body.begin(), body.end());
    out[9] = checksum(out.data(), out.size());
    return out;
}

Bytes serial_port(unsigned index) {
    static constexpr std::uint16_t kBase[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    static constexpr unsigned kIrq[] = {4, 3, 4, 3};
    const char path[] = {'C', 'O', 'M', static_cast<char>('1' + index), 0};
    return aml::device(path, aml::concat({aml::name("_HID", aml::eisa_id("PNP0501")),
                                          aml::name("_UID", aml::integer(index + 1)),
                                          aml::name("_STA", aml::integer(0xf)),
                                          aml::name("_CRS", aml::resources({aml::io(kBase[index], 8),
                                                                            aml::irq(kIrq[index])}))}));
}

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
        aml::device("RTC", aml::concat({aml::name("_HID", aml::eisa_id("PNP0B00")),
                                        aml::name("_CRS", aml::resources({aml::io(0x70, 8), aml::irq(8)}))})),
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
    Bytes processors;
    for (unsigned cpu = 0; cpu < options.cpus.count(); ++cpu) {
        const char digits[] = "0123456789ABCDEF";
        const char path[] = {'C', '0', digits[(cpu >> 4) & 15], digits[cpu & 15], 0};
        processors = aml::concat({processors, aml::device(path, aml::concat({aml::name("_HID", aml::string("ACPI0007")),
                                                                             aml::name("_UID", aml::integer(cpu))}))});
    }
    return aml::concat({
        aml::scope("\\_SB", aml::concat({pci, processors})),
        hotplug_events(),
        aml::name("\\_S5", aml::package({aml::integer(0), aml::integer(0), aml::integer(0), aml::integer(0)})),
    });
}

Bytes madt(const TableOptions &options) {
    Bytes body;
    put(body, options.lapic_address, 4);
    put(body, 1, 4); // PCAT_COMPAT: 8259s are there
    for (unsigned cpu = 0; cpu < options.cpus.count(); ++cpu) {
        put(body, 0x0800, 2); // processor local APIC, 8 bytes
        put(body, cpu, 1);
        put(body, options.cpus.apic_id(cpu), 1);
        put(body, 1, 4);
    }
    put(body, 0x0c01, 2); // I/O APIC
    put(body, options.cpus.apic_id(options.cpus.count() - 1) + 1, 1);
    put(body, 0, 1);
    put(body, options.ioapic_address, 4);
    put(body, 0, 4);
    const auto override_source = [&](unsigned source, unsigned gsi, unsigned flags) {
        put(body, 0x0a02, 2);
        put(body, 0, 1);
        put(body, source, 1);
        put(body, gsi, 4);
        put(body, flags, 2);
    };
    override_source(0, 2, 0);                   // the PIT's wire goes to input 2
    override_source(options.sci_irq, options.sci_irq, 0xd); // SCI: level, active high
    override_source(10, 10, 0xd);
    override_source(11, 11, 0xd);
    put(body, 0x0604, 2); // local APIC NMI: LINT1 of all
    put(body, 0xff, 1);
    put(body, 0, 2);
    put(body, 1, 1);
    return body;
}

/// FADT revision 3 (ACPI 6.4, 5.2.9), 244 bytes.
Bytes fadt(const TableOptions &options, std::uint64_t facs, std::uint64_t dsdt_address) {
    Bytes body(244 - 36, 0);
    const auto set = [&](std::size_t offset, std::uint64_t value, unsigned size) { put_at(body, offset - 36, value, size); };
    const auto gas = [&](std::size_t offset, unsigned space, unsigned bits, std::uint64_t address) {
        set(offset, space, 1);
        set(offset + 1, bits, 1);
        set(offset + 4, address, 8);
    };
    set(36, facs, 4);
    set(40, dsdt_address, 4);
    set(44, 1, 1);                          // INT_MODEL (reserved since 2.0)
    set(46, options.sci_irq, 2);
    set(48, options.smi_port, 4);
    set(52, options.acpi_enable, 1);
    set(53, options.acpi_disable, 1);
    set(56, options.pm_base, 4);            // PM1a_EVT_BLK
    set(64, options.pm_base + 4, 4);        // PM1a_CNT_BLK
    set(76, options.pm_base + 8, 4);        // PM_TMR_BLK
    set(80, 0xafe0, 4);                     // GPE0_BLK
    set(88, 4, 1);                          // PM1_EVT_LEN
    set(89, 2, 1);                          // PM1_CNT_LEN
    set(91, 4, 1);                          // PM_TMR_LEN
    set(92, 4, 1);                          // GPE0_BLK_LEN
    set(96, 0xfff, 2);                      // P_LVL2_LAT: no C2
    set(98, 0xfff, 2);
    set(108, 0x32, 1);                      // CENTURY
    set(109, 0x3, 2);                       // IAPC_BOOT_ARCH: legacy devices, 8042
    set(112, (1u << 0) | (1u << 2) | (1u << 5) | (1u << 7) | (1u << 10), 4); // WBINVD, PROC_C1, SLP_BUTTON, RTC_S4, RESET_REG
    gas(116, 1, 8, 0xcf9);
    set(128, 0x06, 1);                      // RESET_VALUE
    set(132, facs, 8);
    set(140, dsdt_address, 8);
    gas(148, 1, 32, options.pm_base);
    gas(172, 1, 16, options.pm_base + 4u);
    gas(208, 1, 32, options.pm_base + 8u);
    gas(220, 1, 32, 0xafe0);
    return body;
}

} // namespace

Blob build_tables(const TableOptions &options, std::uint64_t base) {
    Blob blob;
    Bytes &out = blob.bytes;
    out.resize(kRsdpSpace, 0); // RSDP, filled last
    const auto place = [&](const Bytes &bytes, std::size_t alignment) {
        while (out.size() % alignment)
            out.push_back(0);
        const std::uint64_t address = base + out.size();
        out.insert(out.end(), bytes.begin(), bytes.end());
        return address;
    };
    const auto place_table = [&](const Bytes &bytes, std::initializer_list<Blob::Pointer> pointers) {
        const std::uint64_t address = place(bytes, 16);
        const auto start = static_cast<std::uint32_t>(address - base);
        for (const Blob::Pointer &pointer : pointers)
            blob.pointers.push_back({start + pointer.offset, pointer.size});
        blob.checksums.push_back({start + 9, start, static_cast<std::uint32_t>(bytes.size())});
        return address;
    };
    Bytes facs_bytes(64, 0);
    std::memcpy(facs_bytes.data(), "FACS", 4);
    put_at(facs_bytes, 4, 64, 4);
    facs_bytes[32] = 1;
    const std::uint64_t facs = place(facs_bytes, 64);
    const std::uint64_t dsdt_address = place_table(table("DSDT", 1, dsdt(options)), {});
    const std::uint64_t fadt_address = place_table(table("FACP", 3, fadt(options, facs, dsdt_address)), {{36, 4}, {40, 4}, {132, 8}, {140, 8}});
    const std::uint64_t madt_address = place_table(table("APIC", 1, madt(options)), {});
    Bytes rsdt, xsdt;
    for (std::uint64_t address : {fadt_address, madt_address}) {
        put(rsdt, address, 4);
        put(xsdt, address, 8);
    }
    const std::uint64_t rsdt_address = place_table(table("RSDT", 1, rsdt), {{36, 4}, {40, 4}});
    const std::uint64_t xsdt_address = place_table(table("XSDT", 1, xsdt), {{36, 8}, {44, 8}});

    std::memcpy(out.data(), "RSD PTR ", 8);
    std::memcpy(out.data() + 9, "RHEA  ", 6);
    out[15] = 2;
    put_at(out, 16, rsdt_address, 4);
    put_at(out, 20, 36, 4);
    put_at(out, 24, xsdt_address, 8);
    out[8] = checksum(out.data(), 20);
    out[32] = checksum(out.data(), 36);
    blob.pointers.insert(blob.pointers.end(), {{16, 4}, {24, 8}});
    blob.checksums.insert(blob.checksums.end(), {{8, 0, 20}, {32, 0, 36}});
    return blob;
}

} // namespace rhea::hw::acpi
