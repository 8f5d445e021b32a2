// The MMIO transport, register by register: both versions, rings, configuration, interrupts, notifications, state.
#include "hw/virtio/virtio_mmio.h"

#include <gtest/gtest.h>

#include "rhea/core/machine_lock.h"
#include "tests/support/fake_ports.h"
#include "tests/support/virtio_bench.h"
#include "tests/support/virtio_echo.h"

namespace rhea::hw::virtio {
namespace {

using test::EchoDevice;
using test::eventually;

constexpr core::hwaddr kBase = 0xfeb00000;

/// One transport in a guest's memory.
class Slot {
  public:
    explicit Slot(bool legacy, bool ioeventfd = true) {
        auto echo = std::make_unique<EchoDevice>(thread.context());
        device = echo.get();
        mmio = std::make_unique<VirtioMmio>(VirtioMmio::Ports{ram.space, wire.line(5), posts.port()}, 3);
        card = std::make_unique<VirtioMmioDevice>("virtio-echo-device", std::move(echo));
        const core::MachineLockGuard lock;
        EXPECT_TRUE(mmio->properties().set("force-legacy", legacy ? "on" : "off"));
        EXPECT_TRUE(mmio->properties().set("ioeventfd", ioeventfd ? "on" : "off"));
        ram.root->add(kBase, mmio->region(), 1);
        EXPECT_TRUE(mmio->realize());
        EXPECT_TRUE(mmio->plug(*card));
        EXPECT_TRUE(card->realize());
        card->set_running(true);
    }
    ~Slot() {
        const core::MachineLockGuard lock;
        card->set_running(false);
        card.reset();
        mmio.reset();
    }
    std::uint32_t get(unsigned offset) { return static_cast<std::uint32_t>(ram.space.load(kBase + offset, 4)); }
    void set(unsigned offset, std::uint32_t value) { ram.space.store(kBase + offset, value, 4); }
    bool echoes(unsigned queue, std::uint8_t byte) {
        ram.put<std::uint8_t>(0x200000, byte);
        ram.put<std::uint8_t>(0x200100, 0);
        drivers[queue].add({{0x200000, 1, false}, {0x200100, 1, true}});
        set(0x50, queue);
        return eventually([&] { return drivers[queue].take_used().has_value(); }) && ram.get<std::uint8_t>(0x200100) == byte;
    }
    void start_modern() {
        set(0x70, 0);
        set(0x70, 1);
        set(0x70, 3);
        set(0x24, 1);
        set(0x20, 1); // VERSION_1
        set(0x24, 0);
        set(0x20, 0);
        set(0x70, 11);
        ASSERT_EQ(get(0x70), 11u);
        drivers.clear();
        for (unsigned index = 0; index < 2; ++index) {
            auto& driver = drivers.emplace_back(ram, 0x10000 + index * 0x20000, 16);
            set(0x30, index);
            ASSERT_EQ(get(0x44), 0u);
            ASSERT_EQ(get(0x34), 64u);
            set(0x38, 16);
            const core::hwaddr areas[] = {driver.desc, driver.driver, driver.device};
            for (unsigned i = 0; i < 3; ++i) {
                set(0x80 + i * 0x10, static_cast<std::uint32_t>(areas[i]));
                set(0x84 + i * 0x10, static_cast<std::uint32_t>(areas[i] >> 32));
            }
            set(0x44, 1);
            ASSERT_EQ(get(0x44), 1u);
        }
        set(0x70, 15);
        ASSERT_EQ(get(0x70), 15u);
    }
    bool interrupted() {
        return eventually([&] { posts.run(); return wire.level(5); });
    }

