// virtio-blk as its driver sees it: each request, errors and what the policy makes of them, resets, state.
#include "hw/block/virtio_blk.h"

#include <gtest/gtest.h>

#include "tests/support/virtio_bench.h"

namespace rhea::hw {
namespace {

using block::testing::MemoryBlockNode;
using test::DriverBuffer;
using test::VirtioBench;
using Kind = MemoryBlockNode::Kind;

constexpr core::hwaddr kHeader = VirtioBench::kData, kStatus = VirtioBench::kData + 0x100, kBuffer = VirtioBench::kData + 0x1000;
constexpr std::uint64_t kSize = 1 << 20;
constexpr std::uint64_t kFlush = 1ull << 9, kConfigWce = 1ull << 11, kDiscard = 1ull << 13, kWriteZeroes = 1ull << 14;
enum : std::uint32_t { kIn = 0, kOut = 1, kFlushType = 4, kGetId = 8, kDiscardType = 11, kWriteZeroesType = 13 };

class VirtioBlkTest : public ::testing::TestWithParam<bool> {
  protected:
    VirtioBlkTest() {
        config.claim_drive = [this](std::string_view) -> util::Result<block::BlockBackend*> { return &drive.backend; };
        device.add_properties(properties);
        set("drive", "d");
        set("serial", "serial-number-of-twenty-five");
    }
    ~VirtioBlkTest() override { device.shutdown(); }

    void set(std::string_view name, std::string_view value) { ASSERT_TRUE(properties.set(name, value)) << name; }
    void start(std::uint64_t features = kFlush | kDiscard | kWriteZeroes | kConfigWce) {
        const auto done = bench.realize();
        ASSERT_TRUE(done) << done.error().message();
        set_up = true;
        bench.start(features, GetParam());
    }
    void put_header(std::uint32_t type, std::uint64_t sector, core::hwaddr at = kHeader) {
        bench.ram.put(at, type);
        bench.ram.put<std::uint32_t>(at + 4, 0);
        bench.ram.put(at + 8, sector);
    }
    std::vector<DriverBuffer> buffers(std::uint32_t type, std::uint64_t sector, std::uint32_t length) {
        put_header(type, sector);
        bench.ram.put<std::uint8_t>(kStatus, 0xee);
        std::vector<DriverBuffer> list{{kHeader, 16, false}};
        if (length != 0)
            list.push_back({kBuffer, length, type == kIn || type == kGetId});
        list.push_back({kStatus, 1, true});
        return list;
    }
    /// The status byte.
    int request(std::uint32_t type, std::uint64_t sector, std::uint32_t length) {
        const auto list = buffers(type, sector, length);
        bench.request(0, list);
        return bench.ram.get<std::uint8_t>(kStatus);
    }
    int change(std::uint32_t type, std::uint64_t sector, std::uint32_t count, std::uint32_t flags) {
        bench.ram.put(kBuffer, sector);
        bench.ram.put(kBuffer + 8, count);
        bench.ram.put(kBuffer + 12, flags);
        return request(type, 0, 16);
    }
    template <typename T>
    T config_at(unsigned offset) {
        T value{};
        device.read_config(offset, std::span(reinterpret_cast<std::uint8_t*>(&value), sizeof value));
        return value;
    }

