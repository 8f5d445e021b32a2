// Damage that check finds, and what repair makes of it; images that must not be written.
#include "block/qcow2/refcount_entry.h"
#include "tests/unit/block/qcow2/fixture.h"

namespace rhea::block::qcow2 {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

class Qcow2Check : public Qcow2Test {
protected:
    /// An image with some data, closed.
    std::shared_ptr<MemoryBlockNode> written(const std::string &options = "") {
        auto file = make(4 * kMiB, options);
        auto node = open(file);
        write(*node, 0, pattern(kMiB, 1));
        expect_ok(run(node->close()));
        return file;
    }
    std::uint64_t word(const MemoryBlockNode &file, std::uint64_t at) { return load_be<std::uint64_t>(&file.bytes[at]); }
    void set_word(MemoryBlockNode &file, std::uint64_t at, std::uint64_t value) {
        std::uint8_t bytes[8];
        store_be(bytes, value);
        const IoVector all(bytes, 8);
        EXPECT_TRUE(run(file.write(at, all, 0)));
    }
    std::uint64_t l1_at(const MemoryBlockNode &file) { return word(file, 40); }
    std::uint64_t l2_at(const MemoryBlockNode &file) { return word(file, l1_at(file)) & kOffsetMask; }
    std::uint64_t block_at(const MemoryBlockNode &file) { return word(file, word(file, 48)); }
    CheckResult check(std::shared_ptr<MemoryBlockNode> file, CheckFix fix = CheckFix::kNone) {
        OpenFlags flags;
        flags.check = true;
        flags.read_only = fix == CheckFix::kNone;
        auto node = open(file, flags);
        auto result = run(node->check(fix));
        EXPECT_TRUE(result) << result.error().message();
        if (fix != CheckFix::kNone)
            expect_ok(run(node->close()));
        return result ? *result : CheckResult{};
    }
    void expect_repaired(std::shared_ptr<MemoryBlockNode> file) {
        auto node = open(file);
        ASSERT_TRUE(node);
        expect_clean(*node);
        EXPECT_EQ(read(*node, 0, kMiB), pattern(kMiB, 1));
    }
};

TEST_F(Qcow2Check, CountsClusters) {
    const CheckResult result = check(written());
    EXPECT_EQ(result.corruptions + result.leaks, 0u);
    EXPECT_EQ(result.total_clusters, 64u);
    EXPECT_EQ(result.allocated_clusters, 16u);
    EXPECT_EQ(result.fragmented_clusters, 0u);
    EXPECT_EQ(result.image_end_offset % 65536, 0u);
}

TEST_F(Qcow2Check, LeaksAreFoundAndFixed) {
    auto file = written();
    set_word(*file, l2_at(*file), 0);
    set_word(*file, l2_at(*file) + 8, 0);
    CheckResult result = check(file);
    EXPECT_EQ(result.leaks, 2u);
    EXPECT_EQ(result.corruptions, 0u);
    result = check(file, CheckFix::kLeaks);
    EXPECT_EQ(result.leaks_fixed, 2u);
    result = check(file);
    EXPECT_EQ(result.leaks + result.corruptions, 0u);
}

TEST_F(Qcow2Check, CountsThatAreTooLowAreRaised) {
    auto file = written();
    const std::uint64_t data = (word(*file, l2_at(*file)) & kOffsetMask) >> 16;
    set_word(*file, block_at(*file) + data / 4 * 8, 0);
    EXPECT_GE(check(file).corruptions, 1u);
    EXPECT_GE(check(file, CheckFix::kLeaks).corruptions, 1u); // not its business
    const CheckResult result = check(file, CheckFix::kAll);
    EXPECT_EQ(result.corruptions, result.corruptions_fixed);
    expect_repaired(file);
}

TEST_F(Qcow2Check, CopiedFlagsAreSetRight) {
    auto file = written();
    set_word(*file, l2_at(*file), word(*file, l2_at(*file)) & ~kCopied);
    set_word(*file, l1_at(*file), word(*file, l1_at(*file)) & ~kCopied);
    EXPECT_EQ(check(file).corruptions, 2u);
    const CheckResult result = check(file, CheckFix::kAll);
    EXPECT_EQ(result.corruptions_fixed, 2u);
    expect_repaired(file);
}

TEST_F(Qcow2Check, LostRefcountBlocksAreRebuilt) {
    for (const char *options : {"", "cluster_size=512", "refcount_bits=64,cluster_size=4k", "refcount_bits=1"}) {
        auto file = written(options);
        set_word(*file, word(*file, 48), 0);
        EXPECT_GT(check(file).corruptions, 0u);
        const CheckResult result = check(file, CheckFix::kAll);
        EXPECT_EQ(result.corruptions, result.corruptions_fixed) << options;
        expect_repaired(file);
    }
}

TEST_F(Qcow2Check, ADirtyImageIsRepairedWhenOpenedForWriting) {
    auto file = make(4 * kMiB, "lazy_refcounts=on");
    {
        auto node = open(file);
        write(*node, 0, pattern(kMiB, 1));
        expect_ok(run(node->flush()));
        EXPECT_TRUE(node->image().header.dirty());
    } // not closed
    file = memory(file->after_crash(0));
    EXPECT_TRUE(parse_header(file->bytes, "x")->dirty());
    expect_repaired(file);
    EXPECT_FALSE(parse_header(file->bytes, "x")->dirty());
}

TEST_F(Qcow2Check, WritesOverMetadataAreStoppedAndTheImageMarkedCorrupt) {
    auto file = written();
    set_word(*file, l2_at(*file), l2_at(*file) | kCopied); // a data cluster that is the L2 table
    const Bytes before = file->bytes;
    auto node = open(file);
    auto done = try_write(*node, 0, pattern(512, 5));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code(), EIO);
    EXPECT_NE(done.error().message().find("L2 table"), std::string::npos) << done.error().message();
    EXPECT_EQ(Bytes(file->bytes.begin() + 4096, file->bytes.end()), Bytes(before.begin() + 4096, before.end()));
    EXPECT_FALSE(try_write(*node, kMiB * 3, pattern(512, 5))); // nothing more
    node.reset();
    auto again = try_open(file);
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().message().find("corrupt"), std::string::npos);
    OpenFlags read_only;
    read_only.read_only = true;
    EXPECT_TRUE(try_open(file, read_only));
}

