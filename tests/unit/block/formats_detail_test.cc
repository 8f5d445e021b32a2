// What is particular to one format: sizes, logs, checksums, descriptors, compressed grains, Apple's chunks, NBD's names.
#include <gtest/gtest.h>
#include <zlib.h>

#include "block/dmg/dmg_chunks.h"
#include "block/format/bytes.h"
#include "block/nbd/nbd_address.h"
#include "block/vhdx/vhdx_log.h"
#include "block/vmdk/vmdk_descriptor.h"
#include "block/vmdk/vmdk_header.h"
#include "block/vpc/vpc_header.h"
#include "tests/support/memory_image.h"

namespace rhea::block {
namespace {

using namespace testing;

class FormatDetail : public ::testing::Test {
protected:
    MemoryPtr create(const std::string &format, std::uint64_t size, const std::string &options = "") {
        MemoryPtr file = memory_file(context_);
        auto made = create_in(context_, format, file, size, options);
        EXPECT_TRUE(made) << made.error().message();
        return file;
    }
    std::string open_error(const std::string &format, MemoryPtr file, OpenFlags flags = {}) {
        auto node = open_in(context_, format, std::move(file), flags);
        return node ? "it opened" : node.error().message();
    }
    IoContext context_;
};

// ---- vpc -------------------------------------------------------------------------------------------------------------

TEST_F(FormatDetail, VpcGeometriesAreTheSpecificationsOnes) {
    // Sizes of images that other programs make, and the geometry in their footers.
    const struct {
        std::uint64_t size;
        VpcGeometry geometry;
        std::uint64_t bytes;
    } kCases[] = {
        {1 << 20, {31, 4, 17}, 1079296},
        {10 << 20, {302, 4, 17}, 10514432},
        {100 << 20, {1004, 12, 17}, 104865792},
        {1ull << 30, {2081, 16, 63}, 1073995776},
        {8ull << 30, {16645, 16, 63}, 8590417920},
        {127ull << 30, {65279, 16, 255}, 136365219840},
        {128ull << 30, {65535, 16, 255}, 128ull << 30},
    };
    for (const auto &each : kCases) {
        const VpcGeometry geometry = VpcGeometry::covering(each.size / 512);
        EXPECT_EQ(geometry.cylinders, each.geometry.cylinders) << each.size;
        EXPECT_EQ(geometry.heads, each.geometry.heads) << each.size;
        EXPECT_EQ(geometry.sectors, each.geometry.sectors) << each.size;
        auto node = open_in(context_, "vpc", create("vpc", each.size));
        ASSERT_TRUE(node);
        EXPECT_EQ((*node)->length(), each.bytes);
    }
}

TEST_F(FormatDetail, VpcRefusesWrongChecksumsAndDifferencingImages) {
    MemoryPtr file = create("vpc", 1 << 20);
    file->bytes[50] ^= 1;
    EXPECT_NE(open_error("vpc", file).find("checksum"), std::string::npos);
    EXPECT_EQ(create_in(context_, "vpc", memory_file(context_), 2041ull << 30).error().code(), EFBIG);
    VpcFooter footer = VpcFooter::make(VpcType::kDifferencing, 2048, VpcGeometry::largest(), true);
    MemoryPtr other = memory_file(context_, {footer.raw.begin(), footer.raw.end()});
    EXPECT_NE(open_error("vpc", other).find("differencing"), std::string::npos);
}

// ---- vdi -------------------------------------------------------------------------------------------------------------

TEST_F(FormatDetail, VdiCheckFindsBlocksThatAreUsedTwice) {
    MemoryPtr file = create("vdi", 4 << 20);
    auto node = open_in(context_, "vdi", file);
    ASSERT_TRUE(node);
    ASSERT_TRUE(write_bytes(context_, **node, 0, std::vector<std::uint8_t>(512, 1)));
    ASSERT_TRUE(write_bytes(context_, **node, 2 << 20, std::vector<std::uint8_t>(512, 2)));
    EXPECT_EQ(context_.run((*node)->check(CheckFix::kNone))->allocated_clusters, 2u);
    std::copy_n(&file->bytes[512], 4, &file->bytes[520]); // entry 2 names the block of entry 0
    node = open_in(context_, "vdi", file);
    auto checked = context_.run((*node)->check(CheckFix::kNone));
    EXPECT_EQ(checked->corruptions, 1u);
    EXPECT_EQ(checked->leaks, 1u);
}

TEST_F(FormatDetail, AnImageThatTurnsOutDamagedIsNotWrittenAnyMore) {
    MemoryPtr file = create("vdi", 4 << 20);
    store_le32(&file->bytes[512 + 4], 77); // block 1 lies nowhere
    auto node = open_in(context_, "vdi", file);
    ASSERT_TRUE(node);
    EXPECT_TRUE(read_bytes(context_, **node, 1 << 20, 512).empty());
    const auto before = file->bytes;
    auto refused = write_bytes(context_, **node, 0, std::vector<std::uint8_t>(512, 1));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), EIO);
    EXPECT_TRUE(file->bytes == before);
}

