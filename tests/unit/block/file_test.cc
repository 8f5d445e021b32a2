// Protocol `file` on this host's file system.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fixture.h"

namespace rhea::block {
namespace {

class FileTest : public EngineTest {
protected:
    std::shared_ptr<BlockNode> open_file(const std::string &name, const std::string &more = "") {
        auto node = open("", "driver=file,filename=" + path(name) + more);
        EXPECT_TRUE(node) << node.error().message();
        return node ? *node : nullptr;
    }
    std::uint64_t blocks(const std::string &name) {
        struct stat status{};
        ::stat(path(name).c_str(), &status);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
    Result<void> create(const std::string &name, std::uint64_t size, const std::string &options = "") {
        return context_.run(create_image(context_, **find_driver("file"), path(name), size, NodeOptions::from_text(options).value()));
    }
};

TEST_P(FileTest, AThreadThatMayBlockWritesByItself) {
    make_file("f", {});
    auto node = open_file("f");
    ASSERT_TRUE(node);
    context_.set_may_block(true);
    const std::vector<std::uint8_t> bytes = pattern(1 << 20);
    bool done = false;
    context_.spawn([](BlockNode &to, const std::vector<std::uint8_t> &from, bool &finished) -> Task<void> {
        const IoVector all(const_cast<std::uint8_t *>(from.data()), from.size());
        auto wrote = co_await to.write(0, all, kNoFlags);
        auto flushed = co_await to.flush();
        finished = wrote && flushed;
    }(*node, bytes, done));
    EXPECT_TRUE(done) << "nothing waits for another thread";
    EXPECT_EQ(file_bytes("f"), bytes);
}

TEST_P(FileTest, ReadsBehindTheEndAreZeroesAndWritesGrowTheFile) {
    make_file("f", pattern(1000));
    auto node = open_file("f");
    ASSERT_TRUE(node);
    EXPECT_EQ(node->length(), 1000u);
    auto expected = pattern(1000);
    expected.resize(2000);
    EXPECT_EQ(read(*node, 0, 2000), expected);
    EXPECT_TRUE(write(*node, 3000, pattern(10, 2), kFua));
    EXPECT_EQ(node->length(), 3010u);
    EXPECT_TRUE(context_.run(node->flush()));
    expected.resize(3000);
    const auto tail = pattern(10, 2);
    expected.insert(expected.end(), tail.begin(), tail.end());
    EXPECT_EQ(file_bytes("f"), expected);
}

TEST_P(FileTest, HolesAreSeenMadeAndFilled) {
    ASSERT_TRUE(create("f", 1 << 20));
    EXPECT_EQ(blocks("f"), 0u);
    auto node = open_file("f", ",discard=unmap");
    ASSERT_TRUE(node);
    ASSERT_TRUE(write(*node, 65536, pattern(65536)));
    auto extent = context_.run(node->block_status(0, 1 << 20));
    ASSERT_TRUE(extent);
    if (extent->data)
        GTEST_SKIP() << "the file system of the temporary folder has no holes";
    EXPECT_EQ(extent->length, 65536u);
    EXPECT_TRUE(extent->zero && extent->allocated) << "no node below decides the contents";
    extent = context_.run(node->block_status(65536, 1 << 20));
    EXPECT_TRUE(extent->data && !extent->zero);
    EXPECT_EQ(extent->length, 65536u);
    EXPECT_EQ(extent->host_offset, 65536u);
    ASSERT_TRUE(context_.run(node->discard(65536, 65536)));
    EXPECT_EQ(read(*node, 65536, 65536), std::vector<std::uint8_t>(65536));
    EXPECT_EQ(blocks("f"), 0u);
}

TEST_P(FileTest, DiscardIsIgnoredUnlessAskedFor) {
    make_file("f", pattern(65536));
    auto node = open_file("f");
    ASSERT_TRUE(context_.run(node->discard(0, 65536)));
    EXPECT_EQ(read(*node, 0, 65536), pattern(65536));
}

TEST_P(FileTest, ZeroesAreWrittenInsideAcrossAndBehindTheEnd) {
    for (const char *more : {"", ",discard=unmap"}) {
        make_file("f", pattern(10'000));
        auto node = open_file("f", more);
        ASSERT_TRUE(context_.run(node->write_zeroes(100, 5000, kMayUnmap)));
        ASSERT_TRUE(context_.run(node->write_zeroes(9000, 3000, kMayUnmap)));
        ASSERT_TRUE(context_.run(node->write_zeroes(20'000, 1000, kNoFlags)));
        EXPECT_EQ(node->length(), 21'000u);
        auto expected = pattern(10'000);
        std::fill_n(expected.begin() + 100, 5000, std::uint8_t{0});
        std::fill_n(expected.begin() + 9000, 1000, std::uint8_t{0});
        expected.resize(21'000);
        EXPECT_EQ(file_bytes("f"), expected);
    }
}

TEST_P(FileTest, PreallocationTakesTheSpace) {
    for (const char *kind : {"falloc", "full"}) {
        ASSERT_TRUE(create("f", 1 << 20, std::string("preallocation=") + kind)) << kind;
        EXPECT_GE(blocks("f"), 1u << 20) << kind;
    }
    EXPECT_EQ(create("g", 10, "preallocation=metadata").error().message(), "preallocation of a file may be off, falloc or full, not 'metadata'");
    EXPECT_EQ(create("g", 10, "prealocation=off").error().message(), "unknown option 'prealocation'; did you mean 'preallocation'?");
    EXPECT_EQ(::access(path("g").c_str(), F_OK), -1);
}

TEST_P(FileTest, TruncateGrowsWithZeroesAndShrinks) {
    make_file("f", pattern(5000));
    auto node = open_file("f");
    ASSERT_TRUE(context_.run(node->truncate(8000)));
    EXPECT_EQ(read(*node, 5000, 3000), std::vector<std::uint8_t>(3000));
    ASSERT_TRUE(context_.run(node->truncate(100)));
    EXPECT_EQ(node->length(), 100u);
    EXPECT_EQ(file_bytes("f"), pattern(100));
    EXPECT_EQ(context_.run(node->truncate(~0ull >> 1, Preallocation::kFalloc)).error().code() != 0, true);
    EXPECT_EQ(node->length(), 100u) << "what cannot be had leaves the file as it was";
}

TEST_P(FileTest, WhatCannotBeOpenedIsNamed) {
    EXPECT_EQ(open(path("none"), "driver=raw").error().message(), "cannot open '" + path("none") + "': No such file or directory");
    EXPECT_EQ(open(path("none"), "driver=raw").error().code(), ENOENT);
    EXPECT_EQ(open(folder_, "driver=raw,read-only=on").error().message(), "'" + folder_ + "' is neither a file nor a block device");
    EXPECT_EQ(open("/dev/null", "driver=raw").error().code(), EINVAL);
    ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
    EXPECT_FALSE(open(path("fifo"), "driver=raw"));
    EXPECT_EQ(open("", "driver=file").error().message(), "driver 'file' needs filename=");
    EXPECT_EQ(open(make_file("f", {}), "driver=raw,file.lokcing=on").error().message(), "unknown option 'lokcing'; did you mean 'locking'?");
}

TEST_P(FileTest, AutoReadOnlyFallsBack) {
    make_file("f", pattern(512));
    ::chmod(path("f").c_str(), 0400);
    if (::access(path("f").c_str(), W_OK) == 0)
        GTEST_SKIP() << "this user may write to any file";
    EXPECT_EQ(open(path("f"), "driver=raw").error().code(), EACCES);
    auto node = open(path("f"), "driver=raw,auto-read-only=on,file.auto-read-only=on");
    ASSERT_TRUE(node) << node.error().message();
    EXPECT_TRUE((*node)->read_only());
}

TEST_P(FileTest, DirectRequestsOfAnyShape) {
    const std::uint64_t size = 300'001;
    auto expected = pattern(size);
    make_file("f", expected);
    auto node = open("", "driver=file,cache.direct=on,filename=" + path("f"));
    if (!node && node.error().code() == EINVAL)
        GTEST_SKIP() << node.error().message();
    ASSERT_TRUE(node) << node.error().message();
    EXPECT_GE((*node)->request_alignment(), 512u);
    EXPECT_EQ(read(**node, 0, size), expected);
    unsigned seed = 1;
    for (const auto &[offset, length] : std::initializer_list<std::pair<std::uint64_t, std::size_t>>{
             {0, 4096}, {1, 1}, {511, 2}, {4095, 4098}, {100'000, 65'536}, {8192, 8192}, {299'990, 11}, {299'000, 3000}, {310'000, 10}}) {
        auto bytes = pattern(length, ++seed);
        ASSERT_TRUE(write(**node, offset, bytes));
        if (expected.size() < offset + length)
            expected.resize(offset + length);
        std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
        EXPECT_EQ((*node)->length(), expected.size());
        ASSERT_EQ(read(**node, offset > 10 ? offset - 10 : 0, length + 20).size(), length + 20);
    }
    EXPECT_EQ(read(**node, 0, expected.size()), expected);
    node->reset();
    EXPECT_EQ(file_bytes("f"), expected);
}

Task<void> write_bytes(BlockNode &node, std::uint64_t offset, std::vector<std::uint8_t> bytes, unsigned &done) {
    const IoVector from(bytes.data(), bytes.size());
    auto result = co_await node.write(offset, from);
    EXPECT_TRUE(result) << result.error().message();
    ++done;
}

TEST_P(FileTest, DirectWritesSideBySideInOneBlockAllArrive) {
    make_file("f", {});
    auto node = open("", "driver=file,cache.direct=on,filename=" + path("f"));
    if (!node && node.error().code() == EINVAL)
        GTEST_SKIP() << node.error().message();
    const auto expected = pattern(8192);
    unsigned done = 0;
    for (std::size_t at = 0; at < expected.size(); at += 128)
        context_.spawn(write_bytes(**node, at, {expected.begin() + static_cast<std::ptrdiff_t>(at), expected.begin() + static_cast<std::ptrdiff_t>(at) + 128}, done));
    context_.run([](IoContext &context, unsigned &count) -> Task<void> {
        while (count < 64)
            co_await context.sleep(100'000);
    }(context_, done));
    node->reset();
    EXPECT_EQ(file_bytes("f"), expected);
}

TEST_P(FileTest, TheHostCopiesBetweenFiles) {
    const auto bytes = pattern(300000, 3);
    make_file("from", bytes);
    make_file("to", {});
    auto from = open(path("from"), "driver=file,read-only=on"), to = open(path("to"), "driver=file");
    ASSERT_TRUE(from && to);
    ASSERT_TRUE(context_.run((*to)->copy_from(1000, 200000, **from, 5000)));
    EXPECT_EQ((*to)->length(), 201000u);
    EXPECT_EQ(read(**to, 1000, 200000), std::vector<std::uint8_t>(bytes.begin() + 5000, bytes.begin() + 205000));
    EXPECT_EQ(read(**to, 0, 1000), std::vector<std::uint8_t>(1000));
    EXPECT_FALSE(context_.run((*from)->copy_from(0, 100, **to, 0))) << "read-only";
    EXPECT_FALSE(context_.run((*to)->copy_from(0, 100000, **from, 299000))) << "beyond the end";
    EXPECT_FALSE(context_.run((*to)->copy_from(0, 100, **from, 0))) << "and is not tried again";
}

TEST_P(FileTest, AioNamesTheEngine) {
    make_file("f", pattern(512));
    EXPECT_TRUE(open(path("f"), "driver=raw,file.aio=threads"));
    EXPECT_EQ(open(path("f"), "driver=raw,file.aio=native").error().message(),
              "aio=native needs cache=none or cache=directsync (cache.direct=on)");
    EXPECT_EQ(open(path("f"), "driver=raw,file.aio=io-uring").error().message(), "aio= takes threads, native or io_uring, not 'io-uring'");
    auto ring = open(path("f"), "driver=raw,file.aio=io_uring");
    EXPECT_EQ(ring.has_value(), GetParam() == Engine::kIoUring);
}

INSTANTIATE_TEST_SUITE_P(Each, FileTest, ::testing::Values(Engine::kIoUring, Engine::kThreads), engine_name);

} // namespace
} // namespace rhea::block
