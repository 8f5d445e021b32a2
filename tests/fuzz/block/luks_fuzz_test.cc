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
    const std::vector<std::uint8_t> good = make_luks({.key_bytes = 64, .hash = Hash::kSha256, .iter_time_ms = 1}, "fuzz").value();
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
        EXPECT_TRUE(nlohmann::json::accept(luks_json(*header)));
    }
}

} // namespace
} // namespace rhea::block::crypto
