#include "hw/char/debugcon.h"

#include <gtest/gtest.h>

#include "tests/support/fake_char.h"

namespace rhea::hw {
namespace {

class DebugconTest : public ::testing::Test {
  protected:
    std::unique_ptr<core::MemoryRegion> root = core::MemoryRegion::container("io", 0x10000);
    core::AddressSpace io{"io", *root};

    test::FakeChar outside;
    DebugConsole debugcon{&outside, *root};
};

TEST_F(DebugconTest, ReadsBackItsNumberAndWritesCharacters) {
    ASSERT_TRUE(debugcon.realize());
    EXPECT_EQ(io.load(0xe9, 1), 0xe9u);
    io.store(0xe9, 'o', 1);
    io.store(0xe9, 'k', 1);
    EXPECT_EQ(outside.taken, "ok");
}

TEST_F(DebugconTest, PropertiesMoveIt) {
    ASSERT_TRUE(debugcon.properties().set("iobase", "0x402"));
    ASSERT_TRUE(debugcon.properties().set("readback", "0x55"));
    ASSERT_TRUE(debugcon.realize());
    EXPECT_EQ(io.load(0x402, 1), 0x55u);
    EXPECT_EQ(io.load(0xe9, 1), 0xffu);
    io.store(0x402, 'x', 1);
    EXPECT_EQ(outside.taken, "x");
}

TEST_F(DebugconTest, ASlowBackEndGetsAllOfItInOrder) {
    outside.room = 2;
    ASSERT_TRUE(debugcon.realize());
    for (const char c : std::string("abcdef")) {
        io.store(0xe9, static_cast<std::uint8_t>(c), 1);
    }
    EXPECT_EQ(outside.taken, "ab");
    outside.make_room(1);
    EXPECT_EQ(outside.taken, "abc");
    outside.make_room(100);
    EXPECT_EQ(outside.taken, "abcdef");
}

TEST_F(DebugconTest, TheQueueIsBounded) {
    outside.room = 0;
    ASSERT_TRUE(debugcon.realize());
    for (std::size_t i = 0; i < DebugConsole::kQueueLimit + 10; ++i) {
        io.store(0xe9, 'x', 1);
    }
    outside.make_room(~std::size_t{0});
    EXPECT_EQ(outside.taken.size(), DebugConsole::kQueueLimit);
}

TEST_F(DebugconTest, RefusesPortsThatDoNotExist) {
    EXPECT_FALSE(debugcon.properties().set("iobase", "0x10000"));
}

TEST_F(DebugconTest, WithoutABackEndWritesAreLost) {
    DebugConsole silent(nullptr, *root);
    ASSERT_TRUE(silent.realize());
    io.store(0xe9, 'x', 1);
    EXPECT_EQ(io.load(0xe9, 1), 0xe9u);
}

}  // namespace
}  // namespace rhea::hw
