// Every format against an array of bytes: random requests, reopening, killed writers, errors of the file below.
#include <gtest/gtest.h>

#include <random>

#include "tests/support/memory_image.h"

namespace rhea::block {
namespace {

using namespace testing;
using Kind = MemoryBlockNode::Kind;

struct Format {
    const char *name, *driver, *options;
    std::uint64_t size;
    bool can_overwrite = true; ///< a cluster may be written twice
    bool can_back = false;
};

const Format kFormats[] = {
    {"vdi", "vdi", "", 5 << 20},
    {"vdi_static", "vdi", "static=on", 3 << 20},
    {"vpc", "vpc", "force_size=on", (5 << 20) + 512},
    {"vpc_geometry", "vpc", "", 5 << 20},
    {"vpc_fixed", "vpc", "subformat=fixed,force_size=on", 3 << 20},
    {"vhdx", "vhdx", "block_size=1M", (5 << 20) + 512},
    {"vhdx_state", "vhdx", "block_size=1M,block_state_zero=off", 5 << 20},
    {"vhdx_fixed", "vhdx", "block_size=1M,subformat=fixed", 3 << 20},
    {"qed", "qed", "cluster_size=4k,table_size=1", (5 << 20) + 512, true, true},
    {"qed_large", "qed", "", 5 << 20, true, true},
    {"vmdk", "vmdk", "", (5 << 20) + 512, true, true},
    {"vmdk_zeroed", "vmdk", "zeroed_grain=on", 5 << 20, true, true},
    {"vmdk_stream", "vmdk", "subformat=streamOptimized", (5 << 20) + 512, false},
};

class FormatTest : public ::testing::TestWithParam<Format> {
protected:
    MemoryPtr create(std::uint64_t size = 0) {
        const Format &format = GetParam();
        MemoryPtr file = memory_file(context_);
        auto made = create_in(context_, format.driver, file, size ? size : format.size, format.options);
        EXPECT_TRUE(made) << made.error().message();
        return file;
    }
    NodePtr open(MemoryPtr file, OpenFlags flags = {}, NodePtr backing = nullptr) {
        auto node = open_in(context_, GetParam().driver, std::move(file), flags, backing, backing ? "backing.filename=parent" : "");
        EXPECT_TRUE(node) << node.error().message();
        return node ? *node : nullptr;
    }
    void close(NodePtr &node) {
        auto closed = context_.run(node->close());
        EXPECT_TRUE(closed) << closed.error().message();
        node.reset();
    }
    /// `count` random requests on node and model; each cluster at most once when it cannot be overwritten.
    void random_requests(BlockNode &node, std::vector<std::uint8_t> &model, unsigned seed, int count);
    void expect_same(BlockNode &node, const std::vector<std::uint8_t> &model) {
        EXPECT_TRUE(read_bytes(context_, node, 0, model.size()) == model);
    }
    void expect_clean(BlockNode &node) {
        auto checked = context_.run(node.check(CheckFix::kNone));
        if (!checked) {
            EXPECT_EQ(checked.error().code(), ENOTSUP) << checked.error().message();
            return;
        }
        EXPECT_EQ(checked->corruptions, 0u) << (checked->messages.empty() ? "" : checked->messages.front());
    }

    IoContext context_;
};

void FormatTest::random_requests(BlockNode &node, std::vector<std::uint8_t> &model, unsigned seed, int count) {
    std::mt19937 random(seed);
    std::vector<bool> written(model.size() / 65536 + 1);
    for (int i = 0; i < count; ++i) {
        std::uint64_t offset = random() % model.size();
        std::uint64_t length = 1 + random() % (random() % 4 == 0 ? 700'000 : 9'000);
        if (!GetParam().can_overwrite) {
            offset -= offset % 65536;
            length = 1 + length % 65536;
            if (written[offset / 65536])
                continue;
            written[offset / 65536] = true;
        }
        length = std::min(length, model.size() - offset);
        if (random() % 4 == 0) {
            auto done = context_.run(node.write_zeroes(offset, length, random() % 2 ? kMayUnmap : kNoFlags));
            ASSERT_TRUE(done) << done.error().message();
            std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), length, 0);
            continue;
        }
        std::vector<std::uint8_t> bytes(length);
        for (std::uint8_t &byte : bytes)
            byte = static_cast<std::uint8_t>(random());
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
        IoVector pieces;
        for (std::size_t at = 0; at < bytes.size(); at += 3000)
            pieces.append(bytes.data() + at, std::min<std::size_t>(3000, bytes.size() - at));
        auto done = context_.run(node.write(offset, pieces, random() % 8 ? kNoFlags : kFua));
        ASSERT_TRUE(done) << done.error().message();
    }
}

