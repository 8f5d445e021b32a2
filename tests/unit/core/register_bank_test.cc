#include "rhea/core/register_bank.h"

#include <gtest/gtest.h>

namespace rhea::core {
namespace {

class BankTest : public ::testing::Test {
  protected:
    RegisterBank bank{"bank", 0x20};
    BankTest() {
        bank.add({.offset = 0, .size = 4, .name = "CTRL", .reset = 0x11223344});
        bank.add({.offset = 4, .size = 2, .name = "MASKED", .reset = 0xff, .write_mask = 0xf0f0});
        bank.add({.offset = 6,
                  .size = 2,
                  .name = "STATUS",
                  .reset = 0xffff,
                  .write_mask = 0,
                  .clear_mask = 0x0ff0});
        bank.add({.offset = 8, .size = 8, .name = "WIDE"});
    }
};

TEST_F(BankTest, ResetGivesResetValues) {
    bank.io_write(0, 0, 4);
    bank.reset();
    EXPECT_EQ(bank.io_read(0, 4), 0x11223344u);
    EXPECT_EQ(bank.get("MASKED"), 0xffu);
}

TEST_F(BankTest, NarrowAccessesTouchTheirLanes) {
    bank.io_write(1, 0xaa, 1);
    EXPECT_EQ(bank.get("CTRL"), 0x1122aa44u);
    bank.io_write(2, 0xbbcc, 2);
    EXPECT_EQ(bank.io_read(0, 4), 0xbbccaa44u);
    EXPECT_EQ(bank.io_read(1, 2), 0xccaau);
}

TEST_F(BankTest, WideAccessesReachEachRegister) {
    bank.io_write(4, 0x00f0'ffff, 4);
    EXPECT_EQ(bank.get("MASKED"), 0xf0ffu);
    EXPECT_EQ(bank.get("STATUS"), 0xff0fu);
    EXPECT_EQ(bank.io_read(4, 4), 0xff0ff0ffu);
    EXPECT_EQ(bank.io_read(0, 8), 0xff0ff0ff11223344u);
}

TEST_F(BankTest, AccessesAcrossRegistersTakePartsOfBoth) {
    EXPECT_EQ(bank.io_read(3, 2), 0xff11u);
    bank.io_write(3, 0xf099, 2);
    EXPECT_EQ(bank.get("CTRL"), 0x99223344u);
    EXPECT_EQ(bank.get("MASKED"), 0xffu);
}

TEST_F(BankTest, MaskedBitsKeepTheirValue) {
    bank.io_write(4, 0, 2);
    EXPECT_EQ(bank.get("MASKED"), 0x0fu);
}

TEST_F(BankTest, WritingOnesClears) {
    bank.io_write(6, 0x10, 1);  // the other lane is untouched
    EXPECT_EQ(bank.get("STATUS"), 0xffefu);
    bank.io_write(6, 0, 2);
    EXPECT_EQ(bank.get("STATUS"), 0xffefu);
}

TEST_F(BankTest, EightByteRegistersWork) {
    bank.io_write(8, 0x8877665544332211, 8);
    EXPECT_EQ(bank.io_read(0xc, 4), 0x88776655u);
}

TEST_F(BankTest, HandlersSeeOldAndNew) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> seen;
    int reads = 0;
    bank.add(
        {.offset = 0x10,
         .size = 2,
         .name = "HOOKED",
         .reset = 1,
         .on_read =
             [&](std::uint64_t stored) {
                 ++reads;
                 return stored | 0x8000;
             },
         .on_write = [&](std::uint64_t old, std::uint64_t now) { seen.emplace_back(old, now); }});
    bank.add({.offset = 0x12,
              .size = 1,
              .name = "COMPUTED",
              .write_value = [](std::uint64_t stored, std::uint64_t written) {
                  return stored + written;
              }});
    bank.io_write(0x10, 0x0302, 2);
    EXPECT_EQ(seen, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{1, 0x0302}}));
    EXPECT_EQ(bank.io_read(0x10, 2), 0x8302u);
    EXPECT_EQ(reads, 1);
    bank.io_write(0x12, 5, 1);
    bank.io_write(0x12, 255, 1);
    EXPECT_EQ(bank.get("COMPUTED"), 4u);  // cut to the register's size
}

TEST_F(BankTest, HolesReadAsZero) {
    EXPECT_EQ(bank.io_read(0x18, 8), 0u);
    bank.io_write(0x18, ~0ull, 8);
    EXPECT_EQ(bank.io_read(0x1f, 8), 0u);  // beyond the end
}

TEST_F(BankTest, ValuesSurviveSavingAndRestoring) {
    bank.io_write(0, 0xdeadbeef, 4);
    std::vector<std::uint8_t> saved;
    bank.serialize(*make_memory_writer(saved));
    bank.reset();
    auto reader = make_memory_reader(saved);
    bank.serialize(*reader);
    EXPECT_TRUE(reader->ok());
    EXPECT_EQ(bank.get("CTRL"), 0xdeadbeefu);
}

}  // namespace
}  // namespace rhea::core
