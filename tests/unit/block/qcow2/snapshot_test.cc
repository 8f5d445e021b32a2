// Internal snapshots, VM state, and sizes.
#include "tests/unit/block/qcow2/fixture.h"

namespace rhea::block::qcow2 {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

class Qcow2Snapshots : public Qcow2Test {
protected:
    void take(Qcow2Node &node, const std::string &name, std::uint64_t vm_state = 0) {
        NodeInfo::Snapshot snapshot;
        snapshot.name = name;
        snapshot.vm_state_size = vm_state;
        expect_ok(run(node.snapshot_create(snapshot)));
    }
};

TEST_F(Qcow2Snapshots, KeepTheDiskAsItWas) {
    auto file = make(8 * kMiB, "cluster_size=4k");
    auto node = open(file);
    write(*node, 0, pattern(kMiB, 1));
    take(*node, "one");
    expect_clean(*node);
    write(*node, 100, pattern(kMiB, 2));
    take(*node, "two");
    write(*node, 5 * kMiB, pattern(1000, 3));
    expect_ok(run(node->flush()));
    expect_clean(*node);
    expect_ok(run(node->snapshot_apply("one")));
    EXPECT_EQ(read(*node, 0, kMiB), pattern(kMiB, 1));
    EXPECT_EQ(read(*node, kMiB, 5000), Bytes(5000));
    expect_clean(*node);
    expect_ok(run(node->snapshot_delete("one")));
    expect_ok(run(node->snapshot_apply("2")));
    EXPECT_EQ(read(*node, 100, kMiB), pattern(kMiB, 2));
    EXPECT_EQ(read(*node, 5 * kMiB, 1000), Bytes(1000));
    expect_ok(run(node->snapshot_delete("two")));
    expect_clean(*node);
    // All flags are back: the next write is in place.
    file->log.clear();
    write(*node, 0, pattern(4096, 9));
    EXPECT_EQ(file->count(MemoryBlockNode::Kind::kWrite), 1u);
    auto info = run(node->info());
    ASSERT_TRUE(info);
    EXPECT_TRUE(info->snapshots.empty());
    EXPECT_FALSE(node->image().header.dirty());
}

TEST_F(Qcow2Snapshots, HoldTheVmState) {
    auto file = make(4 * kMiB);
    {
        auto node = open(file);
        Bytes state = pattern(3 * kMiB + 123, 4);
        const IoVector all(state.data(), state.size());
        expect_ok(run(node->vmstate_write(0, all)));
        write(*node, 0, pattern(4096, 1));
        take(*node, "vm", state.size());
        expect_ok(run(node->close()));
    }
    auto node = open(file);
    expect_clean(*node);
    auto info = run(node->info());
    ASSERT_EQ(info->snapshots.size(), 1u);
    EXPECT_EQ(info->snapshots[0].vm_state_size, 3 * kMiB + 123);
    EXPECT_EQ(info->snapshots[0].id, "1");
    expect_ok(run(node->snapshot_apply("vm")));
    Bytes back(3 * kMiB + 123);
    const IoVector all(back.data(), back.size());
    expect_ok(run(node->vmstate_read(0, all)));
    EXPECT_EQ(back, pattern(back.size(), 4));
    expect_clean(*node);
}

TEST_F(Qcow2Snapshots, AreShownReadOnly) {
    auto file = make(4 * kMiB);
    auto node = open(file);
    write(*node, 0, pattern(4096, 1));
    take(*node, "old");
    write(*node, 0, pattern(4096, 2));
    expect_ok(run(node->snapshot_show("old")));
    EXPECT_EQ(read(*node, 0, 4096), pattern(4096, 1));
    EXPECT_TRUE(node->read_only());
    EXPECT_FALSE(try_write(*node, 0, Bytes(512)));
    auto again = open(file);
    EXPECT_EQ(read(*again, 0, 4096), pattern(4096, 2));
}

TEST_F(Qcow2Snapshots, OneBitCountsCannotBeShared) {
    auto file = make(4 * kMiB, "refcount_bits=1");
    auto node = open(file);
    write(*node, 0, pattern(100000, 1));
    NodeInfo::Snapshot snapshot;
    snapshot.name = "no";
    auto done = run(node->snapshot_create(snapshot));
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().message().find("refcount_bits=1"), std::string::npos) << done.error().message();
    EXPECT_EQ(read(*node, 0, 100000), pattern(100000, 1));
    expect_clean(*node);
    EXPECT_FALSE(node->image().header.dirty());
}

TEST_F(Qcow2Snapshots, UnknownNamesAreTold) {
    auto node = open(make(kMiB));
    EXPECT_EQ(run(node->snapshot_apply("x")).error().code(), ENOENT);
    EXPECT_EQ(run(node->snapshot_delete("x")).error().code(), ENOENT);
}

TEST_F(Qcow2Snapshots, SizesGrowAndShrink) {
    auto base = memory(pattern(6 * kMiB, 8));
    auto file = make(2 * kMiB + 512, "cluster_size=512");
    auto node = open(file);
    expect_ok(node->set_backing(base));
    write(*node, 2 * kMiB, pattern(512, 1));
    const std::uint64_t small = node->image().l1.size();
    expect_ok(run(node->truncate(40 * kMiB, Preallocation::kOff)));
    EXPECT_GT(node->image().l1.size(), small);
    EXPECT_EQ(node->length(), 40 * kMiB);
    // What is new is zero, not the backing file's.
    EXPECT_EQ(read(*node, 2 * kMiB + 512, 5 * kMiB), Bytes(5 * kMiB));
    EXPECT_EQ(read(*node, 2 * kMiB, 512), pattern(512, 1));
    write(*node, 39 * kMiB, pattern(kMiB, 2));
    expect_ok(run(node->flush()));
    const std::uint64_t long_file = file->length();
    expect_ok(run(node->truncate(kMiB, Preallocation::kOff)));
    EXPECT_EQ(node->length(), kMiB);
    EXPECT_LT(file->length(), long_file - kMiB / 2);
    expect_clean(*node);
    expect_ok(run(node->truncate(4 * kMiB, Preallocation::kOff)));
    EXPECT_EQ(read(*node, kMiB, 3 * kMiB), Bytes(3 * kMiB));
    expect_ok(run(node->close()));
    auto again = open(file);
    EXPECT_EQ(again->length(), 4 * kMiB);
    expect_clean(*again);
}

TEST_F(Qcow2Snapshots, PreallocatedImagesNeedNoMetadataWrites) {
    for (const char *mode : {"metadata", "falloc", "full"}) {
        auto file = make(8 * kMiB, std::string("preallocation=") + mode);
        auto node = open(file);
        EXPECT_GE(file->length(), 8 * kMiB);
        expect_clean(*node);
        EXPECT_EQ(read(*node, 0, 8 * kMiB), Bytes(8 * kMiB));
        EXPECT_TRUE(status(*node, 0, 8 * kMiB).allocated);
        EXPECT_EQ(status(*node, 0, 8 * kMiB).length, 8 * kMiB);
        read(*node, 4 * kMiB, 512);
        write(*node, 3 * kMiB + 512, pattern(1024, 1)); // prepares writing
        file->log.clear();
        write(*node, 4 * kMiB + 512, pattern(1024, 1));
        EXPECT_EQ(file->log.size(), 1u);
    }
}

} // namespace
} // namespace rhea::block::qcow2
