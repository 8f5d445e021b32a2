// How accesses reach handlers: splitting, widening, locks, ioeventfds, ROM.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rhea/core/machine_lock.h"
#include "rhea/core/memory.h"

namespace rhea::core {
namespace {

struct Access {
    char kind;
    hwaddr offset;
    std::uint64_t value;
    unsigned size;
    bool operator==(const Access&) const = default;
};

void PrintTo(const Access& access, std::ostream* out) {
    *out << access.kind << access.size << "@" << access.offset << "=" << access.value;
}

/// Sixteen bytes of register file that remembers accesses.
class Registers final : public IoHandler {
  public:
    std::uint64_t io_read(hwaddr offset, unsigned size) override {
        locked = MachineLock::held_by_this_thread();
        std::uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i) {
            value |= (offset + i) << (i * 8);
        }
        log.push_back({'r', offset, 0, size});
        return value;
    }
    void io_write(hwaddr offset, std::uint64_t value, unsigned size) override {
        locked = MachineLock::held_by_this_thread();
        log.push_back({'w', offset, value, size});
    }
    std::vector<Access> log;
    bool locked = false;
};

class AccessTest : public ::testing::Test {
  protected:
    Registers device;
    std::unique_ptr<MemoryRegion> root = MemoryRegion::container("root", 0);
    std::unique_ptr<MemoryRegion> io;
    AddressSpace space{"memory", *root};

