// The command block registers of one ATA device. Count and LBA registers are two deep: a write moves what was there to
// the high order byte, which 48-bit commands use and HOB shows (ATA/ATAPI-7 volume 1, 6.20).
#pragma once
#include "hw/ide/ata.h"
#include "rhea/core/archive.h"

#include <array>
#include <cstdint>

namespace rhea::hw {

struct TaskFile {
    /// By ata::Register, from kError (as written: features) to kDevice; [0] is the newer byte of each.
    std::array<std::array<std::uint8_t, ata::kRegisters>, 2> bytes{};
    std::uint8_t status = 0, error = 0;

    std::uint8_t features() const { return bytes[0][ata::kError]; }
    std::uint8_t device() const { return bytes[0][ata::kDevice]; }
    bool lba_mode() const { return device() & ata::kDeviceLba; }
    std::uint8_t count8() const { return bytes[0][ata::kCount]; }
    /// A register that the host writes.
    void write(unsigned reg, std::uint8_t value) {
        if (reg == ata::kDevice) {
            bytes[0][reg] = value | ata::kDeviceObsolete;
            return;
        }
        bytes[1][reg] = bytes[0][reg];
        bytes[0][reg] = value;
    }
    std::uint8_t read(unsigned reg, bool high_order) const {
        if (reg == ata::kError)
            return error;
        if (reg == ata::kStatus)
            return status;
        return bytes[high_order && reg != ata::kDevice ? 1 : 0][reg];
    }

    /// Sectors that a command names: 0 means 256, or 65,536 with 48-bit addresses.
    std::uint32_t sectors(bool extended) const {
        const std::uint32_t low = bytes[0][ata::kCount];
        if (!extended)
            return low ? low : 256;
        const std::uint32_t all = low | static_cast<std::uint32_t>(bytes[1][ata::kCount]) << 8;
        return all ? all : 65536;
    }
    std::uint64_t lba28() const { return low24() | static_cast<std::uint64_t>(device() & 0x0f) << 24; }
    std::uint64_t lba48() const {
        return low24() | static_cast<std::uint64_t>(bytes[1][ata::kLbaLow]) << 24 |
               static_cast<std::uint64_t>(bytes[1][ata::kLbaMid]) << 32 | static_cast<std::uint64_t>(bytes[1][ata::kLbaHigh]) << 40;
    }
    void set_lba28(std::uint64_t lba) {
        set_low24(lba);
        bytes[0][ata::kDevice] = static_cast<std::uint8_t>((device() & 0xf0) | (lba >> 24 & 0x0f));
    }
    void set_lba48(std::uint64_t lba) {
        set_low24(lba);
        for (unsigned i = 0; i < 3; ++i)
            bytes[1][ata::kLbaLow + i] = static_cast<std::uint8_t>(lba >> (24 + 8 * i));
    }
    void set_count(std::uint32_t count) {
        bytes[0][ata::kCount] = static_cast<std::uint8_t>(count);
        bytes[1][ata::kCount] = static_cast<std::uint8_t>(count >> 8);
    }
    /// What a reset leaves in the registers of a device that is no packet device.
    void set_signature() {
        bytes = {};
        bytes[0][ata::kCount] = bytes[0][ata::kLbaLow] = 1;
        error = ata::kDiagnosticPassed;
    }

    /// The same of a packet device.
    void set_packet_signature() {
        set_signature();
        bytes[0][ata::kLbaMid] = 0x14;
        bytes[0][ata::kLbaHigh] = 0xeb;
    }
    /// Of PACKET: the longest piece by the data port, and (from the drive) that of the present one.
    std::uint32_t byte_count() const { return bytes[0][ata::kLbaMid] | static_cast<std::uint32_t>(bytes[0][ata::kLbaHigh]) << 8; }
    void set_byte_count(std::uint32_t count) {
        bytes[0][ata::kLbaMid] = static_cast<std::uint8_t>(count);
        bytes[0][ata::kLbaHigh] = static_cast<std::uint8_t>(count >> 8);
    }

    void serialize(core::Archive &archive) {
        archive.bytes("registers", bytes[0]);
        archive.bytes("high_order", bytes[1]);
        archive.field("status", status);
        archive.field("error", error);
    }

private:
    std::uint64_t low24() const {
        return bytes[0][ata::kLbaLow] | static_cast<std::uint64_t>(bytes[0][ata::kLbaMid]) << 8 |
               static_cast<std::uint64_t>(bytes[0][ata::kLbaHigh]) << 16;
    }
    void set_low24(std::uint64_t lba) {
        for (unsigned i = 0; i < 3; ++i)
            bytes[0][ata::kLbaLow + i] = static_cast<std::uint8_t>(lba >> (8 * i));
    }
};

} // namespace rhea::hw
