// LUKS: the primitives by published vectors, the splitter by one computed elsewhere, headers made, read and damaged.
#include <gtest/gtest.h>

#include <cerrno>

#include "block/crypto/crypt_node.h"
#include "block/crypto/luks.h"
#include "block/format/bytes.h"
#include "rhea/block/secret.h"
#include "tests/support/memory_block_node.h"

namespace rhea::block::crypto {
namespace {

using Bytes = std::vector<std::uint8_t>;

std::string hex(ByteSpan bytes) {
    std::string text;
    for (const std::uint8_t byte : bytes)
        text += fmt::format("{:02x}", byte);
    return text;
}

Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

std::string derived(Hash hash, unsigned iterations, std::size_t size) {
    Bytes out(size);
    derive_key(hash, bytes_of("password"), bytes_of("salt"), iterations, out);
    return hex(out);
}

TEST(Crypto, Pbkdf2) {
    // RFC 6070; RFC 7914, section 11.
    EXPECT_EQ(derived(Hash::kSha1, 2, 20), "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957");
    EXPECT_EQ(derived(Hash::kSha1, 4096, 20), "4b007901b765489abead49d926f721d065a429c1");
    Bytes out(64);
    derive_key(Hash::kSha256, bytes_of("passwd"), bytes_of("salt"), 1, out);
    EXPECT_EQ(hex(out), "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
                        "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783");
}

TEST(Crypto, Hashes) {
    for (const auto &[hash, expected] : {std::pair{Hash::kSha1, "a9993e36"}, {Hash::kSha256, "ba7816bf"}, {Hash::kSha512, "ddaf35a1"}}) {
        Bytes out(4);
        digest(hash, bytes_of("a"), bytes_of("bc"), out);
        EXPECT_EQ(hex(out), expected) << hash_name(hash);
        EXPECT_EQ(find_hash(hash_name(hash)), hash);
    }
    EXPECT_FALSE(find_hash("md5"));
}

TEST(Crypto, XtsBySectors) {
    // IEEE 1619, vector 1: keys, sector and plain text of zeroes. A longer text begins with the same.
    const AesXts cipher(Bytes(32, 0));
    Bytes text(1024), stored(1024);
    cipher.encrypt(0, stored.data(), text.data(), text.size());
    EXPECT_EQ(hex(ByteSpan(stored).first(32)), "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e");
    Bytes second(512);
    cipher.encrypt(1, second.data(), text.data(), second.size());
    EXPECT_TRUE(std::equal(second.begin(), second.end(), stored.begin() + 512)) << "the second sector has another number";
    cipher.decrypt(0, stored.data(), stored.data(), stored.size());
    EXPECT_EQ(stored, text);
}

TEST(Luks, Splitter) {
    Bytes stripes(120), key(40);
    for (std::size_t i = 0; i < stripes.size(); ++i)
        stripes[i] = static_cast<std::uint8_t>(i * 7 + 3);
    af_merge(Hash::kSha256, stripes, key);
    EXPECT_EQ(hex(key), "8a4eb0cf11f4c942ca2d2b262902ae512df55813bf0c67c538d726ccc0120354385c7de83e4b7498");
    Bytes again = stripes;
    std::fill_n(again.begin() + 80, 40, std::uint8_t{0});
    af_split(Hash::kSha256, key, again);
    EXPECT_EQ(again, stripes);
}

class LuksTest : public ::testing::Test {
protected:
    Bytes make(const char *options = "iter-time=1") {
        auto taken = NodeOptions::from_text(options);
        auto parameters = take_luks_parameters(*taken, "encrypt.");
        EXPECT_TRUE(parameters) << parameters.error().message();
        auto made = make_luks(*parameters, "open sesame");
        EXPECT_TRUE(made) << made.error().message();
        EXPECT_EQ(made->size(), luks_area_bytes(*parameters));
        return *made;
    }
    Result<SecretBytes> unlock(const Bytes &area, const char *passphrase) {
        auto file = std::make_shared<testing::MemoryBlockNode>(context_);
        file->bytes.assign(1024, 0x77); // the header lies somewhere inside
        file->bytes.insert(file->bytes.end(), area.begin(), area.end());
        auto header = parse_luks_header(ByteSpan(area).first(kLuksHeaderBytes), 1024, area.size(), "x.luks");
        if (!header)
            return util::fail(header.error());
        return context_.run(unlock_luks(*file, 1024, *header, passphrase, "x.luks"));
    }
    std::string refusal(Bytes area, std::size_t at, ByteSpan change) {
        std::copy(change.begin(), change.end(), area.begin() + static_cast<std::ptrdiff_t>(at));
        auto header = parse_luks_header(area, 1024, area.size(), "x.luks");
        return header ? "" : header.error().message();
    }
    IoContext context_;
};

TEST_F(LuksTest, OpensByItsPassphraseOnly) {
    for (const char *options : {"iter-time=1", "iter-time=1,cipher-alg=aes-128,hash-alg=sha1", "iter-time=1,hash-alg=sha512"}) {
        const Bytes area = make(options);
        auto key = unlock(area, "open sesame");
        ASSERT_TRUE(key) << key.error().message();
        EXPECT_EQ(key->size(), std::string_view(options).find("aes-128") == std::string_view::npos ? 64u : 32u);
        for (const char *wrong : {"", "open sesam", "open sesame "}) {
            auto none = unlock(area, wrong);
            ASSERT_FALSE(none);
            EXPECT_EQ(none.error().code(), EACCES);
        }
        Bytes damaged = area; // one bit of one stripe is enough
        damaged[4096 + 100] ^= 1;
        EXPECT_FALSE(unlock(damaged, "open sesame"));
    }
}

TEST_F(LuksTest, TwoHeadersHaveNothingInCommon) {
    auto one = unlock(make(), "open sesame"), two = unlock(make(), "open sesame");
    ASSERT_TRUE(one && two);
    EXPECT_NE(hex(one->span()), hex(two->span()));
}

TEST_F(LuksTest, BadFieldsAreRefusedByName) {
    const Bytes area = make();
    EXPECT_EQ(refusal(area, 0, {}), "");
    const auto number = [](std::uint32_t value) {
        Bytes bytes(4);
        store_be32(bytes.data(), value);
        return bytes;
    };
    const struct {
        std::size_t at;
        Bytes change;
        const char *word;
    } cases[] = {
        {0, bytes_of("X"), "magic"},
        {6, {0, 2}, "version 2"},
        {8, bytes_of("serpent"), "'serpent'"},
        {40, bytes_of("cbc-essiv:sha256"), "'cbc-essiv:sha256'"},
        {72, bytes_of("md5\0"), "'md5"},
        {104, number(1), "payload"},
        {104, number(100), "reaches into the payload"},
        {108, number(48), "48 bytes"},
        {164, number(0), "0 iterations"},
        {164, number(0xffffffff), "iterations; at most"},
        {208, number(1), "key slot 0 is neither"},
        {208 + 4, number(0), "key slot 0 has 0 iterations"},
        {208 + 40, number(0), "inside the header"},
        {208 + 44, number(0xffffffff), "4294967295 stripes"},
        {208 + 48 + 40, number(8), "slot 1 overlaps"},
    };
    for (const auto &each : cases) {
        const std::string text = refusal(area, each.at, each.change);
        EXPECT_NE(text.find(each.word), std::string::npos) << each.word << ": " << text;
        EXPECT_NE(text.find("x.luks"), std::string::npos) << text;
        EXPECT_NE(text.find("offset"), std::string::npos) << text;
    }
    EXPECT_FALSE(parse_luks_header(ByteSpan(area).first(500), 0, area.size(), "x"));
    EXPECT_FALSE(parse_luks_header(area, 0, area.size() - 4096, "x")) << "the last slot lies behind the end";
    Bytes cut = area;
    cut.resize(5000);
    EXPECT_NE(refusal(cut, 0, {}).find("beyond the header's end"), std::string::npos);
}

TEST_F(LuksTest, ParametersAreChecked) {
    for (const char *options : {"cipher-alg=des", "cipher-mode=ecb", "ivgen-alg=plain", "hash-alg=md5", "iter-time=0", "iter-time=70000"}) {
        auto taken = NodeOptions::from_text(options);
        EXPECT_FALSE(take_luks_parameters(*taken, "encrypt.")) << options;
    }
}

TEST_F(LuksTest, SectorsInTheClear) {
    auto file = std::make_shared<testing::MemoryBlockNode>(context_);
    auto node = std::make_shared<CryptNode>(file, "x", std::make_shared<AesXts>(Bytes(64, 9)));
    Bytes model(300'000), back(model.size());
    for (std::size_t i = 0; i < model.size(); ++i)
        model[i] = static_cast<std::uint8_t>(i * 31 >> 3);
    const auto write = [&](std::size_t at, std::size_t size) {
        const IoVector part(model.data() + at, size);
        EXPECT_TRUE(context_.run(node->write(at, part, kNoFlags)));
    };
    write(0, model.size() - model.size() % 512); // by the pool
    for (std::size_t i = 1000; i < 3000; ++i)
        model[i] = 0xaa;
    write(1000, 2000); // parts of sectors keep the rest of them
    model[5000] = 1;
    write(5000, 1);
    for (const auto &[at, size] : {std::pair<std::size_t, std::size_t>{0, 299'520}, {700, 5000}, {4999, 3}}) {
        const IoVector part(back.data(), size);
        EXPECT_TRUE(context_.run(node->read(at, part)));
        EXPECT_TRUE(std::equal(back.begin(), back.begin() + static_cast<std::ptrdiff_t>(size), model.begin() + static_cast<std::ptrdiff_t>(at)));
    }
    EXPECT_FALSE(std::equal(model.begin(), model.begin() + 512, file->bytes.begin()));
    const auto locked = std::make_shared<CryptNode>(file, "x", nullptr);
    const IoVector part(back.data(), 512);
    EXPECT_EQ(context_.run(locked->read(0, part)).error().code(), EACCES);
    EXPECT_EQ(context_.run(locked->write(0, part)).error().code(), EACCES);
}

TEST(Secret, FormsAndMistakes) {
    const auto add = [](const char *text) {
        auto done = add_secret(NodeOptions::from_text(text).value());
        return done ? "" : done.error().message();
    };
    EXPECT_EQ(add("id=luks-test-a,data=with,,comma"), "");
    EXPECT_EQ(find_secret("luks-test-a").value(), "with,comma");
    EXPECT_EQ(add("id=luks-test-b,data=c2VjcmV0,format=base64"), "");
    EXPECT_EQ(find_secret("luks-test-b").value(), "secret");
    EXPECT_NE(add("id=luks-test-a,data=x").find("already"), std::string::npos);
    EXPECT_NE(add("id=luks-test-c").find("data= or file="), std::string::npos);
    EXPECT_NE(add("id=luks-test-c,data=x,file=y").find("data= or file="), std::string::npos);
    EXPECT_NE(add("id=luks-test-c,file=/absent/file").find("/absent/file"), std::string::npos);
    EXPECT_NE(add("id=luks-test-c,data=x,format=hex").find("raw or base64"), std::string::npos);
    EXPECT_NE(add("id=luks-test-c,data=x,keyid=y").find("keyid"), std::string::npos);
    EXPECT_NE(add("data=x").find("id="), std::string::npos);
    EXPECT_EQ(find_secret("luks-test-c").error().code(), ENOENT);
}

} // namespace
} // namespace rhea::block::crypto
