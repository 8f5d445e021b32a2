#include "rhea/core/archive.h"

#include <gtest/gtest.h>

namespace rhea::core {
namespace {

struct State {
    std::uint32_t a = 0;
    std::uint8_t b[2] = {};
    std::string name;
    std::uint16_t added = 0;
    void serialize(Archive &archive, unsigned version) {
        archive.section("device", version, [&](Archive &section) {
            section.field("a", a);
            section.field("b", b);
            section.field("name", name);
            if (version >= 2)
                section.field_since(2, "added", added, std::uint16_t{7});
        });
    }
};

TEST(Archive, RestoresWhatItSaved) {
    std::vector<std::uint8_t> bytes;
    State saved{1, {2, 3}, "x", 9};
    saved.serialize(*make_memory_writer(bytes), 2);
    State restored;
    auto reader = make_memory_reader(bytes);
    restored.serialize(*reader, 2);
    ASSERT_TRUE(reader->ok()) << reader->status().error().message();
    EXPECT_EQ(restored.a, 1u);
    EXPECT_EQ(restored.b[1], 3);
    EXPECT_EQ(restored.name, "x");
    EXPECT_EQ(restored.added, 9);
}

TEST(Archive, OlderStateGetsTheFallbackAndNewerIsRefused) {
    std::vector<std::uint8_t> bytes;
    State saved{1, {2, 3}, "x", 9};
    saved.serialize(*make_memory_writer(bytes), 1);
    State restored;
    auto reader = make_memory_reader(bytes);
    restored.serialize(*reader, 2);
    EXPECT_TRUE(reader->ok());
    EXPECT_EQ(restored.added, 7);
    bytes.clear();
    saved.serialize(*make_memory_writer(bytes), 2);
    auto older = make_memory_reader(bytes);
    restored.serialize(*older, 1);
    EXPECT_FALSE(older->ok());
}

TEST(Archive, DamagedBytesNeverHurt) {
    std::vector<std::uint8_t> bytes;
    State saved{1, {2, 3}, "name", 9};
    saved.serialize(*make_memory_writer(bytes), 2);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        auto cut = bytes;
        cut.resize(i);
        State restored;
        auto reader = make_memory_reader(cut);
        restored.serialize(*reader, 2);
        EXPECT_FALSE(reader->ok()) << i;
        auto flipped = bytes;
        flipped[i] ^= 0xff;
        auto other = make_memory_reader(flipped);
        restored.serialize(*other, 2); // must not crash; may succeed when only a value changed
    }
}

} // namespace
} // namespace rhea::core
