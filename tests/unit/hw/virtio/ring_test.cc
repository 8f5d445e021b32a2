// Split and packed rings: requests as a driver makes them, interrupts and notifications, and rings that make no sense.
#include "hw/virtio/ring.h"

#include <gtest/gtest.h>

#include "tests/support/virtio_driver.h"

namespace rhea::hw::virtio {
namespace {

using test::DriverBuffer;
using test::GuestRam;
using test::UsedElement;
using test::VirtioDriver;

constexpr core::hwaddr kRing = 0x10000, kData = 0x40000;
constexpr std::uint64_t kRam = 0x100000;

struct Bench {
    explicit Bench(bool is_packed, std::uint16_t size = 8, bool event_idx = false) : packed(is_packed), driver(ram, kRing, size, is_packed) {
        restart(size, event_idx);
    }
    void restart(std::uint16_t size, bool event_idx) {
        const RingSetup setup{.size = size, .desc = driver.desc, .driver = driver.driver, .device = driver.device,
                              .event_idx = event_idx, .indirect = true, .notify_on_empty = false};
        ring = packed ? make_packed_ring(ram.space, setup) : make_split_ring(ram.space, setup);
    }
    bool packed;
    GuestRam ram{kRam};
    VirtioDriver driver;
    std::unique_ptr<Ring> ring;
};

class BothRings : public ::testing::TestWithParam<bool> {
  protected:
    Bench bench{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Rings, BothRings, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

TEST_P(BothRings, RequestsArriveWithTheirBuffers) {
    EXPECT_EQ(bench.ring->pop(), nullptr);
    const std::uint16_t id = bench.driver.add({{kData, 16, false}, {kData + 0x1000, 512, true}, {kData + 0x2000, 1, true}});
    Element* element = bench.ring->pop();
    ASSERT_NE(element, nullptr);
    EXPECT_EQ(element->id, id);
    EXPECT_EQ(element->out.size(), 16u);
    EXPECT_EQ(element->in.size(), 513u);
    EXPECT_EQ(element->in.pieces()[1].host, bench.ram.block.host() + kData + 0x2000);
    EXPECT_EQ(bench.ring->pop(), nullptr);
    EXPECT_FALSE(bench.driver.take_used());
    bench.ring->push(element, 513);
    EXPECT_EQ(bench.driver.take_used(), (UsedElement{id, 513}));
    EXPECT_EQ(bench.ring->in_use(), 0u);
    EXPECT_EQ(bench.ring->broken(), "");
}

TEST_P(BothRings, IndirectTablesAreTheSame) {
    const std::uint16_t id = bench.driver.add({{kData, 16, false}, {kData + 64, 100, true}, {kData + 0x2000, 1, true}}, true);
    Element* element = bench.ring->pop();
    ASSERT_NE(element, nullptr) << bench.ring->broken();
    EXPECT_EQ(element->out.size(), 16u);
    EXPECT_EQ(element->in.size(), 101u);
    bench.ring->push(element, 1);
    EXPECT_EQ(bench.driver.take_used(), (UsedElement{id, 1}));
}

TEST_P(BothRings, GoesRoundAndRoundOutOfOrder) {
    for (unsigned round = 0; round < 20'000; ++round) {
        const std::uint16_t first = bench.driver.add({{kData, 8, false}, {kData + 8, 8, true}});
        const std::uint16_t second = bench.driver.add({{kData, 8, false}, {kData + 8, 8, true}, {kData + 16, 4, true}});
        Element* a = bench.ring->pop();
        Element* b = bench.ring->pop();
        ASSERT_TRUE(a && b) << bench.ring->broken();
        ASSERT_EQ(bench.ring->pop(), nullptr);
        bench.ring->push(b, round);
        bench.ring->push(a, 8);
        ASSERT_EQ(bench.driver.take_used(), (UsedElement{second, round}));
        ASSERT_EQ(bench.driver.take_used(), (UsedElement{first, 8}));
        ASSERT_FALSE(bench.driver.take_used());
    }
}

TEST_P(BothRings, WritesReachTheGuest) {
    bench.driver.add({{kData, 3, true}, {kData + 0x1000, 5, true}});
    Element* element = bench.ring->pop();
    ASSERT_NE(element, nullptr);
    EXPECT_EQ(element->in.write(1, "abcdefghij", 10), 7u) << "no more than there is room for";
    EXPECT_EQ(bench.ram.get<char>(kData + 1), 'a');
    EXPECT_EQ(bench.ram.get<char>(kData + 2), 'b');
    EXPECT_EQ(bench.ram.get<char>(kData + 0x1004), 'g');
    char text[4] = {};
    EXPECT_EQ(element->in.read(2, text, 3), 3u);
    EXPECT_STREQ(text, "bcd");
    const auto vector = element->in.vector(2, 3);
    EXPECT_EQ(vector.pieces().size(), 2u);
    EXPECT_EQ(vector.size(), 3u);
}

TEST_P(BothRings, WhatIsNotRamBreaksTheRing) {
    const std::vector<std::vector<DriverBuffer>> wrong = {
        {{kRam - 8, 16, false}},                            // over the end
        {{0xfee00000, 4, true}},                            // nothing there
        {{~std::uint64_t{0} - 4, 16, true}},                // does not end
        {{kData, 0, false}},                                // empty
        {{kData, 4, true}, {kData, 4, false}},              // order
    };
    for (const auto& buffers : wrong) {
        Bench each(GetParam());
        each.driver.add(buffers);
        EXPECT_EQ(each.ring->pop(), nullptr);
        EXPECT_NE(each.ring->broken(), "");
        each.driver.restart();
        each.driver.add({{kData, 4, false}});
        EXPECT_EQ(each.ring->pop(), nullptr) << "until the device is reset";
        EXPECT_FALSE(each.ring->should_interrupt());
        EXPECT_FALSE(each.ring->enable_notification());
    }
}

TEST_P(BothRings, BuffersThatReachOverTwoRegionsAreTwoPieces) {
    core::RamBlock more("more", 1 << 30, 0x1000);
    auto region = core::MemoryRegion::ram("more", more);
    bench.ram.root->add(kRam, *region);
    bench.driver.add({{kRam - 8, 16, true}});
    Element* element = bench.ring->pop();
    ASSERT_NE(element, nullptr) << bench.ring->broken();
    ASSERT_EQ(element->in.pieces().size(), 2u);
    EXPECT_EQ(element->in.pieces()[1].host, more.host());
    bench.ring->detach(element);
    bench.ram.root->remove(*region);
}

TEST_P(BothRings, ReadOnlyMemoryCanOnlyBeRead) {
    core::RamBlock rom_block("rom", 1 << 30, 0x1000);
    auto rom = core::MemoryRegion::rom("rom", rom_block);
    bench.ram.root->add(0x200000, *rom);
    bench.driver.add({{0x200000, 16, false}});
    Element* element = bench.ring->pop();
    ASSERT_NE(element, nullptr);
    bench.ring->push(element, 0);
    bench.driver.add({{0x200000, 16, true}});
    EXPECT_EQ(bench.ring->pop(), nullptr);
    EXPECT_NE(bench.ring->broken().find("not in RAM"), std::string::npos);
    bench.ram.root->remove(*rom);
}

TEST_P(BothRings, StateGoesOnInAnotherRing) {
    bench.driver.add({{kData, 8, false}});
    bench.ring->push(bench.ring->pop(), 0);
    const std::uint16_t kept = bench.driver.add({{kData, 8, false}, {kData + 64, 32, true}});
    Element* element = bench.ring->pop();
    const std::uint16_t waiting = bench.driver.add({{kData, 4, false}});
    std::vector<std::uint8_t> bytes;
    {
        auto writer = core::make_memory_writer(bytes);
        writer->section("ring", 1, [&](core::Archive& a) {
            bench.ring->serialize(a);
            bench.ring->serialize_element(a, *element);
        });
        ASSERT_TRUE(writer->ok());
    }
    bench.restart(8, false);
    Element* restored = bench.ring->new_element();
    auto reader = core::make_memory_reader(bytes);
    reader->section("ring", 1, [&](core::Archive& a) {
        bench.ring->serialize(a);
        bench.ring->serialize_element(a, *restored);
    });
    ASSERT_TRUE(reader->ok()) << reader->status().error().message();
    EXPECT_EQ(restored->in.size(), 32u);
    EXPECT_EQ(restored->out.size(), 8u);
    Element* next = bench.ring->pop();
    ASSERT_NE(next, nullptr);
    EXPECT_EQ(next->id, waiting);
    bench.ring->push(restored, 32);
    bench.ring->push(next, 0);
    EXPECT_TRUE(bench.driver.take_used());
    EXPECT_EQ(bench.driver.take_used(), (UsedElement{kept, 32}));
    EXPECT_EQ(bench.driver.take_used(), (UsedElement{waiting, 0}));
}

TEST_P(BothRings, MoreRequestsThanPlacesBreakTheRing) {
    for (unsigned i = 0; i < 8; ++i)
        bench.driver.add({{kData, 8, false}});
    for (unsigned i = 0; i < 8; ++i)
        ASSERT_NE(bench.ring->pop(), nullptr);
    bench.driver.add({{kData, 8, false}});
    EXPECT_EQ(bench.ring->pop(), nullptr);
    EXPECT_NE(bench.ring->broken(), "");
}

// ---- the split ring's own ------------------------------------------------------------------------------------------

TEST(SplitRing, ChainsThatDoNotEnd) {
    const auto sentence = [](auto&& make) {
        Bench bench(false);
        make(bench.driver);
        EXPECT_EQ(bench.ring->pop(), nullptr);
        return bench.ring->broken();
    };
    EXPECT_NE(sentence([](VirtioDriver& d) {
                  d.put_descriptor(0, kData, 4, VirtioDriver::kNext, 1);
                  d.put_descriptor(1, kData, 4, VirtioDriver::kNext, 0);
                  d.publish(0);
              }).find("loop"), std::string::npos);
    EXPECT_NE(sentence([](VirtioDriver& d) {
                  d.put_descriptor(0, kData, 4, VirtioDriver::kNext, 8);
                  d.publish(0);
              }).find("next descriptor is 8"), std::string::npos);
    EXPECT_NE(sentence([](VirtioDriver& d) { d.publish(200); }).find("descriptor 200"), std::string::npos);
    EXPECT_NE(sentence([](VirtioDriver& d) {
                  d.put_descriptor(0, kData, 24, VirtioDriver::kIndirect, 0);
                  d.publish(0);
              }).find("table of 24 bytes"), std::string::npos);
    EXPECT_NE(sentence([](VirtioDriver& d) {
                  d.put_descriptor(0, kData, 16, VirtioDriver::kIndirect, 0);
                  d.put_at(kData, kData, 16, VirtioDriver::kIndirect, 0);
                  d.publish(0);
              }).find("inside a chain"), std::string::npos);
    EXPECT_NE(sentence([](VirtioDriver& d) {
                  for (unsigned i = 0; i < 9; ++i)
                      d.publish(0);
              }).find("available index"), std::string::npos);
}

TEST(SplitRing, RingsOutsideRam) {
    Bench bench(false);
    for (const core::hwaddr place : {kRam - 16, ~core::hwaddr{0} - 15, core::hwaddr{kRing + 8}}) {
        const RingSetup setup{.size = 8, .desc = place, .driver = bench.driver.driver, .device = bench.driver.device};
        const auto ring = make_split_ring(bench.ram.space, setup);
        bench.driver.restart();
        bench.driver.publish(0);
        EXPECT_EQ(ring->pop(), nullptr);
        EXPECT_NE(ring->broken(), "") << place;
    }
}

TEST(SplitRing, FlagsSilenceInterruptsAndNotifications) {
    Bench bench(false);
    bench.ring->disable_notification();
    EXPECT_EQ(bench.ram.get<std::uint16_t>(bench.driver.device), 1u);
    EXPECT_FALSE(bench.ring->enable_notification());
    EXPECT_EQ(bench.ram.get<std::uint16_t>(bench.driver.device), 0u);
    bench.driver.add({{kData, 8, false}});
    EXPECT_TRUE(bench.ring->enable_notification()) << "a request came meanwhile";
    bench.ring->push(bench.ring->pop(), 0);
    EXPECT_TRUE(bench.ring->should_interrupt());
    bench.ram.put<std::uint16_t>(bench.driver.driver, 1);
    EXPECT_FALSE(bench.ring->should_interrupt());
}

TEST(SplitRing, EventIndices) {
    Bench bench(false, 8, true);
    bench.driver.set_used_event(1);
    bench.driver.add({{kData, 8, false}});
    bench.driver.add({{kData, 8, false}});
    bench.driver.add({{kData, 8, false}});
    bench.ring->push(bench.ring->pop(), 0);
    EXPECT_TRUE(bench.ring->should_interrupt()) << "the first look knows of no other";
    bench.ring->push(bench.ring->pop(), 0);
    EXPECT_TRUE(bench.ring->should_interrupt()) << "index 1 was used";
    bench.ring->push(bench.ring->pop(), 0);
    EXPECT_FALSE(bench.ring->should_interrupt());
    EXPECT_FALSE(bench.ring->enable_notification());
    EXPECT_EQ(bench.driver.avail_event(), 3u);
}

// ---- the packed ring's own -----------------------------------------------------------------------------------------

TEST(PackedRing, ALoopIsAChainThatIsTooLong) {
    Bench bench(true);
    for (unsigned i = 0; i < 8; ++i)
        bench.driver.put_at(bench.driver.desc + i * 16, kData, 4, 0, VirtioDriver::kNext | 1u << 7);
    EXPECT_EQ(bench.ring->pop(), nullptr);
    EXPECT_NE(bench.ring->broken().find("longer than the ring"), std::string::npos);
}

TEST(PackedRing, EventAreas) {
    Bench bench(true, 8, true);
    bench.ring->disable_notification();
    EXPECT_EQ(bench.ram.get<std::uint16_t>(bench.driver.device + 2), 1u);
    EXPECT_FALSE(bench.ring->enable_notification());
    EXPECT_EQ(bench.ram.get<std::uint32_t>(bench.driver.device), 2u << 16 | 0x8000u) << "at descriptor 0, first round";
    bench.driver.add({{kData, 8, false}});
    EXPECT_TRUE(bench.ring->enable_notification());
    bench.ring->push(bench.ring->pop(), 0);
    EXPECT_TRUE(bench.ring->should_interrupt());
    bench.ram.put<std::uint32_t>(bench.driver.driver, 1u << 16);
    bench.driver.add({{kData, 8, false}});
    bench.ring->push(bench.ring->pop(), 0);
    EXPECT_FALSE(bench.ring->should_interrupt()) << "disabled";
    // Interrupt when descriptor 0 of the second round is used.
    bench.ram.put<std::uint32_t>(bench.driver.driver, 2u << 16);
    for (unsigned i = 2; i < 8; ++i) {
        bench.driver.add({{kData, 8, false}});
        bench.ring->push(bench.ring->pop(), 0);
        EXPECT_FALSE(bench.ring->should_interrupt()) << i;
    }
    bench.driver.add({{kData, 8, false}});
    bench.ring->push(bench.ring->pop(), 0);
    EXPECT_TRUE(bench.ring->should_interrupt());
}

}  // namespace
}  // namespace rhea::hw::virtio