// ---- vhdx ------------------------------------------------------------------------------------------------------------

TEST_F(FormatDetail, Crc32cIsCastagnolis) {
    const std::string text = "....123456789";
    const std::span bytes(reinterpret_cast<const std::uint8_t *>(text.data()), text.size());
    EXPECT_EQ(crc32c(bytes.subspan(4), 100), 0xe3069283u);
    const std::uint8_t zeroes[4] = {};
    EXPECT_EQ(crc32c(bytes.first(4), 0), crc32c(zeroes, 100));
}

TEST_F(FormatDetail, VhdxLogIsReplayedAndRefusedReadOnly) {
    MemoryPtr file = create("vhdx", 8 << 20, "block_size=1M");
    auto node = open_in(context_, "vhdx", file);
    ASSERT_TRUE(node);
    ASSERT_TRUE(write_bytes(context_, **node, 0, std::vector<std::uint8_t>(512, 1)));
    const auto table = file->bytes;
    ASSERT_TRUE(write_bytes(context_, **node, 3 << 20, std::vector<std::uint8_t>(512, 2)));
    auto crashed = file->bytes;
    // The block table as it was: the second update is only in the log.
    std::copy_n(&table[3 << 20], 1 << 20, &crashed[3 << 20]);
    ASSERT_TRUE(crashed != file->bytes);

    OpenFlags read_only;
    read_only.read_only = true;
    MemoryPtr left = memory_file(context_, crashed);
    EXPECT_NE(open_error("vhdx", left, read_only).find("replayed"), std::string::npos);
    EXPECT_TRUE(left->bytes == crashed);
    auto again = open_in(context_, "vhdx", left);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(read_bytes(context_, **again, 3 << 20, 512), std::vector<std::uint8_t>(512, 2));
    EXPECT_EQ(context_.run((*again)->check(CheckFix::kNone))->corruptions_fixed, 1u);
    ASSERT_TRUE(context_.run((*again)->close()));
    again = open_in(context_, "vhdx", left, read_only);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(read_bytes(context_, **again, 0, 512), std::vector<std::uint8_t>(512, 1));
}

TEST_F(FormatDetail, VhdxLogGoesRound) {
    // An entry has 8 KiB, the log 1 MiB. Of the last three, the sectors are in the log only.
    MemoryPtr file = memory_file(context_);
    file->bytes.resize(3 << 20);
    VhdxHeader header;
    header.log_offset = kVhdxMiB;
    header.log_length = kVhdxMiB;
    header.log_guid = random_uuid(false);
    FileAccess access(file, "memory");
    VhdxLog log(access);
    log.start(header);
    std::vector<std::uint8_t> expected(8 * kVhdxLogSector);
    constexpr unsigned kCount = 300;
    for (unsigned i = 0; i < kCount; ++i) {
        const std::uint64_t in = i % 8 * kVhdxLogSector;
        const VhdxSector sector{2 * kVhdxMiB + in, std::vector<std::uint8_t>(kVhdxLogSector, static_cast<std::uint8_t>(i + 1))};
        ASSERT_TRUE(context_.run(log.append({sector})));
        std::copy(sector.bytes.begin(), sector.bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(in));
        if (i + 3 < kCount)
            std::copy(sector.bytes.begin(), sector.bytes.end(), file->bytes.begin() + static_cast<std::ptrdiff_t>(sector.offset));
    }
    VhdxLog again(access);
    ASSERT_TRUE(context_.run(again.scan(header)));
    ASSERT_TRUE(again.pending());
    ASSERT_TRUE(context_.run(again.replay()));
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), file->bytes.begin() + 2 * kVhdxMiB));
    header.log_guid[0] ^= 1;
    ASSERT_TRUE(context_.run(again.scan(header)));
    EXPECT_FALSE(again.pending());
}

