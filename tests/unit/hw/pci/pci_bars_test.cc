// BARs that move while the device works, expansion ROMs, and where the interrupt pins of all slots lead.
#include <gtest/gtest.h>

#include "hw/pci/pci_bus.h"
#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

/// A 64-bit BAR, an I/O BAR and a ROM; each answers with its own byte.
class Card final : public PciDevice {
  public:
    Card() : PciDevice({.vendor = 0x1234, .device = 1, .interrupt_pin = 1}) {
        add_bar(0, *wide.region, PciBarKind::kMemory64Prefetchable);
        add_bar(2, *io.region, PciBarKind::kIo);
        add_rom(*rom.region);
    }
    std::string_view type() const override { return "card"; }

  private:
    struct Answers final : core::IoHandler {
        Answers(const char* name, std::uint64_t size, std::uint8_t value)
            : byte(value), region(core::MemoryRegion::io(name, size, *this, {.min = 1, .max = 1})) {}
        std::uint64_t io_read(core::hwaddr, unsigned) override { return byte; }
        void io_write(core::hwaddr, std::uint64_t, unsigned) override {}
        std::uint8_t byte;
        std::unique_ptr<core::MemoryRegion> region;
    };
    Answers wide{"wide", 0x100000, 0x64}, io{"io", 0x40, 0x10}, rom{"rom", 0x10000, 0x55};
};

class PciBarsTest : public ::testing::Test {
  protected:
    PciBarsTest() {
        memory.root->add(0, *ram);
        memory.root->add(0, *window, -1);
        EXPECT_TRUE(bus.attach(card, {.slot = 2}));
    }
    void write(unsigned offset, std::uint32_t value, unsigned size = 4) { bus.config_write(2 << 3, offset, value, size); }
    std::uint32_t read(unsigned offset) { return bus.config_read(2 << 3, offset, 4); }

    test::FakeSpace memory{"memory", 1ull << 46}, ports{"io", 0x10000};
    core::RamBlock block{"ram", 0, 0x100000};
    std::unique_ptr<core::MemoryRegion> ram = core::MemoryRegion::ram("ram", block);
    std::unique_ptr<core::MemoryRegion> window = core::MemoryRegion::container("pci", 1ull << 46);
    PciBus bus{{*window, *ports.root, memory.space, nullptr}};
    Card card;
};

TEST_F(PciBarsTest, AWideBarMovesAboutWhileItDecodes) {
    write(4, 2, 2);
    EXPECT_EQ(memory.load(0xe0000000), 0xffu);
    for (const std::uint64_t at : {0xe0000000ull, 0x38000000000ull, 0xfe000000ull, 0x100000000ull}) {
        // The halves are written one by one, as firmware and Linux do.
        write(0x10, static_cast<std::uint32_t>(at));
        write(0x14, static_cast<std::uint32_t>(at >> 32));
        EXPECT_EQ(memory.load(at), 0x64u) << std::hex << at;
        EXPECT_EQ(memory.load(at + 0xfffff), 0x64u);
        EXPECT_EQ(memory.load(at + 0x100000), 0xffu);
    }
    EXPECT_EQ(memory.load(0xe0000000), 0xffu) << "it has left";
}

TEST_F(PciBarsTest, AskingForTheSizeShowsNothing) {
    write(4, 3, 2);
    write(0x10, 0xe0000000);
    write(0x18, 0xc000);
    write(0x10, 0xffffffff);
    write(0x14, 0xffffffff);
    EXPECT_EQ(read(0x10), 0xfff0000cu);
    EXPECT_EQ(read(0x14), 0xffffffffu);
    EXPECT_EQ(memory.load(0xfff00000), 0xffu);
    write(0x18, 0xffffffff);
    EXPECT_EQ(read(0x18), 0xffffffc1u);
    EXPECT_EQ(ports.load(0xffc0), 0xffu) << "the size of an I/O BAR, which is in range by chance";
    write(0x18, 0xc040);
    EXPECT_EQ(ports.load(0xc040), 0x10u);
    EXPECT_EQ(ports.load(0xc000), 0xffu);
}

TEST_F(PciBarsTest, RamHidesABar) {
    block.host()[0x1000] = 0x77;
    write(4, 2, 2);
    write(0x10, 0);
    write(0x14, 0);
    EXPECT_EQ(memory.load(0x1000), 0x77u);
}

TEST_F(PciBarsTest, TheRomNeedsBothEnables) {
    write(0x30, 0xffffffff);
    EXPECT_EQ(read(0x30), 0xffff0001u);
    write(0x30, 0xd0000001);
    EXPECT_EQ(memory.load(0xd0000000), 0xffu) << "memory decoding is off";
    write(4, 2, 2);
    EXPECT_EQ(memory.load(0xd0000000), 0x55u);
    write(0x30, 0xd0010000);
    EXPECT_EQ(memory.load(0xd0010000), 0xffu) << "its own enable is off";
    write(0x30, 0xd0010001);
    EXPECT_EQ(memory.load(0xd0010000), 0x55u);
    EXPECT_EQ(memory.load(0xd0000000), 0xffu);
    card.reset();
    EXPECT_EQ(memory.load(0xd0010000), 0xffu);
    EXPECT_EQ(read(0x30), 0u);
}

}  // namespace
}  // namespace rhea::hw
