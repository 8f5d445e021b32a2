// Damaged images of every format: valid ones with bytes, fields and lengths changed, opened, read, checked and written.
//
// What may come of it is an error that names the image, or data; never a crash, much memory, or a write to an image that
// could not be opened. RHEA_FUZZ_STEPS: how many images of each format (suite 'full' runs many).
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "tests/fuzz/block/format_input.h"
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
        run_format_input(context_, GetParam().driver, std::move(bytes), flags, random);
    }
}

INSTANTIATE_TEST_SUITE_P(All, FormatFuzz, ::testing::ValuesIn(kSeeds), [](const auto &each) { return std::string(each.param.name); });

} // namespace
} // namespace rhea::block
