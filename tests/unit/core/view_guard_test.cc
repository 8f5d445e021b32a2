// Old views live as long as a reader may hold them, and no longer.
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include "core/view_reclaim.h"

namespace rhea::core {
namespace {

class ViewGuardTest : public ::testing::Test {
  protected:
    RamBlock block{"ram", 0, 0x10000};
    std::unique_ptr<MemoryRegion> root = MemoryRegion::container("root", 0);
    std::unique_ptr<MemoryRegion> ram = MemoryRegion::ram("ram", block);
    AddressSpace space{"memory", *root};

    ViewGuardTest() {
        root->add(0, *ram);
        EXPECT_EQ(retired_view_count(), 0u);
    }
    void change() { ram->set_offset(ram->offset() + 0x1000); }
};

TEST_F(ViewGuardTest, WithoutReadersAViewIsFreedAtOnce) {
    change();
    EXPECT_EQ(retired_view_count(), 0u);
}

TEST_F(ViewGuardTest, AGuardKeepsWhatItsThreadMayHold) {
    {
        ViewGuard guard;
        const FlatView& held = space.view();
        const hwaddr start = held.ranges[0].start;
        change();
        change();
        EXPECT_EQ(retired_view_count(), 2u);
        EXPECT_EQ(held.ranges[0].start, start);
        { ViewGuard nested; }
        EXPECT_EQ(retired_view_count(), 2u);
    }
    EXPECT_EQ(retired_view_count(), 0u);
}

TEST_F(ViewGuardTest, QuiescentLetsGo) {
    ViewGuard guard;
    change();
    EXPECT_EQ(retired_view_count(), 1u);
    ViewGuard::quiescent();
    EXPECT_EQ(retired_view_count(), 0u);
}

TEST_F(ViewGuardTest, AnotherThreadsGuardKeepsTheView) {
    std::latch inside(1), leave(1);
    std::thread reader([&] {
        ViewGuard guard;
        const FlatView& held = space.view();
        inside.count_down();
        leave.wait();
        EXPECT_EQ(held.ranges.size(), 1u);
    });
    inside.wait();
    change();
    EXPECT_EQ(retired_view_count(), 1u);
    leave.count_down();
    reader.join();
    EXPECT_EQ(retired_view_count(), 0u);
}

TEST_F(ViewGuardTest, ReadersAlwaysSeeOneWholeView) {
    constexpr int kChanges = 3000;
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> broken{0}, reads{0};
    auto read = [&] {
        ViewGuard guard;
        while (!stop.load(std::memory_order_relaxed)) {
            const FlatView& held = space.view();
            for (const FlatRange& range : held.ranges) {
                if (range.region != ram.get() || range.size != 0x10000 ||
                    range.host != block.host() || range.start % 0x1000 != 0) {
                    ++broken;
                }
            }
            ++reads;
            ViewGuard::quiescent();
        }
    };
    std::thread first(read), second(read);
    for (int i = 0; i < kChanges || reads.load() < 1000; ++i) {
        ram->set_offset((static_cast<hwaddr>(i) + 1) * 0x1000);
        EXPECT_LT(retired_view_count(), static_cast<std::size_t>(kChanges) * 1000);
    }
    stop = true;
    first.join();
    second.join();
    EXPECT_EQ(broken.load(), 0u);
    EXPECT_EQ(retired_view_count(), 0u);
}

TEST_F(ViewGuardTest, LoadsAndStoresRaceWithChanges) {
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
            space.store(0x8000, i, 8);
            space.load(0x8000, 8);
        }
    });
    auto window = MemoryRegion::alias("window", *ram, 0, 0x1000);
    root->add(0x8000, *window, 1);
    for (int i = 0; i < 2000; ++i) {
        window->set_alias_offset(static_cast<hwaddr>(i % 4) * 0x1000);
        window->set_readonly(i % 2 == 0);
    }
    stop = true;
    writer.join();
    root->remove(*window);
    EXPECT_EQ(space.view().ranges.size(), 1u);
}

}  // namespace
}  // namespace rhea::core
