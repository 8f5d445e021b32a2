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
    EXPECT_FALSE(find_hash("md4"));
}

TEST(Crypto, MoreHashes) {
    // RFC 1321, RFC 3174's and FIPS 180-4's "abc"; the RIPEMD-160 paper.
    for (const auto &[name, expected] : {std::pair{"md5", "90015098"}, {"sha224", "23097d22"}, {"sha384", "cb00753f"}, {"ripemd160", "8eb208f7"}}) {
        const auto hash = find_hash(name);
        ASSERT_TRUE(hash) << name;
        Bytes out(4);
        digest(*hash, bytes_of("ab"), bytes_of("c"), out);
        EXPECT_EQ(hex(out), expected) << name;
    }
    // PBKDF2 by Python's hashlib (OpenSSL).
    EXPECT_EQ(derived(Hash::kMd5, 1000, 20), "8d189946a32d883622a16ae18af0632f5791d5e7");
    EXPECT_EQ(derived(Hash::kSha224, 1000, 20), "d3bcf320fd918908eafcaa460faf40e201f6508d");
    EXPECT_EQ(derived(Hash::kSha384, 1000, 20), "3bd37e2236941d4a77b1b5b714c6f913fabb6b08");
    EXPECT_EQ(derived(Hash::kRipemd160, 1000, 20), "b5c5682c46fdb315930cfc54e82d0987e6ef938f");
}

TEST(Crypto, XtsBySectors) {
    // IEEE 1619, vector 1: keys, sector and plain text of zeroes. A longer text begins with the same.
    const SectorCipher cipher({Cipher::kAes128, CipherMode::kXts, IvGenerator::kPlain64, {}}, Bytes(32, 0));
    Bytes text(1024), stored(1024);
    cipher.encrypt(0, stored.data(), text.data(), text.size());
    EXPECT_EQ(hex(ByteSpan(stored).first(32)), "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e");
    Bytes second(512);
    cipher.encrypt(1, second.data(), text.data(), second.size());
    EXPECT_TRUE(std::equal(second.begin(), second.end(), stored.begin() + 512)) << "the second sector has another number";
    cipher.decrypt(0, stored.data(), stored.data(), stored.size());
    EXPECT_EQ(stored, text);
}

/// What the first block of a sector of zeroes becomes.
std::string first_block(const CipherSpec &spec, const Bytes &key, std::uint64_t sector) {
    Bytes bytes(512);
    SectorCipher(spec, key).encrypt(sector, bytes.data(), bytes.data(), bytes.size());
    return hex(ByteSpan(bytes).first(16));
}

TEST(Crypto, InitialisationVectors) {
    // ECB of FIPS 197's and the submitters' vectors: key and text of zeroes.
    EXPECT_EQ(first_block({Cipher::kAes128, CipherMode::kEcb, IvGenerator::kPlain64, {}}, Bytes(16), 5), "66e94bd4ef8a2c3b884cfa59ca342b2e");
    EXPECT_EQ(first_block({Cipher::kTwofish128, CipherMode::kEcb, IvGenerator::kPlain64, {}}, Bytes(16), 0), "9f589f5cf6122c32b6bfec2f2ae8c35a");
    // CBC of zeroes is the vector in ECB; that of sector 0 is zero unless essiv makes it.
    const auto cbc = [](IvGenerator generator, std::optional<Hash> hash, std::uint64_t sector) {
        return first_block({Cipher::kAes128, CipherMode::kCbc, generator, hash}, Bytes(16), sector);
    };
    EXPECT_EQ(cbc(IvGenerator::kPlain64, {}, 0), "66e94bd4ef8a2c3b884cfa59ca342b2e");
    EXPECT_EQ(cbc(IvGenerator::kPlain, {}, 1ull << 32), cbc(IvGenerator::kPlain, {}, 0)) << "32 bits of the number";
    EXPECT_NE(cbc(IvGenerator::kPlain64, {}, 1ull << 32), cbc(IvGenerator::kPlain64, {}, 0));
    EXPECT_NE(cbc(IvGenerator::kEssiv, Hash::kSha256, 0), cbc(IvGenerator::kPlain64, {}, 0));
    EXPECT_NE(cbc(IvGenerator::kEssiv, Hash::kSha256, 0), cbc(IvGenerator::kEssiv, Hash::kMd5, 0));
}

