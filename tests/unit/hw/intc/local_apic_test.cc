#include "hw/intc/local_apic.h"

#include <gtest/gtest.h>

#include "hw/intc/apic_bus.h"
#include "hw/intc/io_apic.h"
#include "tests/support/fake_ports.h"

namespace rhea::hw {
namespace {

class FakeTsc final : public core::TscPort {
  public:
    explicit FakeTsc(core::Clocks& clocks) : clocks_(clocks) {}
    std::uint64_t tsc_now() const override {
        return static_cast<std::uint64_t>(clocks_.virtual_ns()) * 2;
    }
    std::uint64_t tsc_hz() const override { return 2'000'000'000; }

  private:
    core::Clocks& clocks_;
};

class FakePic final : public InterruptAcknowledge {
  public:
    bool interrupt_asserted() const override { return true; }
    std::uint8_t acknowledge_interrupt() override {
        ++acknowledged;
        bus->lint0().lower();
        return 0x77;
    }
    ApicBus* bus = nullptr;
    int acknowledged = 0;
};

// Offsets in the xAPIC page
constexpr unsigned kId = 0x20, kVersion = 0x30, kTpr = 0x80, kPpr = 0xa0, kEoi = 0xb0, kLdr = 0xd0,
                   kDfr = 0xe0, kSvr = 0xf0, kIsr = 0x100, kTmr = 0x180, kIrr = 0x200, kEsr = 0x280,
                   kIcrLow = 0x300, kIcrHigh = 0x310, kLvtTimer = 0x320, kLvtLint0 = 0x350,
                   kLvtLint1 = 0x360, kLvtError = 0x370, kInitialCount = 0x380,
                   kCurrentCount = 0x390, kDivide = 0x3e0;

class LocalApicTest : public ::testing::Test {
  protected:
    LocalApicTest() {
        clocks.use_manual_time(1'000'000);
        pic.bus = &bus;
        bus.map(*memory.root);
        for (unsigned i = 0; i < 2; ++i) {
            vcpus[i].tsc = &tsc;
            cpus[i]->connect(vcpus[i]);
            EXPECT_EQ(vcpus[i].apic, cpus[i]);
            write(i, kSvr, 0x1ff);
        }
    }
    ~LocalApicTest() override { core::Vcpu::set_current(nullptr); }

    void write(unsigned cpu, unsigned offset, std::uint32_t value) {
        core::Vcpu::set_current(&vcpus[cpu]);
        memory.store(0xfee00000 + offset, value, 4);
    }
    std::uint32_t read(unsigned cpu, unsigned offset) {
        core::Vcpu::set_current(&vcpus[cpu]);
        return static_cast<std::uint32_t>(memory.load(0xfee00000 + offset, 4));
    }
    bool intr(unsigned cpu) const { return vcpus[cpu].requests & core::kRequestIntr; }
    void fixed(unsigned cpu, std::uint8_t vector, bool level = false) {
        bus.deliver({.destination = cpu, .level_triggered = level, .vector = vector});
    }

