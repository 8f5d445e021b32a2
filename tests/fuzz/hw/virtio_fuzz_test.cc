// Random registers and random rings: virtio disks and SCSI controllers behind PCI. Whatever a driver does, the device ends up
// working, waiting or broken, and a reset makes it work again.
#include <gtest/gtest.h>

#include "hw/block/virtio_blk.h"
#include "hw/pci/pci_bus.h"
#include "hw/scsi/scsi_cdrom.h"
#include "hw/scsi/scsi_disk.h"
#include "hw/scsi/virtio_scsi.h"
#include "hw/virtio/virtio_mmio.h"
#include "hw/virtio/virtio_pci.h"
#include "rhea/hw/none_machine.h"
#include "tests/support/fake_ports.h"
#include "tests/support/io_fuzz.h"
#include "tests/support/virtio_bench.h"

namespace rhea::hw {
namespace {

using test::FuzzRandom;

constexpr core::hwaddr kIoBase = 0xc000, kMsixBase = 0xe0000000, kBarBase = 0x100000000, kRing = 0x10000, kStep = 0x20000;

/// A card on a bus, with its drives.
class Card {
  public:
    explicit Card(bool scsi, bool packed) {
        core::MachineConfig config;
        config.claim_drive = [this](std::string_view) -> util::Result<block::BlockBackend*> { return &drive.backend; };
        machine = make_none_machine(config, requests);
        std::unique_ptr<virtio::VirtioDevice> device;
        if (scsi) {
            auto adapter = std::make_unique<VirtioScsi>(*machine);
            controller = adapter.get();
            device = std::move(adapter);
        } else {
            device = std::make_unique<VirtioBlk>(machine->config());
        }
        card = std::make_unique<virtio::VirtioPci>(
            virtio::VirtioPci::Config{.type = "fuzz", .class_code = 0x010000, .legacy_device_id = 0x1001},
            virtio::VirtioPci::Spaces{ram.space, io.space, posts.port()}, std::move(device));
        const core::MachineLockGuard lock;
        ram.root->add(0, *window, -1);
        if (!scsi) {
            EXPECT_TRUE(card->properties().set("drive", "d"));
            EXPECT_TRUE(card->properties().set("num-queues", "2"));
        }
        if (packed) {
            EXPECT_TRUE(card->properties().set("packed", "on"));
        }
        EXPECT_TRUE(bus.attach(*card, {.slot = 3}));
        EXPECT_TRUE(card->realize());
        if (controller) {
            disk = std::make_unique<scsi::ScsiDevice>(scsi::ScsiDevice::Kind::kDisk, machine->config());
            EXPECT_TRUE(disk->properties().set("drive", "d"));
            EXPECT_TRUE(controller->bus().plug(*disk));
            EXPECT_TRUE(disk->realize());
        }
        card->set_running(true);
        place();
    }
    ~Card() {
        const core::MachineLockGuard lock;
        card->device().shutdown();
        disk.reset();
        card.reset();
        ram.root->remove(*window);
    }
    void place() {
        for (const auto& [offset, value] : std::initializer_list<std::pair<unsigned, std::uint32_t>>{
                 {0x10, kIoBase | 1}, {0x14, kMsixBase}, {0x20, 0}, {0x24, 1}, {4, 7}})
            bus.config_write(3 << 3, offset, value, 4);
    }
    /// A driver that means well up to here.
    void start(bool packed) {
        const core::MachineLockGuard lock;
        place();
        virtio::VirtioDevice& device = card->device();
        device.set_status(0, true);
        device.set_driver_features(device.features() & ~(packed ? 0 : virtio::kRingPacked) & ~virtio::kLegacyOnly);
        device.set_status(11, true);
        for (unsigned index = 0; index < device.queue_count(); ++index) {
            virtio::Queue& queue = device.queue(index);
            queue.size = 16;
            queue.desc = kRing + index * kStep;
            queue.driver = queue.desc + 0x1000;
            queue.device = queue.desc + 0x2000;
            ram.fill(queue.desc, 0, 0x3000);
            device.enable_queue(index);
            available[index] = 0;
        }
        device.set_status(15, true);
    }
    /// Something like a request in queue `index`, at times with nonsense in it.
    void make_request(FuzzRandom& random, unsigned index) {
        const core::hwaddr base = kRing + index * kStep;
        for (unsigned i = 0; i < 16; ++i) {
            if (random() % 2)
                continue;
            const std::uint64_t addr = random() % 16 ? 0x200000 + random() % 0x10000 : random();
            const std::uint32_t length = random() % 32 ? 1 + random() % 1200 : static_cast<std::uint32_t>(random());
            ram.put(base + i * 16, addr);
            ram.put(base + i * 16 + 8, length);
            ram.put(base + i * 16 + 12, static_cast<std::uint16_t>(random() % 16 ? random() % 4 : random()));
            ram.put(base + i * 16 + 14, static_cast<std::uint16_t>(random() % 16 ? random() % 16 : random()));
        }
        const std::uint32_t words[] = {static_cast<std::uint32_t>(random() % 16), static_cast<std::uint32_t>(random())};
        ram.put(0x200000 + random() % 0x1000, words);
        ram.put<std::uint16_t>(base + 0x1000 + 4 + available[index] % 16 * 2u, static_cast<std::uint16_t>(random() % 64 ? random() % 16 : random()));
        ram.put<std::uint16_t>(base + 0x1002, ++available[index]);
        card->device().notify(index);
    }

