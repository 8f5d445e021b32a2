// Reading and writing: places of clusters, copy on write, zeroes, discards, compressed clusters.
#include "tests/unit/block/qcow2/fixture.h"

namespace rhea::block::qcow2 {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

class Qcow2Data : public Qcow2Test, public ::testing::WithParamInterface<const char *> {};
INSTANTIATE_TEST_SUITE_P(Formats, Qcow2Data,
                         ::testing::Values("", "compat=0.10", "cluster_size=512", "cluster_size=4k,refcount_bits=1", "cluster_size=2M",
                                           "extended_l2=on", "extended_l2=on,cluster_size=16k", "lazy_refcounts=on", "refcount_bits=64,cluster_size=1k",
                                           "compression_type=zstd", "refcount_bits=8"),
                         [](const auto &info) {
                             std::string name = *info.param ? info.param : "plain";
                             for (char &c : name)
                                 if (!std::isalnum(static_cast<unsigned char>(c)))
                                     c = '_';
                             return name;
                         });

TEST_P(Qcow2Data, NewImagesAreZeroAndClean) {
    auto file = make(8 * kMiB, GetParam());
    auto node = open(file);
    EXPECT_EQ(node->length(), 8 * kMiB);
    EXPECT_EQ(read(*node, 0, 4096), Bytes(4096));
    EXPECT_EQ(read(*node, 8 * kMiB - 512, 512), Bytes(512));
    expect_clean(*node);
}

TEST_P(Qcow2Data, WritesOfAnyShapeReadBackAfterClose) {
    auto file = make(8 * kMiB, GetParam());
    Bytes model(8 * kMiB);
    {
        auto node = open(file);
        const std::pair<std::uint64_t, std::size_t> writes[] = {{0, 512},          {512, 4096},        {65536 * 3 - 100, 300},   {kMiB, 300000},
                                                                {kMiB + 77, 5000}, {8 * kMiB - 1, 1}, {3 * kMiB + 1, 2 * kMiB}, {100, 70000}};
        unsigned seed = 1;
        for (const auto &[offset, size] : writes) {
            const Bytes bytes = pattern(size, seed++);
            write(*node, offset, bytes);
            std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
        }
        EXPECT_EQ(read(*node, 0, model.size()), model);
        expect_ok(run(node->flush()));
        expect_clean(*node);
        expect_ok(run(node->close()));
    }
    auto node = open(file);
    EXPECT_EQ(read(*node, 0, model.size()), model);
    EXPECT_FALSE(node->image().header.dirty());
    expect_clean(*node);
}

TEST_P(Qcow2Data, BackingFileShowsThroughAndIsCopiedOnWrite) {
    auto base = memory(pattern(3 * kMiB - 700, 9)); // shorter than the image
    auto file = make(4 * kMiB, GetParam());
    auto node = open(file);
    expect_ok(node->set_backing(base));
    Bytes model = base->bytes;
    model.resize(4 * kMiB);
    EXPECT_EQ(read(*node, 0, model.size()), model);
    const std::pair<std::uint64_t, std::size_t> writes[] = {{1000, 10}, {kMiB + 5, 200000}, {3 * kMiB - 1000, 600}, {3 * kMiB - 800, 512}, {4 * kMiB - 5, 5}};
    unsigned seed = 20;
    for (const auto &[offset, size] : writes) {
        const Bytes bytes = pattern(size, seed++);
        write(*node, offset, bytes);
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    EXPECT_EQ(read(*node, 0, model.size()), model);
    expect_ok(run(node->flush()));
    expect_clean(*node);
}

TEST_P(Qcow2Data, ZeroesHideTheBackingFile) {
    auto base = memory(pattern(4 * kMiB, 3));
    auto file = make(4 * kMiB, GetParam());
    auto node = open(file);
    expect_ok(node->set_backing(base));
    Bytes model = base->bytes;
    write(*node, kMiB, pattern(kMiB, 4));
    const Bytes written = pattern(kMiB, 4);
    std::copy(written.begin(), written.end(), model.begin() + kMiB);
    const std::pair<std::uint64_t, std::uint64_t> zeroes[] = {{10, 100}, {kMiB - 70000, 200000}, {2 * kMiB + 512, 400000}, {4 * kMiB - 3000, 3000}};
    unsigned flags = kNoFlags;
    for (const auto &[offset, size] : zeroes) {
        expect_ok(run(node->write_zeroes(offset, size, flags)));
        flags ^= kMayUnmap;
        std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), size, std::uint8_t{0});
    }
    EXPECT_EQ(read(*node, 0, model.size()), model);
    // And writing into them again.
    const Bytes bytes = pattern(1000, 5);
    write(*node, kMiB + 3, bytes);
    std::copy(bytes.begin(), bytes.end(), model.begin() + kMiB + 3);
    EXPECT_EQ(read(*node, 0, model.size()), model);
    expect_ok(run(node->flush()));
    expect_ok(run(node->flush()));
    expect_clean(*node);
}

