// Shapes of the memory tree that are easy to get wrong.
#include <gtest/gtest.h>

#include "rhea/core/memory.h"

namespace rhea::core {
namespace {

struct Nothing final : IoHandler {
    std::uint64_t io_read(hwaddr, unsigned) override { return 0; }
    void io_write(hwaddr, std::uint64_t, unsigned) override {}
};

struct CountingListener final : MemoryListener {
    int changes = 0;
    std::size_t old_ranges = 0, new_ranges = 0;
    std::vector<IoEventFd> bindings;
    void view_changed(const FlatView& old_view, const FlatView& new_view) override {
        ++changes;
        old_ranges = old_view.ranges.size();
        new_ranges = new_view.ranges.size();
    }
    void ioeventfd_added(const IoEventFd& binding) override { bindings.push_back(binding); }
    void ioeventfd_removed(const IoEventFd& binding) override { std::erase(bindings, binding); }
};

class TreeTest : public ::testing::Test {
  protected:
    RamBlock block{"ram", 0, 0x100000};
    Nothing handler;
    std::unique_ptr<MemoryRegion> root = MemoryRegion::container("root", 0);
    std::unique_ptr<MemoryRegion> ram = MemoryRegion::ram("ram", block);
    AddressSpace space{"memory", *root};

    const std::vector<FlatRange>& ranges() const { return space.view().ranges; }
    /// The region at `addr`, or null.
    MemoryRegion* at(hwaddr addr) const {
        const FlatRange* range = space.view().find(addr);
        return range ? range->region : nullptr;
    }
};

TEST_F(TreeTest, BetweenEqualPrioritiesTheLaterAddedIsSeen) {
    auto first = MemoryRegion::io("first", 0x10, handler);
    auto second = MemoryRegion::io("second", 0x10, handler);
    root->add(0, *first);
    root->add(8, *second);
    EXPECT_EQ(at(7), first.get());
    EXPECT_EQ(at(8), second.get());
    root->remove(*second);
    EXPECT_EQ(at(8), first.get());
}

TEST_F(TreeTest, AContainersPriorityCountsOnlyAmongItsSiblings) {
    auto container = MemoryRegion::container("container", 0x100);
    auto inside = MemoryRegion::io("inside", 0x100, handler);
    auto beside = MemoryRegion::io("beside", 0x100, handler);
    container->add(0, *inside, 100);
    root->add(0, *container, 0);
    root->add(0, *beside, 1);
    EXPECT_EQ(at(0), beside.get());
}

TEST_F(TreeTest, AHoleInAContainerShowsWhatLiesBelow) {
    auto container = MemoryRegion::container("container", 0x1000);
    auto inside = MemoryRegion::io("inside", 0x10, handler);
    container->add(0x20, *inside);
    root->add(0, *ram);
    root->add(0x1000, *container, 1);
    EXPECT_EQ(at(0x1000), ram.get());
    EXPECT_EQ(at(0x1020), inside.get());
    EXPECT_EQ(at(0x1030), ram.get());
}

TEST_F(TreeTest, ChildrenAreClippedToTheirContainer) {
    auto container = MemoryRegion::container("container", 0x100);
    container->add(0xf0, *ram);
    root->add(0x1000, *container);
    ASSERT_EQ(ranges().size(), 1u);
    EXPECT_EQ(ranges()[0].start, 0x10f0u);
    EXPECT_EQ(ranges()[0].size, 0x10u);
}

TEST_F(TreeTest, ChildrenOfAnIoRegionHideIt) {
    auto outer = MemoryRegion::io("outer", 0x100, handler);
    auto inner = MemoryRegion::io("inner", 0x10, handler);
    outer->add(0x40, *inner);
    root->add(0, *outer);
    EXPECT_EQ(at(0x3f), outer.get());
    EXPECT_EQ(at(0x40), inner.get());
    ASSERT_EQ(ranges().size(), 3u);
    EXPECT_EQ(ranges()[2].region_offset, 0x50u);
}

TEST_F(TreeTest, AliasesNestAndReadOnlyAddsUp) {
    auto outer = MemoryRegion::alias("outer", *ram, 0x10000, 0x8000);
    auto inner = MemoryRegion::alias("inner", *outer, 0x2000, 0x1000);
    outer->set_readonly(true);
    root->add(0x400000, *inner);
    ASSERT_EQ(ranges().size(), 1u);
    EXPECT_EQ(ranges()[0].region, ram.get());
    EXPECT_EQ(ranges()[0].region_offset, 0x12000u);
    EXPECT_EQ(ranges()[0].host, block.host() + 0x12000);
    EXPECT_EQ(ranges()[0].size, 0x1000u);
    EXPECT_TRUE(ranges()[0].readonly);
    outer->set_readonly(false);
    EXPECT_FALSE(ranges()[0].readonly);
    outer->set_alias_offset(0x20000);
    EXPECT_EQ(ranges()[0].region_offset, 0x22000u);
}

TEST_F(TreeTest, AnAliasShowsNoMoreThanItsTargetHas) {
    auto alias = MemoryRegion::alias("alias", *ram, 0xff000, 0x4000);
    root->add(0, *alias);
    ASSERT_EQ(ranges().size(), 1u);
    EXPECT_EQ(ranges()[0].size, 0x1000u);
}

TEST_F(TreeTest, AnAliasOfAContainerFollowsItsChanges) {
    auto pci = MemoryRegion::container("pci", 0);
    auto bar = MemoryRegion::io("bar", 0x1000, handler);
    auto hole = MemoryRegion::alias("hole", *pci, 0xe0000000, 0x10000000);
    root->add(0xe0000000, *hole);
    pci->add(0xe1000000, *bar);
    EXPECT_EQ(at(0xe1000fff), bar.get());
    bar->set_offset(0xd0000000);
    EXPECT_EQ(at(0xe1000000), nullptr);
    bar->set_offset(0xe2000000);
    EXPECT_EQ(at(0xe2000000), bar.get());
    bar->set_enabled(false);
    EXPECT_TRUE(ranges().empty());
}

TEST_F(TreeTest, NeighboursThatContinueEachOtherMerge) {
    auto low = MemoryRegion::alias("low", *ram, 0, 0x1000);
    auto high = MemoryRegion::alias("high", *ram, 0x1000, 0x1000);
    root->add(0, *low);
    root->add(0x1000, *high);
    EXPECT_EQ(ranges().size(), 1u);
    high->set_readonly(true);
    EXPECT_EQ(ranges().size(), 2u);
}

TEST_F(TreeTest, AnAliasThatShowsItselfEnds) {
    auto container = MemoryRegion::container("container", 0x1000);
    auto alias = MemoryRegion::alias("alias", *container, 0, 0x800);
    container->add(0x800, *alias);
    container->add(0, *ram, -1);
    root->add(0, *container);
    EXPECT_EQ(at(0x900), ram.get());
    EXPECT_FALSE(space.describe(false).empty());
}

TEST_F(TreeTest, AnAliasOfADeadRegionShowsNothing) {
    auto target = MemoryRegion::io("target", 0x10, handler);
    auto alias = MemoryRegion::alias("alias", *target, 0, 0x10);
    root->add(0, *alias);
    EXPECT_EQ(ranges().size(), 1u);
    target.reset();
    EXPECT_TRUE(ranges().empty());
}

TEST_F(TreeTest, ADeadRegionLeavesItsPlace) {
    auto region = MemoryRegion::io("region", 0x10, handler);
    root->add(0, *region);
    region.reset();
    EXPECT_TRUE(ranges().empty());
    EXPECT_TRUE(root->children().empty());
}

TEST_F(TreeTest, SizesChange) {
    root->add(0, *ram);
    ram->set_size(0x2000);
    EXPECT_EQ(ranges()[0].size, 0x2000u);
    ram->set_size(0x200000);  // not beyond the block
    EXPECT_EQ(ranges()[0].size, 0x100000u);
    auto io = MemoryRegion::io("io", 0x10, handler);
    root->add(0x10, *io, 1);
    io->set_size(0);
    EXPECT_EQ(ranges().size(), 1u);
}

TEST_F(TreeTest, TheLastByteOfTheAddressSpaceExists) {
    auto io = MemoryRegion::io("io", 0x10, handler);
    root->add(~hwaddr{0xf}, *io);
    EXPECT_EQ(at(~hwaddr{0}), io.get());
    EXPECT_EQ(ranges()[0].end(), 0u);
}

TEST_F(TreeTest, ATransactionPublishesOnce) {
    CountingListener listener;
    root->add(0, *ram);
    space.add_listener(listener);
    EXPECT_EQ(listener.changes, 1);
    EXPECT_EQ(listener.old_ranges, 0u);
    EXPECT_EQ(listener.new_ranges, 1u);
    auto io = MemoryRegion::io("io", 0x10, handler);
    AddressSpace::begin_transaction();
    root->add(0x1000, *io, 1);
    AddressSpace::begin_transaction();
    io->set_offset(0x2000);
    AddressSpace::commit_transaction();
    EXPECT_EQ(listener.changes, 1);
    EXPECT_EQ(ranges().size(), 1u);
    AddressSpace::commit_transaction();
    EXPECT_EQ(listener.changes, 2);
    EXPECT_EQ(at(0x2000), io.get());
    space.remove_listener(listener);
}

TEST_F(TreeTest, WhatChangesNothingTellsNobody) {
    CountingListener listener;
    auto hidden = MemoryRegion::io("hidden", 0x10, handler);
    root->add(0, *ram);
    root->add(0, *hidden, -1);
    space.add_listener(listener);
    hidden->set_offset(0x40);
    hidden->set_enabled(false);
    ram->set_enabled(true);
    EXPECT_EQ(listener.changes, 1);
    space.remove_listener(listener);
}

TEST_F(TreeTest, AListenerMayChangeTheTree) {
    struct Placer final : MemoryListener {
        MemoryRegion *root = nullptr, *io = nullptr;
        void view_changed(const FlatView&, const FlatView& view) override {
            if (io->parent() == nullptr && view.ranges.size() == 1) {
                root->add(0x800000, *io);
            }
        }
    } placer;
    auto io = MemoryRegion::io("io", 0x10, handler);
    placer.root = root.get();
    placer.io = io.get();
    space.add_listener(placer);
    root->add(0, *ram);
    EXPECT_EQ(at(0x800000), io.get());
    space.remove_listener(placer);
}

TEST_F(TreeTest, ListenersLearnOfIoEventFds) {
    CountingListener early, late;
    space.add_listener(early);
    const IoEventFd binding{.addr = 0x10, .size = 2, .match_value = true, .value = 3, .fd = 5};
    space.add_ioeventfd(binding);
    space.add_listener(late);
    EXPECT_EQ(early.bindings, std::vector{binding});
    EXPECT_EQ(late.bindings, std::vector{binding});
    space.remove_ioeventfd(binding);
    EXPECT_TRUE(early.bindings.empty());
    space.remove_listener(early);
    space.remove_listener(late);
}

TEST_F(TreeTest, DescribesTreeAndView) {
    root->add(0, *ram);
    auto window = MemoryRegion::alias("window", *ram, 0x1000, 0x1000);
    window->set_enabled(false);
    root->add(0x200000, *window);
    const std::string tree = space.describe(false), flat = space.describe(true);
    EXPECT_NE(tree.find("0000000000000000-00000000000fffff (prio 0, ram): ram"), std::string::npos);
    EXPECT_NE(tree.find("@ram 0000000000001000-0000000000001fff [disabled]"), std::string::npos);
    EXPECT_EQ(flat.find("window"), std::string::npos);
}

TEST(RamBlock, RefusesWhatTheHostCannotGive) {
    try {
        RamBlock block("pc.ram", 0, 1ull << 60);
        FAIL() << "the host gave an exbibyte";
    } catch (const OutOfHostMemory& error) {
        EXPECT_NE(std::string(error.what()).find("'pc.ram'"), std::string::npos);
    }
}

TEST(RamBlock, LargeBlocksAreAlignedForHugePages) {
    RamBlock block("pc.ram", 0, 64 << 20);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.host()) % (2 << 20), 0u);
    block.host()[block.size() - 1] = 1;
    EXPECT_EQ(block.host()[0], 0);
}

}  // namespace
}  // namespace rhea::core