TEST_F(FormatDetail, VhdxAfterAPowerCutIsWhole) {
    MemoryPtr file = create("vhdx", 8 << 20, "block_size=1M");
    ASSERT_TRUE(context_.run(file->flush()));
    auto node = open_in(context_, "vhdx", file);
    ASSERT_TRUE(node);
    for (unsigned block = 0; block < 4; ++block)
        ASSERT_TRUE(write_bytes(context_, **node, std::uint64_t{block} << 20, std::vector<std::uint8_t>(512, 9)));
    ASSERT_TRUE(context_.run((*node)->flush()));
    ASSERT_TRUE(write_bytes(context_, **node, 6 << 20, std::vector<std::uint8_t>(512, 7)));
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
        auto again = open_in(context_, "vhdx", memory_file(context_, file->after_crash(seed)));
        ASSERT_TRUE(again) << again.error().message();
        EXPECT_EQ(context_.run((*again)->check(CheckFix::kNone))->corruptions, 0u);
        for (unsigned block = 0; block < 4; ++block)
            EXPECT_EQ(read_bytes(context_, **again, std::uint64_t{block} << 20, 512), std::vector<std::uint8_t>(512, 9));
    }
}

// ---- qed -------------------------------------------------------------------------------------------------------------

TEST_F(FormatDetail, QedThatWasNotClosedIsCheckedAndRepaired) {
    MemoryPtr file = create("qed", 4 << 20, "cluster_size=4k,table_size=1");
    auto node = open_in(context_, "qed", file);
    ASSERT_TRUE(node);
    ASSERT_TRUE(write_bytes(context_, **node, 0, std::vector<std::uint8_t>(4096, 1)));
    EXPECT_EQ(load_le64(&file->bytes[16]) & 2, 2u); // need check
    const std::uint64_t table = load_le64(&file->bytes[4096]);
    store_le64(&file->bytes[table + 8], 0x123456000); // behind the end
    OpenFlags check;
    check.check = true;
    auto broken = open_in(context_, "qed", memory_file(context_, file->bytes), check);
    ASSERT_TRUE(broken);
    EXPECT_EQ(context_.run((*broken)->check(CheckFix::kNone))->corruptions, 1u);
    auto again = open_in(context_, "qed", file);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(load_le64(&file->bytes[table + 8]), 0u);
    EXPECT_EQ(load_le64(&file->bytes[16]) & 2, 0u);
    EXPECT_EQ(read_bytes(context_, **again, 0, 4096), std::vector<std::uint8_t>(4096, 1));
}

TEST_F(FormatDetail, QedGrowsAndNamesAnotherBackingFile) {
    MemoryPtr file = create("qed", 1 << 20, "backing_file=old.img,backing_fmt=raw");
    OpenFlags flags;
    flags.no_backing = true;
    auto node = open_in(context_, "qed", file, flags);
    ASSERT_TRUE(node) << node.error().message();
    ASSERT_TRUE(context_.run((*node)->truncate(2 << 20)));
    EXPECT_EQ(context_.run((*node)->truncate(1 << 20)).error().code(), ENOTSUP);
    ASSERT_TRUE(context_.run((*node)->change_backing_file("new.img", "qed")));
    node = open_in(context_, "qed", file, flags);
    ASSERT_TRUE(node);
    EXPECT_EQ((*node)->length(), 2u << 20);
    auto info = context_.run((*node)->info());
    EXPECT_EQ(info->backing_filename, "new.img");
    EXPECT_EQ(info->backing_format, "");
}

// ---- vmdk ------------------------------------------------------------------------------------------------------------

