// Encrypted images: what the guest wrote comes back, and nothing of it is in the file.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "rhea/block/secret.h"
#include "tests/unit/block/qcow2/fixture.h"

namespace rhea::block::qcow2 {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

class Qcow2Encryption : public Qcow2Test {
protected:
    static void SetUpTestSuite() {
        ASSERT_TRUE(add_secret(NodeOptions::from_text("id=right,data=open sesame").value()));
        ASSERT_TRUE(add_secret(NodeOptions::from_text("id=wrong,data=sesame open").value()));
    }
    std::shared_ptr<MemoryBlockNode> make_encrypted(const std::string &options = "") {
        return make(4 * kMiB, "encrypt.format=luks,encrypt.key-secret=right,encrypt.iter-time=1" + options);
    }
    Result<std::shared_ptr<Qcow2Node>> try_unlock(std::shared_ptr<MemoryBlockNode> file, const std::string &secret = "right") {
        const auto header = parse_header(file->bytes, "test.qcow2");
        OpenOptions options = default_open_options(header ? *header : Header{});
        options.key_secret = secret;
        return try_open(file, {}, &options);
    }
    /// Does the file have any 16 bytes of `text` as they are?
    static bool shows(const MemoryBlockNode &file, const Bytes &text) {
        for (std::size_t at = 0; at + 16 <= text.size(); at += 16)
            if (::memmem(file.bytes.data(), file.bytes.size(), &text[at], 16) != nullptr)
                return true;
        return false;
    }
};

TEST_F(Qcow2Encryption, ReadsWhatWasWritten) {
    for (const char *options : {"", ",cluster_size=512", ",extended_l2=on,cluster_size=16k", ",compat=0.10,cluster_size=4k", ",lazy_refcounts=on"}) {
        SCOPED_TRACE(options);
        auto file = make_encrypted(options);
        auto opened = try_unlock(file);
        ASSERT_TRUE(opened) << opened.error().message();
        auto node = *opened;
        Bytes model(4 * kMiB);
        EXPECT_TRUE(read(*node, 0, model.size()) == model);
        const auto put = [&](std::uint64_t at, const Bytes &bytes) {
            write(*node, at, bytes);
            std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(at));
        };
        put(512, pattern(512, 1));          // the rest of its cluster is zero, and no noise
        put(kMiB + 100, pattern(70000, 2)); // parts of sectors
        put(4 * kMiB - 1000, pattern(1000, 3));
        expect_ok(run(node->write_zeroes(kMiB + 8192, 4096, kMayUnmap)));
        std::fill_n(model.begin() + kMiB + 8192, 4096, std::uint8_t{0});
        NodeInfo::Snapshot snapshot;
        snapshot.name = "before";
        expect_ok(run(node->snapshot_create(snapshot)));
        const Bytes before = model;
        put(1000, pattern(3000, 4)); // copies a cluster
        EXPECT_TRUE(read(*node, 0, model.size()) == model);
        expect_clean(*node);
        expect_ok(run(node->close()));
        node = try_unlock(file).value();
        EXPECT_TRUE(read(*node, 0, model.size()) == model);
        expect_ok(run(node->snapshot_apply("before")));
        EXPECT_TRUE(read(*node, 0, model.size()) == before);
        expect_clean(*node);
        expect_ok(run(node->close()));
        for (const unsigned seed : {1u, 3u, 4u})
            EXPECT_FALSE(shows(*file, pattern(512, seed))) << seed;
    }
}

TEST_F(Qcow2Encryption, NeedsThePassphrase) {
    auto file = make_encrypted();
    EXPECT_EQ(try_unlock(file, "wrong").error().code(), EACCES);
    EXPECT_EQ(try_unlock(file, "absent").error().code(), ENOENT);
    OpenRequest request{.context = context_, .filename = "test.qcow2", .options = {}, .flags = {}, .settings = {}, .file = file, .open_child = {}};
    auto refused = run(qcow2::open(request));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message().find("encrypt.key-secret="), std::string::npos) << refused.error().message();
    // Metadata can be looked at.
    request.flags.no_io = request.flags.read_only = true;
    auto shown = run(qcow2::open(request));
    ASSERT_TRUE(shown) << shown.error().message();
    auto info = run((*shown)->info());
    ASSERT_TRUE(info);
    EXPECT_TRUE(info->encrypted);
    const auto detail = std::find_if(info->details.begin(), info->details.end(), [](const auto &each) { return each.key == "encrypt"; });
    ASSERT_NE(detail, info->details.end());
    EXPECT_NE(detail->json.find("aes-256"), std::string::npos) << detail->json;
}

