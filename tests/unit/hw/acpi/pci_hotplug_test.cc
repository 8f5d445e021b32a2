// What AML reads when PCI functions come and go, and that the DSDT has a name for every slot.
#include "hw/acpi/pci_hotplug.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "hw/acpi/aml.h"
#include "hw/acpi/tables.h"
#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

class PciHotplugTest : public ::testing::Test {
  protected:
    PciHotplugTest() { io.root->add(PciHotplug::kBase, hotplug.region()); }
    std::uint32_t read(unsigned offset) { return static_cast<std::uint32_t>(io.load(PciHotplug::kBase + offset, 4)); }

    unsigned events = 0;
    std::uint32_t removable = 0x0c;  // slots 2 and 3
    std::vector<unsigned> ejected;
    test::FakeSpace io{"io", 0x10000};
    PciHotplug hotplug{{.raise_gpe = [this] { ++events; },
                        .eject = [this](unsigned slot) { ejected.push_back(slot); },
                        .removable = [this] { return removable; }}};
};

TEST_F(PciHotplugTest, WhatWasPluggedIsToldOnce) {
    hotplug.plugged(3);
    EXPECT_EQ(events, 1u);
    EXPECT_EQ(read(4), 0u);
    EXPECT_EQ(read(0), 1u << 3);
    EXPECT_EQ(read(0), 0u);
    EXPECT_EQ(read(0x0c), 0x0cu) << "what may be ejected";
}

TEST_F(PciHotplugTest, WhatIsToGoIsToldUntilItIsGone) {
    hotplug.ask_to_remove(2);
    EXPECT_EQ(events, 1u);
    EXPECT_EQ(read(4), 1u << 2);
    EXPECT_EQ(read(4), 1u << 2);
    io.store(PciHotplug::kBase + 8, 1u << 2 | 1u << 1, 4);
    EXPECT_EQ(ejected, (std::vector<unsigned>{2})) << "and the chipset's slot 1 stays";
    EXPECT_TRUE(hotplug.asked_to_remove(2));
    hotplug.gone(2);
    EXPECT_EQ(read(4), 0u);
    EXPECT_FALSE(hotplug.asked_to_remove(2));
}

TEST_F(PciHotplugTest, OtherBusesHaveNothing) {
    hotplug.plugged(3);
    hotplug.ask_to_remove(2);
    io.store(PciHotplug::kBase + 0x10, 1, 4);
    EXPECT_EQ(read(0x10), 1u);
    EXPECT_EQ(read(0), 0u);
    EXPECT_EQ(read(4), 0u);
    EXPECT_EQ(read(0x0c), 0u);
    io.store(PciHotplug::kBase + 8, 4, 4);
    EXPECT_TRUE(ejected.empty());
    io.store(PciHotplug::kBase + 0x10, 0, 4);
    EXPECT_EQ(read(0), 8u);
}

TEST_F(PciHotplugTest, AResetEjectsWhatWasToGo) {
    hotplug.plugged(3);
    hotplug.ask_to_remove(2);
    hotplug.reset();
    EXPECT_EQ(ejected, (std::vector<unsigned>{2}));
    EXPECT_EQ(read(0), 0u);
}

TEST_F(PciHotplugTest, StateIsKept) {
    hotplug.plugged(3);
    hotplug.ask_to_remove(2);
    std::vector<std::uint8_t> bytes;
    hotplug.serialize(*core::make_memory_writer(bytes));
    PciHotplug other({.raise_gpe = [] {}, .eject = [](unsigned) {}, .removable = [] { return 0u; }});
    other.serialize(*core::make_memory_reader(bytes));
    EXPECT_EQ(other.region().handler()->io_read(0, 4), 8u);
    EXPECT_EQ(other.region().handler()->io_read(4, 4), 4u);
}

TEST(PciHotplugTables, EverySlotBehindTheChipsetCanBeEjected) {
    const auto tables = acpi::build_loader_files([](std::uint64_t base) { return acpi::build_tables({}, base); }).tables;
    const auto has = [&tables](const aml::Bytes& bytes) {
        return std::search(tables.begin(), tables.end(), bytes.begin(), bytes.end()) != tables.end();
    };
    for (unsigned slot = 2; slot < 32; ++slot) {
        EXPECT_TRUE(has(aml::method("_EJ0", 1, aml::store(aml::integer(std::uint64_t{1} << slot), aml::path("B0EJ"))))) << slot;
    }
    EXPECT_FALSE(has(aml::store(aml::integer(2), aml::path("B0EJ"))));
    EXPECT_TRUE(has(aml::if_(aml::and_(aml::local(0), aml::integer(4)), aml::notify("\\_SB.PCI0.S10", 1))));
    EXPECT_TRUE(has(aml::if_(aml::and_(aml::local(1), aml::integer(0x80000000)), aml::notify("\\_SB.PCI0.SF8", 3))));
}

// Bytes by hand, from ACPI 6.4, 20.2.
TEST(PciHotplugTables, Aml) {
    EXPECT_EQ(aml::io_region("PCST", 0xae00, 0x14), (aml::Bytes{0x5b, 0x80, 'P', 'C', 'S', 'T', 1, 0x0b, 0x00, 0xae, 0x0a, 0x14}));
    EXPECT_EQ(aml::dword_fields("PCST", {"PCIU"}), (aml::Bytes{0x5b, 0x81, 11, 'P', 'C', 'S', 'T', 0x43, 'P', 'C', 'I', 'U', 32}));
    EXPECT_EQ(aml::if_(aml::and_(aml::local(1), aml::integer(1)), aml::notify("S10", 3)),
              (aml::Bytes{0xa0, 12, 0x7b, 0x61, 1, 0, 0x86, 'S', '1', '0', '_', 0x0a, 3}));
}

}  // namespace
}  // namespace rhea::hw
