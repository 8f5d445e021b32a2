// Damaged images of every format: valid ones with bytes, fields and lengths changed, opened, read, checked and written.
//
// What may come of it is an error that names the image, or data; never a crash, much memory, or a write to an image that
// could not be opened. RHEA_FUZZ_STEPS: how many images of each format (suite 'full' runs many).
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "block/format/bytes.h"
#include "block/vhdx/vhdx_layout.h"
#include "tests/support/memory_image.h"

namespace rhea::block {
namespace {

using namespace testing;

unsigned steps(unsigned usual) {
    const char *text = std::getenv("RHEA_FUZZ_STEPS");
    return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : usual;
}

struct Seed {
    const char *name, *driver, *options;
    std::uint64_t size;
};

const Seed kSeeds[] = {
    {"vdi", "vdi", "", 3 << 20},
    {"vpc", "vpc", "", 5 << 20},
    {"vpc_fixed", "vpc", "subformat=fixed", 1 << 20},
    {"vhdx", "vhdx", "block_size=1M", 3 << 20},
    {"qed", "qed", "cluster_size=4k,table_size=1", 3 << 20},
    {"vmdk", "vmdk", "zeroed_grain=on", 3 << 20},
    {"vmdk_stream", "vmdk", "subformat=streamOptimized", 3 << 20},
};

/// Makes checksums right again, so that what they protect is looked at, too.
void fix_checksums(std::string_view driver, std::vector<std::uint8_t> &bytes) {
    const auto fix_crc = [&](std::uint64_t at, std::size_t size) {
        if (at + size <= bytes.size())
            store_le32(&bytes[at + 4], crc32c(std::span(bytes).subspan(at, size), 4));
    };
    const auto fix_sum = [&](std::uint64_t at, std::size_t size, std::size_t hole) {
        if (at + size > bytes.size())
            return;
        std::uint32_t sum = 0;
        for (std::size_t i = 0; i < size; ++i)
            sum += i >= hole && i < hole + 4 ? 0 : bytes[at + i];
        store_be32(&bytes[at + hole], ~sum);
    };
    if (driver == "vhdx") {
        for (const std::uint64_t at : kVhdxHeaderAt)
            fix_crc(at, kVhdxHeaderBytes);
        for (const std::uint64_t at : kVhdxRegionTableAt)
            fix_crc(at, kVhdxRegionTableBytes);
        for (std::uint64_t at = kVhdxMiB; at < kVhdxMiB + 65536 && at + 12 < bytes.size(); at += 4096) {
            const std::uint32_t size = load_le32(&bytes[at + 8]);
            if (bytes[at] == 'l' && bytes[at + 1] == 'o' && size < 1 << 20)
                fix_crc(at, size);
        }
    } else if (driver == "vpc") {
        fix_sum(0, 512, 64);
        fix_sum(512, 1024, 36);
        if (bytes.size() >= 512)
            fix_sum(bytes.size() - 512, 512, 64);
    }
}

class FormatFuzz : public ::testing::TestWithParam<Seed> {
protected:
    /// An image with data in some clusters. Not closed: dirty bits and the log are set.
    std::vector<std::uint8_t> valid_image() {
        const Seed &seed = GetParam();
        MemoryPtr file = memory_file(context_);
        EXPECT_TRUE(create_in(context_, seed.driver, file, seed.size, seed.options));
        auto node = open_in(context_, seed.driver, file);
        if (!node) {
            ADD_FAILURE() << node.error().message();
            return {};
        }
        for (const std::uint64_t offset : {0u, 65536u, 1u << 20, 786432u})
            EXPECT_TRUE(write_bytes(context_, **node, offset, std::vector<std::uint8_t>(4096, 0x77)));
        return file->bytes;
    }

