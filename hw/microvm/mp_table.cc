#include "hw/microvm/mp_table.h"

#include <numeric>
#include <string_view>

namespace rhea::hw::microvm {
namespace {

constexpr std::uint32_t kLocalApics = 0xfee00000;
constexpr unsigned kIsaBus = 0, kIsaIrqs = 16, kPointerSize = 16;
enum EntryType : unsigned { kProcessor = 0, kBus = 1, kIoApic = 2, kIoInterrupt = 3, kLocalInterrupt = 4 };
enum InterruptType : unsigned { kVectored = 0, kNmi = 1, kExtInt = 3 };

/// Bytes, and how many entries are among them.
class Table {
public:
    Table &put(std::uint64_t value, unsigned size) {
        for (unsigned i = 0; i < size; ++i, value >>= 8)
            bytes_.push_back(static_cast<std::uint8_t>(value));
        return *this;
    }
    Table &text(std::string_view text) {
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        return *this;
    }
    Table &entry(EntryType type) {
        ++entries_;
        return put(type, 1);
    }
    /// An I/O or a local interrupt: polarity and trigger conform to the bus.
    void interrupt(EntryType entry_type, InterruptType type, unsigned irq, unsigned apic, unsigned pin) {
        entry(entry_type).put(type, 1).put(0, 2).put(kIsaBus, 1).put(irq, 1).put(apic, 1).put(pin, 1);
    }
    unsigned entries() const { return entries_; }
    std::vector<std::uint8_t> &bytes() { return bytes_; }

private:
    std::vector<std::uint8_t> bytes_;
    unsigned entries_ = 0;
};

void set_checksum(std::vector<std::uint8_t> &bytes, std::size_t at) {
    bytes[at] = static_cast<std::uint8_t>(-std::accumulate(bytes.begin(), bytes.end(), 0));
}

Table entries(const MpTableOptions &options) {
    constexpr unsigned kApicVersion = 0x14, kIoApicVersion = 0x20, kEnabled = 1, kBootProcessor = 2, kAll = 0xff;
    Table table;
    for (unsigned cpu = 0; cpu < options.cpus.count(); ++cpu)
        table.entry(kProcessor).put(options.cpus.apic_id(cpu), 1).put(kApicVersion, 1).put(cpu == 0 ? kEnabled | kBootProcessor : kEnabled, 1)
            .put(0, 16); // signature and features: CPUID tells
    table.entry(kBus).put(kIsaBus, 1).text("ISA   ");
    const unsigned io_apic = options.cpus.apic_id(options.cpus.count() - 1) + 1;
    table.entry(kIoApic).put(io_apic, 1).put(kIoApicVersion, 1).put(kEnabled, 1).put(options.io_apic, 4);
    for (unsigned irq = 0; irq < kIsaIrqs; ++irq) {
        if (irq != 2)
            table.interrupt(kIoInterrupt, kVectored, irq, io_apic, irq == 0 ? 2 : irq);
    }
    if (options.pic) {
        table.interrupt(kIoInterrupt, kExtInt, 0, io_apic, 0);
        table.interrupt(kLocalInterrupt, kExtInt, 0, kAll, 0);
    }
    table.interrupt(kLocalInterrupt, kNmi, 0, kAll, 1);
    return table;
}

} // namespace

std::vector<std::uint8_t> mp_table(const MpTableOptions &options) {
    constexpr unsigned kHeaderSize = 44, kRevision = 4; // of version 1.4
    Table body = entries(options);
    Table config;
    config.text("PCMP").put(kHeaderSize + body.bytes().size(), 2).put(kRevision, 1).put(0, 1).text("RHEA    ").text("microvm     ")
        .put(0, 4).put(0, 2).put(body.entries(), 2).put(kLocalApics, 4).put(0, 4);
    config.bytes().insert(config.bytes().end(), body.bytes().begin(), body.bytes().end());
    set_checksum(config.bytes(), 7);
    Table pointer;
    pointer.text("_MP_").put(kMpTableAddress + kPointerSize, 4).put(1, 1).put(kRevision, 1).put(0, 6);
    set_checksum(pointer.bytes(), 10);
    std::vector<std::uint8_t> all = std::move(pointer.bytes());
    all.insert(all.end(), config.bytes().begin(), config.bytes().end());
    return all;
}

} // namespace rhea::hw::microvm
