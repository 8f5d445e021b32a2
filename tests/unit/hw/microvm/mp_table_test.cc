// The MultiProcessor tables, read as a kernel does (MP specification 1.4, chapter 4).
#include "hw/microvm/mp_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <numeric>
#include <string>

namespace rhea::hw::microvm {
namespace {

std::uint64_t number(const std::vector<std::uint8_t>& bytes, std::size_t at, unsigned size) {
    std::uint64_t value = 0;
    EXPECT_LE(at + size, bytes.size());
    std::memcpy(&value, bytes.data() + at, size);
    return value;
}

std::string text(const std::vector<std::uint8_t>& bytes, std::size_t at) {
    return {bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(at) + 4};
}

int sum(const std::vector<std::uint8_t>& bytes, std::size_t at, std::size_t length) {
    const auto start = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    return std::accumulate(start, start + static_cast<std::ptrdiff_t>(length), 0) & 0xff;
}

/// How many entries of each type; the walk must end with the table.
std::map<unsigned, unsigned> entries(const std::vector<std::uint8_t>& bytes, std::size_t table) {
    std::map<unsigned, unsigned> counts;
    std::size_t at = table + 44;
    for (unsigned left = static_cast<unsigned>(number(bytes, table + 34, 2)); left > 0; --left) {
        const auto type = static_cast<unsigned>(bytes.at(at));
        ++counts[type];
        at += type == 0 ? 20 : 8;
    }
    EXPECT_EQ(at, bytes.size());
    return counts;
}

TEST(MpTableTest, PointerAndHeader) {
    const auto bytes = mp_table({.cpus = {.cores = 4}, .pic = true, .io_apic = 0xfec00000});
    EXPECT_EQ(text(bytes, 0), "_MP_");
    EXPECT_EQ(sum(bytes, 0, 16), 0);
    EXPECT_EQ(number(bytes, 8, 1), 1u) << "one paragraph";
    const std::size_t table = number(bytes, 4, 4) - kMpTableAddress;
    ASSERT_EQ(table, 16u);
    EXPECT_EQ(text(bytes, table), "PCMP");
    EXPECT_EQ(number(bytes, table + 4, 2), bytes.size() - table);
    EXPECT_EQ(sum(bytes, table, bytes.size() - table), 0);
    EXPECT_EQ(number(bytes, table + 36, 4), 0xfee00000u);
}

TEST(MpTableTest, Entries) {
    const auto bytes = mp_table({.cpus = {.sockets = 2, .cores = 3}, .pic = true, .io_apic = 0xfec00000});
    EXPECT_EQ(entries(bytes, 16), (std::map<unsigned, unsigned>{{0, 6}, {1, 1}, {2, 1}, {3, 16}, {4, 2}}));
    EXPECT_EQ(bytes.at(16 + 44 + 3), 3) << "enabled, the boot processor";
    EXPECT_EQ(bytes.at(16 + 44 + 20 + 3), 1);
    EXPECT_EQ(bytes.at(16 + 44 + 3 * 20 + 1), 4) << "the second socket's APIC IDs go on behind four";
    const auto without = mp_table({.cpus = {}, .pic = false, .io_apic = 0xfec00000});
    EXPECT_EQ(entries(without, 16), (std::map<unsigned, unsigned>{{0, 1}, {1, 1}, {2, 1}, {3, 15}, {4, 1}})) << "no ExtINT";
}

}  // namespace
}  // namespace rhea::hw::microvm
