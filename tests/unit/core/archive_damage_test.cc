// What a reader does with state that is damaged, foreign or made to hurt.
#include <gtest/gtest.h>

#include <random>

#include "rhea/core/archive.h"

namespace rhea::core {
namespace {

enum class Phase : std::uint8_t { kIdle, kBusy };

struct State {
    std::uint64_t wide = 1;
    std::int16_t negative = -2;
    bool flag = true;
    Phase phase = Phase::kBusy;
    std::uint32_t array[3] = {1, 2, 3};
    std::uint8_t bytes[5] = {9, 8, 7, 6, 5};
    std::vector<std::uint8_t> queue{1, 2, 3};
    std::string name = "name";

    void serialize(Archive& archive) {
        archive.section("outer", 3, [&](Archive& outer) {
            outer.field("wide", wide);
            outer.field("negative", negative);
            outer.field("flag", flag);
            outer.field("phase", phase);
            outer.section("inner", 1, [&](Archive& inner) {
                inner.field("array", array);
                inner.bytes("bytes", std::span<std::uint8_t>(bytes));
                inner.bytes("queue", queue, 8);
            });
            outer.field("name", name);
        });
    }
    static State zero() {
        State state;
        state.wide = 0;
        state.negative = 0;
        state.flag = false;
        state.phase = Phase::kIdle;
        std::fill(std::begin(state.array), std::end(state.array), 0);
        std::fill(std::begin(state.bytes), std::end(state.bytes), 0);
        state.queue.clear();
        state.name.clear();
        return state;
    }
};

std::vector<std::uint8_t> saved_state() {
    std::vector<std::uint8_t> bytes;
    State state;
    state.serialize(*make_memory_writer(bytes));
    return bytes;
}

std::string error_of(const std::vector<std::uint8_t>& bytes,
                     const std::function<void(Archive&)>& body) {
    auto reader = make_memory_reader(bytes);
    body(*reader);
    return reader->ok() ? "" : reader->status().error().message();
}

TEST(ArchiveDamage, EveryTypeComesBack) {
    const std::vector<std::uint8_t> bytes = saved_state();
    State state = State::zero();
    EXPECT_EQ(error_of(bytes, [&](Archive& archive) { state.serialize(archive); }), "");
    EXPECT_EQ(state.wide, 1u);
    EXPECT_EQ(state.negative, -2);
    EXPECT_TRUE(state.flag);
    EXPECT_EQ(state.phase, Phase::kBusy);
    EXPECT_EQ(state.array[2], 3u);
    EXPECT_EQ(state.bytes[4], 5);
    EXPECT_EQ(state.queue, (std::vector<std::uint8_t>{1, 2, 3}));
    EXPECT_EQ(state.name, "name");
}

TEST(ArchiveDamage, FieldsAreFoundInAnyOrder) {
    const std::vector<std::uint8_t> bytes = saved_state();
    std::string name;
    std::uint64_t wide = 0;
    EXPECT_EQ(error_of(bytes,
                       [&](Archive& archive) {
                           archive.section("outer", 3, [&](Archive& outer) {
                               outer.field("name", name);
                               outer.field("wide", wide);
                           });
                       }),
              "");
    EXPECT_EQ(name, "name");
    EXPECT_EQ(wide, 1u);
}

TEST(ArchiveDamage, MissingWrongAndTooLongFieldsAreNamed) {
    const std::vector<std::uint8_t> bytes = saved_state();
    auto inside = [&](const std::function<void(Archive&)>& body) {
        return error_of(bytes, [&](Archive& archive) { archive.section("outer", 3, body); });
    };
    std::uint32_t narrow = 77;
    std::string text = "kept";
    std::vector<std::uint8_t> queue{4};
    EXPECT_NE(inside([&](Archive& a) { a.field("absent", narrow); }).find("absent"),
              std::string::npos);
    EXPECT_NE(inside([&](Archive& a) { a.field("wide", narrow); }).find("wide"), std::string::npos);
    EXPECT_NE(inside([&](Archive& a) { a.field("wide", text); }).find("wide"), std::string::npos);
    EXPECT_NE(inside([&](Archive& a) { a.section("gone", 1, [](Archive&) {}); }).find("gone"),
              std::string::npos);
    EXPECT_NE(inside([&](Archive& a) {
                  a.section("inner", 1, [&](Archive& inner) { inner.bytes("queue", queue, 2); });
              }).find("outer/inner"),
              std::string::npos);
    EXPECT_EQ(narrow, 77u);
    EXPECT_EQ(text, "kept");
    EXPECT_EQ(queue, std::vector<std::uint8_t>{4});
}

TEST(ArchiveDamage, AfterAFailureNothingIsTouched) {
    const std::vector<std::uint8_t> bytes = saved_state();
    std::uint64_t wide = 5, absent = 6;
    const std::string error = error_of(bytes, [&](Archive& archive) {
        archive.section("outer", 3, [&](Archive& outer) {
            outer.field("absent", absent);
            outer.field("wide", wide);
        });
        archive.section("another", 1, [](Archive&) { FAIL(); });
    });
    EXPECT_NE(error.find("absent"), std::string::npos);
    EXPECT_EQ(wide, 5u);
}

TEST(ArchiveDamage, ADeviceMayRefuseAValue) {
    const std::vector<std::uint8_t> bytes = saved_state();
    const std::string error = error_of(bytes, [&](Archive& archive) {
        archive.section("outer", 3, [&](Archive& outer) { outer.fail("too wide"); });
    });
    EXPECT_NE(error.find("outer"), std::string::npos);
    EXPECT_NE(error.find("too wide"), std::string::npos);
}

TEST(ArchiveDamage, EveryCutIsNoticed) {
    const std::vector<std::uint8_t> bytes = saved_state();
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        const std::vector<std::uint8_t> cut(bytes.begin(),
                                            bytes.begin() + static_cast<std::ptrdiff_t>(length));
        State state;
        EXPECT_NE(error_of(cut, [&](Archive& archive) { state.serialize(archive); }), "") << length;
    }
}

TEST(ArchiveDamage, RandomDamageNeverHurts) {
    const std::vector<std::uint8_t> bytes = saved_state();
    std::mt19937_64 random(20);
    for (int i = 0; i < 20000; ++i) {
        std::vector<std::uint8_t> damaged = bytes;
        for (std::uint64_t n = random() % 6 + 1; n != 0; --n) {
            damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
        }
        State state = State::zero();
        error_of(damaged, [&](Archive& archive) { state.serialize(archive); });
        EXPECT_LE(state.queue.size(), 8u);
    }
}

TEST(ArchiveDamage, RandomBytesNeverHurt) {
    std::mt19937_64 random(21);
    for (int i = 0; i < 5000; ++i) {
        std::vector<std::uint8_t> noise(random() % 200);
        for (std::uint8_t& byte : noise) {
            byte = static_cast<std::uint8_t>(random() % 8);
        }
        State state;
        EXPECT_NE(error_of(noise, [&](Archive& archive) { state.serialize(archive); }), "");
    }
}

TEST(ArchiveDamage, DeepNestingIsRefused) {
    std::vector<std::uint8_t> bytes;
    auto writer = make_memory_writer(bytes);
    std::function<void(Archive&, int)> nest = [&](Archive& archive, int depth) {
        archive.section("s", 1, [&](Archive& inner) {
            if (depth > 0) {
                nest(inner, depth - 1);
            }
        });
    };
    nest(*writer, 100'000 / 50);
    EXPECT_NE(error_of(bytes, [](Archive& a) { a.section("s", 1, [](Archive&) {}); }), "");
}

TEST(ArchiveDamage, ThePrinterNamesEachField) {
    std::string text;
    State state;
    state.serialize(*make_printer(text));
    EXPECT_NE(text.find("outer.wide = 0x1\n"), std::string::npos);
    EXPECT_NE(text.find("outer.inner.array[2] = 0x3\n"), std::string::npos);
    EXPECT_NE(text.find("outer.inner.bytes = 0908070605\n"), std::string::npos);
    EXPECT_NE(text.find("outer.name = name\n"), std::string::npos);
}

}  // namespace
}  // namespace rhea::core
