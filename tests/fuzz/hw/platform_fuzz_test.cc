// Random accesses to the PCI chipset, power management and keyboard controller.
#include <gtest/gtest.h>

#include "hw/input/a20_gate.h"
#include "hw/input/i8042.h"
#include "hw/input/port92.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/pci/i440fx.h"
#include "hw/pci/pci_msi.h"
#include "hw/pci/piix3.h"
#include "hw/pci/piix4_pm.h"
#include "tests/support/fake_ports.h"
#include "tests/support/io_fuzz.h"

namespace rhea::hw {
namespace {

using test::FuzzRandom;

class FuzzCard final : public PciDevice, private core::IoHandler {
  public:
    FuzzCard() : PciDevice({.vendor = 0x1234, .device = 1, .interrupt_pin = 2}) {
        add_bar(0, *io, PciBarKind::kIo);
        add_bar(1, *memory, PciBarKind::kMemory64);
        add_bar(4, *table, PciBarKind::kMemory32);
        add_rom(*rom);
    }
    std::string_view type() const override { return "fuzz-card"; }
    void serialize(core::Archive& archive) override {
        PciDevice::serialize(archive);
        archive.section("msix", 1, [this](core::Archive& a) { msix.serialize(a); });
    }
    void poke(unsigned offset) { io_write(offset, 0, 1); }
    std::uint64_t io_read(core::hwaddr, unsigned) override { return 0; }
    void io_write(core::hwaddr offset, std::uint64_t, unsigned) override {
        set_intx(offset & 1);
        msi.notify(static_cast<unsigned>(offset));
        msix.notify(static_cast<unsigned>(offset));
    }

