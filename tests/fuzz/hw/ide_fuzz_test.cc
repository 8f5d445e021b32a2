// Random accesses to an IDE controller with two disks, among commands and tables that mean something.
#include "tests/support/io_fuzz.h"
#include "tests/unit/hw/ide/ide_rig.h"

namespace rhea::hw {
namespace {

using test::FuzzRandom;
using test::IdeRig;

void command(IdeRig& rig, FuzzRandom& random) {
    static constexpr std::uint8_t kCodes[] = {
        ata::kReadSectors,  ata::kReadMultiple, ata::kReadSectorsExt,  ata::kWriteSectors,   ata::kWriteMultiple,
        ata::kReadDma,      ata::kWriteDma,     ata::kReadDmaExt,      ata::kWriteDmaFuaExt, ata::kDataSetManagement,
        ata::kSetMultiple,  ata::kSetFeatures,  ata::kIdentifyDevice,  ata::kFlushCache,     ata::kReadVerify,
        ata::kSmart,        ata::kStandby,      ata::kExecuteDiagnostic, ata::kInitializeParameters, ata::kSleep};
    const std::uint8_t code = random() % 8 ? kCodes[random() % std::size(kCodes)] : static_cast<std::uint8_t>(random());
    rig.out(ata::kDevice, static_cast<std::uint8_t>(random() % 4 ? 0xe0 | (random() % 2) << 4 : random()));
    rig.out(ata::kError, static_cast<std::uint8_t>(random() % 4 ? 1 + random() % 3 : random()));
    rig.out(ata::kCount, static_cast<std::uint8_t>(random() % 9));
    rig.address(static_cast<std::uint32_t>(random() % 2 ? random() % 300 : random()));
    rig.out(ata::kStatus, code);
}

TEST(IdeFuzz, Controller) {
    IdeRig rig(true), other(true);
    for (IdeRig* each : {&rig, &other}) {
        for (const char* unit : {"0", "1"}) {
            each->add_drive(unit, 256 * 512).fault = [n = 0u](std::size_t, const auto&) mutable { return ++n % 50 == 0 ? EIO : 0; };
            ASSERT_TRUE(each->add_disk(0, unit, {{"unit", unit}}));
        }
    }
    test::hammer("ide",
                 {{rig.io.space, 0x1f0, 8}, {rig.io.space, 0x1f0, 2}, {rig.io.space, 0x3f6, 1}, {rig.io.space, 0x170, 8},
                  {rig.io.space, IdeRig::kBusMaster, 16}},
                 [&](FuzzRandom& random) {
                     switch (random() % 16) {
                         case 0:
                             command(rig, random);
                             break;
                         case 1:
                             rig.prd(0x1000 + random() % 8 * 8, static_cast<std::uint32_t>(random() % 0x110000),
                                     static_cast<std::uint32_t>(random() % 4096), random() % 4 == 0);
                             rig.io.store(IdeRig::kBusMaster + 4, 0x1000, 4);
                             rig.io.store(IdeRig::kBusMaster, random() % 2 ? 9 : 1);
                             break;
                         case 2:
                             for (unsigned i = random() % 512; i > 0; --i) {
                                 random() % 2 ? void(rig.io.load(0x1f0, 2)) : rig.io.store(0x1f0, random(), 2);
                             }
                             break;
                         case 3:
                             rig.context.run([](block::IoContext& where) -> block::Task<void> { co_await where.schedule(); }(rig.context));
                             break;
                         case 4:
                             if (random() % 64 == 0) {
                                 rig.controller->reset();
                                 rig.disks[random() % 2]->reset();
                                 rig.controller->enable_channels();
                                 rig.controller->config().write(0x20, IdeRig::kBusMaster | 1, 4);
                             }
                             break;
                         default:
                             break;
                     }
                 });
    rig.settle();
    test::expect_state_round_trip(*rig.disks[0], *other.disks[0]);
    test::expect_state_round_trip(*rig.controller, *other.controller);
}

/// A packet that a driver might send, or nearly.
void packet(IdeRig& rig, FuzzRandom& random) {
    static constexpr std::uint8_t kOpcodes[] = {0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2f, 0x43, 0x46, 0x4a,
                                                0x51, 0x55, 0x5a, 0xa0, 0xa8, 0xad, 0xbd, 0xbe};
    rig.out(ata::kDevice, 0xa0);
    rig.out(ata::kError, static_cast<std::uint8_t>(random() % 8 ? random() % 2 : random()));
    rig.out(ata::kLbaMid, static_cast<std::uint8_t>(random()));
    rig.out(ata::kLbaHigh, static_cast<std::uint8_t>(random() % 3 ? 8 : random()));
    const ata::Command other = random() % 2 ? ata::kIdentifyPacketDevice : ata::kDeviceReset;
    rig.out(ata::kStatus, random() % 32 ? ata::kPacket : other);
    std::uint8_t cdb[12];
    for (std::uint8_t& byte : cdb) {
        byte = static_cast<std::uint8_t>(random() % 4 ? random() % 4 : random());
    }
    cdb[0] = random() % 16 ? kOpcodes[random() % std::size(kOpcodes)] : static_cast<std::uint8_t>(random());
    for (unsigned i = 0; i < 12; i += 2) {
        rig.io.store(0x1f0, cdb[i] | cdb[i + 1] << 8, 2);
    }
}

TEST(IdeFuzz, CdromDrive) {
    IdeRig rig(true), other(true);
    for (IdeRig* each : {&rig, &other}) {
        each->add_drive("cd", 256 * 2048).fault = [n = 0u](std::size_t, const auto&) mutable { return ++n % 50 == 0 ? EIO : 0; };
        ASSERT_TRUE(each->add_device<IdeCdrom>(0, "cd"));
    }
    block::BlockBackend& drive = *rig.drives.at("cd");
    const auto settle_once = [&rig] {
        rig.context.run([](block::IoContext& where) -> block::Task<void> { co_await where.schedule(); }(rig.context));
    };
    test::hammer("atapi", {{rig.io.space, 0x1f0, 8}, {rig.io.space, 0x1f0, 2}, {rig.io.space, 0x3f6, 1}, {rig.io.space, IdeRig::kBusMaster, 8}},
                 [&](FuzzRandom& random) {
                     switch (random() % 16) {
                         case 0:
                             packet(rig, random);
                             break;
                         case 1:
                             rig.prd(0x1000 + random() % 8 * 8, static_cast<std::uint32_t>(random() % 0x110000),
                                     static_cast<std::uint32_t>(random() % 8192), random() % 4 == 0);
                             rig.io.store(IdeRig::kBusMaster + 4, 0x1000, 4);
                             rig.io.store(IdeRig::kBusMaster, random() % 2 ? 9 : 1);
                             break;
                         case 2:
                             for (unsigned i = random() % 2048; i > 0; --i) {
                                 random() % 8 ? void(rig.io.load(0x1f0, 2)) : rig.io.store(0x1f0, random(), 2);
                             }
                             break;
                         case 3:
                             settle_once();
                             break;
                         case 4:
                             if (random() % 64 == 0) {
                                 rig.disks[0]->reset();
                             } else if (random() % 64 == 0) {
                                 drive.on_medium_change(random() % 2 == 0);
                             }
                             break;
                         default:
                             break;
                     }
                 });
    rig.settle();
    test::expect_state_round_trip(*rig.disks[0], *other.disks[0]);
}

}  // namespace
}  // namespace rhea::hw