TEST_P(Qcow2Data, DiscardedClustersAreZeroAndFree) {
    auto file = make(16 * kMiB, GetParam());
    auto node = open(file);
    const Bytes bytes = pattern(8 * kMiB, 1);
    write(*node, 0, bytes);
    expect_ok(run(node->flush()));
    expect_ok(run(node->discard(2 * kMiB, 4 * kMiB)));
    EXPECT_EQ(read(*node, 2 * kMiB, 4 * kMiB), Bytes(4 * kMiB));
    expect_ok(run(node->flush()));
    const std::uint64_t before = file->length();
    write(*node, 10 * kMiB, pattern(2 * kMiB, 2)); // goes to where the others were
    EXPECT_LE(file->length(), before + 2 * 65536 + 2 * node->cluster_size());
    EXPECT_EQ(read(*node, 0, 2 * kMiB), Bytes(bytes.begin(), bytes.begin() + 2 * kMiB));
    expect_ok(run(node->flush()));
    expect_clean(*node);
}

TEST_P(Qcow2Data, CompressedClustersReadBackAndAreRewritten) {
    auto file = make(8 * kMiB, GetParam());
    auto node = open(file);
    const std::uint64_t cluster = node->cluster_size();
    Bytes model(8 * kMiB);
    for (std::uint64_t at = 0; at < 4 * kMiB; at += std::max(cluster, kMiB)) {
        Bytes bytes(std::max(cluster, kMiB));
        for (std::size_t i = 0; i < bytes.size(); i += 64) // well compressible
            std::memset(&bytes[i], static_cast<int>((i / 64 + at) % 200 + 1), 48);
        write(*node, at, bytes, kCompressed);
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(at));
    }
    EXPECT_EQ(read(*node, 0, model.size()), model);
    EXPECT_TRUE(status(*node, 0, cluster).compressed);
    expect_ok(run(node->flush()));
    expect_clean(*node);
    const Bytes bytes = pattern(100000, 7);
    write(*node, kMiB - 1234, bytes); // over compressed ones
    std::copy(bytes.begin(), bytes.end(), model.begin() + kMiB - 1234);
    EXPECT_EQ(read(*node, 0, model.size()), model);
    expect_ok(run(node->close()));
    auto again = open(file);
    EXPECT_EQ(read(*again, 0, model.size()), model);
    expect_clean(*again);
}

TEST_F(Qcow2Data, ClustersThatDoNotCompressAreStoredAsTheyAre) {
    auto file = make(kMiB);
    auto node = open(file);
    const Bytes noise = pattern(65536, 3);
    write(*node, 65536, noise, kCompressed);
    EXPECT_EQ(read(*node, 65536, 65536), noise);
    EXPECT_FALSE(try_write(*node, 100, noise, kCompressed));
    expect_ok(run(node->flush()));
    expect_clean(*node);
}

TEST_F(Qcow2Data, ASequentialWriteIsOneRequestBelow) {
    auto file = make(64 * kMiB);
    auto node = open(file);
    write(*node, 0, pattern(65536, 1));
    file->log.clear();
    write(*node, 65536, pattern(2 * kMiB, 2));
    ASSERT_EQ(file->count(MemoryBlockNode::Kind::kWrite), 1u);
    EXPECT_EQ(file->log.back().length, 2 * kMiB);
    file->log.clear();
    write(*node, 65536 * 5 + 4096, pattern(4096, 3)); // in place: no metadata
    EXPECT_EQ(file->log.size(), 1u);
    expect_ok(run(node->flush()));
    EXPECT_EQ(file->count(MemoryBlockNode::Kind::kFlush), 2u); // data and counts, then tables
    file->log.clear();
    write(*node, 65536 * 5, pattern(4096, 3));
    expect_ok(run(node->flush()));
    EXPECT_EQ(file->count(MemoryBlockNode::Kind::kFlush), 1u);
}

TEST_F(Qcow2Data, AHugeImageOpensWithFewReads) {
    auto file = make(10ull << 40);
    file->log.clear();
    auto node = open(file);
    std::uint64_t bytes = 0;
    for (const auto &request : file->log)
        bytes += request.length;
    EXPECT_LE(bytes, 400000u); // header, L1 table (160 KiB), refcount table
    EXPECT_EQ(node->image().l2.resident(), 0u);
    write(*node, 9ull << 40, pattern(4096, 1));
    EXPECT_EQ(read(*node, 9ull << 40, 4096), pattern(4096, 1));
}

TEST_F(Qcow2Data, StatusIsExact) {
    auto file = make(4 * kMiB);
    auto node = open(file);
    write(*node, 65536, pattern(3 * 65536, 1));
    expect_ok(run(node->write_zeroes(5 * 65536, 65536)));
    Extent extent = status(*node, 0, 4 * kMiB);
    EXPECT_EQ(extent.length, 65536u);
    EXPECT_FALSE(extent.allocated);
    EXPECT_TRUE(extent.zero);
    extent = status(*node, 65536, 4 * kMiB);
    EXPECT_EQ(extent.length, 3 * 65536u);
    EXPECT_TRUE(extent.data && extent.allocated);
    ASSERT_TRUE(extent.host_offset);
    EXPECT_EQ(std::memcmp(&file->bytes[*extent.host_offset], pattern(3 * 65536, 1).data(), 3 * 65536), 0);
    extent = status(*node, 5 * 65536, 4 * kMiB);
    EXPECT_EQ(extent.length, 65536u);
    EXPECT_TRUE(extent.zero && extent.allocated && !extent.data);
}

} // namespace
} // namespace rhea::block::qcow2
