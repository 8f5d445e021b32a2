// Random accesses to an NVMe controller's registers and doorbells, with queues full of half-sensible commands.
#include "tests/support/io_fuzz.h"
#include "tests/unit/hw/nvme/nvme_rig.h"

namespace rhea::hw::nvme {
namespace {

using test::FuzzRandom;
using test::NvmeRig;

std::uint64_t address(FuzzRandom& random) {
    switch (random() % 6) {
        case 0:
            return random();
        case 1:
            return NvmeRig::kList + random() % 512 * 8;
        case 2:
            return NvmeRig::kBar + random() % 0x4000;
        default:
            return NvmeRig::kData + random() % 16 * 0x1000 + (random() % 4 ? 0 : random() % 0x1000);
    }
}

void command(NvmeRig& rig, FuzzRandom& random) {
    const bool io = random() % 2;
    static constexpr std::uint8_t kIo[] = {0, 1, 2, 5, 8, 9}, kAdmin[] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12};
    const std::uint8_t opcode = random() % 16 == 0 ? static_cast<std::uint8_t>(random())
                                : io              ? kIo[random() % std::size(kIo)]
                                                  : kAdmin[random() % std::size(kAdmin)];
    const auto small = [&](std::uint32_t limit) { return static_cast<std::uint32_t>(random() % 8 ? random() % limit : random()); };
    auto bytes = io ? NvmeRig::command(opcode, random() % 8 ? 1 : small(3), address(random), address(random), {small(2048), 0, small(300), 0, 0, 0})
                    : NvmeRig::command(opcode, small(3), random() % 2 ? NvmeRig::kIoSq + random() % 4 * 0x1000 : address(random), address(random),
                                       {small(16) | small(16) << 16, small(4) | small(4) << 16, small(16), 0, 0, 0});
    if (random() % 32 == 0) {
        bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    }
    io ? rig.submit_io(bytes) : rig.submit_admin(bytes);
}

TEST(NvmeFuzz, Controller) {
    NvmeRig rig(true), other(true);
    for (NvmeRig* each : {&rig, &other}) {
        each->node->fault = [n = 0u](std::size_t, const auto&) mutable { return ++n % 50 == 0 ? EIO : 0; };
    }
    rig.enable();
    rig.make_io_queues();
    rig.rounds = 2;
    test::hammer("nvme",
                 {{rig.memory.space, NvmeRig::kBar, 0x40, 8}, {rig.memory.space, NvmeRig::kBar + 0x1000, 0x20, 4},
                  {rig.memory.space, NvmeRig::kBar, 0x4000, 8}},
                 [&](FuzzRandom& random) {
                     const auto step = random() % 16;
                     if (step < 6) {
                         command(rig, random);
                     } else if (step < 8) {
                         rig.memory.store(NvmeRig::kList + random() % 512 * 8, address(random), 8);
                     } else if (step < 10) {
                         rig.context.run([](block::IoContext& where) -> block::Task<void> { co_await where.schedule(); }(rig.context));
                     } else if (step < 12) {
                         rig.poll_io();
                         rig.poll_admin();
                     } else if (random() % 64 == 0) {
                         if (random() % 2) {
                             rig.nvme->reset();
                             rig.place();
                         }
                         rig.set_reg(0x14, 0);
                         rig.settle();
                         rig.enable();
                         rig.submit_admin(NvmeRig::command(5, 0, NvmeRig::kIoCq, 0, {(NvmeRig::kIoEntries - 1) << 16 | 1, 3}));
                         rig.submit_admin(NvmeRig::command(1, 0, NvmeRig::kIoSq, 0, {(NvmeRig::kIoEntries - 1) << 16 | 1, 1u << 16 | 1}));
                     }
                 });
    rig.rounds = 64;
    rig.settle();
    test::expect_state_round_trip(*rig.nvme, *other.nvme);
}

}  // namespace
}  // namespace rhea::hw::nvme
