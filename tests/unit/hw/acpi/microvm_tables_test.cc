// The tables of machine microvm: what a guest without PCI learns from them.
#include "hw/acpi/microvm_tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "hw/acpi/aml.h"
#include "hw/acpi/generic_events.h"

namespace rhea::hw::acpi {
namespace {

constexpr std::uint64_t kBase = 0xe0000;

class Tables {
  public:
    explicit Tables(const MicrovmTableOptions& options) : bytes_(build_microvm_tables(options, kBase).bytes) {}

    std::uint64_t number(std::uint64_t address, unsigned size) const {
        std::uint64_t value = 0;
        EXPECT_LE(address - kBase + size, bytes_.size());
        std::memcpy(&value, bytes_.data() + (address - kBase), size);
        return value;
    }
    /// A table of the XSDT's, or 0.
    std::uint64_t find(std::string_view signature) const {
        const std::uint64_t xsdt = number(kBase + 24, 8);
        for (std::uint64_t at = 36; at < number(xsdt + 4, 4); at += 8) {
            const std::uint64_t table = number(xsdt + at, 8);
            if (text(table) == signature) {
                return table;
            }
        }
        return 0;
    }
    std::string text(std::uint64_t address) const {
        return {reinterpret_cast<const char*>(bytes_.data()) + (address - kBase), 4};
    }
    bool sums_up(std::uint64_t table) const {
        const auto start = bytes_.begin() + static_cast<std::ptrdiff_t>(table - kBase);
        return (std::accumulate(start, start + static_cast<std::ptrdiff_t>(number(table + 4, 4)), 0) & 0xff) == 0;
    }
    bool contains(const aml::Bytes& part) const {
        return std::search(bytes_.begin(), bytes_.end(), part.begin(), part.end()) != bytes_.end();
    }

  private:
    std::vector<std::uint8_t> bytes_;
};

MicrovmTableOptions two_transports() {
    return {.cpus = {.cores = 3},
            .io_apics = {0xfec00000, 0xfec10000},
            .transports = {{23, 0xfeb02e00, 512, 47}, {5, 0xfeb00a00, 512, 29}}};
}

TEST(MicrovmTablesTest, HardwareReduced) {
    const Tables tables(two_transports());
    const std::uint64_t fadt = tables.find("FACP");
    ASSERT_NE(fadt, 0u);
    EXPECT_TRUE(tables.sums_up(fadt));
    EXPECT_EQ(tables.number(fadt + 4, 4), 268u);
    EXPECT_EQ(tables.number(fadt + 8, 1), 5u);
    EXPECT_EQ(tables.number(fadt + 112, 4), 1u << 20 | 1u << 10);
    EXPECT_EQ(tables.number(fadt + 116, 1), 0u) << "the reset register is in memory";
    EXPECT_EQ(tables.number(fadt + 120, 8), GenericEvents::kRegisters + 2);
    EXPECT_EQ(tables.number(fadt + 128, 1), GenericEvents::kResetValue);
    EXPECT_EQ(tables.number(fadt + 248, 8), GenericEvents::kRegisters);
    EXPECT_EQ(tables.number(fadt + 260, 8), GenericEvents::kRegisters + 1);
    EXPECT_EQ(tables.number(fadt + 56, 4), 0u) << "there is no PM1a event block";
    EXPECT_EQ(tables.number(fadt + 109, 2) & 0x20, 0u);
    const std::uint64_t dsdt = tables.number(fadt + 140, 8);
    EXPECT_EQ(tables.number(fadt + 40, 4), dsdt);
    EXPECT_EQ(tables.text(dsdt), "DSDT");
    EXPECT_TRUE(tables.sums_up(dsdt));
    MicrovmTableOptions without_clock = two_transports();
    without_clock.rtc = false;
    const Tables other(without_clock);
    EXPECT_EQ(other.number(other.find("FACP") + 109, 2) & 0x20, 0x20u) << "CMOS RTC Not Present";
}

TEST(MicrovmTablesTest, Transports) {
    const Tables tables(two_transports());
    const auto crs = [](std::uint32_t address, unsigned gsi) {
        return aml::name("_CRS", aml::resources({aml::memory32_fixed(address, 512), aml::interrupt(gsi, aml::Trigger::kLevel)}));
    };
    EXPECT_TRUE(tables.contains(crs(0xfeb02e00, 47)));
    EXPECT_TRUE(tables.contains(crs(0xfeb00a00, 29)));
    EXPECT_FALSE(tables.contains(crs(0xfeb00000, 24)));
    EXPECT_TRUE(tables.contains({'V', 'R', '2', '3'}));
    EXPECT_TRUE(tables.contains({'V', 'R', '0', '5'}));
    EXPECT_TRUE(tables.contains(aml::string("LNRO0005")));
}

TEST(MicrovmTablesTest, InterruptControllers) {
    const Tables tables(two_transports());
    const std::uint64_t madt = tables.find("APIC");
    ASSERT_NE(madt, 0u);
    EXPECT_EQ(tables.number(madt + 40, 4), 1u) << "8259s are there";
    unsigned cpus = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> io_apics;
    for (std::uint64_t at = madt + 44; at < madt + tables.number(madt + 4, 4); at += tables.number(at + 1, 1)) {
        cpus += tables.number(at, 1) == 0;
        if (tables.number(at, 1) == 1) {
            io_apics.emplace_back(tables.number(at + 4, 4), tables.number(at + 8, 4));
        }
    }
    EXPECT_EQ(cpus, 3u);
    EXPECT_EQ(io_apics, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0xfec00000, 0}, {0xfec10000, 24}}));
    MicrovmTableOptions without_pic = two_transports();
    without_pic.pic = false;
    const Tables other(without_pic);
    EXPECT_EQ(other.number(other.find("APIC") + 40, 4), 0u);
}

}  // namespace
}  // namespace rhea::hw::acpi
