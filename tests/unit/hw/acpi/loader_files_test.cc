// The ACPI tables as files, placed by a small firmware that follows the script.
#include "hw/acpi/tables.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <numeric>
#include <string>

namespace rhea::hw::acpi {
namespace {

using Bytes = std::vector<std::uint8_t>;

std::uint64_t number(const Bytes &bytes, std::size_t at, unsigned size) {
    std::uint64_t value = 0;
    std::memcpy(&value, &bytes.at(at + size - 1) - (size - 1), size);
    return value;
}

struct Placed {
    std::uint64_t address = 0;
    Bytes bytes;
};

/// Runs the script as firmware does; throws when a command reaches outside its file.
std::map<std::string, Placed> run(const LoaderFiles &files, std::uint64_t high) {
    const std::map<std::string, const Bytes *> stored = {{"etc/acpi/rsdp", &files.rsdp}, {"etc/acpi/tables", &files.tables}};
    std::map<std::string, Placed> placed;
    EXPECT_EQ(files.script.size() % 128, 0u);
    for (std::size_t at = 0; at + 128 <= files.script.size(); at += 128) {
        const auto name = [&](std::size_t offset) {
            return std::string(reinterpret_cast<const char *>(&files.script[at + offset]));
        };
        const std::string file = name(4);
        const auto argument = [&](std::size_t offset, unsigned size) { return number(files.script, at + offset, size); };
        switch (number(files.script, at, 4)) {
        case 1: { // ALLOCATE file, alignment, zone
            const std::uint64_t zone = argument(64, 1), alignment = argument(60, 4);
            EXPECT_TRUE(zone == 1 || zone == 2);
            placed[file] = {zone == 2 ? 0xf5a40 / alignment * alignment : high / alignment * alignment, *stored.at(file)};
            break;
        }
        case 2: { // ADD_POINTER destination, source, offset, size
            Bytes &bytes = placed.at(file).bytes;
            const std::size_t offset = argument(116, 4);
            const auto size = static_cast<unsigned>(argument(120, 1));
            const std::uint64_t before = number(bytes, offset, size);
            const Placed &target = placed.at(name(60));
            EXPECT_LT(before, target.bytes.size());
            const std::uint64_t address = before + target.address;
            std::memcpy(&bytes[offset], &address, size);
            break;
        }
        case 3: { // ADD_CHECKSUM file, offset, start, length
            Bytes &bytes = placed.at(file).bytes;
            const std::size_t start = argument(64, 4), length = argument(68, 4);
            EXPECT_LE(start + length, bytes.size());
            const unsigned sum = std::accumulate(&bytes[start], &bytes[start] + length, 0u);
            bytes.at(argument(60, 4)) -= static_cast<std::uint8_t>(sum);
            break;
        }
        default:
            ADD_FAILURE() << "unknown command at " << at;
        }
    }
    return placed;
}

class Tables : public ::testing::Test {
protected:
    Tables() : placed(run(files, kHigh)) {}
    /// A whole table at a physical address, its checksum looked at.
    Bytes table(std::uint64_t address, const char *signature) {
        const Placed &tables = placed.at("etc/acpi/tables");
        const std::size_t at = address - tables.address;
        EXPECT_LT(at + 36, tables.bytes.size()) << signature;
        EXPECT_EQ(std::memcmp(&tables.bytes.at(at), signature, 4), 0) << signature;
        const std::size_t length = number(tables.bytes, at + 4, 4);
        const Bytes bytes(tables.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                          tables.bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
        if (std::strcmp(signature, "FACS") != 0) {
            EXPECT_EQ(std::accumulate(bytes.begin(), bytes.end(), 0u) & 0xff, 0u) << signature;
        }
        return bytes;
    }

    static constexpr std::uint64_t kHigh = 0x7fff123;
    LoaderFiles files = build_loader_files([](std::uint64_t base) { return build_tables({.cpus = {.cores = 2}, .pm_base = 0xb000}, base); });
    std::map<std::string, Placed> placed;
};

TEST_F(Tables, TheRsdpLeadsToEveryTable) {
    const Bytes &rsdp = placed.at("etc/acpi/rsdp").bytes;
    ASSERT_EQ(rsdp.size(), 36u);
    EXPECT_EQ(std::accumulate(rsdp.begin(), rsdp.begin() + 20, 0u) & 0xff, 0u);
    EXPECT_EQ(std::accumulate(rsdp.begin(), rsdp.end(), 0u) & 0xff, 0u);
    const Bytes rsdt = table(number(rsdp, 16, 4), "RSDT"), xsdt = table(number(rsdp, 24, 8), "XSDT");
    EXPECT_EQ(number(rsdt, 36, 4), number(xsdt, 36, 8));
    EXPECT_EQ(number(rsdt, 40, 4), number(xsdt, 44, 8));
    const Bytes fadt = table(number(xsdt, 36, 8), "FACP");
    table(number(xsdt, 44, 8), "APIC");
    table(number(fadt, 40, 4), "DSDT");
    EXPECT_EQ(number(fadt, 40, 4), number(fadt, 140, 8));
    EXPECT_EQ(number(fadt, 36, 4), number(fadt, 132, 8));
    EXPECT_EQ(number(fadt, 36, 4) % 64, 0u) << "the FACS is aligned to 64 bytes";
    EXPECT_EQ(table(number(fadt, 36, 4), "FACS").size(), 64u);
    EXPECT_EQ(number(fadt, 56, 4), 0xb000u) << "where firmware put the PM block";
}

/// The same as tables that were made for that place.
TEST_F(Tables, AgreeWithThoseOfADirectBoot) {
    const Blob direct = build_tables({.cpus = {.cores = 2}, .pm_base = 0xb000}, placed.at("etc/acpi/tables").address - kRsdpSpace);
    const Bytes tables(direct.bytes.begin() + kRsdpSpace, direct.bytes.end());
    EXPECT_EQ(placed.at("etc/acpi/tables").bytes, tables);
    EXPECT_EQ(placed.at("etc/acpi/rsdp").bytes, Bytes(direct.bytes.begin(), direct.bytes.begin() + 36));
}

} // namespace
} // namespace rhea::hw::acpi