    test::MemoryDrive drive{"drive0", kSize};
    core::MachineConfig config;
    core::PropertySet properties;
    VirtioBlk device{config};
    VirtioBench bench{device};
    bool set_up = false;
};
INSTANTIATE_TEST_SUITE_P(Rings, VirtioBlkTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

TEST_P(VirtioBlkTest, ReadsAndWrites) {
    if (GetParam())
        set("packed", "on");
    start();
    bench.ram.fill(kBuffer, 0x5a, 4096);
    EXPECT_EQ(request(kOut, 8, 4096), 0);
    EXPECT_EQ(drive.node->bytes[8 * 512 - 1], 0);
    EXPECT_EQ(drive.node->bytes[8 * 512], 0x5a);
    EXPECT_EQ(drive.node->bytes[16 * 512 - 1], 0x5a);
    EXPECT_EQ(drive.node->bytes[16 * 512], 0);
    bench.ram.fill(kBuffer, 0, 8192);
    const auto list = buffers(kIn, 7, 1024);
    EXPECT_EQ(bench.request(0, list), 1025u);
    EXPECT_EQ(bench.ram.get<std::uint8_t>(kBuffer + 511), 0);
    EXPECT_EQ(bench.ram.get<std::uint8_t>(kBuffer + 512), 0x5a);
    EXPECT_EQ(bench.ram.get<std::uint8_t>(kBuffer + 1024), 0);
    EXPECT_GE(bench.transport.queue_interrupts[0] + 0u, 1u);
}

TEST_P(VirtioBlkTest, ManyAtATime) {
    if (GetParam())
        set("packed", "on");
    start(0);
    for (unsigned round = 0; round < 200; ++round) {
        for (unsigned i = 0; i < 5; ++i) {
            put_header(kOut, i * 2, kHeader + 0x400 + i * 16);
            bench.ram.fill(kBuffer + i * 0x400, static_cast<std::uint8_t>(round + i), 1024);
            bench.submit(0, {{kHeader + 0x400 + i * 16, 16, false}, {kBuffer + i * 0x400, 1024, false}, {kStatus + i, 1, true}});
        }
        for (unsigned i = 0; i < 5; ++i)
            ASSERT_TRUE(bench.wait_used(0));
        for (unsigned i = 0; i < 5; ++i) {
            ASSERT_EQ(drive.node->bytes[i * 1024], static_cast<std::uint8_t>(round + i));
            ASSERT_EQ(bench.ram.get<std::uint8_t>(kStatus + i), 0);
        }
    }
}

TEST_P(VirtioBlkTest, OutsideTheDiskIsAnError) {
    if (GetParam())
        set("packed", "on");
    start();
    EXPECT_EQ(request(kIn, kSize / 512, 512), 1);
    EXPECT_EQ(request(kIn, kSize / 512 - 1, 1024), 1);
    EXPECT_EQ(request(kOut, ~std::uint64_t{0}, 512), 1);
    EXPECT_EQ(request(kIn, 0x80000000000000, 512), 1);
    EXPECT_EQ(request(kIn, 0, 100), 1) << "no whole sectors";
    EXPECT_EQ(request(99, 0, 512), 2);
    EXPECT_EQ(request(kIn, kSize / 512 - 1, 512), 0);
    EXPECT_EQ(drive.node->count(Kind::kRead), 1u);
}

TEST_P(VirtioBlkTest, FlushDiscardAndZeroes) {
    if (GetParam())
        set("packed", "on");
    drive.node->bytes.assign(kSize, 0xff);
    start();
    EXPECT_EQ(request(kFlushType, 0, 0), 0);
    EXPECT_EQ(drive.node->count(Kind::kFlush), 1u);
    EXPECT_EQ(change(kWriteZeroesType, 4, 8, 1), 0);
    EXPECT_EQ(drive.node->bytes[4 * 512 - 1], 0xff);
    EXPECT_EQ(drive.node->bytes[4 * 512], 0);
    EXPECT_EQ(drive.node->bytes[12 * 512 - 1], 0);
    EXPECT_EQ(drive.node->bytes[12 * 512], 0xff);
    EXPECT_EQ(change(kDiscardType, 100, 8, 0), 0);
    EXPECT_EQ(drive.node->log.back().kind, Kind::kDiscard);
    EXPECT_EQ(drive.node->log.back().offset, 100u * 512);
    EXPECT_EQ(change(kDiscardType, 100, 8, 1), 2) << "no flags";
    EXPECT_EQ(change(kWriteZeroesType, 100, 8, 2), 2);
    EXPECT_EQ(change(kWriteZeroesType, kSize / 512, 1, 0), 1);
    EXPECT_EQ(change(kDiscardType, 0, 0xffffffff, 0), 1);
    EXPECT_EQ(request(kDiscardType, 0, 32), 2) << "two segments";
}

TEST_P(VirtioBlkTest, SerialNumber) {
    if (GetParam())
        set("packed", "on");
    start();
    bench.ram.fill(kBuffer, 'x', 32);
    EXPECT_EQ(request(kGetId, 0, 20), 0);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bench.ram.block.host() + kBuffer), 21), "serial-number-of-twex");
}

