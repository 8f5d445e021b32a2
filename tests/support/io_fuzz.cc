#include "tests/support/io_fuzz.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace rhea::test {
namespace {

std::uint64_t environment_or(const char* name, std::uint64_t fallback) {
    const char* text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 0) : fallback;
}

/// Mostly values that mean something: small, all ones, single bits.
std::uint64_t interesting(FuzzRandom& random) {
    switch (random() % 5) {
        case 0:
            return random() % 16;
        case 1:
            return ~std::uint64_t{0} << random() % 64;
        case 2:
            return std::uint64_t{1} << random() % 64;
        default:
            return random();
    }
}

std::vector<std::uint8_t> save(core::Device& device) {
    std::vector<std::uint8_t> bytes;
    auto archive = core::make_memory_writer(bytes);
    archive->section("device", device.serialize_version(),
                     [&](core::Archive& a) { device.serialize(a); });
    EXPECT_TRUE(archive->ok());
    return bytes;
}

/// Why it failed; empty: it did not.
std::string restore(core::Device& device, const std::vector<std::uint8_t>& bytes) {
    auto archive = core::make_memory_reader(bytes);
    archive->section("device", device.serialize_version(),
                     [&](core::Archive& a) { device.serialize(a); });
    return archive->ok() ? std::string() : archive->status().error().message();
}

std::string print(core::Device& device) {
    std::string text;
    auto archive = core::make_printer(text);
    device.serialize(*archive);
    return text;
}

}  // namespace

void hammer(const std::string& name, const std::vector<FuzzRange>& ranges,
            const std::function<void(FuzzRandom&)>& between) {
    const std::uint64_t seed = environment_or("RHEA_FUZZ_SEED", std::random_device{}());
    const std::uint64_t steps = environment_or("RHEA_FUZZ_STEPS", 50'000);
    std::printf("%s: RHEA_FUZZ_SEED=%llu, %llu accesses\n", name.c_str(),
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(steps));
    std::fflush(stdout);
    FuzzRandom random(seed);
    for (std::uint64_t step = 0; step < steps; ++step) {
        const FuzzRange& range = ranges[random() % ranges.size()];
        const core::hwaddr offset = range.base + random() % range.size;
        unsigned size = 1u << random() % 4;
        size = size > range.largest ? range.largest : size;
        if (random() % 2) {
            range.space.store(offset, interesting(random), size);
        } else {
            range.space.load(offset, size);
        }
        if (between) {
            between(random);
            if (::testing::Test::HasFatalFailure()) {
                return;
            }
        }
    }
}

void expect_state_round_trip(core::Device& from, core::Device& to) {
    const std::vector<std::uint8_t> saved = save(from);
    ASSERT_EQ(restore(to, saved), "");
    EXPECT_EQ(print(from), print(to));
    FuzzRandom random(environment_or("RHEA_FUZZ_SEED", 1));
    for (int i = 0; i < 200; ++i) {
        std::vector<std::uint8_t> damaged = saved;
        for (std::uint64_t n = random() % 8 + 1; n > 0; --n) {
            damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
        }
        restore(to, damaged);
    }
    ASSERT_EQ(restore(to, saved), "");
}

}  // namespace rhea::test
