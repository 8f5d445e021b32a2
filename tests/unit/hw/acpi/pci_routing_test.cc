// _PRT has every pin of every slot, and it leads where the bus's wires do.
#include <gtest/gtest.h>

#include <algorithm>

#include "hw/acpi/aml.h"
#include "hw/acpi/tables.h"
#include "hw/pci/pci_bus.h"

namespace rhea::hw::acpi {
namespace {

TEST(PciRoutingTest, EveryPinOfEverySlot) {
    const auto tables = build_loader_files([](std::uint64_t base) { return build_tables({}, base); }).tables;
    for (unsigned slot = 0; slot < PciBus::kSlots; ++slot) {
        for (unsigned pin = 0; pin < 4; ++pin) {
            const unsigned irq = PciBus::pirq_of(slot, pin + 1) < 2 ? 10 : 11;
            const aml::Bytes entry = aml::package({aml::integer(std::uint64_t{slot} << 16 | 0xffff), aml::integer(pin),
                                                   aml::integer(0), aml::integer(irq)});
            const auto found = std::search(tables.begin(), tables.end(), entry.begin(), entry.end());
            ASSERT_NE(found, tables.end()) << "slot " << slot << " pin " << pin;
        }
    }
}

}  // namespace
}  // namespace rhea::hw::acpi
