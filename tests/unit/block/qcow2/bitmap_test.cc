// Persistent dirty bitmaps: what they record, what a killed writer leaves, and the steps of rhea-img bitmap.
#include "block/qcow2/bitmaps.h"

#include "tests/unit/block/qcow2/fixture.h"

namespace rhea::block::qcow2 {
namespace {

using Kind = BitmapChange::Kind;
constexpr std::uint64_t kMiB = 1 << 20;

TEST(BitmapBits, MarksWhatARangeTouches) {
    BitmapBits bits(100 * 1024 + 1, 12); // 26 bits, the last of one byte
    bits.mark(0, 0);
    bits.mark(4095, 2);
    bits.mark(10 * 4096, 12 * 4096);
    bits.mark(100 * 1024, 1 << 30);
    for (std::uint64_t bit = 0; bit < 26; ++bit)
        EXPECT_EQ(bits.get(bit), bit < 2 || (bit >= 10 && bit < 22) || bit == 25) << bit;
    EXPECT_EQ(bits.size(), 26u);
    EXPECT_EQ(bits.bytes().back() >> 2, 0);
}

TEST(BitmapBits, MergesAnyGranularityAndSize) {
    BitmapBits fine(kMiB, 12), coarse(2 * kMiB, 16), same(kMiB / 2, 12);
    fine.mark(5 * 65536 + 4096, 4096);
    coarse.merge(fine);
    for (std::uint64_t bit = 0; bit < coarse.size(); ++bit)
        EXPECT_EQ(coarse.get(bit), bit == 5) << bit;
    coarse.mark(2 * kMiB - 1, 1); // behind the end of the fine one's disk
    BitmapBits back(kMiB, 12);
    back.merge(coarse);
    for (std::uint64_t bit = 0; bit < back.size(); ++bit)
        EXPECT_EQ(back.get(bit), bit / 16 == 5) << bit;
    same.merge(back);
    EXPECT_TRUE(same.get(5 * 16));
}

class Qcow2Bitmaps : public Qcow2Test {
protected:
    Result<void> try_change(Qcow2Node &node, Kind kind, const std::string &name, BitmapChange more = {}) {
        more.kind = kind;
        more.name = name;
        return run(node.change_bitmap(more));
    }
    void change(Qcow2Node &node, Kind kind, const std::string &name, BitmapChange more = {}) {
        auto done = try_change(node, kind, name, std::move(more));
        ASSERT_TRUE(done) << done.error().message();
    }
    static BitmapChange granularity(std::uint64_t bytes) {
        BitmapChange step;
        step.granularity = bytes;
        return step;
    }
    std::vector<BitmapEntry> entries(Qcow2Node &node) {
        auto read = run(read_bitmap_directory(node.image()));
        EXPECT_TRUE(read) << read.error().message();
        return read ? *read : std::vector<BitmapEntry>{};
    }
    /// The bits that are set, as the file has them.
    std::vector<std::uint64_t> set_bits(Qcow2Node &node, std::size_t index) {
        const auto all = entries(node);
        EXPECT_LT(index, all.size());
        auto bits = run(load_bitmap(node.image(), all.at(index)));
        EXPECT_TRUE(bits) << bits.error().message();
        std::vector<std::uint64_t> set;
        for (std::uint64_t bit = 0; bits && bit < bits->size(); ++bit)
            if (bits->get(bit))
                set.push_back(bit);
        return set;
    }
};

TEST_F(Qcow2Bitmaps, RecordWhatIsWritten) {
    auto file = make(64 * kMiB);
    {
        auto node = open(file);
        change(*node, Kind::kAdd, "on");
        change(*node, Kind::kAdd, "off", granularity(4096));
        change(*node, Kind::kDisable, "off");
        EXPECT_TRUE(set_bits(*node, 0).empty());
        write(*node, 65536 - 1, pattern(2, 1));
        write(*node, 10 * 65536, pattern(65536, 1), kCompressed);
        expect_ok(run(node->write_zeroes(20 * 65536, 512)));
        expect_ok(run(node->discard(30 * 65536, 65536)));
        EXPECT_EQ(entries(*node)[0].flags, BitmapEntry::kAuto | BitmapEntry::kInUse);
        EXPECT_EQ(entries(*node)[1].flags, 0u);
        expect_clean(*node);
        expect_ok(run(node->close()));
    }
    auto node = open(file);
    EXPECT_EQ(entries(*node)[0].flags, std::uint32_t{BitmapEntry::kAuto});
    EXPECT_EQ(set_bits(*node, 0), (std::vector<std::uint64_t>{0, 1, 10, 20, 30}));
    EXPECT_TRUE(set_bits(*node, 1).empty());
    expect_clean(*node);
    // A second session goes on with what the first one stored.
    write(*node, 40 * 65536, pattern(100, 2));
    expect_ok(run(node->close()));
    auto again = open(file);
    EXPECT_EQ(set_bits(*again, 0), (std::vector<std::uint64_t>{0, 1, 10, 20, 30, 40}));
    expect_clean(*again);
}

TEST_F(Qcow2Bitmaps, ReopeningReadOnlyStoresThem) {
    auto file = make(16 * kMiB);
    auto node = open(file);
    change(*node, Kind::kAdd, "b");
    write(*node, 0, pattern(100, 1));
    expect_ok(run(node->reopen(true)));
    EXPECT_TRUE(node->read_only());
    EXPECT_FALSE(try_write(*node, 0, Bytes(512)));
    EXPECT_EQ(entries(*node)[0].flags, std::uint32_t{BitmapEntry::kAuto});
    EXPECT_EQ(set_bits(*node, 0), (std::vector<std::uint64_t>{0}));
    EXPECT_EQ(read(*node, 0, 100), pattern(100, 1));
    expect_ok(run(node->reopen(false)));
    EXPECT_FALSE(node->read_only());
    write(*node, 5 * 65536, pattern(100, 2));
    EXPECT_EQ(entries(*node)[0].flags, BitmapEntry::kAuto | BitmapEntry::kInUse);
    expect_ok(run(node->close()));
    auto again = open(file);
    EXPECT_EQ(set_bits(*again, 0), (std::vector<std::uint64_t>{0, 5}));
    EXPECT_EQ(read(*again, 5 * 65536, 100), pattern(100, 2));
    expect_clean(*again);
}

TEST_F(Qcow2Bitmaps, AKilledWriterLeavesThemInUse) {
    auto file = make(16 * kMiB);
    {
        auto node = open(file);
        change(*node, Kind::kAdd, "b");
        expect_ok(run(node->close()));
    }
    {
        auto node = open(file);
        write(*node, 0, pattern(100, 1));
        expect_ok(run(node->flush()));
    } // not closed
    auto node = open(memory(file->after_crash(0)));
    ASSERT_EQ(entries(*node).size(), 1u);
    EXPECT_EQ(entries(*node)[0].flags, BitmapEntry::kAuto | BitmapEntry::kInUse);
    for (const Kind kind : {Kind::kClear, Kind::kDisable, Kind::kMerge}) {
        auto done = try_change(*node, kind, "b");
        ASSERT_FALSE(done);
        EXPECT_NE(done.error().message().find("'b' is in use"), std::string::npos) << done.error().message();
    }
    write(*node, 65536, pattern(100, 1)); // what has gaps is not made whole by recording again
    expect_ok(run(node->flush()));
    change(*node, Kind::kRemove, "b");
    EXPECT_FALSE(node->image().header.bitmaps);
    expect_clean(*node);
}

TEST_F(Qcow2Bitmaps, StepsLeaveNothingBehind) {
    auto file = make(64 * kMiB, "cluster_size=4k");
    auto node = open(file);
    change(*node, Kind::kAdd, "a", granularity(512));
    change(*node, Kind::kAdd, "b", granularity(kMiB));
    write(*node, 3 * kMiB, pattern(5 * 512, 1));
    BitmapChange merge;
    merge.source_name = "a";
    change(*node, Kind::kMerge, "b", merge);
    EXPECT_EQ(set_bits(*node, 1), (std::vector<std::uint64_t>{3}));
    EXPECT_EQ(set_bits(*node, 0).size(), 5u);
    change(*node, Kind::kClear, "a");
    EXPECT_TRUE(set_bits(*node, 0).empty());
    change(*node, Kind::kAdd, "c");
    EXPECT_FALSE(try_change(*node, Kind::kAdd, "c"));
    EXPECT_FALSE(try_change(*node, Kind::kAdd, "d", granularity(3000)));
    EXPECT_FALSE(try_change(*node, Kind::kAdd, std::string(1024, 'x')));
    EXPECT_FALSE(try_change(*node, Kind::kEnable, "nobody"));
    EXPECT_FALSE(try_change(*node, Kind::kMerge, "c", granularity(1)));
    EXPECT_EQ(entries(*node).size(), 3u);
    expect_clean(*node, true);
    for (const char *name : {"b", "a", "c"})
        change(*node, Kind::kRemove, name);
    EXPECT_FALSE(node->image().header.bitmaps);
    EXPECT_EQ(read(*node, 3 * kMiB, 5 * 512), pattern(5 * 512, 1));
    expect_clean(*node);
}

TEST_F(Qcow2Bitmaps, AFailedStepLeavesTheOldOrTheNew) {
    auto file = make(16 * kMiB);
    {
        auto node = open(file);
        change(*node, Kind::kAdd, "a", granularity(512));
        change(*node, Kind::kAdd, "b", granularity(512));
        write(*node, 0, pattern(10 * 512, 1));
        expect_ok(run(node->close()));
    }
    unsigned failed = 0;
    for (std::size_t nth = 0; nth < 40; ++nth) {
        auto copy = memory(file->bytes);
        {
            auto node = open(copy);
            copy->fail_request(nth, EIO, MemoryBlockNode::Kind::kWrite);
            failed += try_change(*node, Kind::kClear, "b") ? 0 : 1;
            copy->fault = nullptr;
        }
        auto node = open(memory(copy->after_crash(nth)));
        ASSERT_EQ(entries(*node).size(), 2u) << nth;
        EXPECT_EQ(set_bits(*node, 0).size(), 10u) << nth;
        const std::size_t left = set_bits(*node, 1).size();
        EXPECT_TRUE(left == 10 || left == 0) << nth << ": " << left;
        expect_clean(*node, true);
    }
    EXPECT_GT(failed, 3u);
    EXPECT_LT(failed, 40u);
}

TEST_F(Qcow2Bitmaps, TakeABoundedAmountOfMemory) {
    auto node = open(make(10ull << 40));
    auto done = try_change(*node, Kind::kAdd, "fine", granularity(512));
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().message().find("a bigger granularity"), std::string::npos) << done.error().message();
    change(*node, Kind::kAdd, "coarse", granularity(kMiB));
    expect_clean(*node);
}

TEST_F(Qcow2Bitmaps, ATableThatDoesNotFitIsMarkedAndStaysSo) {
    auto file = make(16 * kMiB, "cluster_size=4k");
    {
        auto node = open(file);
        change(*node, Kind::kAdd, "b", granularity(512)); // 32768 bits: one cluster
        change(*node, Kind::kAdd, "c", granularity(512));
        // The first entry's table_size becomes 2.
        const std::uint64_t at = node->image().header.bitmaps->directory_offset + 8;
        expect_ok(run(node->close()));
        store_be(&file->bytes[at], std::uint32_t{2});
    }
    {
        auto node = open(file);
        write(*node, 0, pattern(100, 1));
        EXPECT_EQ(node->image().recording.size(), 1u);
        expect_ok(run(node->close()));
    }
    auto last = open(file);
    EXPECT_EQ(entries(*last)[0].flags, BitmapEntry::kAuto | BitmapEntry::kInUse);
    EXPECT_EQ(entries(*last)[1].flags, std::uint32_t{BitmapEntry::kAuto});
    EXPECT_EQ(set_bits(*last, 1), (std::vector<std::uint64_t>{0}));
}

TEST_F(Qcow2Bitmaps, VersionTwoHasNone) {
    auto node = open(make(kMiB, "compat=0.10"));
    auto done = try_change(*node, Kind::kAdd, "a");
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().message().find("compat=0.10"), std::string::npos);
}

} // namespace
} // namespace rhea::block::qcow2