    test::FakeSpace memory{"memory", 1ull << 32};
    core::Clocks clocks;
    FakeTsc tsc{clocks};
    FakePic pic;
    ApicBus bus;
    test::FakeVcpu vcpus[2] = {test::FakeVcpu(0), test::FakeVcpu(1)};
    LocalApic bsp{bus, clocks, &pic, {.id = 0, .bootstrap = true}};
    LocalApic ap{bus, clocks, &pic, {.id = 1}};
    LocalApic* cpus[2] = {&bsp, &ap};
};

TEST_F(LocalApicTest, EachCpuSeesItsOwnPage) {
    EXPECT_EQ(read(0, kId), 0u);
    EXPECT_EQ(read(1, kId), 0x01000000u);
    EXPECT_EQ(read(0, kVersion), 0x00050014u);
    EXPECT_EQ(bsp.apic_base(), 0xfee00900u);
    EXPECT_EQ(ap.apic_base(), 0xfee00800u);
}

TEST_F(LocalApicTest, FixedInterruptGoesThroughIrrAndIsr) {
    fixed(0, 0x41);
    EXPECT_TRUE(intr(0));
    EXPECT_FALSE(intr(1));
    EXPECT_TRUE(bsp.interrupt_pending());
    EXPECT_EQ(read(0, kIrr + 0x20), 2u);
    EXPECT_EQ(bsp.acknowledge(), 0x41);
    EXPECT_FALSE(intr(0));
    EXPECT_EQ(read(0, kIrr + 0x20), 0u);
    EXPECT_EQ(read(0, kIsr + 0x20), 2u);
    EXPECT_EQ(read(0, kPpr), 0x40u);
    EXPECT_EQ(bsp.acknowledge(), -1);
    write(0, kEoi, 0);
    EXPECT_EQ(read(0, kIsr + 0x20), 0u);
    EXPECT_EQ(read(0, kPpr), 0u);
}

TEST_F(LocalApicTest, PriorityClassesNest) {
    fixed(0, 0x45);
    EXPECT_EQ(bsp.acknowledge(), 0x45);
    fixed(0, 0x4f);  // same class: waits
    EXPECT_FALSE(intr(0));
    fixed(0, 0x51);
    EXPECT_TRUE(intr(0));
    EXPECT_EQ(bsp.acknowledge(), 0x51);
    write(0, kEoi, 0);
    EXPECT_FALSE(intr(0));
    write(0, kEoi, 0);
    EXPECT_EQ(bsp.acknowledge(), 0x4f);
}

TEST_F(LocalApicTest, TaskPriorityHoldsBack) {
    bsp.set_cr8(5);
    EXPECT_EQ(read(0, kTpr), 0x50u);
    fixed(0, 0x5f);
    EXPECT_FALSE(intr(0));
    EXPECT_EQ(bsp.acknowledge(), -1);
    write(0, kTpr, 0x4f);
    EXPECT_EQ(bsp.cr8(), 4);
    EXPECT_TRUE(intr(0));
    bsp.set_cr8(15);
    EXPECT_FALSE(intr(0));
}

TEST_F(LocalApicTest, IllegalVectorsAreErrors) {
    write(0, kLvtError, 0xfe);
    fixed(0, 0x0f);
    write(0, kEsr, 0);
    EXPECT_EQ(read(0, kEsr), 0x40u);
    EXPECT_EQ(bsp.acknowledge(), 0xfe);
    write(0, kIcrLow, 0x00040005);  // self, vector 5
    write(0, kEsr, 0);
    EXPECT_EQ(read(0, kEsr), 0x20u);
    EXPECT_EQ(read(0, 0x2f0), 0u);  // LVT CMCI: not there
    write(0, kEsr, 0);
    EXPECT_EQ(read(0, kEsr), 0x80u);
}

TEST_F(LocalApicTest, SoftwareDisableMasksAndRefuses) {
    write(0, kLvtTimer, 0x33);
    write(0, kSvr, 0xff);
    EXPECT_EQ(read(0, kLvtTimer), 0x10033u);
    write(0, kLvtTimer, 0x33);
    EXPECT_EQ(read(0, kLvtTimer), 0x10033u) << "the mask bit is stuck while disabled";
    EXPECT_FALSE(bus.deliver({.destination = 0, .vector = 0x80}));
    EXPECT_TRUE(bus.deliver({.destination = 0, .mode = DeliveryMode::kNmi}));
    EXPECT_TRUE(vcpus[0].requests & core::kRequestNmi);
}

TEST_F(LocalApicTest, IpiToTheOther) {
    write(0, kIcrHigh, 0x01000000);
    write(0, kIcrLow, 0x4060);
    EXPECT_FALSE(intr(0));
    EXPECT_EQ(ap.acknowledge(), 0x60);
    EXPECT_EQ(read(0, kIcrLow) & 0x1000, 0u) << "delivery status: idle";
}

TEST_F(LocalApicTest, ShorthandsChooseTheCpus) {
    write(0, kIcrLow, 0x40061);  // self
    EXPECT_EQ(bsp.acknowledge(), 0x61);
    EXPECT_EQ(ap.acknowledge(), -1);
    write(0, kEoi, 0);
    write(0, kIcrLow, 0xc0062);  // all but self
    EXPECT_EQ(bsp.acknowledge(), -1);
    EXPECT_EQ(ap.acknowledge(), 0x62);
    write(1, kEoi, 0);
    write(0, kIcrLow, 0x80063);
    EXPECT_EQ(bsp.acknowledge(), 0x63);
    EXPECT_EQ(ap.acknowledge(), 0x63);
}

TEST_F(LocalApicTest, StartUpSequence) {
    write(0, kIcrLow, 0xc4500);  // INIT to all but self
    EXPECT_EQ(vcpus[1].requests, static_cast<std::uint32_t>(core::kRequestInit));
    EXPECT_EQ(vcpus[0].requests & core::kRequestInit, 0u);
    vcpus[1].requests = 0;
    write(0, kIcrLow, 0xc8500);  // level de-assert: nothing
    EXPECT_EQ(vcpus[1].requests, 0u);
    write(0, kIcrLow, 0xc4699);
    EXPECT_EQ(vcpus[1].requests, static_cast<std::uint32_t>(core::kRequestSipi));
    EXPECT_EQ(ap.sipi_vector(), 0x99);
}

TEST_F(LocalApicTest, InitResetKeepsIdAndBase) {
    fixed(1, 0x80);
    EXPECT_TRUE(intr(1));
    ap.set_apic_base(0xfee00c00);
    ap.init_reset();
    EXPECT_FALSE(intr(1));
    EXPECT_EQ(ap.apic_base(), 0xfee00c00u);
}

TEST_F(LocalApicTest, LogicalDestinations) {
    write(0, kLdr, 0x01000000);
    write(1, kLdr, 0x02000000);
    bus.deliver({.destination = 0x03, .logical = true, .vector = 0x70});
    EXPECT_EQ(bsp.acknowledge(), 0x70);
    EXPECT_EQ(ap.acknowledge(), 0x70);
    // Cluster model
    write(0, kDfr, 0);
    write(1, kDfr, 0);
    write(0, kLdr, 0x11000000);
    write(1, kLdr, 0x21000000);
    bus.deliver({.destination = 0x21, .logical = true, .vector = 0x90});
    EXPECT_EQ(bsp.acknowledge(), -1);
    EXPECT_EQ(ap.acknowledge(), 0x90);
    EXPECT_FALSE(bus.deliver({.destination = 0x33, .logical = true, .vector = 0x90}));
}

TEST_F(LocalApicTest, LowestPriorityPrefersTheIdleCpu) {
    write(0, kLdr, 0x01000000);
    write(1, kLdr, 0x02000000);
    write(0, kTpr, 0x20);
    for (int i = 0; i < 3; ++i) {
        bus.deliver({.destination = 3,
                     .logical = true,
                     .mode = DeliveryMode::kLowestPriority,
                     .vector = 0x81});
        EXPECT_FALSE(intr(0));
        EXPECT_EQ(ap.acknowledge(), 0x81);
        write(1, kEoi, 0);
    }
    // Equal priorities take turns.
    write(0, kTpr, 0);
    int to_bsp = 0;
    for (int i = 0; i < 4; ++i) {
        bus.deliver({.destination = 3,
                     .logical = true,
                     .mode = DeliveryMode::kLowestPriority,
                     .vector = 0x81});
        const unsigned winner = intr(0) ? 0 : 1;
        to_bsp += winner == 0;
        EXPECT_EQ(cpus[winner]->acknowledge(), 0x81);
        write(winner, kEoi, 0);
    }
    EXPECT_EQ(to_bsp, 2);
}

TEST_F(LocalApicTest, LevelInterruptBroadcastsItsEoi) {
    IoApic io_apic(bus);
    bus.add_eoi_listener(io_apic);
    io_apic.map(*memory.root);
    memory.store(0xfec00000, 0x10 + 2 * 10, 4);
    memory.store(0xfec00010, 0x8055, 4);
    io_apic.pin(10).raise();
    EXPECT_EQ(bsp.acknowledge(), 0x55);
    EXPECT_EQ(read(0, kTmr + 0x20), 1u << 0x15);
    EXPECT_FALSE(intr(0));
    write(0, kEoi, 0);
    EXPECT_TRUE(intr(0)) << "the line is still up";
    io_apic.pin(10).lower();
    EXPECT_EQ(bsp.acknowledge(), 0x55);
    write(0, kEoi, 0);
    EXPECT_FALSE(intr(0));
    memory.root->remove(const_cast<core::MemoryRegion&>(*memory.root->children().back()));
}

TEST_F(LocalApicTest, VirtualWireReachesTheBootProcessor) {
    bsp.reset();  // LINT0 as firmware leaves it
    bus.lint0().raise();
    EXPECT_TRUE(intr(0));
    EXPECT_FALSE(intr(1)) << "LINT0 of the other is masked";
    EXPECT_EQ(bsp.acknowledge(), 0x77);
    EXPECT_EQ(pic.acknowledged, 1);
    EXPECT_FALSE(intr(0));
    bus.lint0().raise();
    EXPECT_TRUE(intr(0));
    write(0, kSvr, 0x1ff);
    write(0, kLvtLint0, 0x10700);
    EXPECT_FALSE(intr(0));
}

TEST_F(LocalApicTest, ExtIntMessageReachesThe8259) {
    write(0, kLvtLint0, 0x10700);
    bus.deliver({.destination = 0, .mode = DeliveryMode::kExtInt});
    EXPECT_TRUE(intr(0));
    EXPECT_EQ(bsp.acknowledge(), 0x77);
    EXPECT_FALSE(intr(0));
}

TEST_F(LocalApicTest, DisabledApicLeavesThePinAsIntr) {
    EXPECT_TRUE(bsp.set_apic_base(0xfee00100));
    EXPECT_EQ(read(0, kVersion), 0xffffffffu);
    EXPECT_FALSE(bus.deliver({.destination = 0, .vector = 0x50}));
    bus.lint0().raise();
    EXPECT_EQ(bsp.acknowledge(), 0x77);
}

TEST_F(LocalApicTest, Lint1AsNmi) {
    write(0, kLvtLint1, 0x400);
    bus.lint1().raise();
    EXPECT_TRUE(vcpus[0].requests & core::kRequestNmi);
    EXPECT_FALSE(vcpus[1].requests & core::kRequestNmi);
}

TEST_F(LocalApicTest, OneShotTimer) {
    write(0, kDivide, 0xb);  // by one
    write(0, kLvtTimer, 0x31);
    write(0, kInitialCount, 1000);
    clocks.advance(400);
    EXPECT_EQ(read(0, kCurrentCount), 600u);
    clocks.advance(599);
    EXPECT_FALSE(intr(0));
    clocks.advance(1);
    EXPECT_EQ(bsp.acknowledge(), 0x31);
    write(0, kEoi, 0);
    EXPECT_EQ(read(0, kCurrentCount), 0u);
    clocks.advance(100'000);
    EXPECT_FALSE(intr(0));
}

TEST_F(LocalApicTest, PeriodicTimerAndDivider) {
    write(0, kDivide, 0x3);  // by 16
    write(0, kLvtTimer, 0x20031);
    write(0, kInitialCount, 10'000);
    for (int i = 0; i < 3; ++i) {
        clocks.advance(159'999);
        EXPECT_FALSE(intr(0));
        EXPECT_EQ(read(0, kCurrentCount), 1u);
        clocks.advance(1);
        EXPECT_EQ(bsp.acknowledge(), 0x31);
        write(0, kEoi, 0);
        EXPECT_EQ(read(0, kCurrentCount), 10'000u);
    }
    write(0, kInitialCount, 0);
    clocks.advance(1'000'000);
    EXPECT_FALSE(intr(0));
}

TEST_F(LocalApicTest, TscDeadlineTimer) {
    bsp.set_tsc_deadline(1);
    EXPECT_EQ(bsp.tsc_deadline(), 0u) << "ignored in the other modes";
    write(0, kLvtTimer, 0x40031);
    bsp.set_tsc_deadline(tsc.tsc_now() + 2000);
    clocks.advance(990);
    EXPECT_FALSE(intr(0));
    clocks.advance(20);
    EXPECT_TRUE(intr(0));
    EXPECT_EQ(bsp.tsc_deadline(), 0u);
    EXPECT_EQ(bsp.acknowledge(), 0x31);
    write(0, kEoi, 0);
    bsp.set_tsc_deadline(1);  // past: at once
    clocks.advance(1);
    EXPECT_TRUE(intr(0));
}

TEST_F(LocalApicTest, ApicBaseTransitions) {
    EXPECT_FALSE(ap.set_apic_base(0xfee00801)) << "reserved bit";
    EXPECT_FALSE(ap.set_apic_base(1ull << 45 | 0x800)) << "above MAXPHYADDR";
    EXPECT_FALSE(ap.set_apic_base(0xfee00400)) << "EXTD without EN";
    EXPECT_TRUE(ap.set_apic_base(0xfee00c00));
    EXPECT_FALSE(ap.set_apic_base(0xfee00800)) << "x2APIC goes back only by way of disabled";
    EXPECT_TRUE(ap.set_apic_base(0xfee00000));
    EXPECT_FALSE(ap.set_apic_base(0xfee00c00)) << "not in one step";
    EXPECT_TRUE(ap.set_apic_base(0xfee00800));
}

TEST_F(LocalApicTest, X2ApicRegisters) {
    std::uint64_t value = 0;
    EXPECT_FALSE(ap.x2apic_read(0x802, value)) << "not in x2APIC mode";
    ASSERT_TRUE(ap.set_apic_base(0xfee00c00));
    ASSERT_TRUE(ap.x2apic_read(0x802, value));
    EXPECT_EQ(value, 1u);
    ASSERT_TRUE(ap.x2apic_read(0x80d, value));
    EXPECT_EQ(value, 2u) << "cluster 0, bit 1";
    EXPECT_FALSE(ap.x2apic_write(0x802, 0)) << "read-only";
    EXPECT_FALSE(ap.x2apic_read(0x80e, value)) << "no DFR";
    EXPECT_FALSE(ap.x2apic_read(0x831, value)) << "no second ICR half";
    EXPECT_FALSE(ap.x2apic_read(0x80b, value)) << "EOI is write-only";
    EXPECT_FALSE(ap.x2apic_write(0x80b, 1));
    EXPECT_FALSE(ap.x2apic_write(0x808, 0x100)) << "reserved bits";
    EXPECT_FALSE(ap.x2apic_read(0x8ff, value));
    ASSERT_TRUE(ap.x2apic_write(0x80f, 0x1ff));
    ASSERT_TRUE(ap.x2apic_write(0x83f, 0x66));
    EXPECT_EQ(ap.acknowledge(), 0x66);
    ASSERT_TRUE(ap.x2apic_write(0x80b, 0));
    EXPECT_EQ(read(1, kVersion), 0xffffffffu) << "no page in x2APIC mode";
    ASSERT_TRUE(ap.x2apic_write(0x830, 0x0000000000004070));  // to CPU 0
    EXPECT_EQ(bsp.acknowledge(), 0x70);
    ASSERT_TRUE(ap.x2apic_read(0x830, value));
    EXPECT_EQ(value, 0x4070u);
}

TEST_F(LocalApicTest, MsiWritesAreMessages) {
    bus.send_msi(0xfee01000, 0x4041);
    EXPECT_EQ(ap.acknowledge(), 0x41);
    core::Vcpu::set_current(nullptr);
    memory.store(0xfee01000, 0x4052, 4);  // as a device's memory write
    EXPECT_TRUE(intr(1));
    bus.send_msi(0xdeadbeef, 0x41);
    EXPECT_FALSE(intr(0));
}

}  // namespace
}  // namespace rhea::hw