TEST_F(FormatDetail, VmdkDescriptorIsReadAsItIsWritten) {
    VmdkDescriptor descriptor;
    descriptor.cid = 0x1234abcd;
    descriptor.create_type = "twoGbMaxExtentFlat";
    descriptor.parent_hint = "a b.vmdk";
    descriptor.extents = {{"RW", "FLAT", "x-f001.vmdk", 4192256, 0}, {"RDONLY", "FLAT", "x y.vmdk", 7, 9}};
    const std::string text = vmdk_descriptor_text(descriptor, {});
    EXPECT_TRUE(VmdkDescriptor::looks_like_one(text));
    auto parsed = VmdkDescriptor::parse(text, "x.vmdk");
    ASSERT_TRUE(parsed) << parsed.error().message();
    EXPECT_EQ(parsed->cid, descriptor.cid);
    EXPECT_EQ(parsed->parent_cid, kVmdkNoParent);
    EXPECT_EQ(parsed->parent_hint, "a b.vmdk");
    ASSERT_EQ(parsed->extents.size(), 2u);
    EXPECT_EQ(parsed->extents[1].filename, "x y.vmdk");
    EXPECT_EQ(parsed->extents[1].offset, 9u);
    EXPECT_EQ(VmdkDescriptor::parse(VmdkDescriptor::with_cid(text, 5), "x")->cid, 5u);
    for (const char *bad : {"", "CID=1", "CID=zz\ncreateType=\"x\"\nRW 1 ZERO\n", "CID=1\ncreateType=\"x\"\nRW many SPARSE \"a\"\n",
                            "CID=1\ncreateType=\"x\"\nRW 99999999999999999999 ZERO\n", "CID=1\ncreateType=\"x\"\nRW 1 SPARSE\n"})
        EXPECT_FALSE(VmdkDescriptor::parse(bad, "x")) << bad;
}

TEST_F(FormatDetail, VmdkThatIsWrittenGetsAnotherCid) {
    MemoryPtr file = create("vmdk", 1 << 20);
    auto node = open_in(context_, "vmdk", file);
    ASSERT_TRUE(node) << node.error().message();
    const auto cid = [&](BlockNode &of) { return context_.run(of.info())->details.at(0).json; };
    const std::string before = cid(**node);
    ASSERT_TRUE(write_bytes(context_, **node, 0, std::vector<std::uint8_t>(512, 1)));
    EXPECT_NE(cid(**node), before);
    auto again = open_in(context_, "vmdk", file);
    EXPECT_EQ(cid(**again), cid(**node));
}

TEST_F(FormatDetail, VmdkGrainsAreCompressedOnce) {
    MemoryPtr file = create("vmdk", 1 << 20, "subformat=streamOptimized");
    auto node = open_in(context_, "vmdk", file);
    ASSERT_TRUE(node) << node.error().message();
    const std::size_t before = file->bytes.size();
    ASSERT_TRUE(write_bytes(context_, **node, 65536, std::vector<std::uint8_t>(65536, 'x'), kCompressed));
    EXPECT_EQ(file->bytes.size(), before + 512); // a marker and some bytes
    EXPECT_TRUE(context_.run((*node)->block_status(65536, 65536))->compressed);
    EXPECT_EQ(write_bytes(context_, **node, 65536, std::vector<std::uint8_t>(512, 'y')).error().code(), EIO);
    EXPECT_EQ(read_bytes(context_, **node, 65536 + 65000, 536), std::vector<std::uint8_t>(536, 'x'));
}

TEST_F(FormatDetail, VmdkWithItsDirectoryAtTheEndIsRead) {
    MemoryPtr file = create("vmdk", 1 << 20, "subformat=streamOptimized");
    auto node = open_in(context_, "vmdk", file);
    ASSERT_TRUE(write_bytes(context_, **node, 0, std::vector<std::uint8_t>(65536, 'x')));
    std::vector<std::uint8_t> bytes = file->bytes;
    std::vector<std::uint8_t> footer(3 * 512);
    store_le64(&footer[0], 1);
    store_le32(&footer[12], 3);
    std::copy_n(bytes.begin(), 512, footer.begin() + 512); // the header, with the directory's place
    bytes.insert(bytes.end(), footer.begin(), footer.end());
    store_le64(&bytes[56], kVmdkGdAtEnd);
    OpenFlags read_only;
    read_only.read_only = true;
    auto again = open_in(context_, "vmdk", memory_file(context_, bytes), read_only);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(read_bytes(context_, **again, 0, 65536), std::vector<std::uint8_t>(65536, 'x'));
    EXPECT_NE(open_error("vmdk", memory_file(context_, bytes)).find("read-only"), std::string::npos);
    bytes.resize(bytes.size() - 512);
    EXPECT_NE(open_error("vmdk", memory_file(context_, bytes), read_only).find("cut off"), std::string::npos);
}

