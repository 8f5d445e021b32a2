#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "hw/pci/i440fx.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_msi.h"
#include "hw/pci/piix3.h"
#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

class FakeMsiSink final : public MsiSink {
  public:
    void send_msi(std::uint64_t address, std::uint32_t data) override {
        sent.emplace_back(address, data);
    }
    std::vector<std::pair<std::uint64_t, std::uint32_t>> sent;
};

/// One I/O BAR, one 64-bit BAR, MSI and MSI-X.
class TestCard final : public PciDevice, private core::IoHandler {
  public:
    TestCard()
        : PciDevice({.vendor = 0x1234,
                     .device = 0x5678,
                     .class_code = 0x020000,
                     .revision = 7,
                     .interrupt_pin = 1}) {
        add_bar(0, *io, PciBarKind::kIo);
        add_bar(1, *memory, PciBarKind::kMemory64Prefetchable);
        add_bar(3, *msix_bar, PciBarKind::kMemory32);
    }
    std::string_view type() const override { return "test-card"; }
    std::uint64_t io_read(core::hwaddr offset, unsigned) override { return 0xa0 + offset; }
    void io_write(core::hwaddr, std::uint64_t, unsigned) override {}
    using PciDevice::dma_write;
    using PciDevice::set_intx;

    std::unique_ptr<core::MemoryRegion> io = core::MemoryRegion::io("io", 0x20, *this);
    std::unique_ptr<core::MemoryRegion> memory = core::MemoryRegion::io("mem", 0x10000, *this);
    std::unique_ptr<core::MemoryRegion> msix_bar = core::MemoryRegion::container("msix", 0x1000);
    PciMsi msi{*this, 4};
    PciMsix msix{*this, 3, {.region = *msix_bar, .bar = 3}};
};

class PciTest : public ::testing::Test {
  protected:
    PciTest() {
        bus.connect_pirqs({pirq.line(0), pirq.line(1), pirq.line(2), pirq.line(3)});
        memory.root->add(0, *ram);
        memory.root->add(0, *window, -1);
        bridge = std::make_unique<I440fx>(
            bus, I440fx::Ports{*memory.root, *window, *ram, *io.root, requests});
        EXPECT_TRUE(bus.attach(card, {.slot = 3}));
    }

    std::uint32_t read(unsigned slot, unsigned offset, unsigned size = 4) {
        io.store(0xcf8, 0x80000000 | slot << 11 | (offset & 0xfc), 4);
        return static_cast<std::uint32_t>(io.load(0xcfc + (offset & 3), size));
    }
    void write(unsigned slot, unsigned offset, std::uint32_t value, unsigned size = 4) {
        io.store(0xcf8, 0x80000000 | slot << 11 | (offset & 0xfc), 4);
        io.store(0xcfc + (offset & 3), value, size);
    }

    test::FakeSpace memory{"memory", 1ull << 48}, io{"io", 0x10000};
    core::RamBlock block{"ram", 0, 0x100000};
    std::unique_ptr<core::MemoryRegion> ram = core::MemoryRegion::ram("ram", block);
    std::unique_ptr<core::MemoryRegion> window = core::MemoryRegion::container("pci", 1ull << 48);
    test::FakeRequests requests;
    test::FakeIrqSink pirq;
    FakeMsiSink msi;
    PciBus bus{{*window, *io.root, memory.space, &msi}};
    std::unique_ptr<I440fx> bridge;
    TestCard card;
};

TEST_F(PciTest, ConfigurationMechanismOne) {
    EXPECT_EQ(read(0, 0), 0x12378086u);
    EXPECT_EQ(read(3, 0), 0x56781234u);
    EXPECT_EQ(read(3, 2, 2), 0x5678u);
    EXPECT_EQ(read(3, 9, 1), 0x00u);
    EXPECT_EQ(read(3, 11, 1), 0x02u);
    EXPECT_EQ(read(3, 0x2c), 0x11001af4u);
    EXPECT_EQ(read(4, 0), 0xffffffffu);
    EXPECT_EQ(io.load(0xcf8, 4), 0x80000000u | 4 << 11);
    io.store(0xcf8, 0x00001800, 4);  // not enabled
    EXPECT_EQ(io.load(0xcfc, 4), 0xffffffffu);
    io.store(0xcf8, 0x80011800, 4);  // bus 1
    EXPECT_EQ(io.load(0xcfc, 4), 0xffffffffu);
    io.store(0xcf8, 0x12, 1);  // no doubleword: not CONFADD
    EXPECT_EQ(io.load(0xcf8, 4), 0x80011800u);
}

