// The header: every field that does not fit is refused by name, and what is written reads back.
#include "block/qcow2/header.h"
#include "tests/unit/block/qcow2/fixture.h"

namespace rhea::block::qcow2 {
namespace {

Header sample() {
    Header h;
    h.size = 10 << 20;
    h.l1_size = 1;
    h.l1_offset = 0x30000;
    h.refcount_table_offset = 0x10000;
    h.refcount_table_clusters = 1;
    return h;
}
Bytes stored(const Header &header) { return serialise_header(header, "x").value(); }
/// The sentence about a header with one changed field.
std::string refusal(Bytes bytes) {
    auto parsed = parse_header(bytes, "x.qcow2");
    if (parsed) {
        auto placed = check_header_places(*parsed, 0x40000, "x.qcow2");
        return placed ? "" : placed.error().message();
    }
    return parsed.error().message();
}
template <typename T> Bytes with(Bytes bytes, std::size_t at, T value) {
    store_be(&bytes[at], value);
    return bytes;
}

TEST(Qcow2Header, ReadsBackWhatItWrote) {
    Header h = sample();
    h.backing_file = "base.img";
    h.backing_format = "raw";
    h.compatible = kLazyRefcounts;
    h.refcount_order = 3;
    h.incompatible = kCompressionType | kExtendedL2;
    h.compression = Compression::kZstd;
    h.autoclear = kBitmapsConsistent;
    h.bitmaps = BitmapExtension{2, 96, 0x20000};
    h.unknown_extensions.push_back({0x12345678, {1, 2, 3}});
    auto back = parse_header(stored(h), "x");
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(back->backing_file, "base.img");
    EXPECT_EQ(back->backing_format, "raw");
    EXPECT_EQ(back->refcount_order, 3u);
    EXPECT_TRUE(back->lazy_refcounts());
    EXPECT_TRUE(back->extended_l2());
    EXPECT_EQ(back->compression, Compression::kZstd);
    ASSERT_TRUE(back->bitmaps);
    EXPECT_EQ(back->bitmaps->directory_offset, 0x20000u);
    ASSERT_EQ(back->unknown_extensions.size(), 1u);
    EXPECT_EQ(back->unknown_extensions[0].data, (Bytes{1, 2, 3}));
    EXPECT_EQ(stored(*back), stored(h));
}

TEST(Qcow2Header, Version2HasNoExtraFields) {
    Header h = sample();
    h.version = 2;
    auto back = parse_header(stored(h), "x");
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(back->version, 2u);
    EXPECT_EQ(back->refcount_order, 4u);
}

TEST(Qcow2Header, BadFieldsAreRefusedByName) {
    const Bytes good = stored(sample());
    EXPECT_EQ(refusal(good), "");
    const struct {
        Bytes bytes;
        const char *word;
    } cases[] = {
        {with(good, 0, std::uint32_t{0}), "magic"},
        {with(good, 4, std::uint32_t{4}), "version 4"},
        {with(good, 20, std::uint32_t{8}), "cluster_bits is 8"},
        {with(good, 20, std::uint32_t{22}), "cluster_bits is 22"},
        {with(good, 96, std::uint32_t{7}), "refcount_order is 7"},
        {with(good, 100, std::uint32_t{96}), "header_length is 96"},
        {with(good, 100, std::uint32_t{1 << 20}), "header_length"},
        {with(good, 32, std::uint32_t{1}), "encrypted"},
        {with(good, 72, std::uint64_t{1} << 40), "bit 40"},
        {with(good, 36, std::uint32_t{0}), "L1 table has 0 entries"},
        {with(good, 36, std::uint32_t{0x10000000}), "L1 table"},
        {with(good, 40, std::uint64_t{0x30200}), "multiple of the cluster size"},
        {with(good, 40, std::uint64_t{0x7fff000000000000}), "L1 table"},
        {with(good, 48, std::uint64_t{0x10001}), "refcount table"},
        {with(good, 48, std::uint64_t{0x100000}), "not inside the file"},
        {with(good, 56, std::uint32_t{0}), "no refcount table"},
        {with(good, 56, std::uint32_t{1 << 20}), "refcount table has"},
        {with(good, 60, std::uint32_t{70000}), "70000 snapshots"},
        {with(with(good, 60, std::uint32_t{5}), 64, std::uint64_t{0x123}), "snapshot table"},
        {with(good, 24, ~std::uint64_t{0}), "disk size"},
        {with(good, 8, std::uint64_t{0x20000}), "backing_file_offset"},
        {with(with(good, 8, std::uint64_t{0x600}), 16, std::uint32_t{2000}), "backing_file_size"},
        {with(good, 104, std::uint8_t{1}), "compression_type is 1 without"},
        {with(good, 72, std::uint64_t{8}), "compression_type is 0 with"},
        {with(good, 88, std::uint64_t{1}), "no bitmaps extension"},
        {with(good, 88, std::uint64_t{2}), "raw external data bit"},
        {with(good, 116, std::uint32_t{0x7fffffff}), "header extension"},
    };
    for (const auto &each : cases)
        EXPECT_NE(refusal(each.bytes).find(each.word), std::string::npos) << each.word << ": " << refusal(each.bytes);
}

TEST(Qcow2Header, NamesOfUnknownFeaturesComeFromTheImage) {
    Bytes bytes = stored(sample());
    store_be(&bytes[72], std::uint64_t{1} << 9);
    // The first entry of the feature name table, which follows the header at 112 + 8.
    bytes[120] = 0;
    bytes[121] = 9;
    std::memcpy(&bytes[122], "quantum clusters", 17);
    EXPECT_NE(refusal(bytes).find("quantum clusters"), std::string::npos) << refusal(bytes);
}

TEST(Qcow2Header, TruncatedFilesAreRefused) {
    const Bytes good = stored(sample());
    for (std::size_t size = 0; size < 112; ++size) {
        auto parsed = parse_header(std::span(good.data(), size), "x");
        EXPECT_FALSE(parsed && check_header_places(*parsed, size, "x")) << size;
    }
}

TEST(Qcow2Header, SmallClustersHaveRoomForABackingFile) {
    Header h = sample();
    h.cluster_bits = 9;
    h.backing_file = std::string(200, 'b');
    h.backing_format = "qcow2";
    EXPECT_EQ(stored(h).size(), 512u);
    h.backing_file = std::string(1000, 'b');
    EXPECT_FALSE(serialise_header(h, "x"));
}

} // namespace
} // namespace rhea::block::qcow2
