// The PCI transport, register by register: identities, both interfaces, capabilities, interrupts, notifications.
#include "hw/virtio/virtio_pci.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "hw/pci/pci_bus.h"
#include "tests/support/fake_ports.h"
#include "tests/support/virtio_bench.h"
#include "tests/support/virtio_echo.h"

namespace rhea::hw::virtio {
namespace {

using test::EchoDevice;
using test::eventually;

class FakeMsiSink final : public MsiSink {
  public:
    void send_msi(std::uint64_t, std::uint32_t data) override { last = data; ++count; }
    bool has_descriptors() const override { return kernel; }
    int add_descriptor(int fd, std::uint64_t, std::uint32_t data) override {
        if (full)
            return -1;
        descriptors.push_back({fd, data});
        return static_cast<int>(descriptors.size()) - 1;
    }
    void change_descriptor(int number, std::uint64_t, std::uint32_t data) override { descriptors.at(static_cast<std::size_t>(number)).data = data; }
    void remove_descriptor(int number, int fd) override {
        Descriptor& each = descriptors.at(static_cast<std::size_t>(number));
        EXPECT_EQ(each.fd, fd);
        each.fd = -1;
    }
    /// What the kernel would have sent: writes to the live descriptors of this message.
    std::uint64_t sent(std::uint32_t data) {
        std::uint64_t all = 0;
        for (const Descriptor& each : descriptors) {
            std::uint64_t some = 0;
            if (each.fd >= 0 && each.data == data && ::read(each.fd, &some, sizeof some) == sizeof some)
                all += some;
        }
        return all;
    }
    std::size_t live() const { return static_cast<std::size_t>(std::ranges::count_if(descriptors, [](const Descriptor& each) { return each.fd >= 0; })); }
    struct Descriptor {
        int fd;
        std::uint32_t data;
    };
    std::vector<Descriptor> descriptors;
    bool kernel = false, full = false;
    std::atomic<std::uint32_t> last{0}, count{0};
};

constexpr core::hwaddr kIoBase = 0xc000, kMsixBase = 0xe0000000, kBarBase = 0x100000000;
constexpr core::hwaddr kIsr = kBarBase + 0x1000, kConfig = kBarBase + 0x2000, kNotify = kBarBase + 0x3000;

class VirtioPciTest : public ::testing::Test {
  protected:
    void make(VirtioPci::Kind kind = VirtioPci::Kind::kBySettings,
              const std::vector<std::pair<std::string, std::string>>& settings = {}) {
        auto echo = std::make_unique<EchoDevice>(thread.context());
        device = echo.get();
        card = std::make_unique<VirtioPci>(
            VirtioPci::Config{.type = "virtio-echo-pci", .class_code = 0x010000, .legacy_device_id = 0x1001, .kind = kind},
            VirtioPci::Spaces{ram.space, io.space, posts.port()}, std::move(echo));
        const core::MachineLockGuard lock;
        for (const auto& [key, value] : settings)
            ASSERT_TRUE(card->properties().set(key, value));
        ram.root->add(0, *window, -1);
        bus.connect_pirqs({pirq.line(0), pirq.line(1), pirq.line(2), pirq.line(3)});
        ASSERT_TRUE(bus.attach(*card, {.slot = 3}));
        const auto done = card->realize();
        ASSERT_TRUE(done) << done.error().message();
        card->set_running(true);
        write(0x10, kIoBase | 1);
        write(0x14, kMsixBase);
        write(0x20, static_cast<std::uint32_t>(kBarBase));
        write(0x24, kBarBase >> 32);
        write(4, 7, 2);
    }
    ~VirtioPciTest() override {
        const core::MachineLockGuard lock;
        card.reset();
        if (window->parent())
            ram.root->remove(*window);
    }
    std::uint32_t read(unsigned offset, unsigned size = 4) { return bus.config_read(3 << 3, offset, size); }
    void write(unsigned offset, std::uint32_t value, unsigned size = 4) { bus.config_write(3 << 3, offset, value, size); }
    unsigned capability(std::uint8_t id, std::uint8_t type = 0) {
        for (unsigned at = read(0x34, 1); at != 0; at = read(at + 1, 1))
            if (read(at, 1) == id && (type == 0 || read(at + 3, 1) == type))
                return at;
        return 0;
    }
    std::uint64_t common(unsigned offset, unsigned size) { return ram.space.load(kBarBase + offset, size); }
    void set_common(unsigned offset, std::uint64_t value, unsigned size) { ram.space.store(kBarBase + offset, value, size); }
    /// Sets queue `index` up by the modern interface and goes to DRIVER_OK.
    void start_modern(std::uint16_t vector = 0xffff) {
        set_common(0x14, 0, 1);
        set_common(0x14, 1, 1);
        set_common(0x14, 3, 1);
        set_common(0x08, 1, 4);
        set_common(0x0c, 1, 4);
        set_common(0x08, 0, 4);
        set_common(0x0c, 0, 4);
        set_common(0x14, 11, 1);
        ASSERT_EQ(common(0x14, 1), 11u);
        for (unsigned index = 0; index < 2; ++index) {
            auto& driver = drivers.emplace_back(ram, 0x10000 + index * 0x20000, 16);
            set_common(0x16, index, 2);
            ASSERT_EQ(common(0x18, 2), 64u);
            set_common(0x18, 16, 2);
            set_common(0x1a, vector, 2);
            const core::hwaddr areas[] = {driver.desc, driver.driver, driver.device};
            for (unsigned i = 0; i < 3; ++i) {
                set_common(0x20 + i * 8, areas[i] & 0xffffffff, 4);
                set_common(0x24 + i * 8, areas[i] >> 32, 4);
            }
            set_common(0x1c, 1, 2);
            ASSERT_EQ(common(0x1c, 2), 1u);
        }
        set_common(0x14, 15, 1);
    }
    bool echoes(unsigned queue, std::uint8_t byte) {
        ram.put<std::uint8_t>(0x200000, byte);
        ram.put<std::uint8_t>(0x200100, 0);
        drivers[queue].add({{0x200000, 1, false}, {0x200100, 1, true}});
        ram.space.store(kNotify + queue * 4, queue, 2);
        return eventually([&] { return drivers[queue].take_used().has_value(); }) && ram.get<std::uint8_t>(0x200100) == byte;
    }