TEST_F(PciTest, DevicesOfTheCommandLineAreWhereAddrSays) {
    TestCard a, b, c, d;
    ASSERT_TRUE(a.properties().set("addr", "0x1f"));
    ASSERT_TRUE(bus.plug(a));
    EXPECT_EQ(a.address().slot, 31u);
    EXPECT_EQ(a.path(), "pci/1f.0");
    ASSERT_TRUE(b.properties().set("addr", "05.2"));
    b.set_path("mine");
    ASSERT_TRUE(bus.plug(b));
    EXPECT_EQ(b.address().devfn(), 5u << 3 | 2);
    EXPECT_EQ(b.path(), "mine");
    ASSERT_TRUE(bus.plug(c));
    EXPECT_EQ(c.address().devfn(), 2u << 3) << "the first free slot";
    ASSERT_TRUE(d.properties().set("addr", "1f"));
    const auto taken = bus.plug(d);
    ASSERT_FALSE(taken);
    EXPECT_NE(taken.error().message().find("1f.0 is taken"), std::string::npos) << taken.error().message();
    for (const char* wrong : {"", "20", "5.8", "5.", "x", "5.1.1", "-1"}) {
        EXPECT_FALSE(d.properties().set("addr", wrong)) << wrong;
    }
}

TEST_F(PciTest, SeveralFunctionsNeedAMultifunctionFirst) {
    TestCard first, second;
    ASSERT_TRUE(first.properties().set("addr", "6"));
    ASSERT_TRUE(second.properties().set("addr", "6.1"));
    ASSERT_TRUE(bus.plug(second));
    const auto refused = bus.plug(first);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message().find("multifunction=on"), std::string::npos);
    ASSERT_TRUE(first.properties().set("multifunction", "on"));
    ASSERT_TRUE(bus.plug(first));
    EXPECT_EQ(read(6, 0x0e, 1), 0x80u);
}

TEST_F(PciTest, IdentityIsReadOnly) {
    write(3, 0, 0);
    write(3, 8, 0);
    write(3, 0x2c, 0);
    EXPECT_EQ(read(3, 0), 0x56781234u);
    EXPECT_EQ(read(3, 8), 0x02000007u);
    EXPECT_EQ(read(3, 0x2c), 0x11001af4u);
    write(3, 0x3c, 0x0b, 1);
    EXPECT_EQ(read(3, 0x3c, 2), 0x010bu);
}

TEST_F(PciTest, BarSizing) {
    write(3, 0x10, 0xffffffff);
    EXPECT_EQ(read(3, 0x10), 0xffffffe1u);
    write(3, 0x14, 0xffffffff);
    write(3, 0x18, 0xffffffff);
    EXPECT_EQ(read(3, 0x14), 0xffff000cu);
    EXPECT_EQ(read(3, 0x18), 0xffffffffu);
    EXPECT_EQ(read(3, 0x20), 0u) << "no BAR there";
    write(3, 0x24, 0xffffffff);
    EXPECT_EQ(read(3, 0x24), 0u);
}

TEST_F(PciTest, BarsAppearWhereProgrammed) {
    write(3, 0x10, 0xc001);
    EXPECT_EQ(io.load(0xc000), 0xffu) << "decoding is off";
    write(3, 4, 1, 2);
    EXPECT_EQ(io.load(0xc004), 0xa4u);
    write(3, 0x10, 0xd001);
    EXPECT_EQ(io.load(0xc004), 0xffu);
    EXPECT_EQ(io.load(0xd004), 0xa4u);
    write(3, 0x14, 0xe0000000);
    write(3, 0x18, 0x12);
    write(3, 4, 2, 2);
    EXPECT_EQ(io.load(0xd004), 0xffu);
    EXPECT_EQ(memory.load(0x12e0000008), 0xa8u);
    card.reset();
    EXPECT_EQ(memory.load(0x12e0000008), 0xffu);
    EXPECT_EQ(read(3, 0x14), 0x0cu);
}

TEST_F(PciTest, InterruptPinsAreSwizzledAndShared) {
    EXPECT_EQ(PciBus::pirq_of(1, 1), 0u);
    EXPECT_EQ(PciBus::pirq_of(3, 1), 2u);
    EXPECT_EQ(PciBus::pirq_of(2, 4), 0u);
    TestCard other;
    ASSERT_TRUE(bus.attach(other, {.slot = 7}));  // the same PIRQ as slot 3
    card.set_intx(true);
    EXPECT_TRUE(pirq.level(2));
    EXPECT_EQ(read(3, 6, 2) & 8, 8u);
    other.set_intx(true);
    card.set_intx(false);
    EXPECT_TRUE(pirq.level(2));
    write(7, 4, 0x400, 2);  // INTx disable
    EXPECT_FALSE(pirq.level(2));
    EXPECT_EQ(read(7, 6, 2) & 8, 8u) << "the status bit does not care";
    write(7, 4, 0, 2);
    EXPECT_TRUE(pirq.level(2));
    other.reset();
    EXPECT_FALSE(pirq.level(2));
}

