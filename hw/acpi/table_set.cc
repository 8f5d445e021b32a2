#include "hw/acpi/table_set.h"

#include <cstring>

namespace rhea::hw::acpi {
namespace {

std::uint8_t checksum(const std::uint8_t *data, std::size_t length) {
    std::uint8_t sum = 0;
    for (std::size_t i = 0; i < length; ++i)
        sum = static_cast<std::uint8_t>(sum + data[i]);
    return static_cast<std::uint8_t>(-sum);
}

} // namespace

void put(Bytes &out, std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

void put_at(Bytes &out, std::size_t at, std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        out[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

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

void FixedTable::set_address(std::size_t offset, unsigned space, unsigned bits, std::uint64_t address) {
    set(offset, space, 1);
    set(offset + 1, bits, 1);
    set(offset + 4, address, 8);
}

// ---- the set -------------------------------------------------------------------------------------------------------

TableSet::TableSet(std::uint64_t base) : base_(base) { blob_.bytes.resize(kRsdpSpace, 0); }

std::uint64_t TableSet::place(const Bytes &bytes, std::size_t alignment) {
    Bytes &out = blob_.bytes;
    while (out.size() % alignment)
        out.push_back(0);
    const std::uint64_t address = base_ + out.size();
    out.insert(out.end(), bytes.begin(), bytes.end());
    return address;
}

std::uint64_t TableSet::add(const Bytes &table, std::initializer_list<Blob::Pointer> pointers) {
    const std::uint64_t address = place(table, 16);
    const auto start = static_cast<std::uint32_t>(address - base_);
    for (const Blob::Pointer &pointer : pointers)
        blob_.pointers.push_back({start + pointer.offset, pointer.size});
    blob_.checksums.push_back({start + 9, start, static_cast<std::uint32_t>(table.size())});
    return address;
}

Blob TableSet::finish(std::initializer_list<std::uint64_t> roots) {
    constexpr std::uint32_t kHeader = 36;
    const auto root_table = [&](std::string_view signature, unsigned size) {
        Bytes body;
        for (std::uint64_t address : roots)
            put(body, address, size);
        const std::uint64_t address = add(table(signature, 1, body));
        for (unsigned i = 0; i < roots.size(); ++i)
            blob_.pointers.push_back({static_cast<std::uint32_t>(address - base_) + kHeader + i * size, size});
        return address;
    };
    const std::uint64_t rsdt = root_table("RSDT", 4), xsdt = root_table("XSDT", 8);
    Bytes &out = blob_.bytes;
    std::memcpy(out.data(), "RSD PTR ", 8);
    std::memcpy(out.data() + 9, "RHEA  ", 6);
    out[15] = 2;
    put_at(out, 16, rsdt, 4);
    put_at(out, 20, 36, 4);
    put_at(out, 24, xsdt, 8);
    out[8] = checksum(out.data(), 20);
    out[32] = checksum(out.data(), 36);
    blob_.pointers.insert(blob_.pointers.end(), {{16, 4}, {24, 8}});
    blob_.checksums.insert(blob_.checksums.end(), {{8, 0, 20}, {32, 0, 36}});
    return std::move(blob_);
}

// ---- what machines share -------------------------------------------------------------------------------------------

Bytes madt(const MadtOptions &options) {
    Bytes body;
    put(body, options.local_apics, 4);
    put(body, options.pic, 4); // PCAT_COMPAT
    for (unsigned cpu = 0; cpu < options.cpus.count(); ++cpu) {
        put(body, 0x0800, 2); // processor local APIC, 8 bytes
        put(body, cpu, 1);
        put(body, options.cpus.apic_id(cpu), 1);
        put(body, 1, 4);
    }
    unsigned id = options.cpus.apic_id(options.cpus.count() - 1);
    for (const MadtOptions::IoApic &io_apic : options.io_apics) {
        put(body, 0x0c01, 2);
        put(body, ++id, 1);
        put(body, 0, 1);
        put(body, io_apic.address, 4);
        put(body, io_apic.first_gsi, 4);
    }
    const auto override_source = [&](unsigned source, unsigned gsi, unsigned flags) {
        put(body, 0x0a02, 2);
        put(body, 0, 1);
        put(body, source, 1);
        put(body, gsi, 4);
        put(body, flags, 2);
    };
    override_source(0, 2, 0); // the PIT's wire goes to input 2
    for (unsigned irq : options.level_irqs)
        override_source(irq, irq, 0xd);
    put(body, 0x0604, 2); // local APIC NMI: LINT1 of all
    put(body, 0xff, 1);
    put(body, 0, 2);
    put(body, 1, 1);
    return body;
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

Bytes real_time_clock() {
    return aml::device("RTC", aml::concat({aml::name("_HID", aml::eisa_id("PNP0B00")),
                                           aml::name("_CRS", aml::resources({aml::io(0x70, 8), aml::irq(8)}))}));
}

Bytes processors(const core::CpuTopology &cpus) {
    Bytes all;
    for (unsigned cpu = 0; cpu < cpus.count(); ++cpu) {
        const char digits[] = "0123456789ABCDEF";
        const char path[] = {'C', '0', digits[(cpu >> 4) & 15], digits[cpu & 15], 0};
        all = aml::concat({all, aml::device(path, aml::concat({aml::name("_HID", aml::string("ACPI0007")), aml::name("_UID", aml::integer(cpu))}))});
    }
    return all;
}

} // namespace rhea::hw::acpi
