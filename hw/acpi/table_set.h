// What the ACPI tables of every machine are made of: headers, the roots (RSDP, RSDT, XSDT), the MADT, and AML objects that more than
// one machine has (ACPI 6.4).
#pragma once
#include "hw/acpi/aml.h"
#include "hw/acpi/tables.h"

#include <initializer_list>
#include <span>
#include <string_view>

namespace rhea::hw::acpi {

using aml::Bytes;

void put(Bytes &out, std::uint64_t value, unsigned size);
void put_at(Bytes &out, std::size_t at, std::uint64_t value, unsigned size);

/// System description table header (5.2.6) in front of `body`.
Bytes table(std::string_view signature, unsigned revision, const Bytes &body);

/// A table of fixed fields, by their offsets in the whole table.
class FixedTable {
public:
    explicit FixedTable(std::size_t size) : body_(size - kHeader, 0) {}
    void set(std::size_t offset, std::uint64_t value, unsigned size) { put_at(body_, offset - kHeader, value, size); }
    enum : unsigned { kMemory = 0, kIo = 1 }; ///< address spaces
    /// A generic address structure (5.2.3.2).
    void set_address(std::size_t offset, unsigned space, unsigned bits, std::uint64_t address);
    const Bytes &body() const { return body_; }

private:
    static constexpr std::size_t kHeader = 36;
    Bytes body_;
};

/// Puts tables behind each other, the RSDP in front of them.
class TableSet {
public:
    /// For guest physical address `base`.
    explicit TableSet(std::uint64_t base);
    /// Something without a header of its own that counts; returns its address.
    std::uint64_t place(const Bytes &bytes, std::size_t alignment);
    /// A table; `pointers`: its fields that hold addresses of other tables.
    std::uint64_t add(const Bytes &table, std::initializer_list<Blob::Pointer> pointers = {});
    /// RSDT and XSDT of these tables, and the RSDP.
    Blob finish(std::initializer_list<std::uint64_t> roots);

private:
    std::uint64_t base_;
    Blob blob_;
};

struct MadtOptions {
    core::CpuTopology cpus;
    bool pic = true; ///< 8259s are there, too
    std::uint32_t local_apics = 0xfee00000;
    struct IoApic {
        std::uint32_t address;
        unsigned first_gsi;
    };
    std::vector<IoApic> io_apics;
    std::vector<unsigned> level_irqs; ///< of the ISA's: level-triggered, active high
};
/// Multiple APIC description table (5.2.12); the 8254's wire goes to input 2.
Bytes madt(const MadtOptions &options);

/// COM1 is index 0.
Bytes serial_port(unsigned index);
Bytes real_time_clock();
Bytes processors(const core::CpuTopology &cpus);

} // namespace rhea::hw::acpi