TEST_F(PciTest, AddressesAreTakenOnce) {
    TestCard other;
    EXPECT_FALSE(bus.attach(other, {.slot = 3}));
    EXPECT_FALSE(bus.attach(other, {.slot = 32}));
    const auto place = bus.attach_anywhere(other, 3);
    ASSERT_TRUE(place);
    EXPECT_EQ(place->slot, 4u);
    EXPECT_EQ(bus.at(*place), &other);
}

TEST_F(PciTest, CapabilityListLeadsToMsiAndMsix) {
    EXPECT_EQ(read(3, 6, 2) & 0x10, 0x10u);
    const std::uint32_t first = read(3, 0x34, 1);
    EXPECT_EQ(read(3, first, 1), 0x05u);
    const std::uint32_t second = read(3, first + 1, 1);
    EXPECT_EQ(read(3, second, 1), 0x11u);
    EXPECT_EQ(read(3, second + 1, 1), 0u);
    EXPECT_EQ(read(3, first + 2, 2), 0x0184u) << "four vectors, 64 bits, masks";
    EXPECT_EQ(read(3, second + 2, 2), 2u) << "table size minus one";
    EXPECT_EQ(read(3, second + 4), 3u);
}

TEST_F(PciTest, MsiSendsMaskedMessagesLater) {
    const unsigned cap = read(3, 0x34, 1);
    EXPECT_FALSE(card.msi.notify(1));
    write(3, 4, 4, 2);
    write(3, cap + 4, 0xfee01004);
    write(3, cap + 0xc, 0x4041, 2);
    write(3, cap + 2, 1 | 2 << 4, 2);  // four vectors
    EXPECT_TRUE(card.msi.notify(3));
    ASSERT_EQ(msi.sent.size(), 1u);
    EXPECT_EQ(msi.sent[0], std::make_pair(std::uint64_t{0xfee01004}, 0x4043u));
    write(3, cap + 0x10, 4);
    EXPECT_TRUE(card.msi.notify(2));
    EXPECT_EQ(msi.sent.size(), 1u);
    EXPECT_EQ(read(3, cap + 0x14), 4u);
    write(3, cap + 0x10, 0);
    ASSERT_EQ(msi.sent.size(), 2u);
    EXPECT_EQ(msi.sent[1].second, 0x4042u);
    EXPECT_EQ(read(3, cap + 0x14), 0u);
    write(3, 4, 0, 2);  // no bus master: no memory writes
    EXPECT_TRUE(card.msi.notify(0));
    EXPECT_EQ(msi.sent.size(), 2u);
}

TEST_F(PciTest, MsixTableInItsBar) {
    const unsigned cap = read(3, read(3, 0x34, 1) + 1, 1);
    write(3, 0x1c, 0xe1000000);
    write(3, 4, 6, 2);
    EXPECT_EQ(memory.load(0xe100000c, 4), 1u) << "entries start masked";
    memory.store(0xe1000010, 0xfee00000, 4);
    memory.store(0xe1000018, 0x55, 4);
    EXPECT_FALSE(card.msix.notify(1));
    write(3, cap + 2, 0x8000, 2);
    EXPECT_TRUE(card.msix.notify(1));
    EXPECT_TRUE(msi.sent.empty());
    EXPECT_EQ(memory.load(0xe1000800, 4), 2u) << "pending";
    memory.store(0xe100001c, 0, 4);
    ASSERT_EQ(msi.sent.size(), 1u);
    EXPECT_EQ(msi.sent[0], std::make_pair(std::uint64_t{0xfee00000}, 0x55u));
    EXPECT_EQ(memory.load(0xe1000800, 4), 0u);
    write(3, cap + 2, 0xc000, 2);  // function mask
    card.msix.notify(1);
    EXPECT_EQ(msi.sent.size(), 1u);
    write(3, cap + 2, 0x8000, 2);
    EXPECT_EQ(msi.sent.size(), 2u);
    EXPECT_TRUE(card.msix.notify(9));
}

TEST_F(PciTest, DmaNeedsBusMastering) {
    const std::uint32_t word = 0x11223344;
    EXPECT_EQ(card.dma_write(0x1000, &word, 4), core::MemTxResult::kAccessError);
    write(3, 4, 4, 2);
    EXPECT_EQ(card.dma_write(0x1000, &word, 4), core::MemTxResult::kOk);
    EXPECT_EQ(memory.load(0x1000, 4), word);
}