    std::unique_ptr<core::MemoryRegion> io = core::MemoryRegion::io("io", 0x40, *this);
    std::unique_ptr<core::MemoryRegion> memory = core::MemoryRegion::io("mem", 0x1000, *this);
    std::unique_ptr<core::MemoryRegion> rom = core::MemoryRegion::io("rom", 0x800, *this);
    std::unique_ptr<core::MemoryRegion> table = core::MemoryRegion::container("msix", 0x1000);
    PciMsi msi{*this, 8};
    PciMsix msix{*this, 5, {.region = *table, .bar = 4}};
};

TEST(PlatformFuzz, PciChipset) {
    test::FakeSpace memory("memory", 1ull << 40), io("io", 0x10000);
    core::Clocks clocks;
    clocks.use_manual_time(0);
    test::FakeRequests requests;
    core::RamBlock block("ram", 0, 0x100000);
    auto ram = core::MemoryRegion::ram("ram", block);
    auto window = core::MemoryRegion::container("pci", 1ull << 40);
    memory.root->add(0, *ram);
    memory.root->add(0, *window, -1);
    PciBus bus({*window, *io.root, memory.space, nullptr});
    I440fx bridge(bus, {*memory.root, *window, *ram, *io.root, requests});
    test::FakeIrqSink isa;
    std::array<core::IrqLine, 16> lines;
    for (int i = 0; i < 16; ++i) {
        lines[static_cast<unsigned>(i)] = isa.line(i);
    }
    Piix3 piix3(lines), other_piix3({});
    Piix4Pm pm(clocks, requests, isa.line(9), *io.root, {});
    FuzzCard card, other_card;
    bus.connect_pirqs(piix3.pirqs());
    ASSERT_TRUE(bus.attach(piix3, {.slot = 1}));
    ASSERT_TRUE(bus.attach(pm, {.slot = 1, .function = 3}));
    ASSERT_TRUE(bus.attach(card, {.slot = 2}));
    const unsigned targets[] = {0, 8, 11, 16, 17};
    test::hammer("pci",
                 {{io.space, 0xcf8, 8},
                  {io.space, 0xcfc, 4},
                  {io.space, 0xb2, 2},
                  {io.space, 0, 0x10000},
                  {memory.space, 0xa0000, 0x60000},
                  {memory.space, 0, 1ull << 40}},
                 [&](FuzzRandom& random) {
                     if (random() % 2) {
                         io.store(0xcf8,
                                  0x80000000 | targets[random() % 5] << 8 | (random() & 0xfc), 4);
                     }
                     if (random() % 64 == 0) {
                         card.poke(static_cast<unsigned>(random() % 16));
                     }
                     if (random() % 16 == 0) {
                         clocks.advance(static_cast<std::int64_t>(random() % 1'000'000'000));
                     }
                 });
    test::expect_state_round_trip(piix3, other_piix3);
    test::expect_state_round_trip(card, other_card);
    test::FakeSpace other_io("io", 0x10000);
    Piix4Pm other_pm(clocks, requests, {}, *other_io.root, {});
    test::expect_state_round_trip(pm, other_pm);
}

TEST(PlatformFuzz, KeyboardController) {
    test::FakeSpace io("io", 0x10000);
    test::FakeRequests requests;
    test::FakeIrqSink irq;
    A20Gate a20;
    I8042 controller({requests, irq.line(1), irq.line(12), a20.line()}),
        other({requests, {}, {}, {}});
    Port92 fast(requests, a20.line());
    controller.map(*io.root);
    fast.map(*io.root);
    test::hammer(
        "i8042", {{io.space, 0x60, 1}, {io.space, 0x64, 1}, {io.space, 0x92, 1}},
        [&](FuzzRandom& random) {
            switch (random() % 6) {
                case 0:
                    controller.keyboard().key(static_cast<KeyNumber>(random()), random() % 2);
                    break;
                case 1:
                    controller.mouse().move(static_cast<int>(random()), static_cast<int>(random()),
                                            static_cast<int>(random() % 64) - 32,
                                            static_cast<std::uint8_t>(random()));
                    break;
                case 2:
                    io.store(0x64, 0xd4);
                    io.store(0x60, 0xe6 + random() % 26);
                    break;
                case 3:
                    io.store(0x60, 0xed + random() % 19);
                    break;
                default:
                    break;
            }
            const auto status = io.load(0x64);
            ASSERT_FALSE(irq.level(1) && irq.level(12));
            ASSERT_TRUE(!irq.level(1) || (status & 0x21) == 0x01);
            ASSERT_TRUE(!irq.level(12) || (status & 0x21) == 0x21);
        });
    test::expect_state_round_trip(controller, other);
}

TEST(PlatformFuzz, FwCfg) {
    test::FakeSpace memory("memory", 1ull << 40), io("io", 0x10000);
    core::RamBlock block("ram", 0, 0x10000);
    auto ram = core::MemoryRegion::ram("ram", block);
    memory.root->add(0, *ram);
    FwCfg fw_cfg(memory.space), other(memory.space);
    for (FwCfg* each : {&fw_cfg, &other}) {
        ASSERT_TRUE(each->add_file("etc/fixed", FwCfg::Bytes(100)));
        ASSERT_TRUE(each->add_file("etc/made", [] { return FwCfg::Bytes(1000); }));
        ASSERT_TRUE(each->add_writable_file("etc/writable", FwCfg::Bytes(64)));
    }
    fw_cfg.map(*io.root);
    const auto big = [&](core::hwaddr at, std::uint32_t value) {
        memory.store(at, __builtin_bswap32(value), 4);
    };
    test::hammer("fw_cfg", {{io.space, 0x510, 2}, {io.space, 0x510, 12, 8}},
                 [&](FuzzRandom& random) {
                     // An access structure that means something, somewhere; huge lengths end at the
                     // end of RAM.
                     const core::hwaddr at = random() % 0x10100;
                     const auto key = static_cast<std::uint32_t>(random() % 0x24);
                     big(at, key << 16 | (random() & 0x1f));
                     big(at + 4, static_cast<std::uint32_t>(random() >> (32 + random() % 32)));
                     big(at + 8, random() % 8 ? 0 : static_cast<std::uint32_t>(random()));
                     big(at + 12, static_cast<std::uint32_t>(random() % 0x11000));
                     io.store(0x518, __builtin_bswap32(static_cast<std::uint32_t>(at)), 4);
                 });
    test::expect_state_round_trip(fw_cfg, other);
}

}  // namespace
}  // namespace rhea::hw