    void place(AccessSizes sizes, bool handler_locks = false) {
        io = MemoryRegion::io("device", 0x10, device, sizes, handler_locks);
        root->add(0x100, *io);
    }
    using Log = std::vector<Access>;
};

TEST_F(AccessTest, NarrowReadsAreWidened) {
    place({.min = 4, .max = 4, .unaligned = false});
    EXPECT_EQ(space.load(0x106, 1), 6u);
    EXPECT_EQ(device.log, (Log{{'r', 4, 0, 4}}));
}

TEST_F(AccessTest, NarrowWritesAreShiftedIntoPlace) {
    place({.min = 4, .max = 4, .unaligned = false});
    space.store(0x106, 0xabcd, 2);
    EXPECT_EQ(device.log, (Log{{'w', 4, 0xabcd0000, 4}}));
}

TEST_F(AccessTest, ANarrowAccessMayNeedTwoWideOnes) {
    place({.min = 4, .max = 4, .unaligned = true});
    EXPECT_EQ(space.load(0x103, 2), 0x0403u);
    EXPECT_EQ(device.log, (Log{{'r', 0, 0, 4}, {'r', 4, 0, 4}}));
}

TEST_F(AccessTest, UnalignedAccessesAreSplitWhereTheHandlerWantsThat) {
    place({.min = 1, .max = 4, .unaligned = false});
    EXPECT_EQ(space.load(0x101, 4), 0x04030201u);
    EXPECT_EQ(device.log, (Log{{'r', 1, 0, 1}, {'r', 2, 0, 2}, {'r', 4, 0, 1}}));
}

TEST_F(AccessTest, UnalignedAccessesGoThroughWholeElse) {
    place({.min = 1, .max = 4, .unaligned = true});
    EXPECT_EQ(space.load(0x101, 4), 0x04030201u);
    EXPECT_EQ(device.log, (Log{{'r', 1, 0, 4}}));
}

TEST_F(AccessTest, WideAccessesAreSplit) {
    place({.min = 1, .max = 1});
    space.store(0x102, 0x1234, 2);
    EXPECT_EQ(device.log, (Log{{'w', 2, 0x34, 1}, {'w', 3, 0x12, 1}}));
    device.log.clear();
    io->parent()->remove(*io);
    place({.min = 1, .max = 8});
    EXPECT_EQ(space.load(0x108, 8), 0x0f0e0d0c0b0a0908u);
    EXPECT_EQ(device.log, (Log{{'r', 8, 0, 8}}));
}

TEST_F(AccessTest, AnAccessThatLeavesTheRegionKeepsItsPart) {
    place({.min = 1, .max = 4});
    MemTxResult result;
    EXPECT_EQ(space.load(0x10e, 4, &result), 0xffff0f0eu);
    EXPECT_EQ(result, MemTxResult::kDecodeError);
    EXPECT_EQ(device.log, (Log{{'r', 0xe, 0, 2}}));
}

TEST_F(AccessTest, LongReadsComeInAlignedPieces) {
    place({.min = 1, .max = 4});
    std::uint8_t bytes[7];
    EXPECT_EQ(space.read(0x101, bytes, sizeof bytes), MemTxResult::kOk);
    for (unsigned i = 0; i < sizeof bytes; ++i) {
        EXPECT_EQ(bytes[i], i + 1);
    }
    EXPECT_EQ(device.log, (Log{{'r', 1, 0, 1}, {'r', 2, 0, 2}, {'r', 4, 0, 4}}));
}

TEST_F(AccessTest, AHandlersExtraBitsAreCutOff) {
    struct Loud final : IoHandler {
        std::uint64_t io_read(hwaddr, unsigned) override { return ~0ull; }
        void io_write(hwaddr, std::uint64_t, unsigned) override {}
    } loud;
    auto region = MemoryRegion::io("loud", 0x10, loud);
    root->add(0, *region);
    EXPECT_EQ(space.load(0, 2), 0xffffu);
}

TEST_F(AccessTest, TheMachineLockIsHeldUnlessTheHandlerLocks) {
    place({});
    space.load(0x100, 4);
    EXPECT_TRUE(device.locked);
    EXPECT_FALSE(MachineLock::held_by_this_thread());
    root->remove(*io);
    place({}, true);
    space.load(0x100, 4);
    EXPECT_FALSE(device.locked);
}

TEST_F(AccessTest, ADataPortIsReadAgainAndAgain) {
    struct Fifo final : IoHandler {
        MemoryRegion* region = nullptr;
        std::uint64_t next = 0x100;
        std::uint64_t io_read(hwaddr offset, unsigned size) override {
            EXPECT_EQ(offset, 2u);
            EXPECT_EQ(size, 2u);
            EXPECT_TRUE(MachineLock::held_by_this_thread());
            if (next == 0x105) {
                region->set_enabled(false);
            }
            return next++;
        }
        void io_write(hwaddr, std::uint64_t, unsigned) override {}
    } fifo;
    auto region = MemoryRegion::io("fifo", 8, fifo, {.min = 1, .max = 4});
    fifo.region = region.get();
    root->add(0, *region);
    std::uint16_t values[8] = {};
    space.load_repeatedly(2, 2, reinterpret_cast<std::uint8_t*>(values), 4);
    EXPECT_EQ(std::vector<std::uint16_t>(values, values + 4), (std::vector<std::uint16_t>{0x100, 0x101, 0x102, 0x103}));
    space.load_repeatedly(2, 2, reinterpret_cast<std::uint8_t*>(values), 4);
    EXPECT_EQ(std::vector<std::uint16_t>(values, values + 4), (std::vector<std::uint16_t>{0x104, 0x105, 0xffff, 0xffff}))
        << "it took itself off the map";
}

TEST_F(AccessTest, AHandlerMayTakeItselfOffTheMap) {
    struct Vanishing final : IoHandler {
        MemoryRegion* region = nullptr;
        std::uint64_t io_read(hwaddr, unsigned) override { return 0; }
        void io_write(hwaddr, std::uint64_t, unsigned) override { region->set_enabled(false); }
    } vanishing;
    auto region = MemoryRegion::io("vanishing", 8, vanishing, {.min = 1, .max = 1});
    vanishing.region = region.get();
    root->add(0, *region);
    std::uint8_t bytes[16] = {};
    EXPECT_EQ(space.write(0, bytes, sizeof bytes), MemTxResult::kDecodeError);
    EXPECT_TRUE(space.view().ranges.empty());
}

TEST_F(AccessTest, RomTakesWritesOnlyFromLoaders) {
    RamBlock block("rom", 0, 0x1000);
    auto rom = MemoryRegion::rom("rom", block);
    root->add(0, *rom);
    MemTxResult result;
    space.store(0x10, 0x55, 1, &result);
    EXPECT_EQ(result, MemTxResult::kAccessError);
    EXPECT_EQ(block.host()[0x10], 0);
    const std::uint8_t byte = 0x66;
    EXPECT_EQ(space.write_rom(0x10, &byte, 1), MemTxResult::kOk);
    EXPECT_EQ(space.load(0x10, 1), 0x66u);
}

TEST_F(AccessTest, RomWithAHandlerHandsWritesOn) {
    RamBlock block("flash", 0, 0x1000);
    auto rom = MemoryRegion::rom("flash", block, &device);
    root->add(0, *rom);
    block.host()[4] = 9;
    space.store(4, 0x90, 1);
    EXPECT_EQ(device.log, (Log{{'w', 4, 0x90, 1}}));
    EXPECT_EQ(space.load(4, 1), 9u);
}

TEST_F(AccessTest, UnassignedReadsAreOnesHoweverLong) {
    std::vector<std::uint8_t> bytes(70000);
    EXPECT_EQ(space.read(0x5000, bytes.data(), bytes.size()), MemTxResult::kDecodeError);
    EXPECT_EQ(std::count(bytes.begin(), bytes.end(), 0xff), 70000);
    EXPECT_EQ(space.write(0x5000, bytes.data(), bytes.size()), MemTxResult::kDecodeError);
}

class IoEventFdTest : public AccessTest {
  protected:
    int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ~IoEventFdTest() override { ::close(fd); }
    bool signalled() {
        std::uint64_t count;
        return ::read(fd, &count, sizeof count) == sizeof count;
    }
};

TEST_F(IoEventFdTest, AStoreThatMatchesSignalsInsteadOfCalling) {
    place({});
    space.add_ioeventfd({.addr = 0x104, .size = 2, .match_value = true, .value = 7, .fd = fd});
    space.store(0x104, 7, 2);
    EXPECT_TRUE(signalled());
    EXPECT_TRUE(device.log.empty());
    space.store(0x104, 8, 2);
    space.store(0x104, 7, 4);
    space.store(0x106, 7, 2);
    EXPECT_FALSE(signalled());
    EXPECT_EQ(device.log.size(), 3u);
}

TEST_F(IoEventFdTest, AnySizeAndValueWhenToldSo) {
    place({});
    const IoEventFd binding{.addr = 0x104, .fd = fd};
    space.add_ioeventfd(binding);
    space.store(0x104, 1, 4);
    EXPECT_TRUE(signalled());
    space.remove_ioeventfd(binding);
    space.store(0x104, 1, 4);
    EXPECT_FALSE(signalled());
}

}  // namespace
}  // namespace rhea::core