TEST(Crypto, EveryCombinationComesBack) {
    unsigned good = 0;
    for (unsigned cipher = 0; cipher <= static_cast<unsigned>(Cipher::kTwofish256); ++cipher)
        for (unsigned mode = 0; mode <= static_cast<unsigned>(CipherMode::kCtr); ++mode)
            for (unsigned iv = 0; iv <= static_cast<unsigned>(IvGenerator::kEssiv); ++iv)
                for (const std::optional<Hash> hash : {std::optional<Hash>(), {Hash::kSha1}, {Hash::kSha256}, {Hash::kMd5}}) {
                    const CipherSpec spec{static_cast<Cipher>(cipher), static_cast<CipherMode>(mode), static_cast<IvGenerator>(iv), hash};
                    CipherSpec parsed;
                    ASSERT_TRUE(parse_luks_cipher_mode(luks_cipher_mode(spec), parsed)) << luks_cipher_mode(spec);
                    parsed.cipher = find_luks_cipher(luks_cipher(spec), spec.key_bytes(), spec.mode == CipherMode::kXts).value();
                    EXPECT_EQ(parsed, spec);
                    EXPECT_EQ(find_cipher(name_of(spec.cipher)), spec.cipher);
                    if (!check_cipher(spec))
                        continue;
                    ++good;
                    Bytes key(spec.key_bytes()), text(1536), stored(1536);
                    for (std::size_t i = 0; i < text.size(); ++i)
                        text[i] = static_cast<std::uint8_t>(i * 13 >> 2);
                    for (std::size_t i = 0; i < key.size(); ++i)
                        key[i] = static_cast<std::uint8_t>(i + 1);
                    const SectorCipher code(spec, key);
                    code.encrypt(7, stored.data(), text.data(), text.size());
                    EXPECT_NE(stored, text);
                    Bytes second(512);
                    code.encrypt(8, second.data(), text.data() + 512, 512);
                    EXPECT_TRUE(std::equal(second.begin(), second.end(), stored.begin() + 512)) << "each sector by itself";
                    code.decrypt(7, stored.data(), stored.data(), stored.size());
                    EXPECT_EQ(stored, text) << luks_cipher(spec) << ' ' << luks_cipher_mode(spec);
                }
    // 6 ciphers with 16-byte blocks in 4 modes, 3 more in xts: with 2 generators by 4 hashes, and essiv by 2 of them; cast5 in 3 modes by 8.
    EXPECT_EQ(good, (6u * 4 + 3) * (2 * 4 + 2) + 3 * 8);
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
    for (const char *options : {"iter-time=1", "iter-time=1,cipher-alg=aes-128,hash-alg=sha1", "iter-time=1,hash-alg=sha512",
                                "iter-time=1,cipher-alg=serpent-128,cipher-mode=cbc,ivgen-alg=essiv,hash-alg=ripemd160"}) {
        const Bytes area = make(options);
        auto key = unlock(area, "open sesame");
        ASSERT_TRUE(key) << key.error().message();
        EXPECT_EQ(key->size(), std::string_view(options).find("aes-128") != std::string_view::npos ? 32u
                               : std::string_view(options).find("cbc") != std::string_view::npos   ? 16u
                                                                                                   : 64u);
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
        {8, bytes_of("camellia"), "'camellia'"},
        {8, bytes_of("cast5"), "no size of cast5"},
        {40, bytes_of("xts-essiv:sha512"), "essiv by sha512"},
        {40, bytes_of(std::string_view("xts-essiv\0", 10)), "needs a hash"},
        {40, bytes_of("xts-benbi"), "'xts-benbi64'"},
        {40, bytes_of("cbc-plain64"), "no size of aes"},
        {72, bytes_of("md4\0"), "'md4"},
        {104, number(1), "payload"},
        {104, number(100), "reaches into the payload"},
        {108, number(40), "40 bytes"},
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
    for (const char *options : {"cipher-alg=des", "cipher-mode=ofb", "ivgen-alg=benbi", "hash-alg=md4", "ivgen-hash-alg=sha3", "iter-time=0", "iter-time=70000",
                                "cipher-alg=cast5-128", "cipher-alg=aes-192,cipher-mode=cbc", "ivgen-alg=essiv,ivgen-hash-alg=sha1"}) {
        auto taken = NodeOptions::from_text(options);
        EXPECT_FALSE(take_luks_parameters(*taken, "encrypt.")) << options;
    }
}

/// A header in a file, its first passphrase the secret luks-slots-a.
class LuksSlotsTest : public LuksTest {
protected:
    static void SetUpTestSuite() {
        for (const char *id : {"a", "b"})
            ASSERT_TRUE(add_secret(NodeOptions::from_text(fmt::format("id=luks-slots-{},data={}", id, id)).value()));
    }
    void SetUp() override {
        LuksParameters parameters;
        parameters.iter_time_ms = 1;
        const Bytes area = make_luks(parameters, "a").value();
        file_ = std::make_shared<testing::MemoryBlockNode>(context_);
        file_->bytes.assign(1024, 0x77);
        file_->bytes.insert(file_->bytes.end(), area.begin(), area.end());
        header_ = stored();
    }
    LuksHeader stored() { return parse_luks_header(ByteSpan(file_->bytes).subspan(1024, kLuksHeaderBytes), 1024, file_->bytes.size() - 1024, "x").value(); }
    Result<void> amend(const char *options, bool force = false) {
        auto taken = NodeOptions::from_text(options);
        auto amendment = take_luks_amendment(*taken, "", force);
        EXPECT_TRUE(amendment) << amendment.error().message();
        return context_.run(amend_luks({*file_, 1024, "x.luks", "luks-slots-a"}, header_, *amendment));
    }
    bool opens(const char *passphrase) { return context_.run(unlock_luks(*file_, 1024, stored(), passphrase, "x")).has_value(); }

    std::shared_ptr<testing::MemoryBlockNode> file_;
    LuksHeader header_;
};

TEST_F(LuksSlotsTest, AnErasedSlotLeavesNothing) {
    ASSERT_TRUE(amend("state=active,new-secret=luks-slots-b,iter-time=1"));
    EXPECT_TRUE(opens("a") && opens("b"));
    const LuksHeader both = stored();
    const Bytes before = file_->bytes;
    ASSERT_TRUE(amend("state=inactive,old-secret=luks-slots-b"));
    EXPECT_TRUE(opens("a"));
    EXPECT_FALSE(opens("b"));
    const std::size_t at = 1024 + both.slots[1].sector * 512u, size = both.material_bytes();
    std::size_t equal = 0;
    for (std::size_t i = at; i < at + size; ++i)
        equal += file_->bytes[i] == before[i];
    EXPECT_LT(equal, size / 100) << "the key material is still there";
    EXPECT_FALSE(amend("state=inactive,keyslot=0"));
    EXPECT_TRUE(amend("state=inactive,keyslot=0", true));
    EXPECT_FALSE(opens("a"));
}

TEST_F(LuksSlotsTest, AFailedWriteChangesNoSlot) {
    for (std::size_t nth = 0; nth < 4; ++nth) { // material, flush, header, flush
        SCOPED_TRACE(nth);
        const LuksHeader before = stored();
        using Kind = testing::MemoryBlockNode::Kind;
        file_->fail_request(nth / 2, EIO, nth % 2 ? Kind::kFlush : Kind::kWrite);
        auto done = amend("state=active,new-secret=luks-slots-b,iter-time=1");
        file_->fault = {};
        ASSERT_FALSE(done);
        EXPECT_EQ(done.error().code(), EIO);
        EXPECT_TRUE(opens("a"));
        EXPECT_EQ(opens("b"), nth == 3) << "the header is written when its flush fails";
        EXPECT_EQ(header_.slots[1].active, nth >= 2);
    }
}

TEST_F(LuksSlotsTest, EachSlotLeavesIterationsForTheNext) {
    header_.slots[3].active = true;
    header_.slots[3].iterations = static_cast<std::uint32_t>(kMaxLuksIterations - 3000);
    auto full = amend("state=active,new-secret=luks-slots-b,iter-time=1");
    ASSERT_FALSE(full);
    EXPECT_NE(full.error().message().find("iterations"), std::string::npos) << full.error().message();
    header_ = stored();
    for (int i = 1; i < 8; ++i)
        ASSERT_TRUE(amend("state=active,new-secret=luks-slots-b,iter-time=1"));
    EXPECT_EQ(amend("state=active,new-secret=luks-slots-b,iter-time=1").error().code(), ENOSPC);
    EXPECT_TRUE(opens("b"));
}

TEST_F(LuksTest, SectorsInTheClear) {
    auto file = std::make_shared<testing::MemoryBlockNode>(context_);
    auto node = std::make_shared<CryptNode>(file, "x", std::make_shared<SectorCipher>(CipherSpec{}, Bytes(64, 9)));
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
