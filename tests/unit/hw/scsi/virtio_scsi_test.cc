// virtio-scsi as its driver sees it: commands, task management, events, state.
#include "hw/scsi/virtio_scsi.h"

#include <gtest/gtest.h>

#include "rhea/hw/none_machine.h"
#include "tests/support/fake_ports.h"
#include "tests/support/virtio_bench.h"

namespace rhea::hw {
namespace {

using scsi::ScsiDevice;
using test::VirtioBench;

constexpr core::hwaddr kRequest = VirtioBench::kData, kResponse = VirtioBench::kData + 0x400, kBuffer = VirtioBench::kData + 0x1000;
constexpr std::uint32_t kRequestSize = 19 + 32, kResponseSize = 12 + 96;

class VirtioScsiTest : public ::testing::Test {
  protected:
    VirtioScsiTest() {
        core::MachineConfig config;
        config.claim_drive = [this](std::string_view id) -> util::Result<block::BlockBackend*> {
            return id == "a" ? &first.backend : &second.backend;
        };
        machine = make_none_machine(config, requests);
        device = std::make_unique<VirtioScsi>(*machine);
        bench = std::make_unique<VirtioBench>(*device);
        core::PropertySet properties;
        device->add_properties(properties);
        EXPECT_TRUE(bench->realize());
        add("a", {{"scsi-id", "0"}, {"lun", "0"}});
        add("b", {{"scsi-id", "2"}, {"lun", "300"}});
        bench->start(1 << 1 | 1 << 2);
    }
    ~VirtioScsiTest() override { device->shutdown(); }

    void add(std::string drive, const std::vector<std::pair<std::string, std::string>>& settings) {
        auto& disk = disks.emplace_back(std::make_unique<ScsiDevice>(ScsiDevice::Kind::kDisk, machine->config()));
        EXPECT_TRUE(disk->properties().set("drive", drive));
        for (const auto& [key, value] : settings)
            EXPECT_TRUE(disk->properties().set(key, value));
        EXPECT_TRUE(device->bus().plug(*disk));
        const auto done = disk->realize();
        EXPECT_TRUE(done) << done.error().message();
    }
    void put_lun(core::hwaddr at, unsigned target, unsigned lun) {
        bench->ram.put<std::uint64_t>(at, 0);
        bench->ram.put<std::uint8_t>(at, 1);
        bench->ram.put<std::uint8_t>(at + 1, static_cast<std::uint8_t>(target));
        bench->ram.put<std::uint8_t>(at + 2, static_cast<std::uint8_t>(lun >> 8 | (lun > 255 ? 0x40 : 0)));
        bench->ram.put<std::uint8_t>(at + 3, static_cast<std::uint8_t>(lun));
    }
    /// The response byte; `status` and `residual` besides.
    int command(unsigned target, unsigned lun, const std::vector<std::uint8_t>& cdb, std::uint32_t in = 0, std::uint32_t out = 0) {
        bench->ram.fill(kRequest, 0, kRequestSize);
        put_lun(kRequest, target, lun);
        bench->ram.put<std::uint64_t>(kRequest + 8, 77);
        for (std::size_t i = 0; i < cdb.size(); ++i)
            bench->ram.put(kRequest + 19 + i, cdb[i]);
        std::vector<test::DriverBuffer> buffers{{kRequest, kRequestSize, false}};
        if (out)
            buffers.push_back({kBuffer, out, false});
        buffers.push_back({kResponse, kResponseSize, true});
        if (in)
            buffers.push_back({kBuffer, in, true});
        bench->request(2, buffers);
        status = bench->ram.get<std::uint8_t>(kResponse + 10);
        residual = bench->ram.get<std::uint32_t>(kResponse + 4);
        sense_key = bench->ram.get<std::uint8_t>(kResponse + 14);
        return bench->ram.get<std::uint8_t>(kResponse + 11);
    }
    int manage(std::uint32_t function, unsigned target, unsigned lun) {
        bench->ram.put<std::uint32_t>(kRequest, 0);
        bench->ram.put(kRequest + 4, function);
        put_lun(kRequest + 8, target, lun);
        bench->ram.put<std::uint64_t>(kRequest + 16, 77);
        bench->request(0, {{kRequest, 24, false}, {kResponse, 1, true}});
        return bench->ram.get<std::uint8_t>(kResponse);
    }