TEST_P(FormatTest, BehavesLikeAnArrayOfBytes) {
    MemoryPtr file = create();
    NodePtr node = open(file);
    ASSERT_TRUE(node);
    ASSERT_GE(node->length(), GetParam().size);
    std::vector<std::uint8_t> model(node->length());
    expect_same(*node, model);
    for (unsigned round = 0; round < 3; ++round) {
        random_requests(*node, model, round + 1, 60);
        expect_same(*node, model);
        close(node);
        node = open(file);
        ASSERT_TRUE(node);
        expect_same(*node, model);
        expect_clean(*node);
        if (!GetParam().can_overwrite)
            break;
    }
    // Block status covers the disk, and what it calls zero is zero.
    for (std::uint64_t offset = 0; offset < model.size();) {
        auto extent = context_.run(node->block_status(offset, model.size() - offset));
        ASSERT_TRUE(extent) << extent.error().message();
        ASSERT_GT(extent->length, 0u);
        ASSERT_LE(extent->length, model.size() - offset);
        if (extent->zero) {
            EXPECT_TRUE(std::all_of(model.begin() + static_cast<std::ptrdiff_t>(offset),
                                    model.begin() + static_cast<std::ptrdiff_t>(offset + extent->length),
                                    [](std::uint8_t byte) { return byte == 0; }));
        }
        if (extent->host_offset) {
            EXPECT_TRUE(std::equal(model.begin() + static_cast<std::ptrdiff_t>(offset),
                                   model.begin() + static_cast<std::ptrdiff_t>(offset + extent->length),
                                   file->bytes.begin() + static_cast<std::ptrdiff_t>(*extent->host_offset)));
        }
        offset += extent->length;
    }
}

