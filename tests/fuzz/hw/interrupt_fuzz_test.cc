// Random accesses to the interrupt controllers and timers, alone and joined as in a PC.
#include <gtest/gtest.h>

#include "hw/intc/apic_bus.h"
#include "hw/intc/io_apic.h"
#include "hw/intc/irq_gates.h"
#include "hw/intc/isa_pic.h"
#include "hw/intc/local_apic.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"
#include "tests/support/fake_ports.h"
#include "tests/support/io_fuzz.h"

namespace rhea::hw {
namespace {

using test::FuzzRandom;

class FuzzTsc final : public core::TscPort {
  public:
    explicit FuzzTsc(core::Clocks& clocks) : clocks_(clocks) {}
    std::uint64_t tsc_now() const override {
        return static_cast<std::uint64_t>(clocks_.virtual_ns()) * 3;
    }
    std::uint64_t tsc_hz() const override { return 3'000'000'000; }

  private:
    core::Clocks& clocks_;
};

TEST(InterruptFuzz, Pic) {
    test::FakeSpace io("io", 0x10000);
    test::FakeIrqSink output;
    IsaPic pic, other;
    pic.connect_output(output.line());
    pic.map(*io.root);
    test::hammer("isa-pic", {{io.space, 0x20, 2}, {io.space, 0xa0, 2}, {io.space, 0x4d0, 2}},
                 [&](FuzzRandom& random) {
                     pic.set_irq(static_cast<int>(random() % 18) - 1, random() % 2);
                     if (random() % 4 == 0) {
                         pic.acknowledge_interrupt();
                     }
                     ASSERT_EQ(output.level(), pic.master().output());
                     ASSERT_EQ(output.level(), pic.interrupt_asserted());
                 });
    test::expect_state_round_trip(pic, other);
}

TEST(InterruptFuzz, Pit) {
    test::FakeSpace io("io", 0x10000);
    core::Clocks clocks;
    clocks.use_manual_time(0);
    test::FakeIrqSink irq;
    I8254 pit(clocks, irq.line()), other(clocks, {});
    pit.map(*io.root);
    test::hammer("isa-pit", {{io.space, 0x40, 4}, {io.space, 0x61, 1}}, [&](FuzzRandom& random) {
        clocks.advance(static_cast<std::int64_t>(random() % 5'000));
        // In mode 2 the wire does not show the low pulse of one tick.
        ASSERT_TRUE(irq.level() || !pit.output(0));
    });
    test::expect_state_round_trip(pit, other);
}

TEST(InterruptFuzz, Rtc) {
    test::FakeSpace io("io", 0x10000);
    core::Clocks clocks;
    clocks.use_manual_time(1'700'000'000'000'000'000);
    test::FakeIrqSink irq;
    Mc146818 rtc(clocks, irq.line(), {}), other(clocks, {}, {});
    rtc.map(*io.root);
    test::hammer("mc146818rtc", {{io.space, 0x70, 4}}, [&](FuzzRandom& random) {
        if (random() % 2) {
            io.store(0x70, random() % 16);
        }
        if (random() % 8 == 0) {
            clocks.advance(static_cast<std::int64_t>(random() % 3'000'000));
        }
    });
    test::expect_state_round_trip(rtc, other);
}

TEST(InterruptFuzz, ApicsAndPicTogether) {
    test::FakeSpace memory("memory", 1ull << 32), io("io", 0x10000);
    core::Clocks clocks;
    clocks.use_manual_time(0);
    FuzzTsc tsc(clocks);
    IsaPic pic;
    ApicBus bus;
    IoApic io_apic(bus), other_io_apic(bus);
    bus.add_eoi_listener(io_apic);
    IrqSplitter intr({bus.lint0(), io_apic.pin(0)});
    pic.connect_output(intr.line());
    GsiRouter router(&pic, &io_apic);
    test::FakeVcpu vcpus[2] = {test::FakeVcpu(0), test::FakeVcpu(1)};
    LocalApic bsp(bus, clocks, &pic, {.id = 0, .bootstrap = true}),
        ap(bus, clocks, &pic, {.id = 1});
    LocalApic* apics[2] = {&bsp, &ap};
    for (unsigned i = 0; i < 2; ++i) {
        vcpus[i].tsc = &tsc;
        apics[i]->connect(vcpus[i]);
    }
    bus.map(*memory.root);
    io_apic.map(*memory.root);
    pic.map(*io.root);
    const std::vector<test::FuzzRange> ranges = {
        {memory.space, 0xfee00000, 0x400},
        {memory.space, 0xfee00000, 0x100000},
        {memory.space, 0xfec00000, 0x50},
        {io.space, 0x20, 2},
        {io.space, 0xa0, 2},
    };
    test::hammer("apic", ranges, [&](FuzzRandom& random) {
        const unsigned cpu = random() % 2;
        core::Vcpu::set_current(&vcpus[cpu]);
        LocalApic& apic = *apics[cpu];
        std::uint64_t value = 0;
        switch (random() % 12) {
            case 0:
                router.set_irq(static_cast<int>(random() % 74) - 1, random() % 2);
                break;
            case 1:
                apic.acknowledge();
                break;
            case 2:
                apic.x2apic_write(0x7ff + random() % 0x102,
                                  random() % 2 ? random() : random() % 512);
                break;
            case 3:
                apic.x2apic_read(0x7ff + random() % 0x102, value);
                break;
            case 4:
                apic.set_cr8(random() % 16);
                break;
            case 5:
                if (random() % 16 == 0) {
                    apic.set_apic_base(0xfee00000 | (random() & 0xf00));
                }
                break;
            case 6:
                memory.store(0xfec00000, random() % 0x42, 4);
                break;
            case 7:
                apic.set_tsc_deadline(tsc.tsc_now() + random() % 10'000);
                break;
            case 8:
                memory.store(0xfee00000 + (random() % 0x40 << 4), random(), 4);
                break;
            case 9:
                memory.store(0xfee000f0, 0x1ff, 4);
                break;
            case 10:
                if (random() % 64 == 0) {
                    apic.init_reset();
                }
                break;
            default:
                clocks.advance(static_cast<std::int64_t>(random() % 10'000));
        }
        for (unsigned i = 0; i < 2; ++i) {
            ASSERT_EQ(apics[i]->interrupt_pending(), (vcpus[i].requests & core::kRequestIntr) != 0);
        }
    });
    core::Vcpu::set_current(nullptr);
    test::expect_state_round_trip(io_apic, other_io_apic);
    LocalApic other(bus, clocks, &pic, {.id = 2});
    test::expect_state_round_trip(bsp, other);
}

}  // namespace
}  // namespace rhea::hw