TEST_F(FormatDetail, VmdkWithAnotherParentThanItsOwnIsRefused) {
    MemoryPtr parent = create("vmdk", 1 << 20);
    auto base = open_in(context_, "vmdk", parent);
    MemoryPtr child = create("vmdk", 1 << 20);
    std::string text(reinterpret_cast<const char *>(&child->bytes[512]), 4096);
    const auto at = text.find("parentCID=ffffffff");
    ASSERT_NE(at, std::string::npos);
    std::copy_n("parentCID=00000001", 18, &child->bytes[512 + at]);
    auto node = open_in(context_, "vmdk", child, {}, *base, "backing.filename=parent");
    ASSERT_FALSE(node);
    EXPECT_NE(node.error().message().find("00000001"), std::string::npos) << node.error().message();
}

// ---- dmg -------------------------------------------------------------------------------------------------------------

std::string base64(const std::vector<std::uint8_t> &bytes) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t bits = 0;
        const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
        for (std::size_t k = 0; k < 3; ++k)
            bits = bits << 8 | (k < count ? bytes[i + k] : 0);
        for (std::size_t k = 0; k < 4; ++k)
            text += k <= count ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
        if (i % 48 == 45)
            text += "\n\t\t";
    }
    return text;
}

struct Chunk {
    std::uint32_t type;
    std::uint64_t sector, count;
    std::vector<std::uint8_t> stored;
};

std::vector<std::uint8_t> dmg_image(const std::vector<Chunk> &chunks) {
    std::vector<std::uint8_t> image, table(204 + 40 * (chunks.size() + 1));
    std::copy_n("mish", 4, table.begin());
    store_be32(&table[200], static_cast<std::uint32_t>(chunks.size() + 1));
    for (std::size_t i = 0; i <= chunks.size(); ++i) {
        std::uint8_t *entry = &table[204 + 40 * i];
        store_be32(entry, i < chunks.size() ? chunks[i].type : 0xffffffff);
        if (i == chunks.size())
            break;
        store_be64(entry + 8, chunks[i].sector);
        store_be64(entry + 16, chunks[i].count);
        store_be64(entry + 24, image.size());
        store_be64(entry + 32, chunks[i].stored.size());
        image.insert(image.end(), chunks[i].stored.begin(), chunks[i].stored.end());
    }
    const std::string list = "<?xml version=\"1.0\"?><plist><dict><key>resource-fork</key><dict><key>blkx</key><array><dict><key>Data</key>"
                             "<data>\n\t\t" + base64(table) + "\n\t\t</data></dict></array></dict></dict></plist>";
    std::vector<std::uint8_t> trailer(512);
    std::copy_n("koly", 4, trailer.begin());
    store_be64(&trailer[216], image.size());
    store_be64(&trailer[224], list.size());
    image.insert(image.end(), list.begin(), list.end());
    image.insert(image.end(), trailer.begin(), trailer.end());
    return image;
}

TEST_F(FormatDetail, DmgChunksOfEachKindAreRead) {
    std::vector<std::uint8_t> plain(16 * 512);
    for (std::size_t i = 0; i < plain.size(); ++i)
        plain[i] = static_cast<std::uint8_t>(i / 7);
    std::vector<std::uint8_t> compressed(compressBound(plain.size()));
    uLongf size = compressed.size();
    ASSERT_EQ(compress(compressed.data(), &size, plain.data(), plain.size()), Z_OK);
    compressed.resize(size);
    const std::vector<Chunk> chunks = {
        {1, 0, 2, std::vector<std::uint8_t>(1024, 0x11)},
        {0, 2, 3, {}},
        {0x7ffffffe, 5, 0, {}},
        {0x80000005, 5, 16, compressed},
        {2, 21, 10, {}},
    };
    OpenFlags flags;
    flags.read_only = true;
    auto node = open_in(context_, "dmg", memory_file(context_, dmg_image(chunks)), flags);
    ASSERT_TRUE(node) << node.error().message();
    EXPECT_EQ((*node)->length(), 31u * 512);
    std::vector<std::uint8_t> expected(31 * 512);
    std::fill_n(expected.begin(), 1024, 0x11);
    std::copy(plain.begin(), plain.end(), expected.begin() + 5 * 512);
    EXPECT_TRUE(read_bytes(context_, **node, 0, expected.size()) == expected);
    EXPECT_EQ(read_bytes(context_, **node, 5 * 512 + 100, 30),
              std::vector<std::uint8_t>(plain.begin() + 100, plain.begin() + 130));
    EXPECT_TRUE(context_.run((*node)->block_status(1024, 4096))->zero);
    EXPECT_TRUE(context_.run((*node)->block_status(5 * 512, 512))->compressed);
    EXPECT_EQ(open_in(context_, "dmg", memory_file(context_, dmg_image(chunks))).error().code(), EACCES);
}