TEST_F(Qcow2Encryption, DataIsNotReachedWithoutIt) {
    auto file = make_encrypted();
    auto node = try_unlock(file).value();
    write(*node, 0, pattern(65536, 1));
    EXPECT_FALSE(status(*node, 0, 65536).host_offset) << "nobody may copy or show these bytes as they are";
    expect_ok(run(node->close()));
    auto locked = open(file);
    Bytes bytes(512);
    const IoVector all(bytes.data(), bytes.size());
    EXPECT_EQ(run(locked->read(0, all)).error().code(), EACCES);
    EXPECT_FALSE(try_write(*locked, 0, bytes));
    expect_clean(*locked);
}

TEST_F(Qcow2Encryption, RefusesWhatWouldBeInTheClear) {
    auto file = make_encrypted();
    auto node = try_unlock(file).value();
    auto done = try_write(*node, 0, Bytes(65536, 1), kCompressed);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code(), ENOTSUP);
    EXPECT_EQ(run(node->truncate(8 * kMiB, Preallocation::kMetadata)).error().code(), ENOTSUP);
    expect_ok(run(node->truncate(8 * kMiB)));
    EXPECT_TRUE(read(*node, 4 * kMiB, 65536) == Bytes(65536, 0));
}

TEST_F(Qcow2Encryption, BadHeadersAreRefused) {
    const auto file = make_encrypted();
    const Bytes good = file->bytes;
    const auto refusal = [&](std::size_t at, std::uint64_t value, std::size_t width) {
        file->bytes = good;
        for (std::size_t i = 0; i < width; ++i)
            file->bytes[at + i] = static_cast<std::uint8_t>(value >> 8 * (width - 1 - i));
        auto node = try_unlock(file);
        return node ? "" : node.error().message();
    };
    const std::array<std::uint8_t, 4> type{0x05, 0x37, 0xbe, 0x77};
    const auto extension = static_cast<std::size_t>(std::search(good.begin(), good.begin() + 4096, type.begin(), type.end()) - good.begin());
    ASSERT_LT(extension, 4096u);
    EXPECT_NE(refusal(32, 0, 4).find("crypt_method is 0 with"), std::string::npos);
    EXPECT_NE(refusal(32, 1, 4).find("crypt_method 1"), std::string::npos);
    EXPECT_NE(refusal(extension, 0x12345678, 4).find("crypt_method is 2 without"), std::string::npos);
    EXPECT_NE(refusal(extension + 4, 8, 4).find("must have 16"), std::string::npos);
    EXPECT_NE(refusal(extension + 8, 12345, 8).find("multiple of the cluster size"), std::string::npos);
    EXPECT_NE(refusal(extension + 8, 1ull << 40, 8).find("not inside the file"), std::string::npos);
    EXPECT_NE(refusal(extension + 16, 1ull << 40, 8).find("LUKS header has"), std::string::npos);
    EXPECT_NE(refusal(extension + 16, 100, 8).find("100 bytes"), std::string::npos);
    EXPECT_NE(refusal(load_be<std::uint64_t>(&good[extension + 8]), 0, 4).find("magic"), std::string::npos);
}

TEST_F(Qcow2Encryption, CreateRefusesWhatCannotBe) {
    const std::string good = "encrypt.format=luks,encrypt.key-secret=right,";
    const std::pair<std::string, const char *> cases[] = {
        {"encrypt.format=aes,encrypt.key-secret=right", "takes luks"}, {"encrypt.key-secret=right", "takes luks"},
        {"encrypt.format=luks,encrypt.key-secret=absent", "'absent'"}, {good + "preallocation=full", "preallocation="},
        {good + "encrypt.cipher-alg=serpent-512", "serpent"},          {good + "encrypt.itertime=3", "itertime"},
    };
    for (const auto &[options, word] : cases) {
        auto done = try_create(memory(), kMiB, options);
        ASSERT_FALSE(done) << options;
        EXPECT_NE(done.error().message().find(word), std::string::npos) << done.error().message();
    }
}

} // namespace
} // namespace rhea::block::qcow2
