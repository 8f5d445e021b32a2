// States of the kernel's chips and ours: what goes there and comes back is the same.
#include "accel/kvm/kvm_irqchip.h"
#include "accel/kvm/kvm_vm.h"
#include "tests/unit/accel/need_kvm.h"

#include <gtest/gtest.h>

namespace rhea::accel {
namespace {

constexpr std::int64_t kNow = 5'000'000'000;

core::PicState some_pic() {
    return {.lines = 0x12,
            .irr = 0x21,
            .isr = 0x40,
            .imr = 0x81,
            .elcr = 0x20,
            .vector_base = 0x30,
            .lowest_priority = 7,
            .init_state = 2,
            .needs_icw4 = true,
            .auto_eoi = true,
            .rotate_on_auto_eoi = true,
            .special_mask = true,
            .special_fully_nested = true,
            .poll = true,
            .read_isr = true};
}

void expect_same(const core::PicState &a, const core::PicState &b) {
    EXPECT_EQ(a.lines, b.lines);
    EXPECT_EQ(a.irr, b.irr);
    EXPECT_EQ(a.isr, b.isr);
    EXPECT_EQ(a.imr, b.imr);
    EXPECT_EQ(a.elcr, b.elcr);
    EXPECT_EQ(a.vector_base, b.vector_base);
    EXPECT_EQ(a.lowest_priority, b.lowest_priority);
    EXPECT_EQ(a.init_state, b.init_state);
    EXPECT_EQ(a.needs_icw4, b.needs_icw4);
    EXPECT_EQ(a.auto_eoi, b.auto_eoi);
    EXPECT_EQ(a.rotate_on_auto_eoi, b.rotate_on_auto_eoi);
    EXPECT_EQ(a.special_mask, b.special_mask);
    EXPECT_EQ(a.special_fully_nested, b.special_fully_nested);
    EXPECT_EQ(a.poll, b.poll);
    EXPECT_EQ(a.read_isr, b.read_isr);
}

void expect_same(const core::PitCounterState &a, const core::PitCounterState &b) {
    EXPECT_EQ(a.mode, b.mode);
    EXPECT_EQ(a.access, b.access);
    EXPECT_EQ(a.bcd, b.bcd);
    EXPECT_EQ(a.gate, b.gate);
    EXPECT_EQ(a.programmed, b.programmed);
    EXPECT_EQ(a.write_high_next, b.write_high_next);
    EXPECT_EQ(a.read_high_next, b.read_high_next);
    EXPECT_EQ(a.count_latched, b.count_latched);
    EXPECT_EQ(a.status_latched, b.status_latched);
    EXPECT_EQ(a.write_low, b.write_low);
    EXPECT_EQ(a.status_latch, b.status_latch);
    EXPECT_EQ(a.count_latch, b.count_latch);
    EXPECT_EQ(a.count, b.count);
    EXPECT_EQ(a.age_ns, b.age_ns);
}

TEST(KvmIrqchip, PicThereAndBack) {
    for (const std::uint8_t lowest : {0, 3, 7}) {
        core::PicState state = some_pic();
        state.lowest_priority = lowest;
        const kvm_pic_state there = to_kvm(state, true);
        EXPECT_EQ(there.priority_add, (lowest + 1) % 8);
        EXPECT_EQ(there.elcr_mask, 0xf8);
        expect_same(from_kvm(there), state);
    }
    EXPECT_EQ(to_kvm(core::PicState{}, false).elcr_mask, 0xde);
    EXPECT_EQ(to_kvm(core::PicState{}, true).priority_add, 0) << "after reset IR0 has the highest priority";
}

TEST(KvmIrqchip, IoApicThereAndBack) {
    core::IoApicState state;
    state.select = 0x13;
    state.id = 5;
    state.requests = 0x800010;
    for (unsigned pin = 0; pin < 24; ++pin)
        state.entries[pin] = 0x0300000000018000ull + pin;
    const kvm_ioapic_state there = to_kvm(state);
    EXPECT_EQ(there.base_address, 0xfec00000u);
    EXPECT_EQ(there.redirtbl[7].fields.vector, 7);
    EXPECT_EQ(there.redirtbl[7].fields.trig_mode, 1);
    EXPECT_EQ(there.redirtbl[7].fields.mask, 1);
    EXPECT_EQ(there.redirtbl[7].fields.dest_id, 3);
    const core::IoApicState back = from_kvm(there);
    EXPECT_EQ(back.select, state.select);
    EXPECT_EQ(back.id, state.id);
    EXPECT_EQ(back.requests, state.requests);
    EXPECT_EQ(back.entries, state.entries);
}

TEST(KvmIrqchip, PitThereAndBack) {
    for (unsigned bits = 0; bits < 32; ++bits) {
        for (std::uint8_t access = 1; access <= 3; ++access) {
            core::PitState state;
            core::PitCounterState &counter = state.counters[bits % 3];
            counter.programmed = true;
            counter.mode = static_cast<std::uint8_t>(bits % 6);
            counter.access = access;
            counter.bcd = bits & 1;
            counter.gate = bits & 2;
            counter.write_high_next = access == 3 && (bits & 4);
            counter.read_high_next = access == 3 && (bits & 8);
            counter.count_latched = bits & 16;
            counter.status_latched = bits & 4;
            counter.write_low = 0x9c;
            counter.status_latch = 0x34;
            counter.count_latch = 0x1234;
            counter.count = 11932;
            counter.age_ns = 777;
            state.speaker = bits & 1;
            const core::PitState back = from_kvm(to_kvm(state, kNow), kNow);
            expect_same(back.counters[bits % 3], counter);
            EXPECT_EQ(back.speaker, state.speaker);
        }
    }
}

TEST(KvmIrqchip, APitThatWasNeverProgrammed) {
    const kvm_pit_state2 there = to_kvm(core::PitState{}, kNow);
    EXPECT_EQ(there.channels[0].mode, 0xff) << "KVM starts no timer for it";
    EXPECT_FALSE(from_kvm(there, kNow).counters[0].programmed);
}

TEST(KvmIrqchip, StrangePitStateIsBroughtIntoRange) {
    kvm_pit_state2 there{};
    there.channels[0].mode = 7; // "don't care" bit of mode 3
    there.channels[0].rw_mode = 9;
    there.channels[0].count = 0;
    there.channels[0].count_load_time = kNow + 1;
    const core::PitCounterState counter = from_kvm(there, kNow).counters[0];
    EXPECT_EQ(counter.mode, 3);
    EXPECT_EQ(counter.access, 3);
    EXPECT_EQ(counter.count, 65536u);
    EXPECT_EQ(counter.age_ns, 0);
}

/// Into the kernel's own chips and out again.
TEST(KvmIrqchip, TheKernelKeepsWhatItIsGiven) {
    if (const char *why = no_kvm())
        GTEST_SKIP() << why;
    auto vm = KvmVm::create({.irqchip = KernelIrqchip::kOn});
    ASSERT_TRUE(vm) << vm.error().message();
    core::KernelIrqchip &chips = *(*vm)->chips();
    EXPECT_FALSE(chips.local_apics_only());

    std::array<core::PicState, 2> pics{some_pic(), some_pic()};
    pics[0].poll = pics[1].poll = false;
    pics[1].vector_base = 0x38;
    pics[1].irr = pics[1].isr = 0; // else the slave's request shows at the master
    chips.set_pics(pics);
    const auto back = chips.pics();
    expect_same(back[0], pics[0]);
    expect_same(back[1], pics[1]);

    core::IoApicState io_apic;
    io_apic.id = 3;
    io_apic.select = 0x10;
    io_apic.entries.fill(0x10000);
    io_apic.entries[4] = 0x18060; // level, masked
    io_apic.requests = 1u << 4;
    chips.set_io_apic(io_apic);
    EXPECT_EQ(chips.io_apic().entries, io_apic.entries);
    EXPECT_EQ(chips.io_apic().id, 3);
    EXPECT_EQ(chips.io_apic().requests, io_apic.requests);

    core::PitState pit;
    pit.counters[2] = {.mode = 3, .access = 3, .gate = false, .programmed = true, .count = 1193};
    pit.speaker = true;
    chips.set_pit(pit);
    const core::PitState pit_back = chips.pit();
    EXPECT_FALSE(pit_back.counters[0].programmed);
    EXPECT_EQ(pit_back.counters[2].mode, 3);
    EXPECT_EQ(pit_back.counters[2].count, 1193u);
    EXPECT_FALSE(pit_back.counters[2].gate);
    EXPECT_TRUE(pit_back.speaker);
}

TEST(KvmIrqchip, SplitHasOnlyLocalApics) {
    if (const char *why = no_kvm())
        GTEST_SKIP() << why;
    auto vm = KvmVm::create({.irqchip = KernelIrqchip::kSplit});
    ASSERT_TRUE(vm) << vm.error().message();
    EXPECT_TRUE((*vm)->chips()->local_apics_only());
    unsigned ended = 0;
    (*vm)->chips()->set_eoi_handler([&](std::uint8_t vector) { ended = vector; });
    (*vm)->end_of_interrupt(0x55);
    EXPECT_EQ(ended, 0x55u);
}

} // namespace
} // namespace rhea::accel