TEST_F(FormatDetail, DmgRefusesWhatItCannotRead) {
    OpenFlags flags;
    flags.read_only = true;
    const auto error = [&](const std::vector<Chunk> &chunks) {
        return open_error("dmg", memory_file(context_, dmg_image(chunks)), flags);
    };
    const std::vector<std::uint8_t> some(100, 1);
    EXPECT_NE(error({{0x80000007, 0, 1, some}}).find("LZFSE"), std::string::npos);
    EXPECT_NE(error({{0x80000004, 0, 1, some}}).find("ADC"), std::string::npos);
    EXPECT_NE(error({{9, 0, 1, some}}).find("type 0x9"), std::string::npos);
    EXPECT_NE(error({{0, 0, 5, {}}, {0, 4, 2, {}}}).find("both have sector 4"), std::string::npos);
    EXPECT_NE(error({{0, UINT64_MAX / 2, 5, {}}}).find("behind the end"), std::string::npos);
    EXPECT_NE(error({{0x80000005, 0, 1 << 20, some}}).find("cannot be"), std::string::npos);
    EXPECT_NE(error({{1, 0, 1, some}}).find("cannot be"), std::string::npos);
    auto damaged = open_in(context_, "dmg", memory_file(context_, dmg_image({{0x80000005, 0, 1, some}})), flags);
    ASSERT_TRUE(damaged);
    EXPECT_TRUE(read_bytes(context_, **damaged, 0, 512).empty());
    EXPECT_EQ(decode_base64("SGVs bG8="), (std::vector<std::uint8_t>{'H', 'e', 'l', 'l', 'o'}));
    EXPECT_TRUE(decode_base64("SGV<").empty());
}

// ---- nbd -------------------------------------------------------------------------------------------------------------

TEST_F(FormatDetail, NbdAddressesAreUnderstood) {
    const struct {
        const char *name, *socket, *host, *port, *export_name, *text;
    } kCases[] = {
        {"nbd://h", "", "h", "10809", "", "nbd://h:10809"},
        {"nbd://h:1/a/b%20c", "", "h", "1", "a/b c", "nbd://h:1/a/b%20c"},
        {"nbd+tcp://[::1]:2/x", "", "::1", "2", "x", "nbd://[::1]:2/x"},
        {"nbd+unix:///x?socket=/tmp/a%20b", "/tmp/a b", "", "10809", "x", "nbd+unix:///x?socket=/tmp/a%20b"},
        {"nbd:h:5:exportname=y", "", "h", "5", "y", "nbd://h:5/y"},
        {"nbd:unix:/s:exportname=y", "/s", "", "10809", "y", "nbd+unix:///y?socket=/s"},
    };
    for (const auto &each : kCases) {
        auto address = NbdAddress::from_name(each.name);
        ASSERT_TRUE(address) << each.name << ": " << address.error().message();
        EXPECT_EQ(address->socket_path, each.socket) << each.name;
        EXPECT_EQ(address->host, each.host) << each.name;
        EXPECT_EQ(address->port, each.port) << each.name;
        EXPECT_EQ(address->export_name, each.export_name) << each.name;
        EXPECT_EQ(address->text(), each.text);
    }
    for (const char *bad : {"nbds://h/x", "nbd+unix:///x", "nbd+unix:///x?sock=/s", "nbd:unix:", "nbd://[::1/x", "http://h", "nbd://h/x?y=1"})
        EXPECT_FALSE(NbdAddress::from_name(bad)) << bad;
}

TEST_F(FormatDetail, NbdOptionsAreUnderstood) {
    const auto take = [](const std::string &text) {
        NodeOptions options = options_of(text);
        return NbdAddress::take(options, "");
    };
    EXPECT_EQ(take("server.type=unix,server.path=/s,export=x")->text(), "nbd+unix:///x?socket=/s");
    EXPECT_EQ(take("server.type=inet,server.host=h,server.port=7")->text(), "nbd://h:7");
    EXPECT_EQ(take("host=h,port=8,export=e")->text(), "nbd://h:8/e");
    for (const char *bad : {"", "server.type=vsock,server.path=1", "server.path=/s,server.host=h", "server.pat=/s", "host=h,tls-creds=t"})
        EXPECT_FALSE(take(bad)) << bad;
}

} // namespace
} // namespace rhea::block