TEST_F(PciTest, PamShadowsTheFirmware) {
    core::RamBlock rom_block("bios", 0x100000, 0x10000);
    auto rom = core::MemoryRegion::rom("bios", rom_block);
    rom_block.host()[0] = 0xea;
    block.host()[0xf0000] = 0x11;
    window->add(0xf0000, *rom);
    EXPECT_EQ(memory.load(0xf0000), 0xeau);
    memory.store(0xf0000, 0x22);
    EXPECT_EQ(block.host()[0xf0000], 0x11);
    write(0, 0x59, 0x20, 1);  // reads from PCI, writes to DRAM
    EXPECT_EQ(memory.load(0xf0000), 0xeau);
    memory.store(0xf0000, 0x33);
    EXPECT_EQ(memory.load(0xf0000), 0xeau);
    EXPECT_EQ(block.host()[0xf0000], 0x33);
    write(0, 0x59, 0x10, 1);  // reads from DRAM, writes to PCI
    EXPECT_EQ(memory.load(0xf0000), 0x33u);
    memory.store(0xf0000, 0x44);
    EXPECT_EQ(block.host()[0xf0000], 0x33);
    write(0, 0x59, 0xff, 1);
    EXPECT_EQ(read(0, 0x59, 1), 0x30u);
    memory.store(0xf0000, 0x55);
    EXPECT_EQ(memory.load(0xf0000), 0x55u);
    bridge->reset();
    EXPECT_EQ(memory.load(0xf0000), 0xeau);
}

TEST_F(PciTest, EachPamNibbleHasItsPlace) {
    memory.store(0xd4000, 0x77);
    EXPECT_EQ(memory.load(0xd4000), 0xffu);
    write(0, 0x5c, 0x30, 1);
    memory.store(0xd4000, 0x77);
    EXPECT_EQ(memory.load(0xd4000), 0x77u);
    memory.store(0xd0000, 0x77);
    EXPECT_EQ(memory.load(0xd0000), 0xffu);
    bridge->open_shadow_ram();
    for (const core::hwaddr at : {0xc0000u, 0xd0000u, 0xec000u, 0xfffffu}) {
        memory.store(at, 0x99);
        EXPECT_EQ(memory.load(at), 0x99u);
    }
}

TEST_F(PciTest, SmramOpensAndLocks) {
    memory.store(0xa0000, 0x66);
    EXPECT_EQ(memory.load(0xa0000), 0xffu) << "PCI: no VGA there";
    EXPECT_EQ(read(0, 0x72, 1), 0x02u);
    write(0, 0x72, 0x4a, 1);
    memory.store(0xa0000, 0x66);
    EXPECT_EQ(memory.load(0xa0000), 0x66u);
    write(0, 0x72, 0x5a, 1);  // D_LCK
    EXPECT_EQ(memory.load(0xa0000), 0xffu);
    write(0, 0x72, 0x4a, 1);
    EXPECT_EQ(read(0, 0x72, 1), 0x1au);
    bridge->reset();
    EXPECT_EQ(read(0, 0x72, 1), 0x02u);
}

TEST_F(PciTest, ResetControlRegister) {
    io.store(0xcf9, 0x02);
    EXPECT_TRUE(requests.resets.empty());
    io.store(0xcf9, 0x06);
    ASSERT_EQ(requests.resets.size(), 1u);
    EXPECT_EQ(requests.resets[0], core::ShutdownCause::kGuestReset);
    EXPECT_EQ(io.load(0xcf9), 0x06u);
    io.store(0xcf9, 0x06);
    EXPECT_EQ(requests.resets.size(), 1u);
}

TEST(Piix3Test, RoutesPirqs) {
    test::FakeIrqSink isa;
    std::array<core::IrqLine, 16> lines;
    for (int i = 0; i < 16; ++i) {
        lines[static_cast<unsigned>(i)] = isa.line(i);
    }
    Piix3 piix(lines);
    PciConfigSpace& config = piix.config();
    EXPECT_EQ(config.read(0, 4), 0x70008086u);
    EXPECT_EQ(config.read(0x0e, 1), 0x80u);
    EXPECT_EQ(config.read(0x60, 4), 0x80808080u);
    piix.pirq(0).raise();
    EXPECT_TRUE(isa.rises.empty());
    config.write(0x60, 0x0b0b, 2);
    EXPECT_TRUE(isa.level(11));
    piix.pirq(1).raise();
    piix.pirq(0).lower();
    EXPECT_TRUE(isa.level(11)) << "shared with PIRQB";
    config.write(0x61, 0x0a, 1);
    EXPECT_FALSE(isa.level(11));
    EXPECT_TRUE(isa.level(10));
    config.write(0x61, 0x08, 1);  // reserved
    EXPECT_FALSE(isa.level(10));
    EXPECT_FALSE(isa.level(8));
}

}  // namespace
}  // namespace rhea::hw