TEST_P(FormatTest, LaysOverItsBackingFile) {
    if (!GetParam().can_back)
        GTEST_SKIP() << "no backing files";
    auto backing = memory_file(context_);
    backing->bytes.resize(GetParam().size - 100'000); // shorter than the image
    std::mt19937 random(7);
    for (std::uint8_t &byte : backing->bytes)
        byte = static_cast<std::uint8_t>(random());
    const auto before = backing->bytes;
    NodePtr node = open(create(), {}, backing);
    ASSERT_TRUE(node);
    std::vector<std::uint8_t> model = backing->bytes;
    model.resize(node->length());
    expect_same(*node, model);
    random_requests(*node, model, 5, 120);
    expect_same(*node, model);
    EXPECT_TRUE(backing->bytes == before);
}

TEST_P(FormatTest, RunsRequestsSideBySide) {
    MemoryPtr file = create();
    NodePtr node = open(file);
    ASSERT_TRUE(node);
    file->yields = true;
    std::vector<std::uint8_t> model(node->length());
    constexpr std::size_t kPiece = 65536;
    std::vector<std::vector<std::uint8_t>> pieces;
    unsigned left = 0;
    for (std::size_t at = 0; at + kPiece <= model.size(); at += kPiece) {
        pieces.emplace_back(kPiece, static_cast<std::uint8_t>(1 + at / kPiece));
        std::copy(pieces.back().begin(), pieces.back().end(), model.begin() + static_cast<std::ptrdiff_t>(at));
        ++left;
    }
    for (std::size_t i = 0; i < pieces.size(); ++i)
        context_.spawn([](BlockNode &to, std::uint64_t offset, std::vector<std::uint8_t> &bytes, unsigned &running) -> Task<void> {
            const IoVector from(bytes.data(), bytes.size());
            auto done = co_await to.write(offset, from, kNoFlags);
            EXPECT_TRUE(done) << done.error().message();
            --running;
        }(*node, i * kPiece, pieces[i], left));
    while (left > 0)
        context_.run(context_.sleep(100'000));
    expect_same(*node, model);
    close(node);
    file->yields = false;
    node = open(file);
    ASSERT_TRUE(node);
    expect_same(*node, model);
    expect_clean(*node);
}

TEST_P(FormatTest, SurvivesAKilledWriter) {
    // Whatever request is the last one that gets through: what was complete before is there, and nothing is damaged.
    for (std::size_t last = 0; last < 60; last += 3) {
        MemoryPtr file = create();
        NodePtr node = open(file);
        ASSERT_TRUE(node);
        const std::size_t start = file->log.size();
        file->fault = [&](std::size_t number, const MemoryBlockNode::Logged &request) {
            return number >= start + last && request.kind != Kind::kRead ? EIO : 0;
        };
        std::vector<std::uint8_t> model(node->length());
        std::size_t failed_at = model.size();
        for (std::size_t at = 0; at < model.size(); at += 655'360) {
            const std::vector<std::uint8_t> bytes(std::min<std::size_t>(9000, model.size() - at), 0x5a);
            if (!write_bytes(context_, *node, at, bytes)) {
                failed_at = at;
                break;
            }
            std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(at));
        }
        node.reset(); // not closed
        MemoryPtr left = memory_file(context_, file->bytes);
        NodePtr again = open(left);
        ASSERT_TRUE(again) << "after " << last << " requests";
        expect_clean(*again);
        auto bytes = read_bytes(context_, *again, 0, model.size());
        ASSERT_EQ(bytes.size(), model.size());
        for (std::size_t at = failed_at; at < std::min(model.size(), failed_at + 9000); ++at)
            bytes[at] = model[at]; // old or new, both will do
        EXPECT_TRUE(bytes == model) << "after " << last << " requests";
        if (failed_at == model.size())
            break;
    }
}

TEST_P(FormatTest, RefusesWritesWhenReadOnly) {
    MemoryPtr file = create();
    OpenFlags flags;
    flags.read_only = true;
    const auto before = file->bytes;
    NodePtr node = open(file, flags);
    ASSERT_TRUE(node);
    EXPECT_EQ(write_bytes(context_, *node, 0, std::vector<std::uint8_t>(512, 1)).error().code(), EPERM);
    EXPECT_EQ(context_.run(node->write_zeroes(0, 512)).error().code(), EPERM);
    EXPECT_TRUE(context_.run(node->close()));
    EXPECT_TRUE(file->bytes == before);
}

TEST_P(FormatTest, TellsAboutItself) {
    NodePtr node = open(create());
    auto info = context_.run(node->info());
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->format, GetParam().driver);
    EXPECT_EQ(info->virtual_size, node->length());
}

TEST_P(FormatTest, IsFoundByItsContent) {
    MemoryPtr file = create();
    if (std::string_view(GetParam().name) == "vpc_fixed")
        GTEST_SKIP() << "a fixed VHD begins like a raw image";
    auto found = context_.run(probe_format(*file, "some.name"));
    ASSERT_TRUE(found);
    EXPECT_EQ((*found)->name, GetParam().driver);
}

TEST_P(FormatTest, RefusesATruncatedFile) {
    const MemoryPtr whole = create();
    for (const std::size_t keep : {0u, 100u, 511u, 600u, 4000u}) {
        if (keep >= whole->bytes.size())
            continue;
        MemoryPtr file = memory_file(context_, {whole->bytes.begin(), whole->bytes.begin() + static_cast<std::ptrdiff_t>(keep)});
        const auto before = file->bytes;
        auto node = open_in(context_, GetParam().driver, file);
        if (node)
            continue; // all that matters is there
        EXPECT_NE(node.error().message().find("memory."), std::string::npos) << node.error().message();
        EXPECT_TRUE(file->bytes == before);
    }
    MemoryPtr none = memory_file(context_);
    EXPECT_FALSE(open_in(context_, GetParam().driver, none));
}

TEST_P(FormatTest, RefusesUnknownOptions) {
    auto made = create_in(context_, GetParam().driver, memory_file(context_), 1 << 20, "sizze=3");
    ASSERT_FALSE(made);
    EXPECT_NE(made.error().message().find("sizze"), std::string::npos) << made.error().message();
    EXPECT_FALSE(open_in(context_, GetParam().driver, create(), {}, nullptr, "nonsense=1"));
}

INSTANTIATE_TEST_SUITE_P(All, FormatTest, ::testing::ValuesIn(kFormats),
                         [](const auto &each) { return std::string(each.param.name); });

} // namespace
} // namespace rhea::block