    test::GuestRam ram{0x400000};
    test::FakeIrqSink wire;
    block::IoThread thread{"echo"};
    test::PostBox posts;
    std::deque<test::VirtioDriver> drivers;
    EchoDevice* device = nullptr;
    std::unique_ptr<VirtioMmio> mmio;
    std::unique_ptr<VirtioMmioDevice> card;
};

TEST(VirtioMmioTest, WhatItIs) {
    Slot slot(false), old(true);
    EXPECT_EQ(slot.get(0x00), 0x74726976u);
    EXPECT_EQ(slot.get(0x04), 2u);
    EXPECT_EQ(old.get(0x04), 1u);
    EXPECT_EQ(slot.get(0x08), 2u);
    EXPECT_EQ(slot.get(0x0c), 0x554d4551u);
    EXPECT_EQ(slot.get(0x14), 0u) << "write-only";
    EXPECT_EQ(slot.ram.space.load(kBase, 1), 0u) << "registers have four bytes";
    slot.ram.space.store(kBase + 0x70, 1, 1);
    EXPECT_EQ(slot.get(0x70), 0u);
    EXPECT_EQ(slot.get(0xb0), 0xffffffffu) << "no shared memory";
    EXPECT_EQ(old.get(0xb0), 0u);
}

TEST(VirtioMmioTest, Features) {
    Slot slot(false), old(true);
    slot.set(0x14, 1);
    EXPECT_EQ(slot.get(0x10) & 1, 1u) << "VERSION_1";
    slot.set(0x14, 0);
    EXPECT_EQ(slot.get(0x10), (bit(5) | kRingIndirectDesc | kRingEventIdx) & 0xffffffff);
    slot.set(0x14, 2);
    EXPECT_EQ(slot.get(0x10), 0u);
    EXPECT_EQ(old.get(0x10), (bit(5) | kLegacyOnly | kRingIndirectDesc | kRingEventIdx) & 0xffffffff);
    old.set(0x14, 1);
    EXPECT_EQ(old.get(0x10), 0u) << "version 1 has 32 bits";
    slot.set(0x70, 3);
    slot.set(0x20, 1u << 5 | 1u << 6);
    slot.set(0x70, 11);
    EXPECT_EQ(slot.get(0x70), 3u) << "not without VERSION_1";
    slot.set(0x24, 1);
    slot.set(0x20, 1);
    slot.set(0x70, 11);
    EXPECT_EQ(slot.get(0x70), 11u);
    EXPECT_EQ(slot.device->driver_features(), kVersion1 | bit(5)) << "what is not offered is not taken";
}

TEST(VirtioMmioTest, WithoutADevice) {
    test::GuestRam ram{0x1000};
    test::FakeIrqSink wire;
    VirtioMmio empty({ram.space, wire.line(5), [](std::function<void()>) {}}, 7);
    ram.root->add(kBase, empty.region(), 1);
    ASSERT_TRUE(empty.realize());
    const auto get = [&ram](unsigned offset) { return ram.space.load(kBase + offset, 4); };
    EXPECT_EQ(get(0x00), 0x74726976u);
    EXPECT_EQ(get(0x04), 1u);
    EXPECT_EQ(get(0x08), 0u) << "a driver goes away (4.2.2.1)";
    EXPECT_EQ(get(0x0c), 0x554d4551u);
    ram.space.store(kBase + 0x70, 15, 4);
    ram.space.store(kBase + 0x50, 0, 4);
    EXPECT_EQ(get(0x70), 0u);
    EXPECT_EQ(get(0x100), 0u);
    const core::MachineLockGuard lock;
    empty.reset();
    EXPECT_EQ(empty.name(), "virtio-mmio-bus.7");
    EXPECT_FALSE(empty.full());
}

TEST(VirtioMmioTest, OneDeviceATransport) {
    Slot slot(false), other(false);
    EXPECT_TRUE(slot.mmio->full());
    EXPECT_FALSE(slot.mmio->plug(*other.card));
    EXPECT_EQ(slot.mmio->occupant(), slot.card.get());
    const core::MachineLockGuard lock;
    slot.card->set_running(false);
    slot.card->unrealize();
    slot.mmio->unplug(*slot.card);
    EXPECT_FALSE(slot.mmio->full());
    EXPECT_EQ(slot.get(0x08), 0u);
}

class VirtioMmioNotify : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(ByDescriptorAndHandler, VirtioMmioNotify, ::testing::Bool());

TEST_P(VirtioMmioNotify, ModernRequests) {
    Slot slot(false, GetParam());
    slot.start_modern();
    EXPECT_TRUE(slot.echoes(0, 0x42));
    EXPECT_TRUE(slot.echoes(1, 0x43));
    EXPECT_TRUE(slot.interrupted());
    EXPECT_EQ(slot.get(0x60), 1u);
    slot.set(0x64, 2);
    EXPECT_TRUE(slot.wire.level(5));
    slot.set(0x64, 1);
    EXPECT_FALSE(slot.wire.level(5));
    slot.set(0x50, 77); // no such queue
    slot.set(0x30, 9);
    EXPECT_EQ(slot.get(0x34), 0u);
    slot.set(0x44, 1);
    EXPECT_EQ(slot.get(0x44), 0u);
    slot.set(0x70, 0);
    slot.set(0x30, 0);
    EXPECT_EQ(slot.get(0x44), 0u) << "a reset";
    slot.start_modern();
    EXPECT_TRUE(slot.echoes(0, 0x44));
}

TEST(VirtioMmioTest, QueuesAreTakenBack) {
    Slot slot(false);
    slot.start_modern();
    ASSERT_TRUE(slot.echoes(1, 1));
    slot.set(0x30, 1);
    slot.set(0x44, 0);
    EXPECT_EQ(slot.get(0x44), 0u);
    EXPECT_TRUE(slot.echoes(0, 2)) << "the other goes on";
    slot.set(0x30, 0);
    slot.set(0xc0, 1);
    EXPECT_EQ(slot.get(0x44), 1u) << "RING_RESET was not negotiated";
}

TEST(VirtioMmioTest, Configuration) {
    Slot slot(false);
    slot.start_modern();
    EXPECT_EQ(slot.get(0x100), 0x04030201u);
    EXPECT_EQ(slot.ram.space.load(kBase + 0x101, 1), 2u);
    EXPECT_EQ(slot.ram.space.load(kBase + 0x10a, 2), 0x0c0bu);
    EXPECT_EQ(slot.get(0x10c), 0u) << "behind the end";
    slot.ram.space.store(kBase + 0x102, 0xbbaa, 2);
    EXPECT_EQ(slot.device->config[2], 0xaa);
    EXPECT_EQ(slot.device->config[3], 0xbb);
    const std::uint32_t generation = slot.get(0xfc);
    {
        const core::MachineLockGuard lock;
        slot.device->change();
    }
    EXPECT_NE(slot.get(0xfc), generation);
    EXPECT_EQ(slot.get(0x60), 2u);
    EXPECT_TRUE(slot.wire.level(5));
}

TEST(VirtioMmioTest, LegacyRequests) {
    Slot slot(true);
    slot.set(0x30, 1);
    slot.set(0x40, 0x40); // before GuestPageSize
    EXPECT_EQ(slot.get(0x40), 0u);
    slot.set(0x28, 4096);
    slot.set(0x70, 0); // which leaves the page size
    slot.set(0x70, 3);
    slot.set(0x30, 1);
    EXPECT_EQ(slot.get(0x40), 0u);
    EXPECT_EQ(slot.get(0x34), 64u);
    slot.set(0x38, 64);
    slot.set(0x3c, 3); // no power of two: 4096 stays
    slot.set(0x40, 0x40);
    EXPECT_EQ(slot.get(0x40), 0x40u);
    slot.set(0x70, 7);
    constexpr core::hwaddr kRing = 0x40000;
    slot.ram.put<std::uint8_t>(0x200000, 0x99);
    slot.ram.put<std::uint64_t>(kRing, 0x200000);
    slot.ram.put<std::uint32_t>(kRing + 8, 1);
    slot.ram.put<std::uint32_t>(kRing + 12, 1 | 1 << 16);
    slot.ram.put<std::uint64_t>(kRing + 16, 0x200100);
    slot.ram.put<std::uint32_t>(kRing + 24, 1);
    slot.ram.put<std::uint32_t>(kRing + 28, 2);
    slot.ram.put<std::uint16_t>(kRing + 0x400 + 4, 0);
    slot.ram.put<std::uint16_t>(kRing + 0x400 + 2, 1);
    slot.set(0x50, 1);
    EXPECT_TRUE(eventually([&] { return slot.ram.get<std::uint16_t>(kRing + 0x1000 + 2) == 1; }));
    EXPECT_EQ(slot.ram.get<std::uint8_t>(0x200100), 0x99);
    EXPECT_TRUE(slot.interrupted());
    slot.set(0x40, 0);
    EXPECT_EQ(slot.get(0x40), 0u);
    EXPECT_EQ(slot.get(0x70), 7u) << "one queue, not the device";
}

TEST(VirtioMmioTest, RingsThatCannotBeBreakTheDevice) {
    Slot slot(false);
    slot.set(0x70, 3);
    slot.set(0x24, 1);
    slot.set(0x20, 1);
    slot.set(0x70, 11);
    slot.set(0x38, 0x10000);
    slot.set(0x44, 1);
    slot.set(0x70, 15);
    slot.set(0x50, 0);
    EXPECT_TRUE(eventually([&] { slot.posts.run(); return (slot.get(0x70) & kStatusNeedsReset) != 0; }));
    EXPECT_EQ(slot.get(0x60) & 2, 2u) << "told as a change of configuration";
}

TEST(VirtioMmioTest, StateMovesOn) {
    Slot slot(false), other(false);
    slot.start_modern();
    ASSERT_TRUE(slot.echoes(0, 5));
    ASSERT_TRUE(slot.interrupted());
    std::vector<std::uint8_t> bytes;
    {
        const core::MachineLockGuard lock;
        slot.card->set_running(false);
        const auto writer = core::make_memory_writer(bytes);
        slot.mmio->serialize(*writer);
        slot.card->serialize(*writer);
        other.card->set_running(false);
        for (core::hwaddr at = 0x10000; at < 0x50000; at += 8) { // the rings, at which the device looks when it runs again
            other.ram.put<std::uint64_t>(at, slot.ram.get<std::uint64_t>(at));
        }
        const auto reader = core::make_memory_reader(bytes);
        other.mmio->serialize(*reader);
        other.card->serialize(*reader);
        ASSERT_TRUE(reader->ok()) << reader->status().error().message();
        other.card->set_running(true);
    }
    EXPECT_TRUE(other.wire.level(5));
    EXPECT_EQ(other.get(0x60), 1u);
    EXPECT_EQ(other.get(0x70), 15u);
    EXPECT_EQ(other.get(0x44), 1u);
    const core::MachineLockGuard lock;
    other.mmio->reset();
    EXPECT_FALSE(other.wire.level(5));
    EXPECT_EQ(other.get(0x70), 0u);
}

}  // namespace
}  // namespace rhea::hw::virtio