    test::MemoryDrive first{"a", 1 << 20}, second{"b", 1 << 20};
    test::FakeRequests requests;
    std::unique_ptr<core::Machine> machine;
    std::unique_ptr<VirtioScsi> device;
    std::vector<std::unique_ptr<ScsiDevice>> disks;
    std::unique_ptr<VirtioBench> bench;
    int status = 0, sense_key = 0;
    std::uint32_t residual = 0;
};

TEST_F(VirtioScsiTest, Commands) {
    EXPECT_EQ(command(0, 0, {0x00}), 0);
    EXPECT_EQ(status, 2) << "power on";
    EXPECT_EQ(sense_key, 6);
    EXPECT_EQ(command(0, 0, {0x00}), 0);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(command(0, 0, {0x12, 0, 0, 0, 96, 0}, 96), 0);
    EXPECT_EQ(residual, 60u);
    EXPECT_EQ(bench->ram.get<char>(kBuffer + 8), 'Q');
    bench->ram.fill(kBuffer, 0x33, 1024);
    EXPECT_EQ(command(0, 0, {0x2a, 0, 0, 0, 0, 5, 0, 0, 2, 0}, 0, 1024), 0);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(residual, 0u);
    EXPECT_EQ(first.node->bytes[5 * 512], 0x33);
    bench->ram.fill(kBuffer, 0, 1024);
    EXPECT_EQ(command(0, 0, {0x28, 0, 0, 0, 0, 6, 0, 0, 1, 0}, 512), 0);
    EXPECT_EQ(bench->ram.get<std::uint8_t>(kBuffer), 0x33);
    EXPECT_EQ(command(0, 0, {0x28, 0, 0xff, 0, 0, 6, 0, 0, 1, 0}, 512), 0);
    EXPECT_EQ(status, 2);
    EXPECT_EQ(sense_key, 5);
    EXPECT_EQ(residual, 512u);
}

TEST_F(VirtioScsiTest, TargetsAndUnits) {
    EXPECT_EQ(command(1, 0, {0x12, 0, 0, 0, 96, 0}, 96), 3) << "no such target";
    EXPECT_EQ(command(2, 300, {0x12, 0, 0, 0, 96, 0}, 96), 0);
    EXPECT_EQ(bench->ram.get<std::uint8_t>(kBuffer), 0);
    EXPECT_EQ(command(2, 0, {0x12, 0, 0, 0, 96, 0}, 96), 0);
    EXPECT_EQ(bench->ram.get<std::uint8_t>(kBuffer), 0x7f) << "nothing there";
    EXPECT_EQ(command(2, 0, {0x00}), 0);
    EXPECT_EQ(status, 2);
    EXPECT_EQ(command(2, 0, {0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0}, 64), 0);
    EXPECT_EQ(bench->ram.get<std::uint8_t>(kBuffer + 3), 16);
    EXPECT_EQ(bench->ram.get<std::uint8_t>(kBuffer + 16), 0x41) << "flat addressing";
    EXPECT_EQ(&first.backend.context(), &second.backend.context()) << "one controller, one context";
}

TEST_F(VirtioScsiTest, PlacesOnTheBus) {
    auto& bus = device->bus();
    EXPECT_EQ(bus.name(), "scsi.0");
    ScsiDevice next(ScsiDevice::Kind::kDisk, machine->config()), taken(ScsiDevice::Kind::kDisk, machine->config());
    ASSERT_TRUE(next.properties().set("lun", "0"));
    ASSERT_TRUE(bus.plug(next));
    EXPECT_EQ(next.target(), 1u);
    EXPECT_EQ(next.path(), "scsi.0/0:1:0");
    ASSERT_TRUE(taken.properties().set("scsi-id", "0") && taken.properties().set("lun", "0"));
    EXPECT_FALSE(bus.plug(taken));
    ASSERT_TRUE(taken.properties().set("scsi-id", "256"));
    EXPECT_FALSE(bus.plug(taken));
}

TEST_F(VirtioScsiTest, OnlyWhatIsRemovableMayBeEmpty) {
    ASSERT_TRUE(second.backend.set_node(nullptr));
    for (const auto& [kind, works] : {std::pair{ScsiDevice::Kind::kCdrom, true}, std::pair{ScsiDevice::Kind::kDisk, false}}) {
        ScsiDevice& each = *disks.emplace_back(std::make_unique<ScsiDevice>(kind, machine->config()));
        ASSERT_TRUE(each.properties().set("drive", "b"));
        ASSERT_TRUE(device->bus().plug(each));
        EXPECT_EQ(each.realize().has_value(), works);
        if (works) {
            EXPECT_FALSE(each.unit()->has_medium());
        }
    }
    ASSERT_TRUE(second.backend.set_node(second.node));
}

TEST_F(VirtioScsiTest, TaskManagement) {
    command(0, 0, {0x00});
    EXPECT_EQ(manage(5, 0, 0), 0) << "a unit is reset";
    EXPECT_EQ(command(0, 0, {0x00}), 0);
    EXPECT_EQ(sense_key, 6);
    EXPECT_EQ(manage(0, 0, 0), 0) << "a task that is gone is aborted";
    EXPECT_EQ(manage(6, 0, 0), 0) << "and not found";
    EXPECT_EQ(manage(4, 2, 0), 0) << "a target is reset";
    EXPECT_EQ(manage(5, 9, 0), 3);
    EXPECT_EQ(manage(5, 0, 9), 12);
    EXPECT_EQ(manage(2, 0, 0), 11);
}

TEST_F(VirtioScsiTest, EventsOfResizedUnits) {
    bench->submit(1, {{kBuffer, 16, true}});
    {
        const core::MachineLockGuard lock;
        ASSERT_TRUE(second.backend.resize(2 << 20));
    }
    ASSERT_TRUE(bench->wait_used(1));
    EXPECT_EQ(bench->ram.get<std::uint32_t>(kBuffer), 3u);
    EXPECT_EQ(bench->ram.get<std::uint32_t>(kBuffer + 4), 0x2c410201u);
    EXPECT_EQ(bench->ram.get<std::uint32_t>(kBuffer + 12), 0x092au);
    {
        const core::MachineLockGuard lock;
        ASSERT_TRUE(second.backend.resize(3 << 20)) << "no buffer for this one";
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    bench->submit(1, {{kBuffer, 16, true}});
    ASSERT_TRUE(bench->wait_used(1));
    EXPECT_TRUE(bench->ram.get<std::uint32_t>(kBuffer) & 0x80000000);
}

TEST_F(VirtioScsiTest, UnitsComeAndGoWhileTheDriverIsThere) {
    test::MemoryDrive third("c", 1 << 20);
    bool released = false;
    core::MachineConfig config = machine->config();
    config.claim_drive = [&third](std::string_view) -> util::Result<block::BlockBackend*> { return &third.backend; };
    config.release_drive = [&released](block::BlockBackend&) { released = true; };
    ScsiDevice late(ScsiDevice::Kind::kDisk, config);
    ASSERT_TRUE(late.properties().set("drive", "c") && late.properties().set("scsi-id", "5") && late.properties().set("lun", "1"));
    bench->submit(1, {{kBuffer, 16, true}});
    {
        const core::MachineLockGuard lock;
        ASSERT_TRUE(device->bus().plug(late));
        ASSERT_TRUE(late.realize());
    }
    ASSERT_TRUE(bench->wait_used(1));
    EXPECT_EQ(bench->ram.get<std::uint32_t>(kBuffer), 1u) << "transport reset";
    EXPECT_EQ(bench->ram.get<std::uint32_t>(kBuffer + 4), 0x01000501u);
    EXPECT_EQ(bench->ram.get<std::uint32_t>(kBuffer + 12), 1u) << "rescan";
    command(5, 1, {0x00});
    EXPECT_EQ(command(5, 1, {0x00}), 0);
    EXPECT_EQ(status, 0);
    bench->submit(1, {{kBuffer, 16, true}});
    {
        const core::MachineLockGuard lock;
        late.unrealize();
        device->bus().unplug(late);
    }
    EXPECT_TRUE(released);
    ASSERT_TRUE(bench->wait_used(1));
    EXPECT_EQ(bench->ram.get<std::uint32_t>(kBuffer + 4), 0x01000501u);
    EXPECT_EQ(bench->ram.get<std::uint32_t>(kBuffer + 12), 2u) << "removed";
    EXPECT_EQ(command(5, 1, {0x00}), 3) << "no such target";
}

TEST_F(VirtioScsiTest, OneErrorPolicyLeavesTheOtherAsItIs) {
    first.backend.set_error_actions(block::ErrorAction::kIgnore, block::ErrorAction::kStop);
    add("a", {{"rerror", "report"}});
    EXPECT_EQ(first.backend.on_read_error(), block::ErrorAction::kReport);
    EXPECT_EQ(first.backend.on_write_error(), block::ErrorAction::kStop);
    add("a", {{"werror", "enospc"}});
    EXPECT_EQ(first.backend.on_read_error(), block::ErrorAction::kReport);
    EXPECT_EQ(first.backend.on_write_error(), block::ErrorAction::kEnospc);
}

TEST_F(VirtioScsiTest, NonsenseBreaksTheDevice) {
    bench->submit(2, {{kRequest, 8, false}, {kResponse, 4, true}});
    EXPECT_TRUE(bench->needs_reset());
    bench->reset();
    bench->start(0);
    EXPECT_EQ(command(0, 0, {0x00}), 0);
    bench->ram.put<std::uint32_t>(kRequest, 99);
    bench->submit(0, {{kRequest, 24, false}, {kResponse, 1, true}});
    EXPECT_TRUE(bench->needs_reset());
}

TEST_F(VirtioScsiTest, TheDriverSetsSizes) {
    const std::uint32_t size = 20;
    {
        const core::MachineLockGuard lock;
        device->write_config(20, std::span(reinterpret_cast<const std::uint8_t*>(&size), 4));
    }
    std::uint32_t now = 0;
    device->read_config(20, std::span(reinterpret_cast<std::uint8_t*>(&now), 4));
    EXPECT_EQ(now, 20u);
    bench->ram.fill(kRequest, 0, kRequestSize);
    put_lun(kRequest, 0, 0);
    bench->ram.put<std::uint8_t>(kRequest + 19, 0x12);
    bench->ram.put<std::uint8_t>(kRequest + 23, 96);
    EXPECT_EQ(bench->request(2, {{kRequest, kRequestSize, false}, {kResponse, 12 + 20, true}, {kBuffer, 96, true}}), 32u + 36);
}

}  // namespace
}  // namespace rhea::hw