TEST_F(Qcow2Check, AnAllocationThatHitsMetadataIsStopped) {
    auto file = written();
    const std::uint64_t cluster = l2_at(*file) >> 16; // its count becomes zero: the next to be handed out
    Bytes zero(2);
    const IoVector all(zero.data(), 2);
    expect_ok(run(file->write(block_at(*file) + cluster * 2, all, 0)));
    auto node = open(file);
    auto done = try_write(*node, 3 * kMiB, pattern(512, 5));
    ASSERT_FALSE(done);
    EXPECT_TRUE(parse_header(file->bytes, "x")->corrupt());
}

TEST_F(Qcow2Check, BadEntriesAreErrorsNotCrashes) {
    auto file = written();
    set_word(*file, l2_at(*file) + 8, (word(*file, l2_at(*file) + 8) & ~0xffffull) | 0x1200);
    set_word(*file, l2_at(*file) + 16, kCompressedBit | 0x3fffffffffffffff);
    OpenFlags flags;
    flags.read_only = true;
    auto node = open(file, flags);
    for (const std::uint64_t at : {65536u, 131072u}) {
        Bytes bytes(512);
        const IoVector to(bytes.data(), bytes.size());
        auto done = run(node->read(at, to));
        ASSERT_FALSE(done) << at;
        EXPECT_EQ(done.error().code(), EIO);
    }
    EXPECT_EQ(read(*node, 0, 512), pattern(512, 1));
    EXPECT_FALSE(parse_header(file->bytes, "x")->corrupt()); // read-only: not written
}

