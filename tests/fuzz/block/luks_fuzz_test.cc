// LUKS headers with a few fields changed: an error, or a header whose every place and cost is within bounds.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>

#include "block/crypto/luks.h"
#include "block/format/bytes.h"

namespace rhea::block::crypto {
namespace {

TEST(LuksFuzz, DamagedHeadersAreErrors) {
    const std::vector<std::uint8_t> good = make_luks({.cipher = {}, .hash = Hash::kSha256, .iter_time_ms = 1}, "fuzz").value();
    const char *text = std::getenv("RHEA_FUZZ_STEPS");
    const unsigned steps = 10 * (text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : 400);
    for (unsigned step = 0; step < steps; ++step) {
        SCOPED_TRACE(step);
        std::mt19937_64 random(step);
        std::vector<std::uint8_t> bytes(good.begin(), good.begin() + kLuksHeaderBytes);
        const std::uint64_t area = random() % 4 ? good.size() : random() % good.size();
        for (unsigned changes = random() % 3 + 1; changes != 0; --changes) {
            const std::size_t at = (random() % 4 ? 104 + random() % 488 : random() % 592) & ~std::size_t{3};
            static constexpr std::uint32_t kNumbers[] = {0, 1, 8, 512, 3999, 4001, 4040, 0x7fffffff, 0x80000000, 0xffffffff, 0x00ac71f3, 0xdead};
            store_be32(&bytes[at], random() % 3 ? kNumbers[random() % std::size(kNumbers)] : static_cast<std::uint32_t>(random()));
        }
        if (random() % 2) { // the cipher of another header, or what looks like one
            static constexpr std::string_view kCiphers[] = {"aes", "serpent", "twofish", "cast5", "cast6", ""};
            static constexpr std::string_view kModes[] = {"xts-plain64", "cbc-essiv:sha256", "ecb-plain", "ctr-plain64:md5", "xts-essiv", "cbc-essiv:",
                                                          "-", ":-", "xts-plain64:sha256:x", "cbc", "xts-essiv:sha512"};
            static constexpr std::string_view kHashes[] = {"md5", "sha1", "sha224", "ripemd160", "sha512", "sha"};
            static constexpr std::uint32_t kKeys[] = {16, 24, 32, 48, 64, 0, 1, 128};
            const auto place = [&bytes](std::size_t at, std::string_view text) {
                std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 32, std::uint8_t{0});
                std::copy(text.begin(), text.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
            };
            place(8, kCiphers[random() % std::size(kCiphers)]);
            place(40, kModes[random() % std::size(kModes)]);
            place(72, kHashes[random() % std::size(kHashes)]);
            store_be32(&bytes[108], kKeys[random() % std::size(kKeys)]);
        }
        if (random() % 16 == 0)
            bytes.resize(random() % bytes.size());
        const auto header = parse_luks_header(bytes, 65536, area, "fuzz.img");
        if (!header) {
            EXPECT_NE(header.error().message().find("fuzz.img"), std::string::npos);
            continue;
        }
        std::uint64_t rounds = 0;
        for (const LuksHeader::Slot &slot : header->slots) {
            EXPECT_LE(slot.sector * std::uint64_t{512} + header->material_bytes(), area);
            rounds += slot.active ? std::uint64_t{slot.iterations} + header->digest_iterations : 0;
        }
        EXPECT_LE(rounds, kMaxLuksIterations);
        EXPECT_EQ(header->material_bytes() % 512, 0u);
        std::vector<std::uint8_t> key(header->key_bytes(), 1), sector(512);
        SectorCipher(header->cipher, key).encrypt(step, sector.data(), sector.data(), sector.size());
        if (header->hash == Hash::kSha256) { // a header that is written again is the same
            const auto again = parse_luks_header(serialise_luks_header(*header), 65536, area, "fuzz.img");
            ASSERT_TRUE(again) << again.error().message();
            EXPECT_EQ(again->cipher, header->cipher);
        }
        EXPECT_TRUE(nlohmann::json::accept(luks_json(*header)));
    }
}

} // namespace
} // namespace rhea::block::crypto