TEST_P(VirtioBlkTest, Configuration) {
    if (GetParam())
        set("packed", "on");
    set("logical_block_size", "4k");
    set("physical_block_size", "16k");
    set("opt_io_size", "64k");
    set("num-queues", "3");
    start();
    EXPECT_EQ(device.queue_count(), 3u);
    EXPECT_EQ(config_at<std::uint64_t>(0), kSize / 512);
    EXPECT_EQ(config_at<std::uint32_t>(12), 254u);
    EXPECT_EQ(config_at<std::uint32_t>(20), 4096u);
    EXPECT_EQ(config_at<std::uint8_t>(24), 2);
    EXPECT_EQ(config_at<std::uint32_t>(28), 16u);
    EXPECT_EQ(config_at<std::uint16_t>(34), 3);
    EXPECT_EQ(config_at<std::uint32_t>(60), 0u) << "beyond the end";
    EXPECT_EQ(request(kIn, 1, 512), 1) << "not a whole block";
    EXPECT_EQ(request(kIn, 8, 4096), 0);
    {
        const core::MachineLockGuard lock;
        ASSERT_TRUE(drive.backend.resize(kSize * 2));
    }
    EXPECT_EQ(config_at<std::uint64_t>(0), kSize / 256);
    EXPECT_EQ(bench.transport.config_interrupts, 1u);
    EXPECT_EQ(device.config_generation(), 1);
}

TEST_P(VirtioBlkTest, TheDriverSwitchesTheCache) {
    if (GetParam())
        set("packed", "on");
    start();
    EXPECT_EQ(config_at<std::uint8_t>(32), 1);
    const std::uint8_t off = 0;
    {
        const core::MachineLockGuard lock;
        device.write_config(32, std::span(&off, 1));
        device.write_config(0, std::span(&off, 1));
    }
    EXPECT_EQ(config_at<std::uint8_t>(32), 0);
    EXPECT_EQ(config_at<std::uint64_t>(0), kSize / 512) << "read-only";
    EXPECT_EQ(request(kOut, 0, 512), 0);
    EXPECT_EQ(drive.node->log.back().flags & block::kFua, unsigned{block::kFua});
    bench.reset();
    EXPECT_TRUE(drive.backend.write_cache());
    bench.start(0, GetParam());
    EXPECT_FALSE(drive.backend.write_cache()) << "a driver that cannot flush";
}

TEST_P(VirtioBlkTest, ReadOnlyDrives) {
    if (GetParam())
        set("packed", "on");
    drive.node->set_read_only(true);
    start(0);
    EXPECT_TRUE(device.features() & 1u << 5);
    EXPECT_FALSE(device.features() & (kDiscard | kWriteZeroes));
    EXPECT_EQ(request(kOut, 0, 512), 1);
    EXPECT_EQ(change(kDiscardType, 0, 1, 0), 1);
    EXPECT_EQ(request(kIn, 0, 512), 0);
}

TEST_P(VirtioBlkTest, ErrorsByPolicy) {
    if (GetParam())
        set("packed", "on");
    set("rerror", "ignore");
    set("werror", "report");
    start();
    drive.node->fail_request(0, EIO);
    EXPECT_EQ(request(kOut, 0, 512), 1);
    drive.node->fail_request(0, EIO);
    EXPECT_EQ(request(kIn, 0, 512), 0);
}

TEST_P(VirtioBlkTest, StoppedRequestsComeAgain) {
    if (GetParam())
        set("packed", "on");
    set("werror", "stop");
    std::atomic<bool> stopped{false};
    drive.backend.on_stop = [&stopped](const util::Error&) { stopped = true; };
    start();
    drive.node->fail_request(0, ENOSPC);
    bench.ram.fill(kBuffer, 0x77, 512);
    bench.submit(0, buffers(kOut, 3, 512));
    ASSERT_TRUE(test::eventually([&] { return stopped.load(); }));
    {
        const core::MachineLockGuard lock;
        device.set_running(false);
    }
    EXPECT_FALSE(bench.drivers[0].take_used());
    EXPECT_EQ(drive.node->bytes[3 * 512], 0);
    // Saved, restored into another device, and gone on with there.
    std::vector<std::uint8_t> bytes;
    auto writer = core::make_memory_writer(bytes);
    device.serialize(*writer);
    ASSERT_TRUE(writer->ok());
    VirtioBlk other(config);
    core::PropertySet more;
    other.add_properties(more);
    ASSERT_TRUE(more.set("drive", "d") && (!GetParam() || more.set("packed", "on")));
    ASSERT_TRUE(other.realize({.memory = bench.ram.space, .post = bench.posts.port(), .name = "other"}, bench.transport));
    auto reader = core::make_memory_reader(bytes);
    {
        const core::MachineLockGuard lock;
        other.serialize(*reader);
        ASSERT_TRUE(reader->ok()) << reader->status().error().message();
        EXPECT_EQ(other.status(), 15);
        other.set_running(true);
    }
    EXPECT_TRUE(bench.wait_used(0));
    EXPECT_EQ(bench.ram.get<std::uint8_t>(kStatus), 0);
    EXPECT_EQ(drive.node->bytes[3 * 512], 0x77);
    other.shutdown();
}