    test::GuestRam ram{0x400000};
    test::FakeSpace io{"io", 0x10000};
    std::unique_ptr<core::MemoryRegion> window = core::MemoryRegion::container("pci", 1ull << 48);
    PciBus bus{{*window, *io.root, ram.space, nullptr}};
    test::MemoryDrive drive{"d", 1 << 20};
    test::PostBox posts;
    test::FakeRequests requests;
    std::unique_ptr<core::Machine> machine;
    std::unique_ptr<scsi::ScsiDevice> disk;
    std::unique_ptr<virtio::VirtioPci> card;
    VirtioScsi* controller = nullptr;
    std::array<std::uint16_t, 8> available{};
};

class VirtioFuzz : public ::testing::TestWithParam<std::tuple<bool, bool>> {};
INSTANTIATE_TEST_SUITE_P(Cards, VirtioFuzz, ::testing::Combine(::testing::Bool(), ::testing::Bool()), [](const auto& info) {
    return std::string(std::get<0>(info.param) ? "Scsi" : "Blk") + (std::get<1>(info.param) ? "Packed" : "Split");
});

TEST_P(VirtioFuzz, RegistersAndRings) {
    const auto [scsi, packed] = GetParam();
    Card card(scsi, packed), other(scsi, packed);
    card.start(packed);
    test::hammer("virtio", {{card.ram.space, kBarBase, 0x40}, {card.ram.space, kBarBase, 0x4000, 8}, {card.io.space, kIoBase, 0x80},
                            {card.ram.space, kMsixBase, 0x1000}, {card.ram.space, kRing, 0x3000}},
                 [&, packed = packed](FuzzRandom& random) {
                     switch (random() % 16) {
                         case 0:
                             card.start(packed);
                             break;
                         case 1: {
                             const core::MachineLockGuard lock;
                             card.bus.config_write(3 << 3, 0x40 + random() % 0xc0 / 4 * 4, static_cast<std::uint32_t>(random()), 4);
                             break;
                         }
                         case 2:
                             card.posts.run();
                             break;
                         default:
                             card.make_request(random, static_cast<unsigned>(random() % card.card->device().queue_count()));
                     }
                 });
    const core::MachineLockGuard lock;
    card.card->set_running(false);
    other.card->set_running(false);
    test::expect_state_round_trip(*card.card, *other.card);
}

/// A disk behind the MMIO transport, in either version.
class Slot {
  public:
    explicit Slot(bool legacy) {
        config.claim_drive = [this](std::string_view) -> util::Result<block::BlockBackend*> { return &drive.backend; };
        mmio = std::make_unique<virtio::VirtioMmio>(virtio::VirtioMmio::Ports{ram.space, wire.line(0), posts.port()}, 0);
        card = std::make_unique<virtio::VirtioMmioDevice>("virtio-blk-device", std::make_unique<VirtioBlk>(config));
        const core::MachineLockGuard lock;
        EXPECT_TRUE(card->properties().set("drive", "d"));
        EXPECT_TRUE(card->properties().set("num-queues", "2"));
        EXPECT_TRUE(mmio->properties().set("force-legacy", legacy ? "on" : "off"));
        ram.root->add(kBarBase, mmio->region());
        EXPECT_TRUE(mmio->realize());
        EXPECT_TRUE(mmio->plug(*card));
        EXPECT_TRUE(card->realize());
        card->set_running(true);
    }
    ~Slot() {
        const core::MachineLockGuard lock;
        card.reset();
        mmio.reset();
    }