TEST_F(Qcow2Check, ErrorsOfTheFileReachTheCallerAndNothingIsLost) {
    auto file = make(4 * kMiB);
    auto node = open(file);
    write(*node, 0, pattern(4096, 1));
    file->fail_request(0, ENOSPC, MemoryBlockNode::Kind::kWrite);
    auto done = try_write(*node, kMiB, pattern(4096, 2));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code(), ENOSPC);
    file->fault = nullptr;
    write(*node, kMiB, pattern(4096, 3));
    // A commit that fails half-way is made up for by the next.
    for (std::size_t nth = 0; nth < 6; ++nth) {
        write(*node, 2 * kMiB + nth * 65536, pattern(4096, 10 + static_cast<unsigned>(nth)));
        file->fail_request(nth, EIO);
        auto flushed = run(node->flush());
        file->fault = nullptr;
        expect_ok(run(node->flush()));
        (void)flushed;
    }
    expect_ok(run(node->close()));
    auto again = open(file);
    EXPECT_EQ(read(*again, 0, 4096), pattern(4096, 1));
    EXPECT_EQ(read(*again, kMiB, 4096), pattern(4096, 3));
    for (unsigned nth = 0; nth < 6; ++nth)
        EXPECT_EQ(read(*again, 2 * kMiB + nth * 65536, 4096), pattern(4096, 10 + nth));
    expect_clean(*again);
}

TEST_F(Qcow2Check, AmendChangesWhatCanBeChanged) {
    auto file = written();
    auto node = open(file);
    const auto amend_with = [&](const std::string &text) { return run(node->amend({.options = NodeOptions::from_text(text).value()})); };
    expect_ok(amend_with("refcount_bits=64"));
    EXPECT_EQ(node->image().geometry.refcount_bits(), 64u);
    expect_clean(*node);
    write(*node, 2 * kMiB, pattern(kMiB, 4));
    expect_ok(run(node->flush()));
    expect_clean(*node);
    EXPECT_FALSE(amend_with("compat=0.10"));
    expect_ok(amend_with("refcount_bits=16,lazy_refcounts=on"));
    expect_ok(run(node->write_zeroes(0, 65536)));
    expect_ok(amend_with("compat=0.10,lazy_refcounts=off"));
    EXPECT_EQ(read(*node, 0, 65536), Bytes(65536));
    expect_clean(*node);
    expect_ok(amend_with("compat=1.1,backing_file=base.img,backing_fmt=raw"));
    expect_ok(amend_with("size=8M"));
    EXPECT_FALSE(amend_with("cluster_size=4k"));
    EXPECT_FALSE(amend_with("nonsense=1"));
    expect_ok(run(node->close()));
    auto again = open(file);
    EXPECT_EQ(again->image().header.backing_file, "base.img");
    EXPECT_EQ(again->length(), 8 * kMiB);
    EXPECT_EQ(read(*again, 2 * kMiB, kMiB), pattern(kMiB, 4));
    expect_clean(*again);
}

TEST_F(Qcow2Check, CreateRefusesWhatCannotBe) {
    const std::pair<const char *, const char *> cases[] = {
        {"cluster_size=1000", "power of two"}, {"cluster_size=4M", "512 to 2M"},     {"refcount_bits=3", "refcount_bits"},
        {"compat=0.11", "compat="},            {"compat=0.10,refcount_bits=8", "1.1"}, {"compat=0.10,lazy_refcounts=on", "1.1"},
        {"extended_l2=on,cluster_size=4k", "16k"}, {"compression_type=lz4", "zlib or zstd"}, {"data_file_raw=on", "data_file="},
        {"encryption=on", "encrypted"},        {"encrypt.format=luks", "key-secret"},  {"preallocation=half", "preallocation="},
        {"backing_file=x,preallocation=full", "extended_l2"}, {"custer_size=64k", "cluster_size"},
    };
    for (const auto &[options, word] : cases) {
        auto done = try_create(memory(), kMiB, options);
        ASSERT_FALSE(done) << options;
        EXPECT_NE(done.error().message().find(word), std::string::npos) << done.error().message();
    }
    EXPECT_FALSE(try_create(memory(), 1ull << 60, "cluster_size=512"));
}

} // namespace
} // namespace rhea::block::qcow2