    test::GuestRam ram{0x400000};
    test::FakeSpace io{"io", 0x10000};
    std::unique_ptr<core::MemoryRegion> window = core::MemoryRegion::container("pci", 1ull << 48);
    test::FakeIrqSink pirq;
    FakeMsiSink msi;
    PciBus bus{{*window, *io.root, ram.space, &msi}};
    block::IoThread thread{"echo"};
    test::PostBox posts;
    std::deque<test::VirtioDriver> drivers;
    std::unique_ptr<VirtioPci> card;
    EchoDevice* device = nullptr;
};

TEST_F(VirtioPciTest, Identities) {
    make();
    EXPECT_EQ(read(0), 0x10011af4u);
    EXPECT_EQ(read(8), 0x01000000u);
    EXPECT_EQ(read(0x2c), 0x00021af4u) << "the virtio device id";
    EXPECT_EQ(read(0x3d, 1), 1u);
}

TEST_F(VirtioPciTest, FirmwareFindsItsDisk) {
    make();
    device->unit = {{7, "/disk@0,0"}};
    ASSERT_EQ(card->boot_entries().size(), 1u);
    EXPECT_EQ(card->boot_entries()[0].index, 7);
    EXPECT_EQ(card->boot_entries()[0].path, "/pci@i0cf8/scsi@3/disk@0,0");
}

TEST_F(VirtioPciTest, IdentitiesWithoutLegacy) {
    make(VirtioPci::Kind::kNonTransitional);
    EXPECT_EQ(read(0), 0x10421af4u);
    EXPECT_EQ(read(8), 0x01000001u) << "revision 1";
    EXPECT_EQ(read(0x2c), 0x11001af4u);
    EXPECT_EQ(read(0x10), 0u) << "no I/O BAR";
}

TEST_F(VirtioPciTest, SettingsThatLeaveNothing) {
    auto echo = std::make_unique<EchoDevice>(thread.context());
    VirtioPci each({.type = "x", .legacy_device_id = 0x1001}, {ram.space, io.space, posts.port()}, std::move(echo));
    ASSERT_TRUE(each.properties().set("disable-legacy", "on"));
    ASSERT_TRUE(each.properties().set("disable-modern", "on"));
    EXPECT_FALSE(each.realize());
    ASSERT_TRUE(each.properties().set("disable-legacy", "maybe"));
    EXPECT_FALSE(each.realize());
}

TEST_F(VirtioPciTest, CapabilitiesSayWhereThingsAre) {
    make();
    const struct {
        std::uint8_t type;
        std::uint32_t offset;
    } places[] = {{1, 0}, {2, 0x3000}, {3, 0x1000}, {4, 0x2000}};
    for (const auto& place : places) {
        const unsigned at = capability(9, place.type);
        ASSERT_NE(at, 0u) << int{place.type};
        EXPECT_EQ(read(at + 4, 1), 4u);
        EXPECT_EQ(read(at + 8), place.offset);
        EXPECT_EQ(read(at + 12), 0x1000u);
    }
    EXPECT_EQ(read(capability(9, 2) + 16), 4u) << "notify_off_multiplier";
    EXPECT_NE(capability(9, 5), 0u);
    EXPECT_NE(capability(0x11), 0u);
    EXPECT_EQ(read(capability(0x11) + 2, 2), 2u) << "three vectors";
}

TEST_F(VirtioPciTest, ModernRequests) {
    make();
    EXPECT_EQ(common(0x12, 2), 2u);
    set_common(0x00, 1, 4);
    EXPECT_EQ(common(0x04, 4) & 1, 1u) << "VERSION_1";
    set_common(0x00, 0, 4);
    EXPECT_EQ(common(0x04, 4), (bit(5) | kRingIndirectDesc | kRingEventIdx) & 0xffffffff);
    set_common(0x00, 2, 4);
    EXPECT_EQ(common(0x04, 4), 0u);
    set_common(0x16, 9, 2);
    EXPECT_EQ(common(0x18, 2), 0u) << "there is no such queue";
    start_modern();
    EXPECT_TRUE(echoes(0, 0x42));
    EXPECT_TRUE(echoes(1, 0x43));
    EXPECT_TRUE(eventually([&] { posts.run(); return pirq.level(2); })) << "slot 3, pin 1";
    {
        const core::MachineLockGuard lock;
        EXPECT_EQ(ram.space.load(kIsr, 1), 1u);
        EXPECT_FALSE(pirq.level(2));
        EXPECT_EQ(ram.space.load(kIsr, 1), 0u);
    }
    EXPECT_EQ(ram.space.load(kConfig, 4), 0x04030201u);
    ram.space.store(kConfig + 1, 0xaa, 1);
    EXPECT_EQ(device->config[1], 0xaa);
    {
        const core::MachineLockGuard lock;
        device->change();
    }
    EXPECT_EQ(common(0x15, 1), 1u);
    EXPECT_EQ(ram.space.load(kIsr, 1), 2u);
    set_common(0x14, 0, 1);
    EXPECT_EQ(common(0x14, 1), 0u);
    EXPECT_EQ(common(0x1c, 2), 0u);
    EXPECT_EQ(common(0x18, 2), 64u);
}

TEST_F(VirtioPciTest, MessagesInsteadOfThePin) {
    make();
    write(capability(0x11) + 2, 0x8000, 2);
    for (unsigned vector = 0; vector < 3; ++vector) {
        ram.space.store(kMsixBase + vector * 16, 0xfee00000, 4);
        ram.space.store(kMsixBase + vector * 16 + 8, 0x40 + vector, 4);
        ram.space.store(kMsixBase + vector * 16 + 12, 0, 4);
    }
    set_common(0x10, 0, 2);
    EXPECT_EQ(common(0x10, 2), 0u);
    start_modern(1);
    set_common(0x16, 1, 2);
    set_common(0x1a, 3, 2);
    EXPECT_EQ(common(0x1a, 2), 0xffffu) << "there is no vector 3";
    EXPECT_TRUE(echoes(0, 7));
    EXPECT_TRUE(eventually([&] { posts.run(); return msi.count == 1; }));
    EXPECT_EQ(msi.last, 0x41u);
    EXPECT_TRUE(echoes(1, 8)) << "no vector, no message";
    posts.run();
    EXPECT_EQ(msi.count, 1u);
    EXPECT_FALSE(pirq.level(2));
    {
        const core::MachineLockGuard lock;
        device->change();
    }
    EXPECT_EQ(msi.count, 1u) << "a reset took the vector of the configuration";
    set_common(0x10, 2, 2);
    {
        const core::MachineLockGuard lock;
        device->change();
    }
    EXPECT_EQ(msi.last, 0x42u);
}

/// irqfd: a queue's interrupt is a write to the descriptor that has its vector's message, while nothing masks it.
TEST_F(VirtioPciTest, MessagesByDescriptor) {
    msi.kernel = true;
    make();
    const auto entry = [&](unsigned vector, std::uint32_t data, std::uint32_t control) {
        ram.space.store(kMsixBase + vector * 16, 0xfee00000, 4);
        ram.space.store(kMsixBase + vector * 16 + 8, data, 4);
        ram.space.store(kMsixBase + vector * 16 + 12, control, 4);
    };
    const unsigned control = capability(0x11) + 2;
    write(control, 0x8000, 2);
    entry(1, 0x41, 1);
    start_modern(1);
    EXPECT_EQ(msi.live(), 0u) << "masked";
    EXPECT_TRUE(echoes(0, 7));
    EXPECT_TRUE(eventually([&] { posts.run(); return ram.space.load(kMsixBase + 0x800, 4) == 2; })) << "pending";
    EXPECT_EQ(msi.count, 0u);
    entry(1, 0x41, 0);
    EXPECT_EQ(msi.count, 1u) << "what was pending goes out";
    ASSERT_EQ(msi.live(), 1u) << "both queues have that vector";
    EXPECT_TRUE(echoes(0, 8) && echoes(1, 9));
    EXPECT_TRUE(eventually([&, all = std::uint64_t{0}]() mutable { return (all += msi.sent(0x41)) == 2; }));
    EXPECT_EQ(msi.count, 1u) << "nobody of ours sends";
    entry(1, 0x55, 0);
    EXPECT_TRUE(echoes(0, 10));
    EXPECT_TRUE(eventually([&] { return msi.sent(0x55) == 1; })) << "another message";
    for (const std::uint32_t off : {0xc000u, 0x0000u}) { // function mask, MSI-X off
        write(control, off, 2);
        EXPECT_EQ(msi.live(), 0u);
        write(control, 0x8000, 2);
        EXPECT_EQ(msi.live(), 1u);
    }
    write(4, 3, 2);
    EXPECT_EQ(msi.live(), 0u) << "no bus master";
    write(4, 7, 2);
    // A write that comes just behind the mask: its message waits as others do, and goes out even without room in the kernel.
    const int fd = msi.descriptors.back().fd;
    const std::uint64_t one = 1;
    for (const bool full : {false, true}) {
        msi.count = 0;
        entry(1, 0x55, 1);
        ASSERT_EQ(::write(fd, &one, sizeof one), 8);
        if (!full) {
            EXPECT_EQ(ram.space.load(kMsixBase + 0x800, 4), 2u) << "pending";
        }
        msi.full = full;
        entry(1, 0x55, 0);
        EXPECT_EQ(msi.count, 1u);
        EXPECT_EQ(ram.space.load(kMsixBase + 0x800, 4), 0u);
    }
    set_common(0x14, 0, 1);
    EXPECT_EQ(device->queue(0).interrupt_fd, -1);
    const core::MachineLockGuard lock;
    card->unrealize();
    EXPECT_EQ(msi.live(), 0u);
}

TEST_F(VirtioPciTest, WithoutRoomForDescriptorsMessagesGoAsEver) {
    msi.kernel = msi.full = true;
    make();
    write(capability(0x11) + 2, 0x8000, 2);
    ram.space.store(kMsixBase + 8, 0x40, 4);
    ram.space.store(kMsixBase + 12, 0, 4);
    start_modern(0);
    EXPECT_TRUE(echoes(0, 7));
    EXPECT_TRUE(eventually([&] { posts.run(); return msi.count == 1; }));
}

TEST_F(VirtioPciTest, LegacyRequests) {
    make();
    EXPECT_EQ(io.load(kIoBase, 4), (bit(5) | kLegacyOnly | kRingIndirectDesc | kRingEventIdx) & 0xffffffff);
    EXPECT_EQ(io.load(kIoBase + 20, 4), 0x04030201u) << "configuration without MSI-X";
    write(capability(0x11) + 2, 0x8000, 2);
    EXPECT_EQ(io.load(kIoBase + 24, 4), 0x04030201u) << "and with";
    write(capability(0x11) + 2, 0, 2);
    io.store(kIoBase + 18, 3, 1);
    io.store(kIoBase + 4, 0, 4);
    io.store(kIoBase + 14, 1, 2);
    EXPECT_EQ(io.load(kIoBase + 12, 2), 64u);
    // The layout of 64 entries: descriptors 1 KiB, available ring behind, used ring in the next page.
    constexpr core::hwaddr kRing = 0x40000;
    io.store(kIoBase + 8, kRing >> 12, 4);
    EXPECT_EQ(io.load(kIoBase + 8, 4), kRing >> 12);
    io.store(kIoBase + 18, 7, 1);
    ram.put<std::uint8_t>(0x200000, 0x99);
    ram.put<std::uint64_t>(kRing, 0x200000);
    ram.put<std::uint32_t>(kRing + 8, 1);
    ram.put<std::uint32_t>(kRing + 12, 1 | 1 << 16);
    ram.put<std::uint64_t>(kRing + 16, 0x200100);
    ram.put<std::uint32_t>(kRing + 24, 1);
    ram.put<std::uint32_t>(kRing + 28, 2);
    ram.put<std::uint16_t>(kRing + 0x400 + 4, 0);
    ram.put<std::uint16_t>(kRing + 0x400 + 2, 1);
    io.store(kIoBase + 16, 1, 2);
    EXPECT_TRUE(eventually([&] { return ram.get<std::uint16_t>(kRing + 0x1000 + 2) == 1; }));
    EXPECT_EQ(ram.get<std::uint8_t>(0x200100), 0x99);
    EXPECT_TRUE(eventually([&] { posts.run(); return pirq.level(2); }));
    EXPECT_EQ(io.load(kIoBase + 19, 1), 1u);
    io.store(kIoBase + 8, 0, 4);
    EXPECT_EQ(io.load(kIoBase + 18, 1), 0u) << "address 0 resets";
}

TEST_F(VirtioPciTest, AccessThroughConfigurationSpace) {
    make();
    const unsigned at = capability(9, 5);
    write(at + 4, 4, 1);
    write(at + 8, 0x12);
    write(at + 12, 2);
    EXPECT_EQ(read(at + 16) & 0xffff, 2u) << "num_queues";
    write(at + 8, 0x14);
    write(at + 12, 1);
    write(at + 16, 3);
    EXPECT_EQ(common(0x14, 1), 3u);
    write(at + 8, 0x2001);
    EXPECT_EQ(read(at + 16) & 0xff, 2u);
    for (const std::uint32_t length : {0u, 3u, 8u, ~0u}) { // nonsense is nothing
        write(at + 12, length);
        write(at + 16, 0);
        EXPECT_EQ(common(0x14, 1), 3u);
    }
    write(at + 12, 4);
    write(at + 8, 0xfffffffc);
    write(at + 16, 0);
    write(at + 4, 9, 1);
    write(at + 8, 0x14);
    write(at + 16, 0);
    EXPECT_EQ(common(0x14, 1), 3u);
}

TEST_F(VirtioPciTest, NotificationsAreDescriptors) {
    make();
    start_modern();
    const auto bound = [](core::AddressSpace& space) {
        const core::ViewGuard guard;
        return space.view().ioeventfds;
    };
    ASSERT_EQ(bound(ram.space).size(), 2u);
    EXPECT_EQ(bound(ram.space)[0].addr, kNotify);
    EXPECT_EQ(bound(ram.space)[1].addr, kNotify + 4);
    ASSERT_EQ(bound(io.space).size(), 2u);
    EXPECT_EQ(bound(io.space)[0].addr, kIoBase + 16);
    write(0x20, static_cast<std::uint32_t>(kBarBase + 0x10000));
    EXPECT_EQ(bound(ram.space)[0].addr, kNotify + 0x10000) << "they move with the BAR";
    write(4, 4, 2);
    EXPECT_TRUE(bound(ram.space).empty() && bound(io.space).empty());
    write(4, 7, 2);
    EXPECT_EQ(bound(ram.space).size(), 2u);
    const core::MachineLockGuard lock;
    card->reset();
    EXPECT_TRUE(bound(ram.space).empty() && bound(io.space).empty());
}

TEST_F(VirtioPciTest, WithoutDescriptorsTheHandlerSeesThem) {
    make(VirtioPci::Kind::kBySettings, {{"ioeventfd", "off"}, {"vectors", "0"}});
    EXPECT_EQ(capability(0x11), 0u);
    start_modern();
    const core::ViewGuard guard;
    EXPECT_TRUE(ram.space.view().ioeventfds.empty());
    EXPECT_TRUE(echoes(0, 1));
}

TEST_F(VirtioPciTest, NoMemoryAccessWithoutBusMastering) {
    make();
    start_modern();
    write(4, 3, 2);
    EXPECT_FALSE([&] {
        drivers[0].add({{0x200000, 1, false}, {0x200100, 1, true}});
        ram.space.store(kNotify, 0, 2);
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
        return drivers[0].take_used().has_value();
    }());
    write(4, 7, 2);
    EXPECT_TRUE(eventually([&] { return drivers[0].take_used().has_value(); }));
}

TEST_F(VirtioPciTest, StateGoesOn) {
    make();
    start_modern();
    EXPECT_TRUE(echoes(0, 5));
    std::vector<std::uint8_t> bytes;
    const core::MachineLockGuard lock;
    card->set_running(false);
    auto writer = core::make_memory_writer(bytes);
    card->serialize(*writer);
    ASSERT_TRUE(writer->ok());
    card->reset();
    EXPECT_EQ(device->status(), 0);
    auto reader = core::make_memory_reader(bytes);
    card->serialize(*reader);
    ASSERT_TRUE(reader->ok()) << reader->status().error().message();
    card->set_running(true);
    EXPECT_EQ(common(0x14, 1), 15u);
    EXPECT_TRUE(echoes(0, 6));
    EXPECT_TRUE(echoes(1, 7));
}

}  // namespace
}  // namespace rhea::hw::virtio