TEST_P(VirtioBlkTest, AResetWaitsForWhatIsInFlight) {
    if (GetParam())
        set("packed", "on");
    start();
    for (unsigned round = 0; round < 100; ++round) {
        bench.submit(0, buffers(kIn, 0, 512));
        bench.submit(0, buffers(kIn, 0, 512));
        bench.reset();
        EXPECT_EQ(drive.backend.in_flight(), 0u);
        EXPECT_EQ(device.status(), 0);
        bench.ram.fill(kBuffer, 0xab, 512);
        EXPECT_EQ(bench.ram.get<std::uint8_t>(kBuffer), 0xab) << "nobody writes any more";
        bench.start(0, GetParam());
    }
    EXPECT_EQ(request(kIn, 0, 512), 0);
}

TEST_P(VirtioBlkTest, NonsenseBreaksTheDeviceUntilAReset) {
    if (GetParam())
        set("packed", "on");
    start();
    bench.submit(0, {{kHeader, 8, false}, {kStatus, 1, true}});
    EXPECT_TRUE(bench.needs_reset());
    EXPECT_EQ(bench.transport.config_interrupts, 1u);
    bench.submit(0, buffers(kIn, 0, 512));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_FALSE(bench.drivers[0].take_used());
    bench.reset();
    bench.start(0, GetParam());
    EXPECT_EQ(request(kIn, 0, 512), 0);
    bench.submit(0, {{0xfee00000, 16, false}, {kStatus, 1, true}});
    EXPECT_TRUE(bench.needs_reset());
}

TEST_P(VirtioBlkTest, RequestsOfAStoppedMachineWait) {
    if (GetParam())
        set("packed", "on");
    start();
    {
        const core::MachineLockGuard lock;
        device.set_running(false);
    }
    bench.submit(0, buffers(kOut, 0, 512));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_FALSE(bench.drivers[0].take_used());
    {
        const core::MachineLockGuard lock;
        device.set_running(true);
    }
    EXPECT_TRUE(bench.wait_used(0));
}

TEST_P(VirtioBlkTest, SettingsThatDoNotWork) {
    const auto refuse = [this](std::string_view name, std::string_view value) {
        VirtioBlk each(config);
        core::PropertySet set;
        each.add_properties(set);
        EXPECT_TRUE(set.set("drive", "d"));
        if (!set.set(name, value))
            return;
        EXPECT_FALSE(each.realize({.memory = bench.ram.space, .post = bench.posts.port(), .name = "x"}, bench.transport)) << name << value;
    };
    refuse("num-queues", "0");
    refuse("num-queues", "2000");
    refuse("queue-size", "100");
    refuse("queue-size", "2");
    refuse("queue-size", "2048");
    refuse("logical_block_size", "1000");
    refuse("opt_io_size", "100");
    refuse("cyls", "5");
    refuse("iothread", "none");
    refuse("share-rw", "on");
    refuse("share-rw", "perhaps");
    VirtioBlk one(config);
    core::PropertySet set;
    one.add_properties(set);
    EXPECT_TRUE(set.set("share-rw", "off"));
    const auto shared = set.set("share-rw", "on");
    ASSERT_FALSE(shared);
    EXPECT_NE(shared.error().message().find("file.locking=off"), std::string::npos);
}

TEST_P(VirtioBlkTest, FeaturesThatDoNotGoTogether) {
    ASSERT_TRUE(bench.realize());
    const core::MachineLockGuard lock;
    device.set_running(true);
    device.set_status(3, true);
    device.set_driver_features(kFlush);
    device.set_status(11, true);
    EXPECT_EQ(device.status(), 3) << "the modern interface needs VERSION_1";
    device.set_status(7, true);
    EXPECT_EQ(device.status(), 3) << "DRIVER_OK needs FEATURES_OK";
    device.set_driver_features(~0ull);
    EXPECT_EQ(device.driver_features(), device.features());
}

}  // namespace
}  // namespace rhea::hw