    test::GuestRam ram{0x400000};
    test::FakeIrqSink wire;
    test::MemoryDrive drive{"d", 1 << 20};
    test::PostBox posts;
    core::MachineConfig config;
    std::unique_ptr<virtio::VirtioMmio> mmio;
    std::unique_ptr<virtio::VirtioMmioDevice> card;
};

class VirtioMmioFuzz : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Versions, VirtioMmioFuzz, ::testing::Bool());

TEST_P(VirtioMmioFuzz, RegistersAndRings) {
    Slot slot(GetParam()), other(GetParam());
    const auto set = [&slot](unsigned offset, std::uint32_t value) { slot.ram.space.store(kBarBase + offset, value, 4); };
    test::hammer("virtio-mmio", {{slot.ram.space, kBarBase, 0x200}, {slot.ram.space, kBarBase, 0x100}, {slot.ram.space, kRing, 0x3000}},
                 [&](FuzzRandom& random) {
                     switch (random() % 16) {
                         case 0: // a driver that means well up to here
                             for (const std::uint32_t status : {0u, 3u})
                                 set(0x70, status);
                             set(0x24, 1);
                             set(0x20, 1);
                             set(0x24, 0);
                             set(0x70, 11);
                             set(0x30, static_cast<std::uint32_t>(random() % 2));
                             set(0x38, 16);
                             set(0x28, 4096);
                             set(0x3c, 4096);
                             set(0x80, kRing);
                             set(0x90, kRing + 0x1000);
                             set(0xa0, kRing + 0x2000);
                             set(0x40, kRing >> 12);
                             set(0x44, 1);
                             set(0x70, 15);
                             break;
                         case 1:
                             set(0x50, static_cast<std::uint32_t>(random() % 3));
                             break;
                         case 2:
                             slot.posts.run();
                             break;
                         case 3:
                             if (random() % 64 == 0) {
                                 const core::MachineLockGuard lock;
                                 slot.mmio->reset();
                             }
                             break;
                         default:
                             break;
                     }
                 });
    slot.posts.run();
    const core::MachineLockGuard lock;
    slot.card->set_running(false);
    other.card->set_running(false);
    test::expect_state_round_trip(*slot.mmio, *other.mmio);
    test::expect_state_round_trip(*slot.card, *other.card);
}

/// Random commands for units of both kinds.
TEST(ScsiFuzz, Commands) {
    test::MemoryDrive drive("d", 1 << 20);
    drive.node->yields = false;
    scsi::UnitConfig config;
    config.backend = &drive.backend;
    config.serial = "1";
    scsi::ScsiDisk disk(config);
    scsi::ScsiCdrom cdrom(config);
    static constexpr std::uint8_t kOpcodes[] = {0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x42,
                                                0x43, 0x46, 0x4a, 0x51, 0x55, 0x5a, 0x88, 0x8a, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa8, 0xad, 0xbd, 0xbe};
    FuzzRandom random(4711);
    for (unsigned step = 0; step < 5'000; ++step) {
        scsi::ScsiCommand command;
        for (std::uint8_t& byte : command.cdb)
            byte = static_cast<std::uint8_t>(random() % 3 ? random() % 4 : random());
        command.cdb[0] = random() % 32 ? kOpcodes[random() % std::size(kOpcodes)] : static_cast<std::uint8_t>(random());
        std::vector<std::uint8_t> in(random() % 5000), out(random() % 5000);
        for (std::size_t i = 0; i < std::min<std::size_t>(out.size(), 64); ++i)
            out[i] = static_cast<std::uint8_t>(random() % 2 ? random() % 64 : random());
        if (!in.empty())
            command.in.append(in.data(), in.size());
        if (!out.empty())
            command.out.append(out.data(), out.size());
        scsi::ScsiUnit& unit = random() % 2 ? static_cast<scsi::ScsiUnit&>(disk) : cdrom;
        const auto result = drive.thread.context().run_from_other_thread(unit.execute(command));
        ASSERT_LE(result.transferred, std::max(command.in.size(), command.out.size()));
        ASSERT_TRUE(result.status == scsi::kGood || result.sense.key != 0);
        if (step % 64 == 0)
            drive.node->log.clear();
    }
}

}  // namespace
}  // namespace rhea::hw