    /// Changes some fields; most changes hit bytes that are not zero, where the metadata are.
    void damage(std::vector<std::uint8_t> &bytes, std::mt19937_64 &random, const std::vector<std::size_t> &places) {
        constexpr std::uint64_t kNumbers[] = {0, 1, 2, 7, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32,
                                              INT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX - 511, 512, 4096, 1 << 20};
        for (unsigned left = 1 + random() % 4; left > 0; --left) {
            std::size_t at = places[random() % places.size()];
            at -= std::min<std::size_t>(at, random() % 8);
            const std::size_t width = std::min<std::size_t>(std::size_t{1} << random() % 4, bytes.size() - at);
            std::uint64_t value = random() % 3 == 0 ? random() : kNumbers[random() % std::size(kNumbers)];
            if (random() % 2)
                value = __builtin_bswap64(value) >> (64 - 8 * width);
            if (random() % 4 == 0)
                bytes[at] ^= static_cast<std::uint8_t>(1u << random() % 8);
            else
                std::memcpy(bytes.data() + at, &value, width);
        }
        if (random() % 8 == 0)
            bytes.resize(random() % bytes.size());
    }

    void use(MemoryPtr file, OpenFlags flags, std::mt19937_64 &random) {
        const auto before = file->bytes;
        auto node = open_in(context_, GetParam().driver, file, flags);
        if (!node) {
            EXPECT_FALSE(node.error().message().empty());
            return;
        }
        std::uint64_t length = (*node)->length();
        for (const std::uint64_t offset : {std::uint64_t{0}, length / 2, length > 70'000 ? length - 70'000 : 0})
            if (offset < length)
                read_bytes(context_, **node, offset, std::min<std::uint64_t>(70'000, length - offset));
        for (std::uint64_t offset = 0, left = 200; offset < length && left > 0; --left) {
            auto extent = context_.run((*node)->block_status(offset, std::min<std::uint64_t>(length - offset, 64 << 20)));
            if (!extent)
                break;
            ASSERT_GT(extent->length, 0u);
            ASSERT_LE(extent->length, length - offset);
            offset += extent->length;
        }
        if (length < (64 << 20)) // larger ones take long
            static_cast<void>(context_.run((*node)->check(CheckFix::kNone)));
        static_cast<void>(context_.run((*node)->info()));
        if (flags.read_only) {
            EXPECT_TRUE(file->bytes == before);
            return;
        }
        for (unsigned i = 0; i < 4 && length > 0; ++i) {
            const std::uint64_t offset = i == 0 ? 0 : random() % length;
            const std::uint64_t size = std::min<std::uint64_t>(1 + random() % 70'000, length - offset);
            static_cast<void>(write_bytes(context_, **node, offset, std::vector<std::uint8_t>(size, 1)));
            static_cast<void>(context_.run((*node)->write_zeroes(offset, size, kMayUnmap)));
        }
        static_cast<void>(context_.run((*node)->close()));
    }

    IoContext context_;
};

TEST_P(FormatFuzz, DamagedImagesDoNoHarm) {
    const std::vector<std::uint8_t> valid = valid_image();
    ASSERT_FALSE(valid.empty());
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < valid.size(); ++i)
        if (valid[i] != 0 && valid[i] != 0x77 && (i < 4096 || valid[i] != 0xff || i % 64 == 0))
            places.push_back(i);
    ASSERT_FALSE(places.empty());
    std::mt19937_64 random(1);
    const unsigned count = steps(150);
    for (unsigned i = 0; i < count; ++i) {
        std::vector<std::uint8_t> bytes = valid;
        damage(bytes, random, places);
        if (random() % 4 != 0)
            fix_checksums(GetParam().driver, bytes);
        OpenFlags flags;
        flags.read_only = random() % 2;
        flags.check = random() % 4 == 0;
        SCOPED_TRACE(i);
        use(memory_file(context_, std::move(bytes), 64 << 20), flags, random);
    }
}

INSTANTIATE_TEST_SUITE_P(All, FormatFuzz, ::testing::ValuesIn(kSeeds), [](const auto &each) { return std::string(each.param.name); });

} // namespace
} // namespace rhea::block
